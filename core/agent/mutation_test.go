package agent_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/agent"
	"github.com/fescue-edge/fescue/test/spoil"
	"github.com/fescue-edge/fescue/test/volatile"
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
	bomb := zipOf(t, member{name: "zeros", content: string(make([]byte, 1<<16))})
	good := zipOf(t, member{name: "app.py", content: "VERSION = 1\n"}, member{name: "lib/", mode: fs.ModeDir | 0o755}, member{name: "lib/tool.sh", content: "#!/bin/sh\n", mode: 0o777})
	for range len(seeds) {
		seeds = append(seeds, good, bomb)
	}
	r := rand.New(rand.NewPCG(1, 1))
	count, unpacked := spoil.Count(t, 10_000), 0
	for range count {
		data := spoil.Bytes(r, seeds[r.IntN(len(seeds))])
		disk := volatile.New()
		if err := disk.MkdirAll("/store", 0o755); err != nil {
			t.Fatal(err)
		}
		err := agent.Unpack(context.Background(), disk, bytes.NewReader(data), int64(len(data)), "/store/in")
		if err != nil && !errors.Is(err, agent.ErrArchive) {
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
func plain(t *testing.T, disk *volatile.Disk, name string) (size int64) {
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

// TestMutatedDownloads spoils what a core downloads. It takes nothing that is not,
// bit for bit, what its manifest names, and runs what it ran.
func TestMutatedDownloads(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	g := newGateway(t, p)
	g.disk = volatile.New()
	g.root = "/greengrass"
	if err := g.disk.MkdirAll("/greengrass/certs", 0o755); err != nil {
		t.Fatal(err)
	}
	g.run()
	p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
	r := rand.New(rand.NewPCG(2, 2))
	p.change(func() {
		p.serve = func(w http.ResponseWriter, _ *http.Request, content []byte) bool {
			p.mu.Lock()
			spoiled := spoil.Bytes(r, content)
			p.mu.Unlock()
			if bytes.Equal(spoiled, content) {
				spoiled = append(spoiled, 0)
			}
			// As long as it should be, most of the time: what is short is only
			// tried again.
			for len(spoiled) < len(content) {
				spoiled = append(spoiled, 0)
			}
			w.Write(spoiled)
			return true
		}
	})
	const count = 200
	for i := range count {
		d := p.offer(simple(t, int64(i+2), i+2).build(p))
		end := p.expect(d, fescue.Failure)
		if code := end.ErrorDetails[0].DetailedErrorCode; code != "ARTIFACT_HASH_ERROR" {
			t.Fatalf("the deployment failed for %s: %v", code, end.ErrorDetails)
		}
	}
	for _, plan := range g.applied() {
		if got := running(plan); len(got) != 0 && got[0] != functionARN("hello", 1) {
			t.Fatalf("%v ran", got)
		}
	}
	t.Logf("%d mutations, none was taken", count)
}
