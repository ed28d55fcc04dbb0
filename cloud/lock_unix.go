//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package cloud

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lock makes sure that one server at a time uses a data folder.
func lock(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("another server uses this data folder (%s is locked): stop it or choose another folder with --data", path)
		}
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	return f.Close, nil
}
