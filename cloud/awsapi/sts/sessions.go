package sts

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/query"
	"github.com/fescue-edge/fescue/cloud/identity"
)

// Sessions gives out temporary keys.
type Sessions interface {
	StartSession(ctx context.Context, signer, identity, role string, life time.Duration) (identity.Session, error)
}

// Roles knows who may assume a role.
type Roles interface {
	// Assume of a role that is not there, or not for the principal, is
	// fescue.ErrNotFound.
	Assume(ctx context.Context, account, name, principalARN string) (identity.IAMRole, error)
}

// credentials is a temporary key as the API shows it.
type credentials struct {
	AccessKeyID     string `xml:"AccessKeyId"`
	SecretAccessKey string
	SessionToken    string
	Expiration      string
}

func show(s identity.Session) credentials {
	return credentials{s.ID, s.Secret, s.Token, s.ExpiresAt.UTC().Format("2006-01-02T15:04:05Z")}
}

// Lifetimes (AWS STS API reference).
const (
	shortestLife       = 15 * time.Minute
	defaultRoleLife    = time.Hour
	longestSessionLife = 36 * time.Hour
	defaultSessionLife = 12 * time.Hour
)

func invalid(format string, args ...any) error {
	return &awsapi.Error{Status: http.StatusBadRequest, Code: "ValidationError", Message: fmt.Sprintf(format, args...)}
}

// life reads DurationSeconds.
func life(r *query.Request, otherwise, longest time.Duration) (time.Duration, error) {
	text := r.Param("DurationSeconds")
	if text == "" {
		return min(otherwise, longest), nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < int(shortestLife/time.Second) || n > int(longest/time.Second) {
		return 0, invalid("The requested DurationSeconds %.32q is not a number from %d to %d, the longest that is allowed here.", text, int(shortestLife/time.Second), int(longest/time.Second))
	}
	return time.Duration(n) * time.Second, nil
}

// unserved are parameters that would narrow what a session may do: to ignore one
// would give more than was asked for.
func unserved(r *query.Request, names ...string) error {
	for name := range r.Params {
		for _, n := range names {
			if name == n || strings.HasPrefix(name, n+".") {
				return invalid("The parameter %s is not served by Fescue. Leave it out, or limit the role's own policies.", n)
			}
		}
	}
	return nil
}

func (a *API) getSessionToken(ctx context.Context, r *query.Request) (any, error) {
	if identity.IsSession(r.KeyID) {
		return nil, &awsapi.Error{Status: http.StatusForbidden, Code: "AccessDenied", Message: "Cannot call GetSessionToken with session credentials"}
	}
	if err := unserved(r, "SerialNumber", "TokenCode"); err != nil {
		return nil, err
	}
	d, err := life(r, defaultSessionLife, longestSessionLife)
	if err != nil {
		return nil, err
	}
	s, err := a.sessions.StartSession(ctx, r.KeyID, "", "", d)
	if err != nil {
		return nil, err
	}
	return struct{ Credentials credentials }{show(s)}, nil
}

var sessionName = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)

func (a *API) assumeRole(ctx context.Context, r *query.Request) (any, error) {
	if err := unserved(r, "Policy", "PolicyArns", "SerialNumber", "TokenCode", "SourceIdentity"); err != nil {
		return nil, err
	}
	name := r.Param("RoleSessionName")
	if !sessionName.MatchString(name) {
		return nil, invalid("RoleSessionName %.64q must have 2 to 64 characters of [A-Za-z0-9_+=,.@-].", name)
	}
	text := r.Param("RoleArn")
	arn, err := fescue.ParseARN(text)
	path, ok := strings.CutPrefix(arn.Resource, "role/")
	if err != nil || !ok || arn.Service != "iam" {
		return nil, invalid("%.256q is invalid: RoleArn must be the ARN of a role.", text)
	}
	refused := &awsapi.Error{Status: http.StatusForbidden, Code: "AccessDenied", Message: fmt.Sprintf(
		"User: %s is not authorized to perform: sts:AssumeRole on resource: %s", r.Caller.ARN(r.Partition.AWS, r.Partition.Account), text)}
	if arn.Account != r.Partition.Account {
		return nil, refused
	}
	role, err := a.roles.Assume(ctx, arn.Account, path[strings.LastIndexByte(path, '/')+1:], r.Caller.ARN(r.Partition.AWS, r.Partition.Account))
	if errors.Is(err, fescue.ErrNotFound) || err == nil && r.Partition.RoleARN(role.Path, role.Name) != text {
		return nil, refused
	}
	if err != nil {
		return nil, err
	}
	d, err := life(r, defaultRoleLife, role.MaxSession)
	if err != nil {
		return nil, err
	}
	who := "assumed-role/" + role.Name + "/" + name
	s, err := a.sessions.StartSession(ctx, r.KeyID, who, role.Name, d)
	if err != nil {
		return nil, err
	}
	type user struct {
		AssumedRoleID string `xml:"AssumedRoleId"`
		Arn           string
	}
	return struct {
		Credentials     credentials
		AssumedRoleUser user
	}{show(s), user{role.ID + ":" + name, identity.Caller{Identity: who}.ARN(r.Partition.AWS, r.Partition.Account)}}, nil
}
