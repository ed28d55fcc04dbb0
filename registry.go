package fescue

import "time"

// Thing is a device or a core in the registry.
type Thing struct {
	Name string
	// ID is a UUID that AWS IoT calls thingId.
	ID         string
	Type       string
	Attributes map[string]string
	// Version starts at 1 and rises with each update.
	Version int64
}

// CertificateStatus is whether a certificate may be used.
type CertificateStatus string

// The certificate statuses. Only ACTIVE certificates connect; REVOKED is final.
const (
	CertificateActive   CertificateStatus = "ACTIVE"
	CertificateInactive CertificateStatus = "INACTIVE"
	CertificateRevoked  CertificateStatus = "REVOKED"
)

// Certificate is a device certificate. It is known by its fingerprint alone:
// no authority chain is asked for.
type Certificate struct {
	// ID is the SHA-256 of the DER form in lowercase hexadecimal.
	ID                  string
	PEM                 string
	Status              CertificateStatus
	CreatedAt           time.Time
	UpdatedAt           time.Time
	NotBefore, NotAfter time.Time
	// Mode is DEFAULT, or SNI_ONLY for certificates registered without their
	// authority.
	Mode string
}

// Principal is what a certificate may do: who it belongs to and the documents
// that decide.
type Principal struct {
	Partition   Partition
	Certificate Certificate
	// Things are the names of the things that the certificate is attached to.
	Things []string
	// Policies are the acting documents of the attached policies.
	Policies []string
}
