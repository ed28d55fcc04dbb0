package depot_test

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/depot"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/testkit/archive"
)

// unpack unpacks into a folder below one that nothing may leave.
func unpack(t testing.TB, data []byte) (dir string, err error) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "in")
	return dir, depot.Unpack(context.Background(), disk.Local{}, bytes.NewReader(data), int64(len(data)), dir, bundle.Zip, bundle.MaxUnpacked)
}

func TestUnpack(t *testing.T) {
	t.Parallel()
	dir, err := unpack(t, archive.Zip(t,
		archive.Member{Name: "app.py", Content: "hello", Mode: 0o600},
		archive.Member{Name: "run", Content: "x", Mode: fs.ModeSetuid | 0o4711},
		archive.Member{Name: "a/b/c.txt", Content: "deep", Mode: 0o777},
		archive.Member{Name: "a/", Mode: fs.ModeDir | 0o700},
		archive.Member{Name: "empty/", Mode: fs.ModeDir | 0o777},
		archive.Member{Name: "./dot.txt", Content: "dot"},
		archive.Member{Name: "ünï.txt", Content: "ü"},
		archive.Member{Name: "./", Mode: fs.ModeDir | 0o700},
		archive.Member{Name: `win\`, Mode: 0},
		archive.Member{Name: `win\dows.txt`, Content: "w"},
		archive.Member{Name: "twice", Content: "first"},
		archive.Member{Name: "./twice", Content: "last"},
		archive.Member{Name: "a/up", Content: "../run", Mode: fs.ModeSymlink | 0o777},
	))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		mode    fs.FileMode
		content string
	}{
		"app.py": {0o644, "hello"}, "run": {0o755, "x"}, "a/b/c.txt": {0o755, "deep"}, "dot.txt": {0o644, "dot"}, "ünï.txt": {0o644, "ü"}, "win/dows.txt": {0o644, "w"}, "twice": {0o644, "last"}, "a/up": {fs.ModeSymlink | 0o777, "x"},
		"a": {fs.ModeDir | 0o755, ""}, "a/b": {fs.ModeDir | 0o755, ""}, "empty": {fs.ModeDir | 0o755, ""}, ".": {fs.ModeDir | 0o755, ""},
	} {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil || info.Mode() != want.mode {
			t.Errorf("%s has mode %v, %v; want %v", name, info, err, want.mode)
			continue
		}
		if !info.IsDir() {
			if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want.content {
				t.Errorf("%s holds %q, %v", name, got, err)
			}
		}
	}
}

// sink takes the content of files and keeps none of it.
type sink struct{ disk.Local }

func (s sink) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	f, err := s.Local.OpenFile(name, flag, perm)
	return sinkFile{f}, err
}

type sinkFile struct{ disk.File }

func (sinkFile) Write(p []byte) (int, error) { return len(p), nil }

func TestUnpackRefusesABomb(t *testing.T) {
	t.Parallel()
	// One compressed megabyte serves for all entries, which saves most of the time.
	zeros := make([]byte, 1<<20)
	var packed bytes.Buffer
	deflate, err := flate.NewWriter(&packed, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := deflate.Write(zeros); err != nil {
		t.Fatal(err)
	}
	if err := deflate.Close(); err != nil {
		t.Fatal(err)
	}
	var bomb bytes.Buffer
	w := zip.NewWriter(&bomb)
	for i := range bundle.MaxUnpacked>>20 + 1 {
		f, err := w.CreateRaw(&zip.FileHeader{
			Name: fmt.Sprint("z", i), Method: zip.Deflate, CRC32: crc32.ChecksumIEEE(zeros),
			CompressedSize64: uint64(packed.Len()), UncompressedSize64: uint64(len(zeros)),
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(packed.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	err = depot.Unpack(context.Background(), sink{}, bytes.NewReader(bomb.Bytes()), int64(bomb.Len()), filepath.Join(t.TempDir(), "in"), bundle.Zip, bundle.MaxUnpacked)
	if !errors.Is(err, depot.ErrArchive) || !strings.Contains(err.Error(), "bytes unpacked") {
		t.Errorf("error %v", err)
	}
}

// raw makes a zip with one stored entry, whose header says what it likes.
func raw(t testing.TB, h zip.FileHeader, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.CreateRaw(&h)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func attacks(t testing.TB) map[string][]byte {
	many := make([]archive.Member, bundle.MaxEntries+1)
	for i := range many {
		many[i] = archive.Member{Name: fmt.Sprint("f", i)}
	}
	var deep []archive.Member
	for i := range 30 {
		deep = append(deep, archive.Member{Name: strings.Repeat(fmt.Sprintf("d%02d/", i), 900) + "f"})
	}
	liar := archive.Zip(t, archive.Member{Name: "a", Content: strings.Repeat("a", 1000)})
	// The central directory says that the file has 10 bytes.
	i := bytes.LastIndex(liar, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(liar[i+24:], 10)
	encrypted := archive.Zip(t, archive.Member{Name: "a", Content: "x"})
	i = bytes.LastIndex(encrypted, []byte("PK\x01\x02"))
	encrypted[i+8] |= 1
	return map[string][]byte{
		"climbs out":                 archive.Zip(t, archive.Member{Name: "../evil", Content: "x"}),
		"climbs out in the middle":   archive.Zip(t, archive.Member{Name: "a/../../evil", Content: "x"}),
		"climbs with backslashes":    archive.Zip(t, archive.Member{Name: `..\evil`, Content: "x"}),
		"absolute":                   archive.Zip(t, archive.Member{Name: "/tmp/fescue-evil", Content: "x"}),
		"a symbolic link":            archive.Zip(t, archive.Member{Name: "link", Content: "/etc", Mode: fs.ModeSymlink | 0o777}),
		"through a symbolic link":    archive.Zip(t, archive.Member{Name: "link", Content: "/tmp", Mode: fs.ModeSymlink | 0o777}, archive.Member{Name: "link/evil", Content: "x"}),
		"a link that climbs out":     archive.Zip(t, archive.Member{Name: "a/link", Content: "../../evil", Mode: fs.ModeSymlink | 0o777}),
		"by way of another link":     archive.Zip(t, archive.Member{Name: "a/b/c"}, archive.Member{Name: "in", Content: "a/b", Mode: fs.ModeSymlink | 0o777}, archive.Member{Name: "out", Content: "in/../../..", Mode: fs.ModeSymlink | 0o777}),
		"a device":                   archive.Zip(t, archive.Member{Name: "null", Mode: fs.ModeDevice | fs.ModeCharDevice | 0o666}),
		"a pipe":                     archive.Zip(t, archive.Member{Name: "pipe", Mode: fs.ModeNamedPipe | 0o666}),
		"a file that is a folder":    archive.Zip(t, archive.Member{Name: "a", Content: "1"}, archive.Member{Name: "a/b", Content: "2"}),
		"a folder that is a file":    archive.Zip(t, archive.Member{Name: "a/b", Content: "1"}, archive.Member{Name: "a", Content: "2"}),
		"a zero byte":                archive.Zip(t, archive.Member{Name: "a\x00b", Content: "1"}),
		"no name":                    archive.Zip(t, archive.Member{Name: "", Content: "1"}),
		"a long name":                archive.Zip(t, archive.Member{Name: strings.Repeat("a", 256), Content: "1"}),
		"a very long path":           archive.Zip(t, archive.Member{Name: strings.Repeat("a/", 3000) + "a", Content: "1"}),
		"too many entries":           archive.Zip(t, many...),
		"too many folders":           archive.Zip(t, deep...),
		"a file longer than it says": liar,
		"an encrypted file":          encrypted,
		"an unknown method":          raw(t, zip.FileHeader{Name: "a", Method: 99, CompressedSize64: 1, UncompressedSize64: 1}, "x"),
		"a wrong checksum":           raw(t, zip.FileHeader{Name: "a", Method: zip.Store, CRC32: 1, CompressedSize64: 1, UncompressedSize64: 1}, "x"),
		"no zip":                     []byte("hello"),
		"nothing":                    {},
		"half a zip":                 archive.Zip(t, archive.Member{Name: "a", Content: "x"})[:40],
	}
}

func TestUnpackRefuses(t *testing.T) {
	t.Parallel()
	for name, data := range attacks(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, err := unpack(t, data)
			if !errors.Is(err, depot.ErrArchive) {
				t.Errorf("error %v, want one of the archive", err)
			}
			outside, err := os.ReadDir(filepath.Dir(dir))
			if err != nil || len(outside) > 1 || len(outside) == 1 && outside[0].Name() != "in" {
				t.Errorf("outside of the folder there is %v, %v", outside, err)
			}
		})
	}
	if _, err := os.Lstat("/tmp/fescue-evil"); err == nil {
		t.Error("an absolute name was written")
	}
}

func TestUnpackStops(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	data := archive.Zip(t, archive.Member{Name: "a", Content: "x"})
	err := depot.Unpack(ctx, disk.Local{}, bytes.NewReader(data), int64(len(data)), filepath.Join(t.TempDir(), "in"), bundle.Zip, bundle.MaxUnpacked)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func FuzzUnpack(f *testing.F) {
	for _, data := range attacks(f) {
		if len(data) < 1<<16 {
			f.Add(data)
		}
	}
	f.Add(archive.Zip(f, archive.Member{Name: "a/b", Content: "hello", Mode: 0o755}, archive.Member{Name: "c/", Mode: fs.ModeDir | 0o755}))
	f.Add(archive.Zip(f, archive.Member{Name: "a/b", Content: "hello"}, archive.Member{Name: "c", Content: "a", Mode: fs.ModeSymlink | 0o777}, archive.Member{Name: "d", Content: "c/../a/b", Mode: fs.ModeSymlink | 0o777}))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir, err := unpack(t, data)
		outside, readErr := os.ReadDir(filepath.Dir(dir))
		if readErr != nil || len(outside) > 1 || len(outside) == 1 && outside[0].Name() != "in" {
			t.Fatalf("outside of the folder there is %v, %v", outside, readErr)
		}
		if err != nil {
			return
		}
		err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if mode := info.Mode(); !mode.IsRegular() && !mode.IsDir() || mode.Perm() != 0o644 && mode.Perm() != 0o755 {
				if leads, err := filepath.EvalSymlinks(path); mode.Type() != fs.ModeSymlink || err == nil && leads != dir && !strings.HasPrefix(leads, dir+"/") {
					t.Errorf("%s has mode %v and leads to %s, %v", path, mode, leads, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}
