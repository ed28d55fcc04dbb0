// Package archive makes zip archives for tests, hostile ones too.
package archive

import (
	"archive/zip"
	"bytes"
	"io/fs"
	"testing"
)

// Member is one entry of an archive. A Mode of 0 is 0644; the content of a symbolic
// link is its target.
type Member struct {
	Name, Content string
	Mode          fs.FileMode
}

// Zip makes an archive of members in their order.
func Zip(t testing.TB, members ...Member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range members {
		h := &zip.FileHeader{Name: m.Name, Method: zip.Deflate}
		if m.Mode == 0 {
			m.Mode = 0o644
		}
		h.SetMode(m.Mode)
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(m.Content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
