package registry

import (
	"errors"
	"fmt"
)

// Why the registry refuses, apart from what is simply not found
// (fescue.ErrNotFound), an invalid argument (InvalidError) and a document that
// does not parse (policy.ErrMalformed).
var (
	// ErrThingDiffers means that a thing of the name exists with another type or
	// other attributes.
	ErrThingDiffers = errors.New("already exists in account with different attributes")
	// ErrThingVersion means that the thing is not at the version expected.
	ErrThingVersion = errors.New("is not at the expected version")
	// ErrThingAttached means that the thing has certificates.
	ErrThingAttached = errors.New("is still attached to one or more principals")

	// ErrCertificateInvalid means that a certificate does not parse, or is not
	// signed by the authority named with it.
	ErrCertificateInvalid = errors.New("is not a valid certificate")
	// ErrCertificateExists means that the certificate is registered already.
	ErrCertificateExists = errors.New("is already registered")
	// ErrCertificateElsewhere means that another partition has the certificate.
	ErrCertificateElsewhere = errors.New("cannot be registered here, a fingerprint belongs to one account and Region only")
	// ErrCertificateActive means that the certificate must be deactivated first.
	ErrCertificateActive = errors.New("must be deactivated first")
	// ErrCertificateRevoked means that REVOKED cannot be left.
	ErrCertificateRevoked = errors.New("is revoked, which is final")
	// ErrCertificateHasThings means that things must be detached first.
	ErrCertificateHasThings = errors.New("is attached to things")
	// ErrCertificateHasPolicies means that policies must be detached first.
	ErrCertificateHasPolicies = errors.New("has policies")

	// ErrPolicyExists means that the name is taken.
	ErrPolicyExists = errors.New("already exists")
	// ErrPolicyAttached means that the policy must be detached first.
	ErrPolicyAttached = errors.New("is attached to one or more principals")
	// ErrPolicyHasVersions means that versions must be deleted first.
	ErrPolicyHasVersions = errors.New("has versions beside the default one")
	// ErrVersionLimit means that the policy has MaxPolicyVersions versions.
	ErrVersionLimit = fmt.Errorf("has %d versions, which is the most; delete one", MaxPolicyVersions)
	// ErrVersionIsDefault means that the version acts.
	ErrVersionIsDefault = errors.New("is the default version")
	// ErrPolicyLimit means that the certificate has MaxPolicies policies.
	ErrPolicyLimit = fmt.Errorf("has %d policies, which is the most; detach one", MaxPolicies)
)

// Refusal is one of the reasons above with what it is about.
type Refusal struct {
	Reason error
	// Name is the thing's or the policy's name or the certificate's id, ARN its
	// ARN.
	Name, ARN string
}

// Error names the subject and the reason.
func (r *Refusal) Error() string { return r.ARN + " " + r.Reason.Error() }

// Unwrap is the reason.
func (r *Refusal) Unwrap() error { return r.Reason }

// InvalidError says what is wrong with an argument, to the user who gave it.
type InvalidError struct{ Text string }

// Error is the text.
func (e *InvalidError) Error() string { return e.Text }

func invalid(format string, args ...any) error {
	return &InvalidError{Text: fmt.Sprintf(format, args...)}
}
