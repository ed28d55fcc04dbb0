package bundle

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// Limits of the archive of a model. Those of entries and names are those of zips.
const (
	// MaxModel is how large it may be, MaxModelUnpacked how much it may hold, in
	// bytes.
	MaxModel         = 2 << 30
	MaxModelUnpacked = 4 << 30
)

// WalkTar reads a tar archive to its end and calls make for each folder and file in
// it, folders before what is in them, with the content of a file to be read at once;
// then for each symbolic link, when nothing more is written that could lead through
// one. Of a file that stands there twice the last counts. What reaches out of its
// folder, is anything else than files, folders and links, or is beyond the limits, is
// an error that names the entry, by the same rules as Entries; so is an error of make.
func WalkTar(archive io.Reader, most int64, make func(Entry, io.Reader) error) error {
	l := listing{at: map[string]int{}}
	targets := map[string]string{}
	left := most
	for r := tar.NewReader(archive); ; {
		head, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("it cannot be read as tar: %w", err)
		}
		fail := func(err error) error { return fmt.Errorf("entry %.300q %w", head.Name, err) }
		if left -= head.Size; head.Size < 0 || left < 0 {
			return fail(fmt.Errorf("makes it hold more than %d bytes unpacked", most))
		}
		e, err := tarEntry(head)
		if err != nil {
			return fail(err)
		}
		if e.Name == "." {
			continue
		}
		before := len(l.entries)
		if err := l.add(e); err != nil {
			return fail(err)
		}
		for _, folder := range l.entries[before:] {
			if folder.Name != e.Name {
				if err := make(folder, nil); err != nil {
					return err
				}
			}
		}
		if e.Target != "" {
			targets[e.Name] = e.Target
			continue
		}
		// A file in the place of a link.
		delete(targets, e.Name)
		if err := make(e, r); err != nil {
			return err
		}
	}
	if err := CheckLinks(targets); err != nil {
		return err
	}
	for _, e := range l.entries {
		if e.Target != "" {
			if err := make(e, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

func tarEntry(head *tar.Header) (Entry, error) {
	if err := CheckName(head.Name); err != nil {
		return Entry{}, err
	}
	e := Entry{Name: path.Clean(head.Name)}
	switch head.Typeflag {
	case tar.TypeDir:
		e.Mode = fs.ModeDir | 0o755
		return e, nil
	case tar.TypeXGlobalHeader:
		return Entry{Name: "."}, nil
	}
	if e.Name == "." || strings.HasSuffix(head.Name, "/") {
		return e, errors.New("has no name")
	}
	switch head.Typeflag {
	case tar.TypeReg:
		e.Mode = 0o644
		if head.Mode&0o111 != 0 {
			e.Mode = 0o755
		}
	case tar.TypeSymlink:
		if head.Linkname == "" || len(head.Linkname) > maxTarget || strings.ContainsRune(head.Linkname, 0) {
			return e, errors.New("is a symbolic link to no possible name")
		}
		e.Mode, e.Target = fs.ModeSymlink|0o777, head.Linkname
	default:
		return e, errors.New("is neither a file nor a folder nor a symbolic link")
	}
	return e, nil
}
