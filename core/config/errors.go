package config

import (
	"errors"
	"fmt"
)

// Start-up errors. Their texts are the original's (AWS IoT Greengrass V1
// developer guide, "Troubleshooting"), so that runbooks go on matching.
var (
	// ErrMissingPaths means that neither form of the file names all of the
	// authority, the certificate and the private key.
	ErrMissingPaths = documented("The configuration file is missing the CaPath, CertPath or KeyPath.")
	// ErrUnknownURIScheme means a crypto path that is no file:// URI.
	ErrUnknownURIScheme = documented("Error occurred while generating TLS config: ErrUnknownURIScheme")
	// ErrNotFound means that there is no file.
	ErrNotFound = errors.New("no configuration file")
	// ErrParse means that the file is not JSON, or a member has a wrong type.
	ErrParse = errors.New("configuration file does not parse")
	// ErrPKCS11 means that a key lies in a hardware security module.
	ErrPKCS11 = errors.New("keys in a hardware security module (pkcs11:) are not supported by this version; give the key as file:///path/to/private.key")
	// ErrInvalid means that a member has a value out of its range.
	ErrInvalid = errors.New("invalid configuration")
)

// documented is an error whose text begins with a capital letter because the
// original's did.
type documented string

// Error is the documented text.
func (d documented) Error() string { return string(d) }

// fileError is a documented text that names the file, wrapping what it is and
// why.
type fileError struct {
	text   string
	kind   error
	reason error
}

// Error is the documented text, then the reason.
func (e *fileError) Error() string {
	if e.reason == nil {
		return e.text
	}
	return e.text + " " + e.reason.Error()
}

// Unwrap gives the kind and the reason.
func (e *fileError) Unwrap() []error {
	if e.reason == nil {
		return []error{e.kind}
	}
	return []error{e.kind, e.reason}
}

func errSwitch(word string) error { return fmt.Errorf("%q is neither \"yes\" nor \"no\"", word) }

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}
