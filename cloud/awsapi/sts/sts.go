// Package sts speaks the one operation of AWS STS that scripts for Greengrass
// call: GetCallerIdentity, which tells them their account. It gives out no
// credentials.
package sts

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"log/slog"
	"strings"

	"github.com/fescue-edge/fescue/cloud/awsapi/query"
)

// API answers the requests that are signed for sts.
type API struct{ query.API }

// New makes an API.
func New(logger *slog.Logger) *API {
	a := &API{query.API{
		Namespace: "https://sts.amazonaws.com/doc/2011-06-15/", Version: "2011-06-15", Logger: logger,
	}}
	a.Register([]query.Operation{{Name: "GetCallerIdentity", Handle: a.getCallerIdentity}})
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
