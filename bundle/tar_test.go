package bundle_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/bundle"
)

// tarOf packs entries; those of files hold their names.
func tarOf(t testing.TB, heads ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, head := range heads {
		if head.Typeflag == 0 {
			head.Typeflag = tar.TypeReg
		}
		if head.Typeflag == tar.TypeReg && head.Size == 0 {
			head.Size = int64(len(head.Name))
		}
		if err := w.WriteHeader(&head); err != nil {
			t.Fatal(err)
		}
		if head.Typeflag == tar.TypeReg {
			if _, err := io.WriteString(w, strings.Repeat(head.Name, int(head.Size)/len(head.Name))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// walked is what an archive unpacks to.
func walked(data []byte, most int64) (list []string, err error) {
	err = bundle.WalkTar(bytes.NewReader(data), most, func(e bundle.Entry, r io.Reader) error {
		text := e.Target
		if r != nil {
			content, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			text = string(content)
		}
		list = append(list, fmt.Sprintf("%v %s %s", e.Mode, e.Name, text))
		return nil
	})
	return list, err
}

func TestWalkTar(t *testing.T) {
	t.Parallel()
	got, err := walked(tarOf(t,
		tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o700}, tar.Header{Name: "./model/", Typeflag: tar.TypeDir, Mode: 0o700},
		tar.Header{Name: "up", Typeflag: tar.TypeSymlink, Linkname: "model/../run"},
		tar.Header{Name: "./model/w", Mode: 0o600}, tar.Header{Name: "run", Mode: 0o6700}, tar.Header{Name: "deep/er/file"},
	), 100)
	want := []string{
		"drwxr-xr-x model ", "-rw-r--r-- model/w ./model/w", "-rwxr-xr-x run run", "drwxr-xr-x deep ", "drwxr-xr-x deep/er ",
		"-rw-r--r-- deep/er/file deep/er/file", "Lrwxrwxrwx up model/../run",
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	for name, tc := range map[string]struct {
		heads []tar.Header
		want  string
	}{
		"climbs out":              {[]tar.Header{{Name: "../evil"}}, "leads out of its folder"},
		"climbs out in between":   {[]tar.Header{{Name: "a/../../evil"}}, "leads out of its folder"},
		"absolute":                {[]tar.Header{{Name: "/etc/passwd"}}, "has an absolute path"},
		"a link out":              {[]tar.Header{{Name: "out", Typeflag: tar.TypeSymlink, Linkname: "../x"}}, "leads out of the package's folder"},
		"a link to the machine":   {[]tar.Header{{Name: "out", Typeflag: tar.TypeSymlink, Linkname: "/etc"}}, "to an absolute path"},
		"a link to itself":        {[]tar.Header{{Name: "a", Typeflag: tar.TypeSymlink, Linkname: "a"}}, "through too many others"},
		"through a link":          {[]tar.Header{{Name: "in", Typeflag: tar.TypeSymlink, Linkname: "a"}, {Name: "in/file"}}, "a file and a folder at once"},
		"a hard link":             {[]tar.Header{{Name: "a"}, {Name: "b", Typeflag: tar.TypeLink, Linkname: "a"}}, "neither a file nor a folder"},
		"a device":                {[]tar.Header{{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}}, "neither a file nor a folder"},
		"a pipe":                  {[]tar.Header{{Name: "pipe", Typeflag: tar.TypeFifo}}, "neither a file nor a folder"},
		"a file that is a folder": {[]tar.Header{{Name: "a/b"}, {Name: "a"}}, "a file and a folder at once"},
		"too much":                {[]tar.Header{{Name: "a", Size: 60}, {Name: "b", Size: 60}}, "more than 100 bytes unpacked"},
		"a long name":             {[]tar.Header{{Name: strings.Repeat("a", 256), Typeflag: tar.TypeDir}}, "more than 255 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if list, err := walked(tarOf(t, tc.heads...), 100); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%q, %v; want %q", list, err, tc.want)
			}
		})
	}
	t.Run("half an archive", func(t *testing.T) {
		t.Parallel()
		if _, err := walked(tarOf(t, tar.Header{Name: "a", Size: 60})[:540], 100); err == nil {
			t.Error("it was taken")
		}
	})
	t.Run("an error of whoever unpacks", func(t *testing.T) {
		t.Parallel()
		full := errors.New("no room")
		err := bundle.WalkTar(bytes.NewReader(tarOf(t, tar.Header{Name: "a/b"})), 100, func(bundle.Entry, io.Reader) error { return full })
		if !errors.Is(err, full) {
			t.Error(err)
		}
	})
}

// FuzzWalkTar: whatever an archive says, nothing is made outside of its folder or twice
// as something else, and no more than was said.
func FuzzWalkTar(f *testing.F) {
	f.Add(tarOf(f, tar.Header{Name: "./model/", Typeflag: tar.TypeDir}, tar.Header{Name: "./model/w"}, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "model"}))
	f.Add(tarOf(f, tar.Header{Name: "a/b/up", Typeflag: tar.TypeSymlink, Linkname: "../b"}))
	f.Add(tarOf(f, tar.Header{Name: "a/b/c"}, tar.Header{Name: "a/up", Typeflag: tar.TypeSymlink, Linkname: "../a"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		folders, total := map[string]bool{}, int64(0)
		_ = bundle.WalkTar(bytes.NewReader(data), 1<<20, func(e bundle.Entry, r io.Reader) error {
			if bundle.CheckName(e.Name) != nil || e.Name == "." {
				t.Fatalf("name %q", e.Name)
			}
			if before, seen := folders[e.Name]; seen && before != e.Mode.IsDir() {
				t.Fatalf("%q is a folder and none", e.Name)
			}
			folders[e.Name] = e.Mode.IsDir()
			if i := strings.LastIndexByte(e.Name, '/'); i >= 0 && !folders[e.Name[:i]] {
				t.Fatalf("%q comes before its folder", e.Name)
			}
			if r != nil {
				n, err := io.Copy(io.Discard, r)
				if total += n; total > 1<<20 {
					t.Fatalf("%d bytes", total)
				}
				return err
			}
			return nil
		})
	})
}
