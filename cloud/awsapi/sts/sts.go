// Package sts speaks the operations of AWS STS that scripts for Greengrass call:
// GetCallerIdentity, which returns their account, and those that give out
// temporary keys.
package sts

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"log/slog"
	"strings"

	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/query"
)

// API answers the requests that are signed for sts.
type API struct {
	query.API
	sessions Sessions
	roles    Roles
}

// New makes an API.
func New(sessions Sessions, roles Roles, logger *slog.Logger) *API {
	a := &API{sessions: sessions, roles: roles}
	a.API = query.API{
		Namespace: "https://sts.amazonaws.com/doc/2011-06-15/", Version: "2011-06-15",
		Failing:  awsapi.Failing{Internal: query.Internal, Logger: logger},
		Resource: func(r *query.Request) string { return r.Param("RoleArn") },
	}
	a.Register([]query.Operation{
		{Name: "AssumeRole", Handle: a.assumeRole},
		{Name: "GetCallerIdentity", Handle: a.getCallerIdentity},
		{Name: "GetSessionToken", Handle: a.getSessionToken},
	})
	return a
}

func (a *API) getCallerIdentity(_ context.Context, r *query.Request) (any, error) {
	return struct {
		Arn     string
		UserID  string `xml:"UserId"`
		Account string
	}{r.Caller.ARN(r.Partition.AWS, r.Partition.Account), userID(r.Partition.Account, r.Caller.Identity), r.Partition.Account}, nil
}

// userID is made from the identity, so that it stays the same: 21 characters that
// start as the ids of IAM users do.
func userID(account, identity string) string {
	sum := sha256.Sum256([]byte(account + "/" + strings.TrimPrefix(identity, "user/")))
	return "AIDA" + base32.StdEncoding.EncodeToString(sum[:])[:17]
}
