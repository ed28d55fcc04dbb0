package fescue

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/identity"
)

// AccessKeys keep the access keys that callers sign with.
type AccessKeys interface {
	List(ctx context.Context) ([]identity.AccessKey, error)
	Check(row identity.AccessKey) error
	Issue(ctx context.Context, account, name string, grant identity.Grant) (id, secret string, err error)
	Withdraw(ctx context.Context, account, id string) error
}

// AccessKey is an access key without its secret.
type AccessKey struct {
	AccessKeyId string
	Name        string
	Access      string
	// Limit is what the key is limited to, in words; empty for nothing.
	Limit     string `json:",omitempty"`
	CreatedAt string
	RevokedAt string `json:",omitempty"`
	// Changed is set for a key whose row in the database was changed outside Fescue: it is
	// refused.
	Changed bool `json:",omitempty"`
}

// AccessKeyList is the answer of ListAccessKeys.
type AccessKeyList struct{ AccessKeys []AccessKey }

// AccessKeyRequest is the body of CreateAccessKey.
type AccessKeyRequest struct {
	// Name is what the key is for, in at most 128 letters.
	Name string
	// Access is admin, deployer or reader.
	Access string
	// Groups, as tag=value, Things, Functions, Secrets and Buckets, patterns of names, are
	// what the key is limited to; without any it is not.
	Groups    string
	Things    []string
	Functions []string
	Secrets   []string
	Buckets   []string
}

// NewAccessKey is the answer of CreateAccessKey.
type NewAccessKey struct {
	AccessKeyId  string
	AccessKeyArn string
	// SecretAccessKey is shown here and never again.
	SecretAccessKey string
}

// accessKeyARN names a key in records and policies.
func accessKeyARN(p fescue.Partition, id string) string {
	return fescue.ARN{AWS: p.AWS, Service: "iam", Account: p.Account, Resource: "access-key/" + id}.String()
}

func onAccessKey(r *restjson.Request) string {
	return accessKeyARN(r.Partition, r.Label("AccessKeyId"))
}

func (a *API) listAccessKeys(ctx context.Context, r *restjson.Request, _ nothing) (AccessKeyList, error) {
	out := AccessKeyList{AccessKeys: []AccessKey{}}
	all, err := a.o.AccessKeys.List(ctx)
	for _, k := range all {
		if k.Account != r.Partition.Account {
			continue
		}
		out.AccessKeys = append(out.AccessKeys, AccessKey{
			k.ID, k.Name, k.Access, k.Limit.String(), timestamp(k.CreatedAt), timestamp(k.RevokedAt), a.o.AccessKeys.Check(k) != nil,
		})
	}
	return out, err
}

// lasting refuses temporary keys: what they make would outlive them.
func lasting(r *restjson.Request) error {
	if identity.IsSession(r.KeyID) {
		return refuse(http.StatusForbidden, "AccessDeniedException", "Cannot call %s with temporary credentials: sign with an access key.", r.Operation)
	}
	return nil
}

// maxKeyName is how many letters the name of a key may have.
const maxKeyName = 128

func (a *API) createAccessKey(ctx context.Context, r *restjson.Request, in AccessKeyRequest) (out NewAccessKey, err error) {
	if err := lasting(r); err != nil {
		return out, err
	}
	if r.Caller.Person != "" {
		return out, refuse(http.StatusForbidden, "AccessDeniedException",
			"Cannot call %s as %s, who signed in for a while: what is made would last. Use an access key that lasts, or fescue keys create on the server's data folder.", r.Operation, r.Caller.Person)
	}
	if in.Name != strings.TrimSpace(in.Name) || in.Name == "" || utf8.RuneCountInString(in.Name) > maxKeyName || strings.ContainsFunc(in.Name, unicode.IsControl) {
		return out, refuse(http.StatusBadRequest, badRequest, "Name must have 1 to %d letters, and say what the key is for.", maxKeyName)
	}
	out.AccessKeyId, out.SecretAccessKey, err = a.o.AccessKeys.Issue(ctx, r.Partition.Account, in.Name, identity.Grant{
		Access: in.Access, Limit: identity.Limit{GroupTag: in.Groups, Things: in.Things, Functions: in.Functions, Secrets: in.Secrets, Buckets: in.Buckets},
	})
	if errors.Is(err, identity.ErrForm) {
		return out, refuse(http.StatusBadRequest, badRequest, "%v.", err)
	}
	out.AccessKeyArn = accessKeyARN(r.Partition, out.AccessKeyId)
	return out, err
}

func (a *API) deleteAccessKey(ctx context.Context, r *restjson.Request, _ nothing) (out nothing, err error) {
	if err := lasting(r); err != nil {
		return out, err
	}
	id := r.Label("AccessKeyId")
	return out, notFoundAs(a.o.AccessKeys.Withdraw(ctx, r.Partition.Account, id),
		refuse(http.StatusNotFound, resourceNotFound, "There is no access key '%.128s', or it was revoked.", id))
}
