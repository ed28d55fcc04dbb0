package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Credential is a Linux identity. As a pointer it may be nil, for that of the core.
type Credential struct {
	UID, GID uint32
	// Groups are the supplementary groups; none are kept from the core.
	Groups []uint32
}

// String names the user and the group, as far as the machine knows their names.
func (c *Credential) String() string {
	uid, gid := os.Geteuid(), os.Getegid()
	if c != nil {
		uid, gid = int(c.UID), int(c.GID)
	}
	who := "the user with "
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		who = u.Username + " with "
	}
	return fmt.Sprintf("%sUID %d and GID %d", who, uid, gid)
}

// AccessError means that the user of a function may not use a file or a folder.
type AccessError struct {
	Path string
	// Doing is what the user may not do, such as "enter the folder".
	Doing string
	Who   *Credential
}

func (e *AccessError) Error() string {
	return fmt.Sprintf("%s may not %s %s", e.Who, e.Doing, e.Path)
}

// as calls a function with the rights that a user has in the file system. They are
// those of a thread, which ends with the call.
func (c *Credential) as(f func()) (err error) {
	if c == nil {
		f()
		return nil
	}
	groups := make([]int, len(c.Groups))
	for i, group := range c.Groups {
		groups[i] = int(group)
	}
	onOwnThread(func() {
		err = errors.Join(unix.Setgroups(groups), unix.Setfsgid(int(c.GID)), unix.Setfsuid(int(c.UID)))
		if err == nil {
			f()
		}
	})
	return err
}

// MayEnter says whether a user may enter a folder and all above it. The error names
// the first that is closed to it. A folder that does not exist is not entered: what
// is above it counts.
func (c *Credential) MayEnter(folder HostPath) error { return c.mayEnter(place{"/", folder}) }

// place is a file or a folder that is reached from a base, which the core can reach:
// a container begins at others than the machine's root.
type place struct{ base, path HostPath }

// above is the folder that it lies in; the base has none.
func (p place) above() place {
	if p.path == p.base {
		return p
	}
	return place{p.base, HostPath(filepath.Dir(string(p.path)))}
}

// from calls a function with the rights of a user, the base's descriptor and the path
// from there.
func (c *Credential) from(p place, f func(base int, rest string)) error {
	base, err := unix.Open(string(p.base), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil // what does not exist is examined as such
	}
	defer unix.Close(base)
	rest, _ := below(filepath.Clean(string(p.path)), string(p.base))
	return c.as(func() { f(base, cmp.Or(rest, ".")) })
}

func (c *Credential) mayEnter(folder place) (err error) {
	failed := c.from(folder, func(base int, rest string) {
		path := "."
		for part := range strings.SplitSeq(filepath.Join(".", rest), "/") {
			// The name of a folder within itself takes the right to enter it.
			path = filepath.Join(path, part)
			var info unix.Stat_t
			switch lookErr := unix.Fstatat(base, path+"/.", &info, 0); {
			case errors.Is(lookErr, fs.ErrPermission):
				err = &AccessError{string(folder.base.Join(path)), "enter the folder", c}
				return
			case lookErr != nil:
				return
			}
		}
	})
	if closed, ok := err.(*AccessError); ok && folder.base == "/" {
		// A link leads through folders that its own path does not name.
		if real, linkErr := filepath.EvalSymlinks(closed.Path); linkErr == nil && real != closed.Path {
			if behind := c.mayEnter(place{"/", HostPath(real)}); behind != nil {
				err = behind
			}
		}
	}
	return errors.Join(failed, err)
}

// MayRead says whether a user may read a file.
func (c *Credential) MayRead(path HostPath) error { return c.mayRead(place{"/", path}) }

func (c *Credential) mayRead(file place) (err error) {
	if err := c.mayEnter(file.above()); err != nil {
		return err
	}
	failed := c.from(file, func(base int, rest string) {
		fd, openErr := unix.Openat(base, rest, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if errors.Is(openErr, fs.ErrPermission) {
			err = &AccessError{string(file.path), "read", c}
		}
		if openErr == nil {
			unix.Close(fd)
		}
	})
	return errors.Join(failed, err)
}

// mayExecute says whether a user may execute a file in a folder that it may enter.
func (c *Credential) mayExecute(file place) (err error) {
	failed := c.from(file, func(base int, rest string) {
		if errors.Is(unix.Faccessat(base, rest, unix.X_OK, unix.AT_EACCESS), fs.ErrPermission) {
			err = &AccessError{string(file.path), "execute", c}
		}
	})
	return errors.Join(failed, err)
}
