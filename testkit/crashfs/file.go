package crashfs

import (
	"io"
	"io/fs"
	"os"
	"time"
)

// File is an open file.
type File struct {
	disk *Disk
	node *node
	name string
	flag int
	at   int64
}

// Name is the name with which the file was opened.
func (f *File) Name() string { return f.name }

// Read implements io.Reader.
func (f *File) Read(p []byte) (n int, err error) {
	n, err = f.ReadAt(p, f.at)
	f.at += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// ReadAt implements io.ReaderAt.
func (f *File) ReadAt(p []byte, offset int64) (n int, err error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.off {
		return 0, ErrPower
	}
	if offset < int64(len(f.node.content)) {
		n = copy(p, f.node.content[offset:])
	}
	if n < len(p) {
		err = io.EOF
	}
	return n, err
}

// Write implements io.Writer. At a power cut half of p may be there.
func (f *File) Write(p []byte) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.flag&os.O_APPEND != 0 {
		f.at = int64(len(f.node.content))
	}
	was := f.disk.off
	err := f.disk.spend()
	if err != nil {
		if was {
			return 0, err
		}
		p = p[:len(p)/2]
	}
	f.node.write(write{offset: f.at, data: append([]byte(nil), p...)})
	f.at += int64(len(p))
	return len(p), err
}

func (n *node) write(w write) {
	n.content, n.changed = w.on(n.content), time.Now()
	n.writes = append(n.writes, w)
}

// Seek implements io.Seeker.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += f.at
	case io.SeekEnd:
		offset += int64(len(f.node.content))
	}
	if offset < 0 {
		return 0, fs.ErrInvalid
	}
	f.at = offset
	return offset, nil
}

// Stat describes the file.
func (f *File) Stat() (fs.FileInfo, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.node.info(f.name), nil
}

// Sync is fsync on a file: its content and mode last from now on, its name may
// not.
func (f *File) Sync() error {
	return f.disk.do("fsync", f.name, true, func() error {
		f.node.sync()
		return nil
	})
}

// Close implements io.Closer.
func (f *File) Close() error { return nil }

// info describes a node under a name.
func (n *node) info(name string) fs.FileInfo {
	return info{name, n.mode, int64(len(n.content)), n.changed}
}

type info struct {
	name    string
	mode    fs.FileMode
	size    int64
	changed time.Time
}

func (i info) Name() string       { return i.name }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) Size() int64        { return i.size }
func (i info) ModTime() time.Time { return i.changed }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }
