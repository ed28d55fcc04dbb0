package recovery

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
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

// packedFile is a file or a folder of a function's code or of a model.
type packedFile struct {
	name   string // below the folder; a folder's ends in a slash
	size   int64
	script bool   // marked executable
	target string // of a symbolic link
}

// scan lists a folder of at most so many bytes without reading the files. It refuses
// what an archive cannot carry to another core: links are not followed, and nothing
// outside is looked at.
func scan(f fs.FS, dir string, most int64) ([]packedFile, error) {
	var files []packedFile
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
			files = append(files, packedFile{name: rel + "/"})
			return nil
		}
		if entry.Type() == fs.ModeSymlink {
			links[rel], err = fs.ReadLink(f, name)
			files = append(files, packedFile{name: rel, target: links[rel]})
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if total += info.Size(); total > most {
			return fmt.Errorf("%s holds more than the %d bytes that can be deployed", dir, most)
		}
		files = append(files, packedFile{name: rel, size: info.Size(), script: info.Mode()&0o111 != 0})
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

// unfit says why a file cannot go into an archive, or nothing.
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

// packCode zips what scan listed of a function's folder. program, when it is not empty, is
// made executable whatever its mode.
func packCode(f fs.FS, dir string, files []packedFile, program string) ([]byte, error) {
	var buf bytes.Buffer
	if err := writeZip(&bounded{&buf, maxPacked}, f, dir, files, program); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// bounded writes no more than a number of bytes.
type bounded struct {
	io.Writer
	most int64
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.most -= int64(len(p)); b.most < 0 {
		return 0, errors.New("the archive is larger than what can be uploaded; take out what is not needed")
	}
	return b.Writer.Write(p)
}

// writeZip zips what scan listed. The same files make the same bytes: there are no times
// in it, and of the modes only what a core looks at.
func writeZip(to io.Writer, f fs.FS, dir string, files []packedFile, program string) error {
	w := zip.NewWriter(to)
	for _, file := range files {
		header := &zip.FileHeader{Name: file.name, Method: zip.Deflate}
		header.SetMode(file.mode(program))
		if header.Mode().IsDir() {
			header.Method = zip.Store
		}
		out, err := w.CreateHeader(header)
		if err == nil {
			err = file.copy(out, f, dir)
		}
		if err != nil {
			return fmt.Errorf("pack %s: %w", dir, err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("pack %s: %w", dir, err)
	}
	return nil
}

// writeTar is writeZip for a .tar.gz.
func writeTar(to io.Writer, f fs.FS, dir string, files []packedFile, program string) error {
	compressed := gzip.NewWriter(to)
	w := tar.NewWriter(compressed)
	for _, file := range files {
		mode := file.mode(program)
		header := &tar.Header{Typeflag: tar.TypeReg, Name: file.name, Size: file.size, Mode: int64(mode.Perm()), Format: tar.FormatPAX}
		switch {
		case mode.IsDir():
			header.Typeflag = tar.TypeDir
		case file.target != "":
			header.Typeflag, header.Linkname = tar.TypeSymlink, file.target
		}
		err := w.WriteHeader(header)
		if err == nil && header.Typeflag == tar.TypeReg {
			err = file.copy(w, f, dir)
		}
		if err != nil {
			return fmt.Errorf("pack %s: %w", dir, err)
		}
	}
	if err := errors.Join(w.Close(), compressed.Close()); err != nil {
		return fmt.Errorf("pack %s: %w", dir, err)
	}
	return nil
}

// mode is what an archive says of the file.
func (p packedFile) mode(program string) fs.FileMode {
	switch {
	case strings.HasSuffix(p.name, "/"):
		return fs.ModeDir | 0o755
	case p.target != "":
		return fs.ModeSymlink | 0o777
	case p.script || p.name == program:
		return 0o755
	}
	return 0o644
}

// copy writes what an archive holds of the file.
func (p packedFile) copy(out io.Writer, f fs.FS, dir string) (err error) {
	switch {
	case strings.HasSuffix(p.name, "/"):
	case p.target != "":
		_, err = io.WriteString(out, p.target)
	default:
		err = copyFile(out, f, dir+"/"+p.name, p.size)
	}
	return err
}

// copyFile copies a file that must be as large as it was.
func copyFile(out io.Writer, f fs.FS, name string, size int64) error {
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
