//go:build !linux

package cloud

import (
	"errors"
	"net"
	"os"
)

// canFindHolders is whether holder knows.
const canFindHolders = false

// What only Linux tells is not known elsewhere.
func holder(string) (held bool, pid int) { return false, 0 }

func descriptorsOf(int) (int, error) { return 0, errors.ErrUnsupported }

func clockKept() (kept, known bool) { return false, false }

// mayWrite is nil where the mode does not say otherwise.
func mayWrite(path string) error {
	info, err := os.Stat(path)
	if err == nil && info.Mode().Perm()&0o222 == 0 {
		err = os.ErrPermission
	}
	return err
}

// bindable listens for an instant.
func bindable(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return l.Close()
}
