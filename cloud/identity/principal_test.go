package identity_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/policy"
)

// certificates are what a registry knows, by id.
type certificates map[string]fescue.Principal

func (c certificates) Principal(_ context.Context, id string) (fescue.Principal, error) {
	p, ok := c[id]
	if !ok {
		return p, fescue.ErrNotFound
	}
	return p, nil
}

func (c certificates) Principals(_ context.Context, ids []string) (map[string]fescue.Principal, error) {
	return c, nil
}

func TestPrincipals(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	good := fescue.Principal{
		Partition: home, Things: []string{"Mill"},
		Certificate: fescue.Certificate{ID: "good", Status: fescue.CertificateActive, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)},
		Policies:    []string{`{"Statement":{"Effect":"Allow","Action":"iot:Connect","Resource":"*"}}`},
	}
	broken := good
	broken.Policies = []string{"{"}
	principals := identity.Principals{Registry: certificates{"good": good, "broken": broken}, Documents: new(policy.Documents)}
	p, err := principals.Principal(t.Context(), "good")
	if err != nil || p.Partition != home || p.Certificate.ID != "good" || len(p.Things) != 1 ||
		p.Policies.Evaluate(policy.Request{Action: "iot:Connect", Resource: "*"}) != policy.Allowed ||
		p.Policies.Evaluate(policy.Request{Action: "iot:Publish", Resource: "*"}) == policy.Allowed {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := principals.Principal(t.Context(), "none"); !errors.Is(err, fescue.ErrNotFound) {
		t.Errorf("%v", err)
	}
	if p, err := principals.Principal(t.Context(), "broken"); !errors.Is(err, policy.ErrMalformed) || p.Policies != nil {
		t.Errorf("%+v, %v", p, err)
	}
	list, err := principals.Principals(t.Context(), []string{"broken", "none", "good"})
	if err != nil || len(list) != 3 || !errors.Is(list[0].Err, policy.ErrMalformed) || !errors.Is(list[1].Err, fescue.ErrNotFound) ||
		list[2].Err != nil || list[2].Principal.Certificate.ID != "good" || len(list[2].Principal.Policies) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	for _, c := range []struct {
		name   string
		change func(*fescue.Certificate)
		usable bool
	}{
		{"active", func(*fescue.Certificate) {}, true},
		{"inactive", func(c *fescue.Certificate) { c.Status = fescue.CertificateInactive }, false},
		{"revoked", func(c *fescue.Certificate) { c.Status = fescue.CertificateRevoked }, false},
		{"its first moment", func(c *fescue.Certificate) { c.NotBefore = now }, true},
		{"its last moment", func(c *fescue.Certificate) { c.NotAfter = now }, true},
		{"not yet", func(c *fescue.Certificate) { c.NotBefore = now.Add(1) }, false},
		{"no more", func(c *fescue.Certificate) { c.NotAfter = now.Add(-1) }, false},
	} {
		changed := p
		c.change(&changed.Certificate)
		if got := changed.Usable(now); got != c.usable {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	if (*identity.Principal)(nil).Usable(now) {
		t.Error("nobody's certificate is usable")
	}
}
