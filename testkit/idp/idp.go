// Package idp is a provider of OpenID Connect that a test runs: discovery, keys, the
// authorization code with PKCE, and device codes. Nobody types a password there: the test
// says who has signed in.
package idp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/coreos/go-oidc/v3/oidc/oidctest"

	"github.com/fescue-edge/fescue/testkit"
)

// What the provider knows: a client with a secret for browsers, and one without for
// terminals.
const (
	ClientID       = "fescue"
	ClientSecret   = "s3cret of fescue's & more"
	DeviceClientID = "fescue-terminal"
)

// Claims are those of a person.
type Claims = map[string]any

// Provider is the provider. Its members are set before it is asked.
type Provider struct {
	URL string
	// Now is its clock, and Spoil changes what a token says before it is signed; nil is
	// nothing. NoDevices leaves device codes out.
	Now       func() time.Time
	Spoil     func(Claims)
	NoDevices bool

	mu      sync.Mutex
	key     *ecdsa.PrivateKey
	keyID   string
	down    bool
	person  Claims // who has signed in
	codes   map[string]grant
	devices map[string]*device // by device code
	asked   map[string]int     // how often, by path
}

// grant is what a code is for.
type grant struct {
	challenge, redirect, nonce string
	person                     Claims
}

// device waits for somebody to type its code.
type device struct {
	person Claims // nil as long as nobody has
	denied bool
}

// Start runs a provider until the test ends.
func Start(t testing.TB) *Provider {
	t.Helper()
	p := &Provider{Now: time.Now, codes: make(map[string]grant), devices: make(map[string]*device), asked: make(map[string]int)}
	p.Rotate()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.discovery)
	mux.HandleFunc("GET /keys", p.keys)
	mux.HandleFunc("GET /auth", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("POST /device/code", p.deviceCode)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.asked[r.URL.Path]++
		down := p.down
		p.mu.Unlock()
		if down {
			http.Error(w, "out of order", http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	p.URL = server.URL
	return p
}

// Rotate signs with another key from here on, and forgets the one before.
func (p *Provider) Rotate() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic("idp: make a key: " + err.Error())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.key, p.keyID = key, rand.Text()
}

// Answer has the provider answer, or be out of order.
func (p *Provider) Answer(yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = !yes
}

// SignIn says who has signed in in every browser that comes; nil is who does not want to.
func (p *Provider) SignIn(person Claims) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.person = person
}

// Asked is how often a path was asked for.
func (p *Provider) Asked(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[path]
}

// Approve has a person type the code that a terminal shows, as soon as there is one, and
// say yes; nil says no.
func (p *Provider) Approve(t testing.TB, person Claims) {
	t.Helper()
	testkit.Eventually(t, "a terminal asks for a code", func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, d := range p.devices {
			if d.person == nil && !d.denied {
				d.person, d.denied = person, person == nil
				return nil
			}
		}
		return fmt.Errorf("none of %d waits", len(p.devices))
	})
}

// Claims are those of a token for a client, given just now.
func (p *Provider) Claims(clientID string, person Claims) Claims {
	now := p.Now()
	all := Claims{"iss": p.URL, "aud": clientID, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "jti": rand.Text()}
	maps.Copy(all, person)
	return all
}

// Sign makes a token.
func (p *Provider) Sign(claims Claims) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Sign(p.key, p.keyID, oidc.ES256, claims)
}

// KeyID is the id of the key that signs.
func (p *Provider) KeyID() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.keyID
}

// Sign makes a token with any key.
func Sign(key any, keyID, algorithm string, claims Claims) string {
	text, err := json.Marshal(claims)
	if err != nil {
		panic("idp: claims: " + err.Error())
	}
	return oidctest.SignIDToken(key, keyID, algorithm, string(text))
}

// Unsigned makes a token of which an algorithm says that nobody need have signed it.
func Unsigned(claims Claims) string {
	text, err := json.Marshal(claims)
	if err != nil {
		panic("idp: claims: " + err.Error())
	}
	segment := base64.RawURLEncoding.EncodeToString
	return segment([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + segment(text) + "."
}

func (p *Provider) discovery(w http.ResponseWriter, _ *http.Request) {
	says := map[string]any{
		"issuer": p.URL, "authorization_endpoint": p.URL + "/auth", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"}, "scopes_supported": []string{"openid", "profile", "email", "groups"},
		// What is none of an asymmetric key is not to be taken.
		"id_token_signing_alg_values_supported": []string{oidc.ES256, "HS256", "none"},
	}
	if !p.NoDevices {
		says["device_authorization_endpoint"] = p.URL + "/device/code"
	}
	reply(w, http.StatusOK, says)
}

func (p *Provider) keys(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	keys := oidctest.Server{PublicKeys: []oidctest.PublicKey{{PublicKey: p.key.Public(), KeyID: p.keyID, Algorithm: oidc.ES256}}}
	p.mu.Unlock()
	keys.ServeHTTP(w, r)
}

// authorize gives a code to whoever has signed in, and leads back.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	back, err := url.Parse(q.Get("redirect_uri"))
	if q.Get("client_id") != ClientID || q.Get("response_type") != "code" || err != nil || q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") == "" || q.Get("nonce") == "" ||
		!slices.Contains(strings.Fields(q.Get("scope")), "openid") {
		http.Error(w, "this is no request of Fescue's: "+r.URL.RawQuery, http.StatusBadRequest)
		return
	}
	answer := url.Values{"state": {q.Get("state")}, "iss": {p.URL}}
	p.mu.Lock()
	if p.person == nil {
		answer.Set("error", "access_denied")
		answer.Set("error_description", "the person <b>did not want</b> to")
	} else {
		code := rand.Text()
		p.codes[code] = grant{q.Get("code_challenge"), q.Get("redirect_uri"), q.Get("nonce"), p.person}
		answer.Set("code", code)
	}
	p.mu.Unlock()
	back.RawQuery = answer.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound)
}

func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	form, malformed := url.ParseQuery(string(body))
	if err != nil || malformed != nil {
		refuse(w, "invalid_request")
		return
	}
	if form.Get("grant_type") == "authorization_code" {
		p.redeem(w, r, form)
		return
	}
	p.poll(w, form)
}

// redeem takes a code, once, from the client with its secret.
func (p *Provider) redeem(w http.ResponseWriter, r *http.Request, form url.Values) {
	id, secret, _ := r.BasicAuth()
	if id != url.QueryEscape(ClientID) || secret != url.QueryEscape(ClientSecret) {
		refuse(w, "invalid_client")
		return
	}
	p.mu.Lock()
	g, ok := p.codes[form.Get("code")]
	delete(p.codes, form.Get("code"))
	p.mu.Unlock()
	sum := sha256.Sum256([]byte(form.Get("code_verifier")))
	if !ok || g.redirect != form.Get("redirect_uri") || g.challenge != base64.RawURLEncoding.EncodeToString(sum[:]) {
		refuse(w, "invalid_grant")
		return
	}
	claims := p.Claims(ClientID, g.person)
	claims["nonce"] = g.nonce
	p.give(w, claims)
}

// poll answers a terminal that waits.
func (p *Provider) poll(w http.ResponseWriter, form url.Values) {
	if form.Get("grant_type") != "urn:ietf:params:oauth:grant-type:device_code" || form.Get("client_id") != DeviceClientID {
		refuse(w, "unauthorized_client")
		return
	}
	p.mu.Lock()
	d, ok := p.devices[form.Get("device_code")]
	var person Claims
	denied := false
	if ok {
		if person, denied = d.person, d.denied; person != nil || denied {
			delete(p.devices, form.Get("device_code"))
		}
	}
	p.mu.Unlock()
	switch {
	case !ok:
		refuse(w, "invalid_grant")
	case denied:
		refuse(w, "access_denied")
	case person == nil:
		refuse(w, "authorization_pending")
	default:
		p.give(w, p.Claims(DeviceClientID, person))
	}
}

func (p *Provider) give(w http.ResponseWriter, claims Claims) {
	if p.Spoil != nil {
		p.Spoil(claims)
	}
	reply(w, http.StatusOK, map[string]any{"access_token": rand.Text(), "token_type": "Bearer", "expires_in": 300, "id_token": p.Sign(claims)})
}

func (p *Provider) deviceCode(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	form, malformed := url.ParseQuery(string(body))
	if err != nil || malformed != nil || form.Get("client_id") != DeviceClientID {
		refuse(w, "invalid_client")
		return
	}
	code, userCode := rand.Text(), rand.Text()[:8]
	p.mu.Lock()
	p.devices[code] = &device{}
	p.mu.Unlock()
	reply(w, http.StatusOK, map[string]any{
		"device_code": code, "user_code": userCode, "verification_uri": p.URL + "/device", "verification_uri_complete": p.URL + "/device?user_code=" + userCode,
		"expires_in": 300, "interval": 1,
	})
}

func refuse(w http.ResponseWriter, code string) {
	reply(w, http.StatusBadRequest, map[string]any{"error": code, "error_description": "as the test has it"})
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}
