package sandbox

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Source is a file, a folder or a device of the machine that a process may be given.
type Source struct {
	// Path has no link on its way.
	Path HostPath
	Mode fs.FileMode
	// GID is the group that owns it.
	GID uint32
	// Major and Minor are a device's.
	Major, Minor uint32
}

// Look looks at something of the machine, following links.
func Look(path HostPath) (Source, error) {
	real, err := filepath.EvalSymlinks(string(path))
	if err != nil {
		return Source{}, err
	}
	// What /proc says of the one that looks is true of it alone and for as long as it
	// lives; the machine's first process stays.
	if rest, ok := strings.CutPrefix(real, "/proc/"+strconv.Itoa(os.Getpid())+"/"); ok {
		real = "/proc/1/" + rest
	}
	info, err := os.Lstat(real)
	if err != nil {
		return Source{}, err
	}
	var stat unix.Stat_t
	if err := unix.Lstat(real, &stat); err != nil {
		return Source{}, &fs.PathError{Op: "stat", Path: real, Err: err}
	}
	return Source{
		Path: HostPath(real), Mode: info.Mode(), GID: stat.Gid,
		Major: unix.Major(uint64(stat.Rdev)), Minor: unix.Minor(uint64(stat.Rdev)),
	}, nil
}

// Real is the path without links on its way; itself where there is nothing.
func (p HostPath) Real() HostPath {
	if real, err := filepath.EvalSymlinks(string(p)); err == nil {
		return HostPath(real)
	}
	return p
}

// MayUse says whether a user may read, and write if it is to, what it is given. The
// folders above do not count: it is reached by another way.
func (c *Credential) MayUse(s Source, write bool) (err error) {
	access, doing := uint32(unix.R_OK), "read"
	if write {
		access, doing = access|unix.W_OK, "read and write"
	}
	if s.Mode.IsDir() {
		access |= unix.X_OK
	}
	failed := c.from(place{s.Path, s.Path}, func(base int, _ string) {
		err = unix.Faccessat(base, "", access, unix.AT_EACCESS|unix.AT_EMPTY_PATH)
	})
	if errors.Is(err, unix.EINVAL) {
		err = nil // Linux before 5.8 cannot be asked
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		err = &AccessError{string(s.Path), doing, c}
	}
	return errors.Join(failed, err)
}

// Covered is the folder that a path inside lies in of which no container sees anything
// that the machine has there; empty for none.
func Covered(path InsidePath) string {
	for _, folder := range hidden {
		if _, ok := below(string(path), folder); ok {
			return folder
		}
	}
	return ""
}
