// Package iam speaks the part of the AWS IAM API (2010-05-08) that scripts for
// Greengrass call: roles, their policies, and managed policies. It has the table
// of operations, the shapes of answers and the table of errors. What the
// operations do is in package identity.
package iam

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/query"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/policy"
)

// API is the service.
type API struct {
	query.API
	roles *identity.Roles
}

// New makes the service.
func New(r *identity.Roles, logger *slog.Logger) *API {
	a := &API{roles: r}
	a.API = query.API{
		Namespace: "https://iam.amazonaws.com/doc/2010-05-08/", Version: "2010-05-08",
		Failing:  awsapi.Failing{Translate: translate, Internal: query.Internal, Logger: logger},
		Resource: resource,
	}
	a.Register([]query.Operation{
		{Name: "AttachRolePolicy", Handle: a.attach},
		{Name: "CreatePolicy", Handle: a.createPolicy},
		{Name: "CreateRole", Handle: a.createRole},
		{Name: "DeletePolicy", Handle: a.deletePolicy},
		{Name: "DeleteRole", Handle: a.deleteRole},
		{Name: "DeleteRolePolicy", Handle: a.deleteRolePolicy},
		{Name: "DetachRolePolicy", Handle: a.detach},
		{Name: "GetPolicy", Handle: a.getPolicy},
		{Name: "GetPolicyVersion", Handle: a.getPolicyVersion},
		{Name: "GetRole", Handle: a.getRole},
		{Name: "GetRolePolicy", Handle: a.getRolePolicy},
		{Name: "ListAttachedRolePolicies", Handle: a.listAttached},
		{Name: "ListPolicies", Handle: a.listPolicies},
		{Name: "ListRolePolicies", Handle: a.listRolePolicies},
		{Name: "ListRoles", Handle: a.listRoles},
		{Name: "PutRolePolicy", Handle: a.putRolePolicy},
		{Name: "UpdateAssumeRolePolicy", Handle: a.setTrust},
	})
	return a
}

// refusals are the codes of what the service refuses (IAM API reference).
var refusals = []struct {
	kind   error
	status int
	code   string
}{
	{policy.ErrMalformed, http.StatusBadRequest, "MalformedPolicyDocument"},
	{identity.ErrInvalid, http.StatusBadRequest, "ValidationError"},
	{fescue.ErrNotFound, http.StatusNotFound, "NoSuchEntity"},
	{fescue.ErrExists, http.StatusConflict, "EntityAlreadyExists"},
	{fescue.ErrInUse, http.StatusConflict, "DeleteConflict"},
}

func translate(err error) *awsapi.Error {
	var refusal *fescue.Refusal
	if !errors.As(err, &refusal) {
		return nil
	}
	for _, row := range refusals {
		if errors.Is(err, row.kind) {
			return &awsapi.Error{Status: row.status, Code: row.code, Message: refusal.Error()}
		}
	}
	return nil
}

// resource is the role or the policy that a request names. The path of a role is
// not in the request; the ARN is that of one without.
func resource(r *query.Request) string {
	switch {
	case r.Param("RoleName") != "":
		return r.Partition.RoleARN("/", r.Param("RoleName"))
	case r.Param("PolicyArn") != "":
		return r.Param("PolicyArn")
	case r.Param("PolicyName") != "":
		return r.Partition.ManagedPolicyARN("/", r.Param("PolicyName"))
	}
	return ""
}

// role is a role as the API shows it; its document is URL-encoded.
type role struct {
	Path                     string
	RoleName                 string
	RoleID                   string `xml:"RoleId"`
	Arn                      string
	CreateDate               string
	AssumeRolePolicyDocument string
	Description              string `xml:",omitempty"`
	MaxSessionDuration       int
	Tags                     []tag `xml:"Tags>member,omitempty"`
}

type tag struct{ Key, Value string }

func date(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// encoded is a document as answers have it (RFC 3986).
func encoded(document string) string {
	return strings.ReplaceAll(url.QueryEscape(document), "+", "%20")
}

func show(p fescue.Partition, r identity.IAMRole) role {
	shown := role{
		Path: r.Path, RoleName: r.Name, RoleID: r.ID, Arn: p.RoleARN(r.Path, r.Name), CreateDate: date(r.CreatedAt),
		AssumeRolePolicyDocument: encoded(r.Trust), Description: r.Description, MaxSessionDuration: int(r.MaxSession / time.Second),
	}
	for _, key := range slices.Sorted(maps.Keys(r.Tags)) {
		shown.Tags = append(shown.Tags, tag{key, r.Tags[key]})
	}
	return shown
}

func invalid(text string) error {
	return &awsapi.Error{Status: http.StatusBadRequest, Code: "ValidationError", Message: text}
}

func (a *API) createRole(ctx context.Context, r *query.Request) (any, error) {
	in := identity.IAMRole{
		Name: r.Param("RoleName"), Path: r.Param("Path"), Description: r.Param("Description"), Trust: r.Param("AssumeRolePolicyDocument"),
	}
	if text := r.Param("MaxSessionDuration"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 1<<20 {
			return nil, invalid("MaxSessionDuration must be 3600 to 43200.")
		}
		in.MaxSession = time.Duration(n) * time.Second
	}
	for i := 1; r.Params.Has("Tags.member." + strconv.Itoa(i) + ".Key"); i++ {
		if in.Tags == nil {
			in.Tags = make(map[string]string)
		}
		member := "Tags.member." + strconv.Itoa(i)
		in.Tags[r.Param(member+".Key")] = r.Param(member + ".Value")
	}
	made, err := a.roles.Create(ctx, r.Partition.Account, in)
	if err != nil {
		return nil, err
	}
	return struct{ Role role }{show(r.Partition, made)}, nil
}

func (a *API) getRole(ctx context.Context, r *query.Request) (any, error) {
	found, err := a.roles.Role(ctx, r.Partition.Account, r.Param("RoleName"))
	if err != nil {
		return nil, err
	}
	return struct{ Role role }{show(r.Partition, found)}, nil
}

func (a *API) setTrust(ctx context.Context, r *query.Request) (any, error) {
	return nil, a.roles.SetTrust(ctx, r.Partition.Account, r.Param("RoleName"), r.Param("PolicyDocument"))
}

func (a *API) deleteRole(ctx context.Context, r *query.Request) (any, error) {
	return nil, a.roles.Delete(ctx, r.Partition.Account, r.Param("RoleName"))
}

func (a *API) putRolePolicy(ctx context.Context, r *query.Request) (any, error) {
	return nil, a.roles.PutPolicy(ctx, r.Partition.Account, r.Param("RoleName"), r.Param("PolicyName"), r.Param("PolicyDocument"))
}

func (a *API) getRolePolicy(ctx context.Context, r *query.Request) (any, error) {
	document, err := a.roles.RolePolicy(ctx, r.Partition.Account, r.Param("RoleName"), r.Param("PolicyName"))
	if err != nil {
		return nil, err
	}
	return struct{ RoleName, PolicyName, PolicyDocument string }{r.Param("RoleName"), r.Param("PolicyName"), encoded(document)}, nil
}

func (a *API) deleteRolePolicy(ctx context.Context, r *query.Request) (any, error) {
	return nil, a.roles.DeletePolicy(ctx, r.Partition.Account, r.Param("RoleName"), r.Param("PolicyName"))
}

func (a *API) attach(ctx context.Context, r *query.Request) (any, error) {
	return nil, a.roles.Attach(ctx, r.Partition.Account, r.Param("RoleName"), r.Param("PolicyArn"))
}

func (a *API) detach(ctx context.Context, r *query.Request) (any, error) {
	return nil, a.roles.Detach(ctx, r.Partition.Account, r.Param("RoleName"), r.Param("PolicyArn"))
}

// managed is a managed policy as the API shows it.
type managed struct {
	PolicyName       string
	PolicyID         string `xml:"PolicyId"`
	Arn              string
	Path             string
	DefaultVersionID string `xml:"DefaultVersionId"`
	Description      string `xml:",omitempty"`
	IsAttachable     bool
	CreateDate       string
	UpdateDate       string
}

// onlyVersion is the version of every managed policy: further ones are not
// served.
const onlyVersion = "v1"

func showPolicy(in fescue.Partition, p identity.IAMPolicy) managed {
	return managed{
		PolicyName: p.Name, PolicyID: p.ID, Arn: in.ManagedPolicyARN(p.Path, p.Name), Path: p.Path, DefaultVersionID: onlyVersion,
		Description: p.Description, IsAttachable: true, CreateDate: date(p.CreatedAt), UpdateDate: date(p.CreatedAt),
	}
}

func (a *API) createPolicy(ctx context.Context, r *query.Request) (any, error) {
	p, err := a.roles.CreatePolicy(ctx, r.Partition.Account, identity.IAMPolicy{
		Name: r.Param("PolicyName"), Path: r.Param("Path"), Description: r.Param("Description"), Document: r.Param("PolicyDocument"),
	})
	if err != nil {
		return nil, err
	}
	return struct{ Policy managed }{showPolicy(r.Partition, p)}, nil
}

func (a *API) getPolicy(ctx context.Context, r *query.Request) (any, error) {
	p, err := a.roles.Policy(ctx, r.Partition, r.Param("PolicyArn"))
	if err != nil {
		return nil, err
	}
	return struct{ Policy managed }{showPolicy(r.Partition, p)}, nil
}

func (a *API) getPolicyVersion(ctx context.Context, r *query.Request) (any, error) {
	p, err := a.roles.Policy(ctx, r.Partition, r.Param("PolicyArn"))
	if err != nil {
		return nil, err
	}
	if v := r.Param("VersionId"); v != onlyVersion {
		return nil, &awsapi.Error{Status: http.StatusNotFound, Code: "NoSuchEntity", Message: "Policy version " + v + " does not exist; every policy has the one version v1 here."}
	}
	type version struct {
		Document         string
		VersionID        string `xml:"VersionId"`
		IsDefaultVersion bool
		CreateDate       string
	}
	return struct{ PolicyVersion version }{version{encoded(p.Document), onlyVersion, true, date(p.CreatedAt)}}, nil
}

func (a *API) deletePolicy(ctx context.Context, r *query.Request) (any, error) {
	return nil, a.roles.RemovePolicy(ctx, r.Partition, r.Param("PolicyArn"))
}
