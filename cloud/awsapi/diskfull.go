package awsapi

import (
	"errors"
	"syscall"

	"github.com/fescue-edge/fescue"
)

// internalText is the text of an internal error: general, unless the cause is one that
// whoever runs the server can cure without its log.
func internalText(err error, general string) string {
	if DiskFull(err) {
		return "The server's disk is full: nothing can be stored. Free space in its data folder, or on its database's machine, and try again."
	}
	return general
}

// DiskFull reports whether something could not be stored for want of space.
func DiskFull(err error) bool {
	return errors.Is(err, fescue.ErrDiskFull) || errors.Is(err, syscall.ENOSPC)
}
