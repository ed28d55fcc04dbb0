package identity

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/policy"
)

// RoleStore keeps the roles and managed policies of AWS IAM.
type RoleStore interface {
	CreateIAMRole(ctx context.Context, account string, r IAMRole) error
	IAMRole(ctx context.Context, account, name string) (IAMRole, error)
	IAMRoles(ctx context.Context, account string, page fescue.Page) ([]IAMRole, error)
	SetIAMRoleTrust(ctx context.Context, account, name, trust string) error
	DeleteIAMRole(ctx context.Context, account, name string) error
	PutIAMRolePolicy(ctx context.Context, account, role, name, document string) error
	IAMRolePolicies(ctx context.Context, account, role string) (map[string]string, error)
	DeleteIAMRolePolicy(ctx context.Context, account, role, name string) error
	AttachIAMPolicy(ctx context.Context, account, role, policyARN string) error
	DetachIAMPolicy(ctx context.Context, account, role, policyARN string) error
	AttachedIAMPolicies(ctx context.Context, account, role string) ([]string, error)
	CreateIAMPolicy(ctx context.Context, account string, p IAMPolicy) error
	IAMPolicy(ctx context.Context, account, name string) (IAMPolicy, error)
	IAMPolicies(ctx context.Context, account string, page fescue.Page) ([]IAMPolicy, error)
	DeleteIAMPolicy(ctx context.Context, account, name, arn string) error
}

// Roles keeps the roles and managed policies of AWS IAM that scripts make before they
// deploy. Their documents are validated by package policy; they decide what a key
// that AssumeRole gave out may do, and nothing else. IAM is global: everything
// belongs to an account. What it refuses is a *fescue.Refusal of fescue.ErrNotFound,
// ErrExists or ErrInUse, of ErrInvalid or of policy.ErrMalformed.
type Roles struct {
	store RoleStore
	now   func() time.Time
}

// NewRoles makes the service.
func NewRoles(store RoleStore, now func() time.Time) *Roles { return &Roles{store, now} }

// ErrInvalid is a value that IAM does not take.
var ErrInvalid = errors.New("invalid value")

// as gives an error of the store its words; another one passes.
func as(err, kind error, format string, args ...any) error {
	if errors.Is(err, kind) {
		return fescue.Refuse(kind, format, args...)
	}
	return err
}

func noRole(err error, name string) error {
	return as(err, fescue.ErrNotFound, "The role with name %s cannot be found.", name)
}

var (
	roleName   = regexp.MustCompile(`^[\w+=,.@-]{1,64}$`)
	policyName = regexp.MustCompile(`^[\w+=,.@-]{1,128}$`)
	pathForm   = regexp.MustCompile(`^/([\x21-\x7e]{1,510}/)?$`)
	policyARN  = regexp.MustCompile(`^arn:aws(-cn|-us-gov)?:iam::([0-9]{12}|aws):policy/[\x21-\x7e]{1,1000}$`)
)

// Bounds and defaults (IAM user guide, "IAM and AWS STS quotas").
const (
	maxDescription    = 1000
	maxInline         = 10240
	maxManaged        = 6144
	maxTrust          = 4096
	maxTags           = 50
	defaultMaxSession = time.Hour
	longestMaxSession = 12 * time.Hour
)

func check(what, value string, form *regexp.Regexp) error {
	if !form.MatchString(value) {
		return fescue.Refuse(ErrInvalid, "The specified value for %s is invalid: %.128q must match %s.", what, value, form)
	}
	return nil
}

// checkDocument refuses what is no policy. One that only asks for conditions
// which are not evaluated here is kept: most are never evaluated.
func checkDocument(document string, most int) error {
	if policy.Size(document) > most {
		return fescue.Refuse(policy.ErrMalformed, "The policy has %d characters; at most %d are allowed.", policy.Size(document), most)
	}
	if _, err := policy.Parse(document); err != nil && !errors.Is(err, policy.ErrUnsupported) {
		return fescue.Refuse(policy.ErrMalformed, "%v.", err)
	}
	return nil
}

func checkTrust(document string) error {
	if policy.Size(document) > maxTrust {
		return fescue.Refuse(policy.ErrMalformed, "The trust policy has %d characters; at most %d are allowed.", policy.Size(document), maxTrust)
	}
	if _, err := policy.ParseTrust(document); err != nil {
		return fescue.Refuse(policy.ErrMalformed, "%v.", err)
	}
	return nil
}

func newID(prefix string) string { return prefix + rand.Text()[:17] }

// Create makes a role. An empty path is /, no duration an hour.
func (s *Roles) Create(ctx context.Context, account string, r IAMRole) (IAMRole, error) {
	if r.Path == "" {
		r.Path = "/"
	}
	if r.MaxSession == 0 {
		r.MaxSession = defaultMaxSession
	}
	if err := errors.Join(check("roleName", r.Name, roleName), check("path", r.Path, pathForm)); err != nil {
		return r, fescue.Refuse(ErrInvalid, "%v", err)
	}
	switch {
	case len(r.Description) > maxDescription:
		return r, fescue.Refuse(ErrInvalid, "The description has more than %d characters.", maxDescription)
	case r.MaxSession < time.Hour || r.MaxSession > longestMaxSession:
		return r, fescue.Refuse(ErrInvalid, "MaxSessionDuration must be 3600 to 43200.")
	case len(r.Tags) > maxTags:
		return r, fescue.Refuse(ErrInvalid, "A role has at most %d tags.", maxTags)
	}
	if err := checkTrust(r.Trust); err != nil {
		return r, err
	}
	r.ID, r.CreatedAt = newID("AROA"), s.now().UTC()
	return r, as(s.store.CreateIAMRole(ctx, account, r), fescue.ErrExists, "Role with name %s already exists.", r.Name)
}

// Role reads a role.
func (s *Roles) Role(ctx context.Context, account, name string) (IAMRole, error) {
	r, err := s.store.IAMRole(ctx, account, name)
	return r, noRole(err, name)
}

// Roles lists roles by name.
func (s *Roles) Roles(ctx context.Context, account string, page fescue.Page) ([]IAMRole, error) {
	return s.store.IAMRoles(ctx, account, page)
}

// SetTrust replaces who may assume a role.
func (s *Roles) SetTrust(ctx context.Context, account, name, trust string) error {
	if err := checkTrust(trust); err != nil {
		return err
	}
	return noRole(s.store.SetIAMRoleTrust(ctx, account, name, trust), name)
}

// Delete removes a role that has no policies.
func (s *Roles) Delete(ctx context.Context, account, name string) error {
	err := as(s.store.DeleteIAMRole(ctx, account, name), fescue.ErrInUse, "Cannot delete entity, must delete policies first. Role %s has inline or attached policies.", name)
	return noRole(err, name)
}

// PutPolicy writes a policy inside a role.
func (s *Roles) PutPolicy(ctx context.Context, account, role, name, document string) error {
	if err := check("policyName", name, policyName); err != nil {
		return err
	}
	if err := checkDocument(document, maxInline); err != nil {
		return err
	}
	return noRole(s.store.PutIAMRolePolicy(ctx, account, role, name, document), role)
}

// RolePolicies reads the policies inside a role, by name.
func (s *Roles) RolePolicies(ctx context.Context, account, role string) (map[string]string, error) {
	if _, err := s.Role(ctx, account, role); err != nil {
		return nil, err
	}
	return s.store.IAMRolePolicies(ctx, account, role)
}

// RolePolicy reads a policy inside a role.
func (s *Roles) RolePolicy(ctx context.Context, account, role, name string) (string, error) {
	policies, err := s.RolePolicies(ctx, account, role)
	if err != nil {
		return "", err
	}
	document, ok := policies[name]
	if !ok {
		return "", fescue.Refuse(fescue.ErrNotFound, "The role policy with name %s cannot be found.", name)
	}
	return document, nil
}

// DeletePolicy removes a policy inside a role.
func (s *Roles) DeletePolicy(ctx context.Context, account, role, name string) error {
	if _, err := s.Role(ctx, account, role); err != nil {
		return err
	}
	return as(s.store.DeleteIAMRolePolicy(ctx, account, role, name), fescue.ErrNotFound, "The role policy with name %s cannot be found.", name)
}

// Attach gives a role a managed policy, known here or not: scripts attach those
// of AWS.
func (s *Roles) Attach(ctx context.Context, account, role, arn string) error {
	if !policyARN.MatchString(arn) {
		return fescue.Refuse(ErrInvalid, "ARN %.256s is not valid.", arn)
	}
	return noRole(s.store.AttachIAMPolicy(ctx, account, role, arn), role)
}

// Detach takes a managed policy from a role.
func (s *Roles) Detach(ctx context.Context, account, role, arn string) error {
	if _, err := s.Role(ctx, account, role); err != nil {
		return err
	}
	return as(s.store.DetachIAMPolicy(ctx, account, role, arn), fescue.ErrNotFound, "Policy %s was not found.", arn)
}

// Attached lists the ARNs of a role's managed policies.
func (s *Roles) Attached(ctx context.Context, account, role string) ([]string, error) {
	if _, err := s.Role(ctx, account, role); err != nil {
		return nil, err
	}
	return s.store.AttachedIAMPolicies(ctx, account, role)
}

// CreatePolicy makes a managed policy.
func (s *Roles) CreatePolicy(ctx context.Context, account string, p IAMPolicy) (IAMPolicy, error) {
	if p.Path == "" {
		p.Path = "/"
	}
	if err := errors.Join(check("policyName", p.Name, policyName), check("path", p.Path, pathForm)); err != nil {
		return p, fescue.Refuse(ErrInvalid, "%v", err)
	}
	if len(p.Description) > maxDescription {
		return p, fescue.Refuse(ErrInvalid, "The description has more than %d characters.", maxDescription)
	}
	if err := checkDocument(p.Document, maxManaged); err != nil {
		return p, err
	}
	p.ID, p.CreatedAt = newID("ANPA"), s.now().UTC()
	return p, as(s.store.CreateIAMPolicy(ctx, account, p), fescue.ErrExists, "A policy called %s already exists. Duplicate names are not allowed.", p.Name)
}

// Policy reads the managed policy of an ARN.
func (s *Roles) Policy(ctx context.Context, in fescue.Partition, arn string) (IAMPolicy, error) {
	p, err := s.store.IAMPolicy(ctx, in.Account, arn[strings.LastIndexByte(arn, '/')+1:])
	if err == nil && in.ManagedPolicyARN(p.Path, p.Name) != arn {
		err = fescue.ErrNotFound
	}
	return p, as(err, fescue.ErrNotFound, "Policy %.1024s was not found.", arn)
}

// Policies lists managed policies by name.
func (s *Roles) Policies(ctx context.Context, account string, page fescue.Page) ([]IAMPolicy, error) {
	return s.store.IAMPolicies(ctx, account, page)
}

// RemovePolicy removes a managed policy that is attached to nothing.
func (s *Roles) RemovePolicy(ctx context.Context, in fescue.Partition, arn string) error {
	p, err := s.Policy(ctx, in, arn)
	if err != nil {
		return err
	}
	err = as(s.store.DeleteIAMPolicy(ctx, in.Account, p.Name, arn), fescue.ErrInUse, "Cannot delete a policy attached to entities.")
	return as(err, fescue.ErrNotFound, "Policy %s was not found.", arn)
}

// administrator is AWS's managed policy that allows everything, the one of AWS's
// whose content is known here.
const administrator = ":iam::aws:policy/AdministratorAccess"

// Documents are the documents that decide for a key of the role: its own
// policies and the managed ones that are known.
func (s *Roles) Documents(ctx context.Context, account, role string) ([]string, error) {
	inside, err := s.RolePolicies(ctx, account, role)
	if err != nil {
		return nil, err
	}
	attached, err := s.store.AttachedIAMPolicies(ctx, account, role)
	if err != nil {
		return nil, err
	}
	documents := slices.Collect(maps.Values(inside))
	for _, arn := range attached {
		if strings.HasSuffix(arn, administrator) {
			documents = append(documents, `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)
			continue
		}
		p, err := s.store.IAMPolicy(ctx, account, arn[strings.LastIndexByte(arn, '/')+1:])
		if err == nil && strings.HasSuffix(arn, ":"+account+":policy"+p.Path+p.Name) {
			documents = append(documents, p.Document)
		} else if err != nil && !errors.Is(err, fescue.ErrNotFound) {
			return nil, err
		}
	}
	return documents, nil
}

// Assume says whether the principal of the account may assume the role, and
// returns the role. Who may not learns no more than that: fescue.ErrNotFound.
func (s *Roles) Assume(ctx context.Context, account, name, principalARN string) (IAMRole, error) {
	r, err := s.store.IAMRole(ctx, account, name)
	if err != nil {
		return r, err
	}
	trust, err := policy.ParseTrust(r.Trust)
	if err != nil {
		return r, err
	}
	if !trust.Allows(principalARN, account, "sts:AssumeRole") {
		return r, fescue.ErrNotFound
	}
	return r, nil
}
