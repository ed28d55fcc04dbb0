package greengrass

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/groupca"
)

func (a *API) authorityOperations() []restjson.Operation {
	const (
		base   = "/greengrass/groups/{GroupId}/certificateauthorities"
		expiry = base + "/configuration/expiry"
	)
	ops := []restjson.Operation{
		{Name: "CreateGroupCertificateAuthority", Method: http.MethodPost, Path: base, Handle: a.createAuthority},
		{Name: "GetGroupCertificateAuthority", Method: http.MethodGet, Path: base + "/{CertificateAuthorityId}", Handle: a.getAuthority},
		{Name: "ListGroupCertificateAuthorities", Method: http.MethodGet, Path: base, Handle: a.listAuthorities},
		{Name: "GetGroupCertificateConfiguration", Method: http.MethodGet, Path: expiry, Handle: a.getCertificateConfiguration},
		{Name: "UpdateGroupCertificateConfiguration", Method: http.MethodPut, Path: expiry, Handle: a.updateCertificateConfiguration},
	}
	for i := range ops {
		ops[i].Handle = ofGroup(ops[i].Handle)
	}
	return ops
}

// ofGroup answers for a group that is not there.
func ofGroup(handle restjson.Handler) restjson.Handler {
	missing := unknown(kindTexts[fescue.GroupKind.Segment].other)
	return func(ctx context.Context, r *restjson.Request) (any, error) {
		if !fescue.ValidID(r.Label("GroupId")) {
			return nil, missing
		}
		answer, err := handle(ctx, r)
		return answer, notFoundAs(err, missing)
	}
}

func authorityARN(r *restjson.Request, id string) string {
	return r.Partition.DefinitionARN(fescue.GroupKind, r.Label("GroupId")) + "/certificateauthorities/" + id
}

func (a *API) createAuthority(ctx context.Context, r *restjson.Request) (any, error) {
	t, err := token(r)
	if err != nil {
		return nil, err
	}
	id, err := a.authorities.Create(ctx, r.Partition, r.Label("GroupId"), t)
	if err != nil {
		return nil, err
	}
	return struct{ GroupCertificateAuthorityArn string }{authorityARN(r, id)}, nil
}

func (a *API) getAuthority(ctx context.Context, r *restjson.Request) (any, error) {
	id := r.Label("CertificateAuthorityId")
	list, err := a.authorities.Authorities(ctx, r.Partition, r.Label("GroupId"))
	if err != nil {
		return nil, err
	}
	for _, authority := range list {
		if authority.ID == id {
			return struct{ GroupCertificateAuthorityArn, GroupCertificateAuthorityId, PemEncodedCertificate string }{
				authorityARN(r, id), id, authority.PEM,
			}, nil
		}
	}
	return nil, unknown("That group certificate authority does not exist.")
}

func (a *API) listAuthorities(ctx context.Context, r *restjson.Request) (any, error) {
	list, err := a.authorities.Authorities(ctx, r.Partition, r.Label("GroupId"))
	if err != nil {
		return nil, err
	}
	type item struct{ GroupCertificateAuthorityArn, GroupCertificateAuthorityId string }
	items := make([]item, 0, len(list))
	for _, authority := range list {
		items = append(items, item{authorityARN(r, authority.ID), authority.ID})
	}
	return struct{ GroupCertificateAuthorities []item }{items}, nil
}

// certificateConfiguration is GroupCertificateConfiguration of the API model. The
// authority's expiry is a point in time, as the captured samples have it, though
// the model calls it a remaining time.
type certificateConfiguration struct {
	CertificateAuthorityExpiryInMilliseconds milliseconds
	CertificateExpiryInMilliseconds          milliseconds
	GroupId                                  string
}

func configured(r *restjson.Request, c groupca.Configuration) certificateConfiguration {
	return certificateConfiguration{
		milliseconds(c.AuthorityExpiry.UnixMilli()), milliseconds(c.CertificateExpiry.Milliseconds()), r.Label("GroupId"),
	}
}

func (a *API) getCertificateConfiguration(ctx context.Context, r *restjson.Request) (any, error) {
	c, err := a.authorities.Configuration(ctx, r.Partition, r.Label("GroupId"))
	if err != nil {
		return nil, err
	}
	return configured(r, c), nil
}

func (a *API) updateCertificateConfiguration(ctx context.Context, r *restjson.Request) (any, error) {
	var in struct{ CertificateExpiryInMilliseconds *milliseconds }
	if err := restjson.Decode(r.Body, &in); err != nil {
		return nil, malformed(err.Error())
	}
	if in.CertificateExpiryInMilliseconds == nil {
		return nil, malformed("CertificateExpiryInMilliseconds is required")
	}
	ms := int64(*in.CertificateExpiryInMilliseconds)
	// Out of range is out of range also where a Duration would overflow.
	ms = min(max(ms, 0), groupca.MaxExpiry.Milliseconds()+1)
	c, err := a.authorities.Configure(ctx, r.Partition, r.Label("GroupId"), time.Duration(ms)*time.Millisecond)
	if errors.Is(err, groupca.ErrExpiry) {
		return nil, refuse(http.StatusBadRequest, badRequest, "CertificateExpiryInMilliseconds %d is not between %d (7 days) and %d (30 days).",
			*in.CertificateExpiryInMilliseconds, groupca.MinExpiry.Milliseconds(), groupca.MaxExpiry.Milliseconds())
	}
	if err != nil {
		return nil, err
	}
	return configured(r, c), nil
}

// milliseconds is a lifetime or a time as the group certificate configuration
// has it: text in answers, text or a number in requests. The model says text,
// captures have numbers, and the Go SDK refuses those.
type milliseconds int64

// MarshalJSON implements json.Marshaler.
func (m milliseconds) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, `"%d"`, int64(m)), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *milliseconds) UnmarshalJSON(data []byte) error {
	text := data
	if len(text) > 2 && text[0] == '"' {
		text = text[1 : len(text)-1]
	}
	var n int64
	if err := json.Unmarshal(text, &n); err != nil || string(data) == "null" {
		return &json.UnmarshalTypeError{Value: fmt.Sprintf("%.40s: it is a number of milliseconds", data)}
	}
	*m = milliseconds(n)
	return nil
}
