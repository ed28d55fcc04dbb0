// Package crashfs is a file system in memory for tests of what survives a power
// cut. It promises what POSIX promises and nothing more:
//
//   - What was written into a file lasts once the file was synchronised. Until
//     then any part of it may be lost, so that an older content, a shorter one or
//     one with holes is found.
//   - A name that was added to a folder, taken from it or given to something else
//     lasts once the folder was synchronised. Until then each change may be lost
//     alone, in any order. Synchronising a file says nothing about its name.
//   - A rename is one change: it is found done or not done.
package crashfs

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fescue-edge/fescue/disk"
)

// ErrPower is what every operation gives once the power has failed.
var ErrPower = errors.New("the power has failed")

// Disk is the file system. The zero value is not usable: see New.
type Disk struct {
	mu   sync.Mutex
	root *node
	// names are the changes of names that may still be lost, oldest first.
	names []change
	// left operations are done until the power fails; negative is never.
	left int
	off  bool
	cut  func()
	// steps counts the operations that changed something.
	steps int
	temps int
}

// node is a file, a folder or a symbolic link.
type node struct {
	mode, lastingMode fs.FileMode
	changed           time.Time
	target            string
	content, lasting  []byte
	// writes are the changes of content that may still be lost.
	writes []write
	// entries are a folder's names now, kept those that last.
	entries, kept map[string]*node
}

// write is one change of a file's content.
type write struct {
	truncate bool
	offset   int64
	data     []byte
}

// change is what happens to names at one instant.
type change []naming

type naming struct {
	folder *node
	name   string
	to     *node // nil removes the name
}

var _ disk.FS = (*Disk)(nil)

// New makes an empty file system.
func New() *Disk {
	return &Disk{root: newFolder(0o755), left: -1}
}

func newFolder(perm fs.FileMode) *node {
	mode := fs.ModeDir | perm.Perm()
	return &node{mode: mode, lastingMode: mode, changed: time.Now(), entries: map[string]*node{}, kept: map[string]*node{}}
}

// FailAfter lets the power fail at the operation after the next n that change
// something; cut is called at that instant.
func (d *Disk) FailAfter(n int, cut func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left, d.cut = n, cut
}

// Failed reports whether the power has failed.
func (d *Disk) Failed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.off
}

// Steps is how many operations have changed something.
func (d *Disk) Steps() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.steps
}

// spend counts an operation that changes something. It is called locked.
func (d *Disk) spend() error {
	if d.off {
		return ErrPower
	}
	d.steps++
	if d.left == 0 {
		d.off = true
		d.cut()
		return ErrPower
	}
	if d.left > 0 {
		d.left--
	}
	return nil
}

// Restore brings the power back. Of each thing that was not synchronised it asks
// keep whether it has survived.
func (d *Disk) Restore(keep func() bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.names {
		if keep() {
			c.apply(func(n *node) map[string]*node { return n.kept })
		}
	}
	d.names = nil
	d.root.restore(keep, map[*node]bool{})
	d.off, d.left, d.cut = false, -1, nil
}

func (c change) apply(names func(*node) map[string]*node) {
	for _, n := range c {
		if n.to == nil {
			delete(names(n.folder), n.name)
		} else {
			names(n.folder)[n.name] = n.to
		}
	}
}

// restore makes what lasts of a node, and of everything below it, the present.
func (n *node) restore(keep func() bool, seen map[*node]bool) {
	if seen[n] {
		return // a file under two names: a rename's change was lost on one side only
	}
	seen[n] = true
	if n.mode != n.lastingMode && !keep() {
		n.mode = n.lastingMode
	}
	n.lastingMode = n.mode
	for _, w := range n.writes {
		if keep() {
			n.lasting = w.on(n.lasting)
		}
	}
	n.writes = nil
	n.content = slices.Clone(n.lasting)
	if n.entries == nil {
		return
	}
	n.entries = maps.Clone(n.kept)
	// In the order of names: the same answers of keep give the same disk.
	for _, name := range slices.Sorted(maps.Keys(n.entries)) {
		n.entries[name].restore(keep, seen)
	}
}

func (w write) on(content []byte) []byte {
	if w.truncate {
		return nil
	}
	content = slices.Clone(content)
	if end := int(w.offset) + len(w.data); end > len(content) {
		content = append(content, make([]byte, end-len(content))...)
	}
	copy(content[w.offset:], w.data)
	return content
}

// sync makes a node's own content and mode last.
func (n *node) sync() {
	n.lasting, n.writes, n.lastingMode = slices.Clone(n.content), nil, n.mode
}

// rename records and does a change of names.
func (d *Disk) change(c change) {
	c.apply(func(n *node) map[string]*node { return n.entries })
	d.names = append(d.names, c)
}

// find resolves a name. Links are not followed.
func (d *Disk) find(name string) (*node, error) {
	n := d.root
	for _, part := range parts(name) {
		if n.entries == nil {
			return nil, syscall.ENOTDIR
		}
		next, ok := n.entries[part]
		if !ok {
			return nil, fs.ErrNotExist
		}
		n = next
	}
	return n, nil
}

func parts(name string) []string {
	return strings.FieldsFunc(filepath.Clean(name), func(r rune) bool { return r == filepath.Separator })
}

// place finds the folder of a name.
func (d *Disk) place(name string) (folder *node, base string, err error) {
	folder, err = d.find(filepath.Dir(name))
	if err == nil && folder.entries == nil {
		err = syscall.ENOTDIR
	}
	return folder, filepath.Base(name), err
}

// do runs one operation on a name with the disk locked.
func (d *Disk) do(op, name string, changes bool, f func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := error(nil)
	if changes {
		err = d.spend()
	} else if d.off {
		err = ErrPower
	}
	if err == nil {
		err = f()
	}
	if err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}

// MkdirAll is os.MkdirAll.
func (d *Disk) MkdirAll(name string, perm fs.FileMode) error {
	at := string(filepath.Separator)
	for _, part := range parts(name) {
		at = filepath.Join(at, part)
		if n, err := d.lookup(at); err == nil && n.entries != nil {
			continue
		}
		err := d.do("mkdir", at, true, func() error {
			folder, base, err := d.place(at)
			if err != nil {
				return err
			}
			if there := folder.entries[base]; there != nil {
				return fs.ErrExist
			}
			d.change(change{{folder, base, newFolder(perm)}})
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *Disk) lookup(name string) (n *node, err error) {
	err = d.do("lstat", name, false, func() error {
		n, err = d.find(name)
		return err
	})
	return n, err
}

// Chmod is os.Chmod.
func (d *Disk) Chmod(name string, perm fs.FileMode) error {
	return d.do("chmod", name, true, func() error {
		n, err := d.find(name)
		if err == nil {
			n.mode = n.mode.Type() | perm.Perm()
		}
		return err
	})
}

// Rename is os.Rename.
func (d *Disk) Rename(from, to string) error {
	return d.do("rename", from, true, func() error {
		source, oldName, err := d.place(from)
		if err != nil {
			return err
		}
		target, newName, err := d.place(to)
		if err != nil {
			return err
		}
		n := source.entries[oldName]
		if n == nil {
			return fs.ErrNotExist
		}
		if there := target.entries[newName]; there != nil && (there.entries != nil) != (n.entries != nil) {
			return syscall.EISDIR
		} else if there != nil && len(there.entries) > 0 {
			return syscall.ENOTEMPTY
		}
		d.change(change{{source, oldName, nil}, {target, newName, n}})
		return nil
	})
}

// Remove is os.Remove.
func (d *Disk) Remove(name string) error {
	return d.do("remove", name, true, func() error {
		folder, base, err := d.place(name)
		if err != nil {
			return err
		}
		switch n := folder.entries[base]; {
		case n == nil:
			return fs.ErrNotExist
		case len(n.entries) > 0:
			return syscall.ENOTEMPTY
		}
		d.change(change{{folder, base, nil}})
		return nil
	})
}

// RemoveAll is os.RemoveAll: many changes, one after the other.
func (d *Disk) RemoveAll(name string) error {
	entries, err := d.ReadDir(name)
	if err != nil && !errors.Is(err, syscall.ENOTDIR) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if err := d.RemoveAll(filepath.Join(name, e.Name())); err != nil {
			return err
		}
	}
	if err := d.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Symlink is os.Symlink.
func (d *Disk) Symlink(target, name string) error {
	return d.do("symlink", name, true, func() error {
		folder, base, err := d.place(name)
		if err != nil {
			return err
		}
		if folder.entries[base] != nil {
			return fs.ErrExist
		}
		mode := fs.ModeSymlink | 0o777
		d.change(change{{folder, base, &node{mode: mode, lastingMode: mode, changed: time.Now(), target: target}}})
		return nil
	})
}

// Readlink is os.Readlink.
func (d *Disk) Readlink(name string) (string, error) {
	n, err := d.lookup(name)
	if err != nil {
		return "", err
	}
	if n.mode&fs.ModeSymlink == 0 {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: syscall.EINVAL}
	}
	return n.target, nil
}

// Lstat is os.Lstat.
func (d *Disk) Lstat(name string) (info fs.FileInfo, err error) {
	err = d.do("lstat", name, false, func() error {
		n, err := d.find(name)
		if err == nil {
			info = n.info(filepath.Base(name))
		}
		return err
	})
	return info, err
}

// ReadDir is os.ReadDir.
func (d *Disk) ReadDir(name string) (list []fs.DirEntry, err error) {
	err = d.do("open", name, false, func() error {
		n, err := d.find(name)
		if err == nil && n.entries == nil {
			err = syscall.ENOTDIR
		}
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(n.entries)) {
			list = append(list, fs.FileInfoToDirEntry(n.entries[name].info(name)))
		}
		return nil
	})
	return list, err
}

// SyncDir is fsync on a folder: its names last from now on.
func (d *Disk) SyncDir(name string) error {
	return d.do("fsync", name, true, func() error {
		n, err := d.find(name)
		if err == nil && n.entries == nil {
			err = syscall.ENOTDIR
		}
		if err != nil {
			return err
		}
		n.lastingMode = n.mode
		d.names = slices.DeleteFunc(d.names, func(c change) bool {
			ours := slices.ContainsFunc(c, func(e naming) bool { return e.folder == n })
			if ours {
				c.apply(func(n *node) map[string]*node { return n.kept })
			}
			return ours
		})
		return nil
	})
}

// OpenFile is os.OpenFile.
func (d *Disk) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	var file *File
	changes := flag&(os.O_CREATE|os.O_TRUNC) != 0
	err := d.do("open", name, changes, func() error {
		folder, base, err := d.place(name)
		if err != nil {
			return err
		}
		n := folder.entries[base]
		switch {
		case n == nil && flag&os.O_CREATE == 0:
			return fs.ErrNotExist
		case n != nil && flag&os.O_EXCL != 0:
			return fs.ErrExist
		case n != nil && n.mode&fs.ModeSymlink != 0:
			return syscall.ELOOP
		case n != nil && n.entries != nil:
			return syscall.EISDIR
		case n == nil:
			n = &node{mode: perm.Perm(), lastingMode: perm.Perm(), changed: time.Now()}
			d.change(change{{folder, base, n}})
		case flag&os.O_TRUNC != 0 && len(n.content) > 0:
			n.write(write{truncate: true})
		}
		file = &File{disk: d, node: n, name: name, flag: flag}
		return nil
	})
	if err != nil {
		return nil, err // not a disk.File that holds a nil *File
	}
	return file, nil
}

// CreateTemp is os.CreateTemp for a pattern that ends in a star.
func (d *Disk) CreateTemp(dir, pattern string) (disk.File, error) {
	d.mu.Lock()
	d.temps++
	name := strings.TrimSuffix(pattern, "*") + strconv.Itoa(d.temps)
	d.mu.Unlock()
	return d.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
}
