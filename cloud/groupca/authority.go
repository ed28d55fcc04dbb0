package groupca

import "time"

// Authority is a certificate authority of a group. It signs the
// certificate of the core's MQTT server and nothing else; client devices get it
// by discovery.
type Authority struct {
	GroupID string
	// ID is the SHA-256 of the certificate's DER form in lowercase hexadecimal.
	ID string
	// PEM is the certificate.
	PEM string
	// Sealed is the authority with its private key, which only the master key
	// opens; empty once another authority signs in its place.
	Sealed    []byte
	CreatedAt time.Time
	// LeavesUntil is when the last certificate that it signed ends, zero when it
	// signed none.
	LeavesUntil time.Time
}
