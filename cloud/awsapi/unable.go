package awsapi

import (
	"errors"
	"syscall"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire"
)

// internalText is the text of an internal error: general, unless the cause is one that
// whoever runs the server can cure without its log.
func internalText(err error, general string) string {
	if DiskFull(err) {
		return "The server's disk is full: nothing can be stored. Free space in its data folder, or on its database's machine, and try again."
	}
	return general
}

// busy is the answer to what failed because the database was busy, in the words of a
// service; nil for any other error.
func busy(service string, err error) *Error {
	if !errors.Is(err, fescue.ErrBusy) {
		return nil
	}
	return refuseIn(wire.Full, service, "The server's database is busy, and nothing was done. Try again.")
}

// DiskFull reports whether something could not be stored for want of space.
func DiskFull(err error) bool {
	return errors.Is(err, fescue.ErrDiskFull) || errors.Is(err, syscall.ENOSPC)
}
