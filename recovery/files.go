package recovery

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/fescue-edge/fescue/bundle"
)

// Limits of what is read, in bytes. group.json of the largest group that the
// original's quotas allow has about a third of its limit; a function's are AWS
// Lambda's ("Lambda quotas").
const (
	maxGroupFile  = 16 << 20
	maxConfigFile = 1 << 20
	maxCertFile   = 64 << 10
	maxPacked     = 50 << 20
)

// readFile reads a regular file of at most limit bytes. What is behind a link is
// read only as far as the file system lets links lead.
func readFile(f fs.FS, name string, limit int64) ([]byte, error) {
	info, err := fs.Stat(f, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", name)
	}
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s is larger than the %d bytes that are read of it", name, limit)
	}
	return data, nil
}

// codeFile is a file or a folder of a function's code.
type codeFile struct {
	name   string // below the function's folder; a folder's ends in a slash
	size   int64
	script bool   // marked executable
	target string // of a symbolic link
}

// scanCode lists a function's folder without reading the files. It refuses what a
// zip cannot carry to another core: links are not followed, and nothing outside is
// looked at.
func scanCode(f fs.FS, dir string) ([]codeFile, error) {
	var files []codeFile
	var problems []error
	var total int64
	links := make(map[string]string)
	err := fs.WalkDir(f, dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name == dir {
			if !entry.IsDir() {
				return fmt.Errorf("%s is not a folder", dir)
			}
			return nil
		}
		if len(files) == bundle.MaxEntries {
			return fmt.Errorf("%s holds more than the %d files and folders that can be deployed", dir, bundle.MaxEntries)
		}
		rel := strings.TrimPrefix(name, dir+"/")
		if why := unfit(rel, entry.Type()); why != "" {
			problems = append(problems, fmt.Errorf("%q %s", name, why))
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if entry.IsDir() {
			files = append(files, codeFile{name: rel + "/"})
			return nil
		}
		if entry.Type() == fs.ModeSymlink {
			links[rel], err = fs.ReadLink(f, name)
			files = append(files, codeFile{name: rel, target: links[rel]})
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if total += info.Size(); total > bundle.MaxUnpacked {
			return fmt.Errorf("%s holds more than the %d bytes that can be deployed", dir, bundle.MaxUnpacked)
		}
		files = append(files, codeFile{name: rel, size: info.Size(), script: info.Mode()&0o111 != 0})
		return nil
	})
	if err != nil {
		problems = append(problems, err)
	}
	if err := bundle.CheckLinks(links); err != nil {
		problems = append(problems, fmt.Errorf("%w; put the file itself in its place (cp -rL copies a folder so)", err))
	}
	return files, errors.Join(problems...)
}

// unfit says why a file cannot go into a function's zip, or nothing.
func unfit(rel string, mode fs.FileMode) string {
	switch {
	case !mode.IsRegular() && !mode.IsDir() && mode != fs.ModeSymlink:
		return "is neither a file nor a folder"
	case strings.Contains(rel, `\`):
		return "has a backslash in its name, which a zip takes for a folder's end"
	}
	if err := bundle.CheckName(rel); err != nil {
		return err.Error()
	}
	return ""
}

// packCode zips what scanCode listed. The same files make the same bytes: there
// are no times in it, and of the modes only what a core looks at. program, when
// it is not empty, is made executable whatever its mode.
func packCode(f fs.FS, dir string, files []codeFile, program string) ([]byte, error) {
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for _, file := range files {
		header := &zip.FileHeader{Name: file.name, Method: zip.Deflate}
		switch {
		case strings.HasSuffix(file.name, "/"):
			header.Method = zip.Store
			header.SetMode(fs.ModeDir | 0o755)
		case file.target != "":
			header.SetMode(fs.ModeSymlink | 0o777)
		case file.script || file.name == program:
			header.SetMode(0o755)
		default:
			header.SetMode(0o644)
		}
		out, err := w.CreateHeader(header)
		switch {
		case err != nil || header.Method == zip.Store:
		case file.target != "":
			_, err = io.WriteString(out, file.target)
		default:
			err = copyCode(out, f, dir+"/"+file.name, file.size)
		}
		if err != nil {
			return nil, fmt.Errorf("pack %s: %w", dir, err)
		}
		if buf.Len() > maxPacked {
			return nil, fmt.Errorf("pack %s: the zip is larger than the %d bytes that can be uploaded; take out what the function does not need", dir, maxPacked)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack %s: %w", dir, err)
	}
	return buf.Bytes(), nil
}

// copyCode copies a file that must be as large as it was.
func copyCode(out io.Writer, f fs.FS, name string, size int64) error {
	in, err := f.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	if info, err := in.Stat(); err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("%s changed while it was read", name)
	}
	n, err := io.Copy(out, io.LimitReader(in, size+1))
	if err == nil && n != size {
		err = fmt.Errorf("%s changed while it was read", name)
	}
	return err
}
