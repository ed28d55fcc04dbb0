package bundle

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// Limits of a function's zip, unpacked.
const (
	// MaxUnpacked is how much it may hold, in bytes (AWS Lambda quotas: 250 MB).
	MaxUnpacked = 250 << 20
	// MaxEntries is how many files and folders it may make, those included that
	// only the names of others imply; a core has to make them all.
	MaxEntries = 20_000

	// What Linux takes as a path, a file name and the target of a link, in bytes;
	// of a path the rest is for the folders above.
	maxName    = 2048
	maxSegment = 255
	maxTarget  = 2048
	// maxLinks is how many symbolic links one may lead through, as in Linux.
	maxLinks = 40
)

// Entry is one file, folder or symbolic link that a function's zip unpacks to.
type Entry struct {
	// Name is relative, with slashes, without empty segments, "." and "..".
	Name string
	// Mode is the type and the permissions to make it with.
	Mode fs.FileMode
	// Target is where a symbolic link leads: relative, to nothing outside of the
	// package's folder.
	Target string
	// File is what to read a file's content from.
	File *zip.File
}

// Entries is what a function's zip unpacks to, in the order in which to make it:
// folders before what is in them, symbolic links last, so that nothing is written
// through one. Where a file stands there twice the last one counts, as it does
// when unzip overwrites.
//
// It is the one rule for which zips are taken. A zip that reaches out of its
// folder, holds anything else than files, folders and links, or is beyond the
// limits is an error that names the entry. Contents are read of links alone;
// sizes are believed, and for whoever unpacks to check.
func Entries(files []*zip.File) ([]Entry, error) { return EntriesWithin(files, MaxUnpacked) }

// EntriesWithin is Entries for a zip that may hold so many bytes unpacked.
func EntriesWithin(files []*zip.File, most uint64) ([]Entry, error) {
	l := listing{at: make(map[string]int, len(files))}
	var size uint64
	for _, f := range files {
		if size += min(f.UncompressedSize64, most+1); size > most {
			return nil, fmt.Errorf("entry %.300q makes it hold more than %d bytes unpacked", f.Name, most)
		}
		e, err := entryOf(f)
		if err == nil && e.Name != "." {
			err = l.add(e)
		}
		if err != nil {
			return nil, fmt.Errorf("entry %.300q %w", f.Name, err)
		}
	}
	targets := make(map[string]string)
	var plain, links []Entry
	for _, e := range l.entries {
		if e.Target == "" {
			plain = append(plain, e)
			continue
		}
		targets[e.Name] = e.Target
		links = append(links, e)
	}
	if err := CheckLinks(targets); err != nil {
		return nil, err
	}
	return append(plain, links...), nil
}

func entryOf(f *zip.File) (Entry, error) {
	// Zips made on Windows may separate by backslashes.
	slashed := strings.ReplaceAll(f.Name, `\`, "/")
	if err := CheckName(slashed); err != nil {
		return Entry{}, err
	}
	if f.Flags&1 != 0 {
		return Entry{}, errors.New("is encrypted")
	}
	if f.Method != zip.Store && f.Method != zip.Deflate {
		return Entry{}, errors.New("is compressed by a method other than store and deflate")
	}
	e := Entry{Name: path.Clean(slashed)}
	kind := f.Mode().Type()
	if strings.HasSuffix(slashed, "/") {
		kind |= fs.ModeDir
	}
	switch {
	case kind == fs.ModeDir:
		e.Mode = fs.ModeDir | 0o755
	case e.Name == ".":
		return e, errors.New("has no name")
	case kind == fs.ModeSymlink:
		target, err := targetOf(f)
		e.Mode, e.Target = fs.ModeSymlink|0o777, target
		return e, err
	case kind != 0:
		return e, errors.New("is neither a file nor a folder")
	case f.Mode()&0o111 != 0:
		e.File, e.Mode = f, 0o755
	default:
		e.File, e.Mode = f, 0o644
	}
	return e, nil
}

// CheckName says what is wrong with a name in a function's zip, nothing when it
// can be unpacked. Its separators are slashes; one at the end is a folder's.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("has no name")
	case strings.ContainsRune(name, 0):
		return errors.New("has a zero byte in its name")
	case name[0] == '/', len(name) > 2 && name[1:3] == ":/":
		return errors.New("has an absolute path")
	case len(name) > maxName:
		return fmt.Errorf("has a path of more than %d bytes", maxName)
	}
	for segment := range strings.SplitSeq(name, "/") {
		if segment == ".." {
			return errors.New("leads out of its folder")
		}
		if len(segment) > maxSegment {
			return fmt.Errorf("has a file name of more than %d bytes", maxSegment)
		}
	}
	return nil
}

func targetOf(f *zip.File) (string, error) {
	in, err := f.Open()
	if err != nil {
		return "", fmt.Errorf("cannot be read: %w", err)
	}
	defer in.Close()
	target, err := io.ReadAll(io.LimitReader(in, maxTarget+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("cannot be read: %w", err)
	case len(target) == 0, len(target) > maxTarget, strings.ContainsRune(string(target), 0):
		return "", errors.New("is a symbolic link to no possible name")
	}
	return string(target), nil
}

// listing collects entries by name.
type listing struct {
	entries []Entry
	at      map[string]int
}

// add adds an entry, and the folders above it, which zips need not list.
func (l *listing) add(e Entry) error {
	if dir := path.Dir(e.Name); dir != "." {
		if i, seen := l.at[dir]; !seen || !l.entries[i].Mode.IsDir() {
			if err := l.add(Entry{Name: dir, Mode: fs.ModeDir | 0o755}); err != nil {
				return err
			}
		}
	}
	i, seen := l.at[e.Name]
	switch {
	case seen && l.entries[i].Mode.IsDir() != e.Mode.IsDir():
		return fmt.Errorf("makes %.300q a file and a folder at once", e.Name)
	case seen:
		l.entries[i] = e
		return nil
	case len(l.entries) == MaxEntries:
		return fmt.Errorf("is beyond the %d files and folders that can be deployed", MaxEntries)
	}
	l.at[e.Name] = len(l.entries)
	l.entries = append(l.entries, e)
	return nil
}

// CheckLinks follows the symbolic links of a package, targets by name, and refuses
// one that leads out of the package's folder. A name that is no link counts as a
// folder: what is not there leads nowhere.
func CheckLinks(targets map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(targets)) {
		if err := follow(targets, name); err != nil {
			return fmt.Errorf("entry %.300q is a symbolic link %w", name, err)
		}
	}
	return nil
}

func follow(targets map[string]string, name string) error {
	var place []string
	links := 0
	for rest := strings.Split(name, "/"); len(rest) > 0; {
		segment := rest[0]
		rest = rest[1:]
		switch segment {
		case "", ".":
			continue
		case "..":
			if len(place) == 0 {
				return errors.New("that leads out of the package's folder")
			}
			place = place[:len(place)-1]
			continue
		}
		place = append(place, segment)
		target := targets[strings.Join(place, "/")]
		if target == "" {
			continue
		}
		if links++; links > maxLinks {
			return errors.New("that leads through too many others, or to itself")
		}
		if target[0] == '/' {
			return errors.New("to an absolute path")
		}
		place = place[:len(place)-1]
		rest = append(strings.Split(target, "/"), rest...)
	}
	return nil
}
