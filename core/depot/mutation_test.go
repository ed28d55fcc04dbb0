package depot_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/depot"
	"github.com/fescue-edge/fescue/testkit/archive"
	"github.com/fescue-edge/fescue/testkit/crashfs"
	"github.com/fescue-edge/fescue/testkit/mutate"
)

// TestMutatedArchives spoils packages at random, hostile ones among them. None may
// reach outside of its folder, outgrow the limits, or leave anything there but
// plain files and folders. FESCUE_MUTATIONS says how many are tried.
func TestMutatedArchives(t *testing.T) {
	t.Parallel()
	var seeds [][]byte
	for _, data := range attacks(t) {
		if len(data) > 0 && len(data) < 1<<12 {
			seeds = append(seeds, data)
		}
	}
	bomb := archive.Zip(t, archive.Member{Name: "zeros", Content: string(make([]byte, 1<<16))})
	good := archive.Zip(t, archive.Member{Name: "app.py", Content: "VERSION = 1\n"}, archive.Member{Name: "lib/", Mode: fs.ModeDir | 0o755}, archive.Member{Name: "lib/tool.sh", Content: "#!/bin/sh\n", Mode: 0o777})
	for range len(seeds) {
		seeds = append(seeds, good, bomb)
	}
	r := rand.New(rand.NewPCG(1, 1))
	count, unpacked := mutate.Count(t, 10_000), 0
	for range count {
		data := mutate.Bytes(r, seeds[r.IntN(len(seeds))])
		disk := crashfs.New()
		if err := disk.MkdirAll("/store", 0o755); err != nil {
			t.Fatal(err)
		}
		err := depot.Unpack(context.Background(), disk, bytes.NewReader(data), int64(len(data)), "/store/in", bundle.Zip, bundle.MaxUnpacked)
		if err != nil && !errors.Is(err, depot.ErrArchive) {
			t.Fatalf("error %v of the file system for %x", err, data)
		}
		for _, folder := range []string{"/", "/store"} {
			entries, readErr := disk.ReadDir(folder)
			if readErr != nil || len(entries) > 1 {
				t.Fatalf("%s holds %v, %v after %x", folder, entries, readErr, data)
			}
		}
		if err == nil {
			unpacked++
			if size := plain(t, disk, "/store/in"); size > bundle.MaxUnpacked {
				t.Fatalf("%d bytes were unpacked from %x", size, data)
			}
		}
	}
	t.Logf("%d mutations, of which %d were still archives; none did harm", count, unpacked)
}

// plain checks that a folder holds files, folders and links alone, and gives its size.
func plain(t *testing.T, disk *crashfs.Disk, name string) (size int64) {
	t.Helper()
	entries, err := disk.ReadDir(name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		switch mode := info.Mode(); {
		case mode.IsDir():
			size += plain(t, disk, filepath.Join(name, e.Name()))
		case mode.IsRegular() && (mode.Perm() == 0o644 || mode.Perm() == 0o755):
			size += info.Size()
		case mode.Type() == fs.ModeSymlink:
		default:
			t.Fatalf("%s has mode %v", e.Name(), mode)
		}
	}
	return size
}
