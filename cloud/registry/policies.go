package registry

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"strconv"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/policy"
)

// Policy is an IoT policy with the version that acts.
type Policy struct {
	Name             string
	DefaultVersionID string
	CreatedAt        time.Time
	UpdatedAt        time.Time
	// Document is the acting version's text, exactly as it was sent.
	Document string
}

// PolicyVersion is one of at most five versions of an IoT policy.
type PolicyVersion struct {
	ID        string
	Document  string
	CreatedAt time.Time
	Default   bool
}

// Limits of policies (AWS General Reference, "AWS IoT Core endpoints and
// quotas").
const (
	// MaxPolicyVersions is how many versions a policy has at most.
	MaxPolicyVersions = 5
	// MaxPolicies is how many policies a certificate has at most.
	MaxPolicies = 10
)

var (
	policyName      = regexp.MustCompile(`^[\w+=,.@-]{1,128}$`)
	policyVersionID = regexp.MustCompile(`^[1-9][0-9]{0,17}$`)
)

// CreatePolicy makes a policy; the document is its version 1.
func (s *Service) CreatePolicy(ctx context.Context, p fescue.Partition, name, document string) (Policy, error) {
	if err := cmp.Or(checkPolicyName(name), checkDocument(document)); err != nil {
		return Policy{}, err
	}
	now := s.now().UTC()
	pol := Policy{Name: name, DefaultVersionID: "1", CreatedAt: now, UpdatedAt: now, Document: document}
	if err := s.store.Policies.CreatePolicy(ctx, p, pol); err != nil {
		return Policy{}, refuseAs(err, fescue.ErrExists, ErrPolicyExists, name, p.PolicyARN(name))
	}
	return pol, nil
}

// Policy reads a policy with the document that acts.
func (s *Service) Policy(ctx context.Context, p fescue.Partition, name string) (Policy, error) {
	if err := checkPolicyName(name); err != nil {
		return Policy{}, err
	}
	return s.store.Policies.Policy(ctx, p, name)
}

// Policies lists at most limit policies without their documents by time of
// creation, after the one whose CreatedAt and Name are given, or from the
// beginning when the name is empty.
func (s *Service) Policies(ctx context.Context, p fescue.Partition, after Policy, ascending bool, limit int) ([]Policy, error) {
	return s.store.Policies.Policies(ctx, p, after, ascending, limit)
}

// DeletePolicy removes a policy that is attached to nothing and has no version
// but its default one.
func (s *Service) DeletePolicy(ctx context.Context, p fescue.Partition, name string) error {
	if err := checkPolicyName(name); err != nil {
		return err
	}
	err := s.store.Policies.DeletePolicy(ctx, p, name)
	if !errors.Is(err, fescue.ErrInUse) {
		return err
	}
	// What is in the way only chooses the words.
	reason := ErrPolicyHasVersions
	targets, readErr := s.store.Policies.PolicyCertificates(ctx, p, name, fescue.Page{Limit: 1})
	if readErr != nil {
		return readErr
	}
	if len(targets) > 0 {
		reason = ErrPolicyAttached
	}
	return &Refusal{Reason: reason, Name: name, ARN: p.PolicyARN(name)}
}

// CreatePolicyVersion adds a version, which acts at once with makeDefault.
func (s *Service) CreatePolicyVersion(ctx context.Context, p fescue.Partition, name, document string, makeDefault bool) (PolicyVersion, error) {
	if err := cmp.Or(checkPolicyName(name), checkDocument(document)); err != nil {
		return PolicyVersion{}, err
	}
	v, certificates, err := s.store.Policies.AddPolicyVersion(ctx, p, name, document, makeDefault, MaxPolicyVersions, s.now().UTC())
	if err != nil {
		return PolicyVersion{}, refuseAs(err, fescue.ErrConflict, ErrVersionLimit, name, p.PolicyARN(name))
	}
	if makeDefault {
		s.notify(certificates...)
	}
	return v, nil
}

// PolicyVersion reads a version.
func (s *Service) PolicyVersion(ctx context.Context, p fescue.Partition, name, version string) (PolicyVersion, error) {
	number, err := parseVersion(name, version)
	if err != nil {
		return PolicyVersion{}, err
	}
	return s.store.Policies.PolicyVersion(ctx, p, name, number)
}

// PolicyVersions lists all versions, newest first.
func (s *Service) PolicyVersions(ctx context.Context, p fescue.Partition, name string) ([]PolicyVersion, error) {
	if err := checkPolicyName(name); err != nil {
		return nil, err
	}
	return s.store.Policies.PolicyVersions(ctx, p, name)
}

// SetDefaultPolicyVersion makes a version act.
func (s *Service) SetDefaultPolicyVersion(ctx context.Context, p fescue.Partition, name, version string) error {
	number, err := parseVersion(name, version)
	if err != nil {
		return err
	}
	certificates, err := s.store.Policies.SetDefaultPolicyVersion(ctx, p, name, number, s.now().UTC())
	if err != nil {
		return err
	}
	s.notify(certificates...)
	return nil
}

// DeletePolicyVersion removes a version that is not the default one.
func (s *Service) DeletePolicyVersion(ctx context.Context, p fescue.Partition, name, version string) error {
	number, err := parseVersion(name, version)
	if err != nil {
		return err
	}
	err = s.store.Policies.DeletePolicyVersion(ctx, p, name, number)
	return refuseAs(err, fescue.ErrConflict, ErrVersionIsDefault, name, p.PolicyARN(name))
}

// AttachPolicy attaches a policy to a certificate; again is a success.
func (s *Service) AttachPolicy(ctx context.Context, p fescue.Partition, name, certificateID string) error {
	if err := cmp.Or(checkPolicyName(name), checkCertificateID(certificateID)); err != nil {
		return err
	}
	if err := s.store.Policies.AttachPolicy(ctx, p, name, certificateID, MaxPolicies); err != nil {
		return refuseAs(err, fescue.ErrConflict, ErrPolicyLimit, certificateID, p.CertificateARN(certificateID))
	}
	s.notify(certificateID)
	return nil
}

// DetachPolicy undoes AttachPolicy; again is a success.
func (s *Service) DetachPolicy(ctx context.Context, p fescue.Partition, name, certificateID string) error {
	if err := cmp.Or(checkPolicyName(name), checkCertificateID(certificateID)); err != nil {
		return err
	}
	if err := s.store.Policies.DetachPolicy(ctx, p, name, certificateID); err != nil {
		return err
	}
	s.notify(certificateID)
	return nil
}

// CertificatePolicies lists the names of the policies attached to a certificate.
func (s *Service) CertificatePolicies(ctx context.Context, p fescue.Partition, certificateID string, page fescue.Page) ([]string, error) {
	if _, err := s.Certificate(ctx, p, certificateID); err != nil {
		return nil, err
	}
	return s.store.Policies.CertificatePolicies(ctx, p, certificateID, page)
}

// PolicyCertificates lists the ids of the certificates a policy is attached to.
func (s *Service) PolicyCertificates(ctx context.Context, p fescue.Partition, name string, page fescue.Page) ([]string, error) {
	if _, err := s.Policy(ctx, p, name); err != nil {
		return nil, err
	}
	return s.store.Policies.PolicyCertificates(ctx, p, name, page)
}

func checkPolicyName(name string) error {
	if !policyName.MatchString(name) {
		return invalid("policy name %.128q is not 1 to 128 characters of a-z, A-Z, 0-9 and _+=,.@-", name)
	}
	return nil
}

func parseVersion(name, version string) (int64, error) {
	if err := checkPolicyName(name); err != nil {
		return 0, err
	}
	number, err := strconv.ParseInt(version, 10, 64)
	if err != nil || !policyVersionID.MatchString(version) {
		return 0, invalid("policy version %.20q is not a number from 1 on", version)
	}
	return number, nil
}

// SizeError says that a policy document has too many characters.
type SizeError struct{ Size int }

// Error names the size and the limit.
func (e *SizeError) Error() string {
	return "the policy document has " + strconv.Itoa(e.Size) + " characters beside whitespace, at most " +
		strconv.Itoa(policy.MaxIoTDocument) + " are allowed; split it into several policies"
}

func checkDocument(document string) error {
	if _, err := policy.Parse(document); err != nil {
		return err
	}
	if n := policy.Size(document); n > policy.MaxIoTDocument {
		return &SizeError{Size: n}
	}
	return nil
}
