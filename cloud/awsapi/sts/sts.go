// Package sts speaks the one operation of AWS STS that scripts for Greengrass
// call: GetCallerIdentity, which tells them their account. It gives out no
// credentials.
package sts

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"log/slog"
	"regexp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/query"
)

// Keys knows what access keys are called.
type Keys interface {
	// KeyName is the name that an operator gave to a key; an unknown key is
	// fescue.ErrNotFound.
	KeyName(ctx context.Context, keyID string) (string, error)
}

// API answers the requests that are signed for sts.
type API struct {
	query.API
	keys Keys
}

// New makes an API. Without keys, callers are called by their key's id.
func New(keys Keys, logger *slog.Logger) *API {
	a := &API{keys: keys}
	a.API = query.API{
		Namespace: "https://sts.amazonaws.com/doc/2011-06-15/", Version: "2011-06-15", Logger: logger,
	}
	a.Register([]query.Operation{{Name: "GetCallerIdentity", Handle: a.getCallerIdentity}})
	return a
}

// userPattern is what IAM takes as a user's name (IAM API model).
var userPattern = regexp.MustCompile(`^[a-zA-Z0-9_+=,.@-]{1,64}$`)

func (a *API) getCallerIdentity(ctx context.Context, r *query.Request) (any, error) {
	user := r.KeyID
	if a.keys != nil {
		name, err := a.keys.KeyName(ctx, r.KeyID)
		switch {
		case err == nil && userPattern.MatchString(name):
			user = name
		case err != nil && !errors.Is(err, fescue.ErrNotFound):
			return nil, err
		}
	}
	return struct {
		Arn     string
		UserID  string `xml:"UserId"`
		Account string
	}{"arn:" + r.Partition.AWS + ":iam::" + r.Partition.Account + ":user/" + user, userID(r.Partition.Account, user), r.Partition.Account}, nil
}

// userID is made from the name, so that it stays the same: 21 characters that
// start as the ids of IAM users do.
func userID(account, user string) string {
	sum := sha256.Sum256([]byte(account + "/" + user))
	return "AIDA" + base32.StdEncoding.EncodeToString(sum[:])[:17]
}
