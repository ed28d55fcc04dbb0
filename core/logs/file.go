package logs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// keep is how many rotated files stay beside the current one: <name>.log.1 is
// the youngest.
const keep = 3

// file is one log with its rotated predecessors.
type file struct {
	path string
	open *os.File
	size int64
}

// write appends a line; before, it begins a new file if the current one has its
// share of the space.
func (f *file) write(text string, space int64) error {
	if f.open == nil {
		if err := f.begin(space); err != nil {
			return err
		}
	}
	if share := space / (keep + 1); f.size > 0 && f.size+int64(len(text)) > share {
		if err := f.rotate(space); err != nil {
			return err
		}
	}
	n, err := f.open.WriteString(text)
	f.size += int64(n)
	return err
}

func (f *file) begin(space int64) error {
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return err
	}
	if err := f.trim(space - space/(keep+1)); err != nil {
		return err
	}
	open, err := os.OpenFile(f.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := open.Stat()
	if err != nil {
		return errors.Join(err, open.Close())
	}
	f.open, f.size = open, info.Size()
	return nil
}

// trim removes the oldest rotated files that do not go into room: they are of a time
// when the log had more.
func (f *file) trim(room int64) error {
	for i := range keep {
		info, err := os.Stat(f.rotated(i + 1))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if room -= info.Size(); room >= 0 {
			continue
		}
		if err := os.Remove(f.rotated(i + 1)); err != nil {
			return err
		}
	}
	return nil
}

// rotated is the path of the rotated file with a number, of the current one for 0.
func (f *file) rotated(number int) string {
	if number == 0 {
		return f.path
	}
	return f.path + "." + strconv.Itoa(number)
}

func (f *file) rotate(space int64) error {
	if err := f.close(); err != nil {
		return err
	}
	for i := keep; i > 0; i-- {
		if err := os.Rename(f.rotated(i-1), f.rotated(i)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return f.begin(space)
}

func (f *file) close() error {
	if f.open == nil {
		return nil
	}
	err := f.open.Close()
	f.open = nil
	return err
}
