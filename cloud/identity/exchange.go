package identity

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/policy"
)

// greengrassService is what assumes the roles of groups: their trust policies name it.
const greengrassService = "greengrass.amazonaws.com"

// Exchange gives cores temporary keys for the roles of their groups: the control
// plane's half of the token exchange.
type Exchange struct {
	Keys  *Keys
	Roles *Roles
	// GroupRoles and Cores return the role of a group, and which group deploys a core.
	GroupRoles interface {
		AssociatedRole(ctx context.Context, p fescue.Partition, groupID string) (roleARN string, at time.Time, err error)
	}
	Cores interface {
		CoreOwner(ctx context.Context, p fescue.Partition, thing string) (groupID string, err error)
	}
}

// ErrRoleRefused means that a group's role is not one that cores may have keys for.
var ErrRoleRefused = errors.New("the group's role cannot be assumed")

// errNoGroupRole has the original's words for a group without a role.
var errNoGroupRole = fescue.Refuse(fescue.ErrNotFound, "You need to attach an IAM role to this deployment group.")

// Credentials makes a temporary key for the role of the group that deploys a core,
// asked for by a certificate of the core. It may do what the role's policies allow,
// short of what groupCeiling denies. The error is fescue.ErrNotFound for a core that
// the group does not deploy and for a group without a role, and ErrRoleRefused.
func (x Exchange) Credentials(ctx context.Context, p Principal, thing, groupID string) (Session, error) {
	owner, err := x.Cores.CoreOwner(ctx, p.Partition, thing)
	if err != nil {
		return Session{}, err
	}
	if owner != groupID {
		return Session{}, fmt.Errorf("group %s does not deploy core %s: %w", groupID, thing, fescue.ErrNotFound)
	}
	arn, _, err := x.GroupRoles.AssociatedRole(ctx, p.Partition, groupID)
	if errors.Is(err, fescue.ErrNotFound) {
		return Session{}, errNoGroupRole
	}
	if err != nil {
		return Session{}, err
	}
	role, err := x.Roles.ForService(ctx, p.Partition, arn, greengrassService)
	if err != nil {
		return Session{}, err
	}
	return x.Keys.startSession(ctx, SessionKey{Parent: p.Certificate.ID, Identity: "assumed-role/" + role.Name + "/" + groupID, Role: role.Name}, min(role.MaxSession, defaultMaxSession))
}

// ForService is the role of an ARN, if a service may assume it; else the error is
// ErrRoleRefused and says why not.
func (s *Roles) ForService(ctx context.Context, p fescue.Partition, arn, service string) (IAMRole, error) {
	role, err := s.store.IAMRole(ctx, p.Account, arn[strings.LastIndexByte(arn, '/')+1:])
	if errors.Is(err, fescue.ErrNotFound) || err == nil && p.RoleARN(role.Path, role.Name) != arn {
		return role, fescue.Refuse(ErrRoleRefused, "The role %s does not exist here: make it with iam create-role.", arn)
	}
	if err != nil {
		return role, err
	}
	trust, err := policy.ParseTrust(role.Trust)
	if err != nil {
		return role, fmt.Errorf("trust policy of role %s: %w", arn, err)
	}
	if !trust.Allows(service, "", "sts:AssumeRole") {
		return role, fescue.Refuse(ErrRoleRefused, "The trust policy of the role %s does not let %s assume it.", arn, service)
	}
	return role, nil
}

// groupCeiling is what no group's role gives, whatever its policies say: a key that
// may deploy but not delete, manage access or run the server gets no further by way
// of a function. Values of secrets and what lies in buckets are a role's to give.
var groupCeiling = sync.OnceValue(func() policy.Set {
	d, err := policy.Parse(`{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"*","Resource":"*"},
		{"Effect":"Deny","Action":["iam:*","fescue:*","sts:AssumeRole","greengrass:Delete*","greengrass:BatchDelete*","greengrass:AssociateRole*","lambda:Delete*",
			"iot:DeleteCertificate","iot:DeletePolicy*","iot:DeleteThing","iot:DeleteThingType","iot:DeleteRoleAlias","iot:DeleteJob*","secretsmanager:DeleteSecret"],"Resource":"*"}]}`)
	if err != nil {
		panic("identity: the ceiling of groups' roles: " + err.Error())
	}
	return policy.Set{d}
})

// CertificateStore knows certificates. aws is the first part of the ARNs that it returns.
type CertificateStore interface {
	// Principal of a certificate that no partition has is fescue.ErrNotFound.
	Principal(ctx context.Context, aws, certificateID string) (fescue.Principal, error)
}

// readCore is who has a temporary key that a certificate asked for, before its role
// is looked at.
func (k *Keys) readCore(ctx context.Context, row SessionKey) (Signer, error) {
	p, err := k.certificates.Principal(ctx, "", row.Parent)
	if errors.Is(err, fescue.ErrNotFound) {
		return Signer{}, ErrUnknownKey
	}
	if err != nil {
		return Signer{}, err
	}
	owner := Principal{Certificate: p.Certificate}
	if !owner.Usable(k.now()) {
		return Signer{}, ErrUnknownKey
	}
	return Signer{
		Key:    Key{Account: p.Partition.Account, Ends: p.Certificate.NotAfter},
		Caller: Caller{Name: "core", Holder: row.Parent, Access: "group's role", Policies: []policy.Set{groupCeiling()}},
	}, nil
}
