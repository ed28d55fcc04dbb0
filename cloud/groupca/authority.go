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
	// LeavesUntil is when the last certificate ends that it, or an intermediate that it
	// signed, signed or may sign; zero when there is none.
	LeavesUntil time.Time
}

// Holder is a core for which an authority signed: what it has makes client devices that
// trust the authority take it for their core.
type Holder struct {
	// Thing is the core, CertificateID the certificate with which it asked: whoever has
	// stolen a core has that one.
	Thing, CertificateID string
	// Until is when the last that was signed for it ends.
	Until time.Time
}
