package registry

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/fescue-edge/fescue"
)

// RoleAlias is a name for a role whose credentials devices may ask for.
type RoleAlias struct {
	Name    string
	RoleARN string
	// Owner is the account that made it.
	Owner string
	// Lifetime is how long such credentials last, in whole seconds.
	Lifetime  time.Duration
	CreatedAt time.Time
	UpdatedAt time.Time
}

// RoleAliasStore keeps role aliases.
type RoleAliasStore interface {
	// CreateRoleAlias writes a role alias; a taken name is fescue.ErrExists.
	CreateRoleAlias(ctx context.Context, p fescue.Partition, r RoleAlias) error
	RoleAlias(ctx context.Context, p fescue.Partition, name string) (RoleAlias, error)
	// UpdateRoleAlias replaces the role, unless it is empty, and the lifetime,
	// unless it is 0.
	UpdateRoleAlias(ctx context.Context, p fescue.Partition, r RoleAlias) error
	DeleteRoleAlias(ctx context.Context, p fescue.Partition, name string) error
	// RoleAliases lists names; the order and the meaning of after are as for
	// Policies.
	RoleAliases(ctx context.Context, p fescue.Partition, after RoleAlias, ascending bool, limit int) ([]RoleAlias, error)
}

// The lifetime of credentials from a role alias (AWS IoT API model).
const (
	minCredentialLifetime     = 900 * time.Second
	maxCredentialLifetime     = 43200 * time.Second
	defaultCredentialLifetime = time.Hour
)

var (
	roleAliasName = regexp.MustCompile(`^[\w=,@-]{1,128}$`)
	roleResource  = regexp.MustCompile(`^role/[\x21-\x7e]{1,512}$`)
)

// CreateRoleAlias makes a role alias; a lifetime of 0 stands for an hour.
func (s *Service) CreateRoleAlias(ctx context.Context, p fescue.Partition, r RoleAlias) (RoleAlias, error) {
	if r.RoleARN == "" {
		return r, invalid("roleArn is missing")
	}
	if r.Lifetime == 0 {
		r.Lifetime = defaultCredentialLifetime
	}
	if err := checkRoleAlias(r); err != nil {
		return r, err
	}
	r.CreatedAt = s.now().UTC()
	r.UpdatedAt, r.Owner = r.CreatedAt, p.Account
	err := s.store.RoleAliases.CreateRoleAlias(ctx, p, r)
	return r, refuseAs(err, fescue.ErrExists, ErrRoleAliasExists, r.Name, p.RoleAliasARN(r.Name))
}

// RoleAlias reads a role alias.
func (s *Service) RoleAlias(ctx context.Context, p fescue.Partition, name string) (RoleAlias, error) {
	r, err := s.store.RoleAliases.RoleAlias(ctx, p, name)
	return r, refuseAs(err, fescue.ErrNotFound, ErrRoleAliasUnknown, name, p.RoleAliasARN(name))
}

// UpdateRoleAlias changes the role, unless it is empty, and the lifetime, unless it
// is 0.
func (s *Service) UpdateRoleAlias(ctx context.Context, p fescue.Partition, r RoleAlias) error {
	if err := checkRoleAlias(r); err != nil {
		return err
	}
	r.UpdatedAt = s.now().UTC()
	err := s.store.RoleAliases.UpdateRoleAlias(ctx, p, r)
	return refuseAs(err, fescue.ErrNotFound, ErrRoleAliasUnknown, r.Name, p.RoleAliasARN(r.Name))
}

// DeleteRoleAlias removes a role alias.
func (s *Service) DeleteRoleAlias(ctx context.Context, p fescue.Partition, name string) error {
	err := s.store.RoleAliases.DeleteRoleAlias(ctx, p, name)
	return refuseAs(err, fescue.ErrNotFound, ErrRoleAliasUnknown, name, p.RoleAliasARN(name))
}

// RoleAliases lists role aliases by time of creation.
func (s *Service) RoleAliases(ctx context.Context, p fescue.Partition, after RoleAlias, ascending bool, limit int) ([]RoleAlias, error) {
	return s.store.RoleAliases.RoleAliases(ctx, p, after, ascending, limit)
}

func checkRoleAlias(r RoleAlias) error {
	if !roleAliasName.MatchString(r.Name) {
		return invalid("role alias %.128q is not 1 to 128 characters of a-z, A-Z, 0-9 and _=,@-", r.Name)
	}
	if r.Lifetime != 0 && (r.Lifetime < minCredentialLifetime || r.Lifetime > maxCredentialLifetime) {
		return invalid("credentialDurationSeconds is not from %d to %d", minCredentialLifetime/time.Second, maxCredentialLifetime/time.Second)
	}
	if r.RoleARN == "" {
		return nil
	}
	arn, err := fescue.ParseARN(r.RoleARN)
	if err != nil || arn.Service != "iam" || !roleResource.MatchString(arn.Resource) {
		return invalid("roleArn %.256q is not the ARN of a role", r.RoleARN)
	}
	return nil
}

// Why the registry refuses role aliases.
var (
	// ErrRoleAliasExists means that the name is taken.
	ErrRoleAliasExists = errors.New("already exists")
	// ErrRoleAliasUnknown means that there is no such role alias.
	ErrRoleAliasUnknown = fmt.Errorf("role alias %w", fescue.ErrNotFound)
)
