// Package sso knows people by a provider of OpenID Connect: who signs in there acts here
// as an access key, which a claim of theirs is mapped to. It verifies what the provider
// says and chooses the key; what the key may do, and for how long, others decide. It keeps
// nothing: what it has to know of a sign-in that a browser has begun, the browser brings
// back, sealed.
package sso

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
)

// Options configure a Provider. Those of which nothing is said are required.
type Options struct {
	// Issuer is the provider's URL, exactly as its tokens say it.
	Issuer string
	// ClientID is what the provider knows this server by, and ClientSecret proves it, where
	// it is not a public client.
	ClientID, ClientSecret string
	// DeviceClientID is what it knows programs on terminals by, which keep no secret; empty
	// means ClientID.
	DeviceClientID string
	// Claim is the one that decides; one within another is named as realm_access.roles. Empty means DefaultClaim.
	Claim string
	// Rules are asked in their order: the first that fits decides.
	Rules []Rule
	// Scopes are asked for beside those that Scopes of the provider's own are known for;
	// there may be none.
	Scopes []string
	// Authorities are trusted to certify the provider; nil are the machine's.
	Authorities *x509.CertPool
	Sealer      Sealer
	Now         func() time.Time
	Logger      *slog.Logger
}

// DefaultClaim is the one that decides where nothing is said.
const DefaultClaim = "groups"

// Sealer closes what a browser keeps, so that it can neither read nor change it.
type Sealer interface {
	Seal(secret []byte, label string) ([]byte, error)
	Open(sealed []byte, label string) ([]byte, error)
}

// Rule gives those of whose claim one value is this the rights of an access key.
type Rule struct{ Value, KeyID string }

// ParseRule reads VALUE=ACCESSKEYID. A value may have "=" in it.
func ParseRule(text string) (Rule, error) {
	at := strings.LastIndexByte(text, '=')
	if at < 1 || at == len(text)-1 {
		return Rule{}, fmt.Errorf("%q is not in the form VALUE=ACCESSKEYID, as operators=AKIAEXAMPLE", text)
	}
	return Rule{text[:at], text[at+1:]}, nil
}

// Person is who has signed in at the provider.
type Person struct {
	// Name is for people and records: the e-mail address if it is verified, else the
	// user's name, else the subject. It has no characters that do not print.
	Name string
	// Subject is what the provider never gives to anybody else.
	Subject string
	// KeyID is the access key that the person may act as.
	KeyID string
}

// Refusal is why somebody cannot sign in, and what to do, for them to read.
type Refusal struct{ Text string }

// Error is the text.
func (r *Refusal) Error() string { return r.Text }

func refuse(format string, args ...any) *Refusal { return &Refusal{fmt.Sprintf(format, args...)} }

// Unavailable means that the provider could not be asked, or answers other than it should.
type Unavailable struct {
	Host string
	Err  error
}

// Error names the provider and the cause.
func (u *Unavailable) Error() string { return u.Host + ": " + u.Err.Error() }

// Unwrap is the cause.
func (u *Unavailable) Unwrap() error { return u.Err }

// Text is for those who want to sign in. The cause is for whoever runs the server.
func (u *Unavailable) Text() string {
	return u.Host + " cannot be asked who you are just now. Try again in a minute, or sign in with an access key. The server's log has the cause."
}

// Provider is a provider of OpenID Connect. It is asked when somebody signs in, and need
// not be there before.
type Provider struct {
	o      Options
	host   string
	client *http.Client
	seldom rate.Sometimes

	asking singleflight.Group
	mu     sync.Mutex
	last   *known
}

// known is what the provider says of itself.
type known struct {
	*oidc.Provider
	endpoint oauth2.Endpoint
	scopes   []string
	until    time.Time // when it is asked again
}

const (
	// patience bounds each question to the provider.
	patience = 10 * time.Second
	// fresh is how long what the provider says of itself, its keys included, is believed.
	// Keys that are not known are asked for at once.
	fresh = time.Hour
	// oldest is how old a token may be, and how long a sign-in takes in a browser; ahead is
	// by how much the provider's clock may be.
	oldest = 10 * time.Minute
	ahead  = 5 * time.Minute
	// maxToken bounds a token, in bytes.
	maxToken = 48 << 10
)

// Validate says what is wrong with options that an operator gives.
func (o Options) Validate() error {
	_, err := o.issuer()
	return err
}

// issuer is the provider's URL, of options that are good.
func (o Options) issuer() (*url.URL, error) {
	issuer, err := url.Parse(o.Issuer)
	switch {
	case err != nil, issuer.Host == "", issuer.Scheme != "https" && issuer.Scheme != "http", issuer.RawQuery != "", issuer.Fragment != "", issuer.User != nil:
		return nil, fmt.Errorf("the issuer %q is not the URL of a provider, such as https://id.example.com", o.Issuer)
	case issuer.Scheme != "https" && !onThisMachine(issuer):
		return nil, fmt.Errorf("the issuer %s is asked over HTTPS alone, or on this machine: whoever is on the way could say who somebody is", o.Issuer)
	case o.ClientID == "":
		return nil, errors.New("the provider knows this server by a client id: name it with --oidc-client-id")
	case len(o.Rules) == 0:
		return nil, errors.New("nobody who signs in may do anything: map values of a claim to access keys with --oidc-key VALUE=ACCESSKEYID")
	}
	return issuer, nil
}

// New makes a Provider. It asks nothing yet.
func New(o Options) (*Provider, error) {
	issuer, err := o.issuer()
	if err != nil {
		return nil, err
	}
	o.Claim, o.DeviceClientID = cmp.Or(o.Claim, DefaultClaim), cmp.Or(o.DeviceClientID, o.ClientID)
	return &Provider{
		o: o, host: issuer.Host, client: newClient(o.Authorities, onThisMachine(issuer)),
		seldom: rate.Sometimes{First: 5, Interval: time.Minute},
	}, nil
}

// Close gives back the connections to the provider.
func (p *Provider) Close() { p.client.CloseIdleConnections() }

// Host is what people know the provider by.
func (p *Provider) Host() string { return p.host }

// KeyIDs are the access keys that somebody may act as.
func (p *Provider) KeyIDs() (ids []string) {
	for _, r := range p.o.Rules {
		if !slices.Contains(ids, r.KeyID) {
			ids = append(ids, r.KeyID)
		}
	}
	return ids
}

// Check asks the provider what it says of itself: an Unavailable where that is not so.
func (p *Provider) Check(ctx context.Context) error {
	_, err := p.discover(ctx)
	return err
}

// unavailable logs why the provider could not be asked, now and then.
func (p *Provider) unavailable(err error) error {
	u := &Unavailable{p.host, errors.New(printable(err.Error(), 500))}
	p.seldom.Do(func() {
		p.o.Logger.Warn("people cannot sign in by OpenID Connect", "issuer", p.o.Issuer, "cause", u.Err)
	})
	return u
}

// ask is what the provider says of itself. Who asks at the same time is answered together.
func (p *Provider) ask(ctx context.Context) (*known, error) {
	p.mu.Lock()
	k := p.last
	p.mu.Unlock()
	if now := p.o.Now(); k != nil && now.Before(k.until) && now.After(k.until.Add(-2*fresh)) {
		return k, nil
	}
	asked := p.asking.DoChan("", func() (any, error) { return p.discover(context.WithoutCancel(ctx)) })
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case answer := <-asked:
		if answer.Err != nil {
			return nil, answer.Err
		}
		return answer.Val.(*known), nil
	}
}

func (p *Provider) discover(ctx context.Context) (*known, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found, err := oidc.NewProvider(oidc.ClientContext(ctx, p.client), p.o.Issuer)
	if err != nil {
		return nil, p.unavailable(err)
	}
	var says struct {
		Scopes []string `json:"scopes_supported"`
		Proofs []string `json:"token_endpoint_auth_methods_supported"`
		Keys   string   `json:"jwks_uri"`
	}
	if err := found.Claims(&says); err != nil {
		return nil, p.unavailable(fmt.Errorf("what it says of itself does not parse: %w", err))
	}
	k := &known{Provider: found, endpoint: found.Endpoint(), scopes: p.scopes(says.Scopes), until: p.o.Now().Add(fresh)}
	for what, at := range map[string]string{"authorization_endpoint": k.endpoint.AuthURL, "token_endpoint": k.endpoint.TokenURL, "jwks_uri": says.Keys, "device_authorization_endpoint": k.endpoint.DeviceAuthURL} {
		u, err := url.Parse(at)
		if at == "" && what == "device_authorization_endpoint" {
			continue
		}
		if err != nil || !p.client.Transport.(*bounded).allows(u) {
			return nil, p.unavailable(fmt.Errorf("its %s %q is not an https:// URL", what, at))
		}
	}
	k.endpoint.AuthStyle = oauth2.AuthStyleInHeader
	if p.o.ClientSecret == "" || len(says.Proofs) > 0 && !slices.Contains(says.Proofs, "client_secret_basic") {
		k.endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = k
	return k, nil
}

// scopes are those to ask for: what names a person and the claim that decides, as far as
// the provider knows of it, and those that the operator wants.
func (p *Provider) scopes(known []string) []string {
	wanted := []string{oidc.ScopeOpenID}
	if len(known) == 0 {
		wanted = append(wanted, oidc.ScopeProfile, oidc.ScopeEmail)
	}
	for _, scope := range []string{oidc.ScopeProfile, oidc.ScopeEmail, p.o.Claim} {
		if slices.Contains(known, scope) {
			wanted = append(wanted, scope)
		}
	}
	scopes := []string{}
	for _, scope := range append(wanted, p.o.Scopes...) {
		if !slices.Contains(scopes, scope) {
			scopes = append(scopes, scope)
		}
	}
	return scopes
}

// onThisMachine reports whether a URL leads nowhere else.
func onThisMachine(u *url.URL) bool {
	return u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()
}
