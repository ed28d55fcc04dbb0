package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
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
func (c *Credential) as(f func()) error {
	if c == nil {
		f()
		return nil
	}
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		groups := make([]int, len(c.Groups))
		for i, group := range c.Groups {
			groups[i] = int(group)
		}
		err := errors.Join(unix.Setgroups(groups), unix.Setfsgid(int(c.GID)), unix.Setfsuid(int(c.UID)))
		if err == nil {
			f()
		}
		result <- err
	}()
	return <-result
}

// MayEnter says whether a user may enter a folder and all above it. The error names
// the first that is closed to it. A folder that does not exist is not entered: what
// is above it counts.
func (c *Credential) MayEnter(folder HostPath) (err error) {
	failed := c.as(func() {
		path := "/"
		for part := range strings.SplitSeq(strings.Trim(filepath.Clean(string(folder)), "/"), "/") {
			// The name of a folder within itself takes the right to enter it.
			path = filepath.Join(path, part)
			var info unix.Stat_t
			switch lookErr := unix.Stat(path+"/.", &info); {
			case errors.Is(lookErr, fs.ErrPermission):
				err = &AccessError{path, "enter the folder", c}
				return
			case lookErr != nil:
				return
			}
		}
	})
	return errors.Join(failed, err)
}

// MayRead says whether a user may read a file.
func (c *Credential) MayRead(path HostPath) (err error) {
	file := string(path)
	if err := c.MayEnter(HostPath(filepath.Dir(file))); err != nil {
		return err
	}
	failed := c.as(func() {
		f, openErr := os.Open(file)
		if errors.Is(openErr, fs.ErrPermission) {
			err = &AccessError{file, "read", c}
		}
		if openErr == nil {
			f.Close()
		}
	})
	return errors.Join(failed, err)
}

// mayExecute says whether a user may execute a file in a folder that it may enter.
func (c *Credential) mayExecute(file string) (err error) {
	failed := c.as(func() {
		if errors.Is(unix.Faccessat(unix.AT_FDCWD, file, unix.X_OK, unix.AT_EACCESS), fs.ErrPermission) {
			err = &AccessError{file, "execute", c}
		}
	})
	return errors.Join(failed, err)
}
