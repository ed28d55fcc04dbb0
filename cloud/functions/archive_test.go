package functions_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/cloud/functions"
)

// entry is a file of a zip made for a test.
type entry struct {
	name string
	mode fs.FileMode
	body string
}

func zipOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		if e.mode != 0 {
			h.SetMode(e.mode)
		}
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func archive(zip []byte) *functions.Archive {
	return &functions.Archive{ReaderAt: bytes.NewReader(zip), Size: int64(len(zip))}
}

// claim overwrites the uncompressed size of the only entry, in the directory.
func claim(t *testing.T, data []byte, size uint32) []byte {
	t.Helper()
	at := bytes.LastIndex(data, []byte("PK\x01\x02"))
	if at < 0 {
		t.Fatal("no directory")
	}
	data = bytes.Clone(data)
	binary.LittleEndian.PutUint32(data[at+24:], size)
	return data
}

func TestCheckArchive(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	handler := entry{name: "app.py", body: "def handler(event, context):\n    pass\n"}

	t.Run("takes what functions are made of", func(t *testing.T) {
		t.Parallel()
		for name, data := range map[string][]byte{
			"one file":              zipOf(t, handler),
			"folders":               zipOf(t, entry{name: "lib/"}, entry{name: "lib/a.py", body: "x"}, handler),
			"folders twice":         zipOf(t, entry{name: "lib/"}, entry{name: "lib/"}, handler),
			"an executable":         zipOf(t, entry{name: "main", mode: 0o755, body: "\x7fELF"}),
			"an empty file":         zipOf(t, entry{name: "__init__.py"}),
			"names with dots":       zipOf(t, entry{name: "..data/a..b/...", body: "x"}),
			"names beyond ASCII":    zipOf(t, entry{name: "größe/données.txt", body: "x"}),
			"what bsdtar makes":     zipOf(t, entry{name: "./", mode: fs.ModeDir | 0o755}, entry{name: "./app.py", body: "x"}),
			"what Windows makes":    zipOf(t, entry{name: `lib\`}, entry{name: `lib\a.py`, body: "x"}),
			"links inside":          zipOf(t, entry{name: "lib/a.so.1", body: "x"}, entry{name: "lib/a.so", mode: fs.ModeSymlink | 0o777, body: "a.so.1"}),
			"a file twice":          zipOf(t, handler, handler),
			"bytes before the zip":  append([]byte("#!/bin/sh\n"), zipOf(t, handler)...),
			"a zip that packs well": zipOf(t, entry{name: "zeros", body: strings.Repeat("\x00", 4<<20)}),
		} {
			if err := functions.CheckArchive(ctx, archive(data)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})

	whole := zipOf(t, handler)
	damaged := bytes.Clone(whole)
	damaged[bytes.Index(damaged, []byte("app.py"))+10] ^= 0xff
	for _, c := range []struct {
		name string
		zip  []byte
		says string
	}{
		{"nothing", nil, "Could not unzip"},
		{"no zip", []byte("#!/bin/sh\necho hello\n"), "Could not unzip"},
		{"half a zip", whole[:len(whole)/2], "Could not unzip"},
		{"an empty zip", zipOf(t), "non-empty"},
		{"damaged content", damaged, `"app.py" is damaged`},
		{"more inside than declared", claim(t, whole, 3), `"app.py" is damaged`},
		{"less inside than declared", claim(t, whole, 1<<20), `"app.py" is damaged`},
		{"declared too large", claim(t, whole, 250<<20+1), `entry "app.py"`},
		{"absolute", zipOf(t, entry{name: "/etc/passwd"}), `"/etc/passwd" has an absolute path`},
		{"absolute with a drive", zipOf(t, entry{name: `C:\a`}), "has an absolute path"},
		{"absolute with a backslash", zipOf(t, entry{name: `\a`}), "has an absolute path"},
		{"parent", zipOf(t, entry{name: "../a"}), `"../a" leads out`},
		{"parent inside", zipOf(t, entry{name: "a/../../b"}), "leads out"},
		{"parent at the end", zipOf(t, entry{name: "a/.."}), "leads out"},
		{"parent by backslashes", zipOf(t, entry{name: `a\..\..\b`}), "leads out"},
		{"symbolic link", zipOf(t, handler, entry{name: "ln", mode: fs.ModeSymlink | 0o777, body: "/etc"}), `"ln" is a symbolic link to an absolute path`},
		{"device", zipOf(t, entry{name: "dev", mode: fs.ModeDevice | 0o600}), "neither a file nor a folder"},
		{"pipe", zipOf(t, entry{name: "fifo", mode: fs.ModeNamedPipe | 0o600}), "neither a file nor a folder"},
		{"a folder without a name alone", zipOf(t, entry{name: "./"}), "non-empty"},
		{"NUL in a name", zipOf(t, entry{name: "a\x00b"}), "zero byte"},
		{"long file name", zipOf(t, entry{name: strings.Repeat("a", 256)}), "file name of more than"},
		{"long path", zipOf(t, entry{name: strings.Repeat("abcdefg/", 300) + "a"}), "path of more than"},
		{"file that is a folder too", zipOf(t, entry{name: "a", body: "x"}, entry{name: "a/b", body: "x"}), `makes "a" a file and a folder at once`},
		{"folder that is a file too", zipOf(t, entry{name: "a/"}, entry{name: "a", body: "x"}), `makes "a" a file and a folder at once`},
	} {
		t.Run("refuses "+c.name, func(t *testing.T) {
			t.Parallel()
			err := functions.CheckArchive(ctx, archive(c.zip))
			if !errors.Is(err, functions.ErrInvalid) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want ErrInvalid with %q", err, c.says)
			}
		})
	}

	t.Run("refuses encrypted entries", func(t *testing.T) {
		t.Parallel()
		data := bytes.Clone(whole)
		data[bytes.LastIndex(data, []byte("PK\x01\x02"))+8] |= 1
		if err := functions.CheckArchive(ctx, archive(data)); err == nil || !strings.Contains(err.Error(), "encrypted") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("refuses unknown compression", func(t *testing.T) {
		t.Parallel()
		data := bytes.Clone(whole)
		data[bytes.LastIndex(data, []byte("PK\x01\x02"))+10] = 99
		if err := functions.CheckArchive(ctx, archive(data)); err == nil || !strings.Contains(err.Error(), "compressed by a method") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("refuses sizes that add up to too much", func(t *testing.T) {
		t.Parallel()
		data := zipOf(t, entry{name: "a", body: "x"}, entry{name: "b", body: "x"})
		for at := 0; ; at += 4 {
			next := bytes.Index(data[at:], []byte("PK\x01\x02"))
			if next < 0 {
				break
			}
			at += next
			binary.LittleEndian.PutUint32(data[at+24:], 200<<20)
		}
		if err := functions.CheckArchive(ctx, archive(data)); err == nil || !strings.Contains(err.Error(), `entry "b"`) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("counts entries", func(t *testing.T) {
		t.Parallel()
		var list []entry
		for i := range bundle.MaxEntries {
			list = append(list, entry{name: fmt.Sprintf("f%d", i)})
		}
		if err := functions.CheckArchive(ctx, archive(zipOf(t, list...))); err != nil {
			t.Errorf("with the most entries: %v", err)
		}
		list = append(list, entry{name: "more"})
		if err := functions.CheckArchive(ctx, archive(zipOf(t, list...))); err == nil || !strings.Contains(err.Error(), `entry "more" is beyond the 20000 files`) {
			t.Errorf("with one more: %v", err)
		}
	})
	t.Run("bounds the directory before it is in memory", func(t *testing.T) {
		t.Parallel()
		var list []entry
		for i := range 3000 {
			list = append(list, entry{name: fmt.Sprintf("%02000d", i)})
		}
		if err := functions.CheckArchive(ctx, archive(zipOf(t, list...))); err == nil || !strings.Contains(err.Error(), "directory is larger") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("bounds the zip itself", func(t *testing.T) {
		t.Parallel()
		a := archive(whole)
		a.Size = functions.MaxArchive + 1
		if err := functions.CheckArchive(ctx, a); !errors.Is(err, functions.ErrTooLarge) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("keeps a damaged disk apart from a damaged zip", func(t *testing.T) {
		t.Parallel()
		broken := errors.New("input/output error")
		err := functions.CheckArchive(ctx, &functions.Archive{ReaderAt: brokenDisk{broken}, Size: 1000})
		if !errors.Is(err, broken) || errors.Is(err, functions.ErrInvalid) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("ends with its context", func(t *testing.T) {
		t.Parallel()
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		if err := functions.CheckArchive(cancelled, archive(whole)); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

type brokenDisk struct{ err error }

func (b brokenDisk) ReadAt([]byte, int64) (int, error) { return 0, b.err }

// FuzzCheckArchive looks for zips that make the check panic, or that it takes
// although an entry leads out of its folder.
func FuzzCheckArchive(f *testing.F) {
	f.Add(zipOf(f, entry{name: "a/b", body: "x"}, entry{name: "c"}))
	f.Add(zipOf(f, entry{name: "../b", body: "x"}))
	f.Add([]byte("PK\x05\x06" + strings.Repeat("\x00", 18)))
	f.Fuzz(func(t *testing.T, data []byte) {
		if functions.CheckArchive(context.Background(), archive(data)) != nil {
			return
		}
		z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range z.File {
			name := strings.TrimSuffix(strings.ReplaceAll(f.Name, `\`, "/"), "/")
			if strings.HasPrefix(name, "/") || strings.Contains("/"+name+"/", "/../") {
				t.Errorf("took %q", f.Name)
			}
		}
	})
}
