package identity

import (
	"context"
	"fmt"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/policy"
)

// Principal is who a certificate is: a core or a device. It is not changed once
// returned.
type Principal struct {
	Partition   fescue.Partition
	Certificate fescue.Certificate
	// Things are the names of the things that the certificate is attached to.
	Things []string
	// Policies are the acting documents of the attached policies.
	Policies policy.Set
}

// Usable reports whether the certificate may be used at a time: it is ACTIVE, and
// within its validity, both ends included. Nobody's may not.
func (p *Principal) Usable(now time.Time) bool {
	return p != nil && p.Certificate.Status == fescue.CertificateActive &&
		!now.Before(p.Certificate.NotBefore) && !now.After(p.Certificate.NotAfter)
}

// Registry knows certificates, and what is attached to them.
type Registry interface {
	// Principal of a certificate that no partition has is fescue.ErrNotFound.
	Principal(ctx context.Context, certificateID string) (fescue.Principal, error)
	// Principals is Principal for several certificates, by their ids. Those that no partition
	// has are left out.
	Principals(ctx context.Context, certificateIDs []string) (map[string]fescue.Principal, error)
}

// Principals finds the principal of a certificate, for everything that speaks to cores and
// devices.
type Principals struct {
	Registry Registry
	// Documents are shared by all whose principals have the same policies.
	Documents *policy.Documents
}

// Principal is who a certificate is, by its id, the lowercase hexadecimal SHA-256
// of the certificate. One that no partition has is fescue.ErrNotFound.
func (ps Principals) Principal(ctx context.Context, certificateID string) (Principal, error) {
	p, err := ps.Registry.Principal(ctx, certificateID)
	if err != nil {
		return Principal{}, err
	}
	return ps.parsed(certificateID, p)
}

// Answer is a principal, or why there is none.
type Answer struct {
	Principal Principal
	Err       error
}

// Principals is Principal for several certificates at once, in their order.
func (ps Principals) Principals(ctx context.Context, certificateIDs []string) ([]Answer, error) {
	found, err := ps.Registry.Principals(ctx, certificateIDs)
	if err != nil {
		return nil, err
	}
	answers := make([]Answer, len(certificateIDs))
	for i, id := range certificateIDs {
		p, ok := found[id]
		if !ok {
			answers[i].Err = fmt.Errorf("certificate %.64q %w", id, fescue.ErrNotFound)
			continue
		}
		answers[i].Principal, answers[i].Err = ps.parsed(id, p)
	}
	return answers, nil
}

// parsed is a principal with its documents parsed.
func (ps Principals) parsed(certificateID string, p fescue.Principal) (Principal, error) {
	set, err := ps.Documents.ParseAll(p.Policies)
	if err != nil {
		return Principal{}, fmt.Errorf("policies of certificate %s: %w", certificateID, err)
	}
	return Principal{Partition: p.Partition, Certificate: p.Certificate, Things: p.Things, Policies: set}, nil
}
