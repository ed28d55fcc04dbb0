package cloud

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/fescue-edge/fescue/cloud/sso"
	"github.com/fescue-edge/fescue/doctor"
)

// SingleSignOn is the provider of OpenID Connect at which people sign in, for the console
// and for terminals. The zero value is none.
type SingleSignOn struct {
	// Issuer is the provider's URL, exactly as its tokens say it.
	Issuer string
	// ClientID and ClientSecret are the server's at the provider; a public client has no
	// secret. DeviceClientID is that of terminals, which keep none; empty means ClientID.
	ClientID, ClientSecret, DeviceClientID string
	// Claim decides what somebody may do; empty means sso.DefaultClaim.
	Claim string
	// Keys map values of the claim to access keys, as VALUE=ACCESSKEYID: the first that
	// fits counts.
	Keys []string
	// Scopes are asked for beside those that the claim and the person's name need.
	Scopes []string
	// CAFile has the PEM of the authorities that certify the provider; empty means the
	// machine's.
	CAFile string
}

// options are those of the provider; ok is false for none.
func (s SingleSignOn) options() (o sso.Options, ok bool, err error) {
	if s.Issuer == "" {
		if s.ClientID != "" || s.DeviceClientID != "" || len(s.Keys) > 0 || len(s.Scopes) > 0 || s.CAFile != "" {
			return o, false, errors.New("no provider of OpenID Connect: name one with --oidc-issuer")
		}
		return o, false, nil
	}
	o = sso.Options{Issuer: s.Issuer, ClientID: s.ClientID, ClientSecret: s.ClientSecret, DeviceClientID: s.DeviceClientID, Claim: s.Claim, Scopes: s.Scopes}
	for _, text := range s.Keys {
		rule, err := sso.ParseRule(text)
		if err != nil {
			return o, false, fmt.Errorf("--oidc-key: %w", err)
		}
		o.Rules = append(o.Rules, rule)
	}
	if s.CAFile != "" {
		pem, err := os.ReadFile(s.CAFile)
		if err != nil {
			return o, false, fmt.Errorf("--oidc-ca: %w", err)
		}
		if o.Authorities = x509.NewCertPool(); !o.Authorities.AppendCertsFromPEM(pem) {
			return o, false, fmt.Errorf("--oidc-ca: %s has no certificate in PEM", s.CAFile)
		}
	}
	if err := o.Validate(); err != nil {
		return o, false, fmt.Errorf("--oidc-issuer: %w", err)
	}
	return o, true, nil
}

// signIns is the provider at which people sign in, nil for none. It need not be there yet.
func (s *Server) signIns(ctx context.Context) (*sso.Provider, error) {
	o, ok, err := s.o.SingleSignOn.options()
	if err != nil || !ok {
		return nil, err
	}
	o.Sealer, o.Now, o.Logger = s.master, s.o.Now, s.o.Logger
	p, err := sso.New(o)
	if err != nil {
		return nil, err
	}
	s.onClose(func() error { p.Close(); return nil })
	list, err := s.keys.List(ctx)
	if err != nil {
		return nil, err
	}
	good := make(map[string]bool)
	for _, key := range list {
		good[key.ID] = key.RevokedAt.IsZero()
	}
	for _, id := range p.KeyIDs() {
		if !good[id] {
			s.o.Logger.Warn("people who sign in by OpenID Connect are mapped to an access key that is not there or was revoked: they are refused; make one with fescue keys create, and name it with --oidc-key", "key", id)
		}
	}
	return p, nil
}

// signIns looks whether people can sign in at the provider.
func (e *examiner) signIns(ctx context.Context) {
	const subject = "OpenID Connect"
	o, ok, err := e.o.SingleSignOn.options()
	if err != nil || !ok {
		return // what is wrong with flags is told of
	}
	o.Now, o.Logger = e.o.Now, e.o.Logger
	p, err := sso.New(o)
	if err != nil {
		return
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	const remedy = "see to the provider, the way there, and what --oidc-issuer and --oidc-ca say; access keys go on working"
	if err := p.Check(ctx); err != nil {
		e.Add(subject, doctor.Poor, "nobody can sign in by it: "+err.Error(), remedy)
		return
	}
	says := o.Issuer + " answers"
	if _, err := p.Device(ctx); err != nil {
		says += ", and has no device codes: terminals cannot sign in by it"
	}
	e.Add(subject, doctor.Good, says, "")
}
