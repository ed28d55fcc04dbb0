package fescue

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/registry"
)

// Certificates lists certificates of things by when they end.
type Certificates interface {
	// Ending are the ACTIVE certificates that end before a time, those that end first
	// first; the list begins after one whose NotAfter and ID are given.
	Ending(ctx context.Context, p fescue.Partition, before time.Time, after fescue.Certificate, limit int) ([]registry.Ending, error)
}

// CertificateEnd is when a certificate ends.
type CertificateEnd struct {
	CertificateId  string
	CertificateArn string
	// ThingName is a thing that the certificate is attached to, empty where it is
	// attached to none.
	ThingName string `json:",omitempty"`
	EndsAt    string
}

// ServerCertificate is one that the server itself uses: "authority", "device" or "api".
type ServerCertificate struct {
	Name   string
	EndsAt string
}

// CertificateEnds is the answer of ListCertificatesByEnd.
type CertificateEnds struct {
	Certificates []CertificateEnd
	// Server are those that the server uses, whenever they end: on the first page, and
	// for its own account.
	Server    []ServerCertificate `json:",omitempty"`
	NextToken string              `json:",omitempty"`
}

var certificateID = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (a *API) listCertificatesByEnd(ctx context.Context, r *restjson.Request, _ nothing) (out CertificateEnds, err error) {
	before, err := parseTime(r, "Before")
	if err != nil {
		return out, err
	}
	if before.IsZero() {
		before = time.UnixMilli(1 << 52) // any time
	}
	var after fescue.Certificate
	pg, err := r.Page(maxPage, func(key string) (ok bool) {
		after.NotAfter, after.ID, ok = parsePlace(key, certificateID.MatchString)
		return ok
	})
	if err != nil {
		return out, err
	}
	list, err := a.o.Certificates.Ending(ctx, r.Partition, before, after, pg.Limit)
	if err != nil {
		return out, err
	}
	list, out.NextToken = restjson.Cut(list, pg, func(c registry.Ending) string { return place(c.NotAfter, c.ID) })
	out.Certificates = make([]CertificateEnd, 0, len(list))
	for _, c := range list {
		out.Certificates = append(out.Certificates, CertificateEnd{c.ID, r.Partition.CertificateARN(c.ID), c.Thing, timestamp(c.NotAfter)})
	}
	if pg.After == "" && a.concerns(r) == nil {
		ends := a.o.Operator.CertificateEnds()
		for _, name := range slices.Sorted(maps.Keys(ends)) {
			out.Server = append(out.Server, ServerCertificate{name, timestamp(ends[name])})
		}
	}
	return out, nil
}
