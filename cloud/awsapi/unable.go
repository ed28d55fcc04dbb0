package awsapi

import (
	"errors"
	"slices"
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

// later are what passes by itself, with what its callers are told.
var later = []struct {
	target error
	text   string
}{
	{fescue.ErrUncertain, "The server's database has not answered at the end of the call, which may have been carried out. Look, or try again, with the same client token where the operation takes one."},
	{fescue.ErrAway, "The server's database cannot be reached just now. Try again."},
	{fescue.ErrBusy, "The server's database is busy, and nothing was done. Try again."},
}

// uncertain is the answer to an operation that may have been carried out and would be once
// more if it were repeated, as SDKs do with whatever is answered 503; nil for any other operation.
func uncertain(service, operation string) *Error {
	if !slices.Contains(wire.Find(service).Once, operation) {
		return nil
	}
	return refuseIn(wire.Uncertain, service, "The server's database has not answered at the end of the call, which may have been carried out, and would be a second time. Look at what there is before you repeat it.")
}

// busy is the answer to an operation that failed because the database was busy or away, in
// the words of a service; nil for any other error.
func busy(service, operation string, err error) *Error {
	if e := uncertain(service, operation); e != nil && errors.Is(err, fescue.ErrUncertain) {
		return e
	}
	for _, row := range later {
		if errors.Is(err, row.target) {
			return refuseIn(wire.Full, service, row.text)
		}
	}
	return nil
}

// DiskFull reports whether something could not be stored for want of space.
func DiskFull(err error) bool {
	return errors.Is(err, fescue.ErrDiskFull) || errors.Is(err, syscall.ENOSPC)
}
