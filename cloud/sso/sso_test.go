package sso_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/fescue-edge/fescue/cloud/sso"
	"github.com/fescue-edge/fescue/testkit/idp"
)

// refused checks that an error is for people to read, and what it says.
func refused(t *testing.T, what string, err error, says string) {
	t.Helper()
	var refusal *sso.Refusal
	if !errors.As(err, &refusal) || !strings.Contains(refusal.Text, says) {
		t.Errorf("%s: %v, want a refusal with %q", what, err, says)
	}
}

func away(t *testing.T, what string, err error, says string) {
	t.Helper()
	var u *sso.Unavailable
	if !errors.As(err, &u) || !strings.Contains(u.Error(), says) || strings.Contains(u.Text(), says) {
		t.Errorf("%s: %v, want that the provider is unavailable: %q", what, err, says)
	}
}

// TestWho: who somebody is and which key they get, in browsers and terminals alike.
func TestWho(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		claim       string
		rules       []sso.Rule
		person      idp.Claims
		who, key    string
		says, names string // of the refusal, without and with the name
	}{
		"a group":                             {person: anna, who: "anna@example.com", key: "AKIAOPERATORS"},
		"the first rule that fits":            {person: with(anna, "groups", []string{"staff", "operators"}), who: "anna@example.com", key: "AKIAOPERATORS"},
		"another":                             {person: with(anna, "groups", []string{"staff"}), who: "anna@example.com", key: "AKIASTAFF"},
		"one text":                            {person: with(anna, "groups", "staff"), who: "anna@example.com", key: "AKIASTAFF"},
		"a list of more than texts":           {person: with(anna, "groups", []any{1, nil, "staff"}), who: "anna@example.com", key: "AKIASTAFF"},
		"an address nobody verified":          {person: with(anna, "email_verified", false), who: "anna", key: "AKIAOPERATORS"},
		"an address of which nothing is said": {person: with(anna, "email_verified", nil), who: "anna", key: "AKIAOPERATORS"},
		"verified, as a text":                 {person: with(anna, "email_verified", "true"), who: "anna@example.com", key: "AKIAOPERATORS"},
		"nameless":                            {person: idp.Claims{"sub": "4711", "groups": "staff"}, who: "4711", key: "AKIASTAFF"},
		"hostile":                             {person: with(anna, "email", nil, "preferred_username", "a\nb\u202e\x1b[31m<script>"+strings.Repeat("x", 200)), who: "a�b��[31m<script>" + strings.Repeat("x", 110) + "…", key: "AKIAOPERATORS"},
		"within another claim":                {claim: "realm_access.roles", rules: []sso.Rule{{"cn=ops,dc=x", "K"}}, person: with(anna, "realm_access", idp.Claims{"roles": []string{"cn=ops,dc=x"}}), who: "anna@example.com", key: "K"},
		"with dots in its name":               {claim: "https://x.example/roles", rules: []sso.Rule{{"r", "K"}}, person: with(anna, "https://x.example/roles", "r"), who: "anna@example.com", key: "K"},
		"by address":                          {claim: "email", rules: []sso.Rule{{"anna@example.com", "K"}}, person: anna, who: "anna@example.com", key: "K"},

		"by an address nobody verified":      {claim: "email", rules: []sso.Rule{{"anna@example.com", "K"}}, person: with(anna, "email_verified", false), says: "does not say that it has verified your e-mail address"},
		"by one of which nothing is said":    {claim: "email", rules: []sso.Rule{{"anna@example.com", "K"}}, person: with(anna, "email_verified", nil), says: "does not say that it has verified your e-mail address"},
		"of no group that is mapped":         {person: with(anna, "groups", []string{"all", "night\nshift"}), says: `your claim "groups" is "all", "night�shift", and no access key is for that`, names: "anna@example.com"},
		"of many":                            {person: with(anna, "groups", strings.Split(strings.Repeat("g ", 30), " ")), says: `11 more, and`},
		"without the claim":                  {person: with(anna, "groups", nil), says: `sent no value of the claim "groups"`},
		"with nothing in it":                 {person: with(anna, "groups", []string{}), says: `sent no value of the claim "groups"`},
		"a number":                           {person: with(anna, "groups", 7), says: `sent no value of the claim "groups"`},
		"another claim than the one within":  {claim: "a.b", person: with(anna, "a", "b"), says: `sent no value of the claim "a.b"`},
		"a group by the name of one mapped":  {person: with(anna, "groups", []string{"Operators", "operators "}), says: "no access key is for that"},
		"an empty group where none is asked": {person: with(anna, "groups", ""), says: "no access key is for that"},
		"without a subject":                  {person: with(anna, "sub", ""), says: "does not say whose it is"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, func(o *sso.Options) {
				if o.Claim = tc.claim; tc.rules != nil {
					o.Rules = tc.rules
				}
			})
			for way, signIn := range map[string]func(*testing.T, idp.Claims) (sso.Person, error){"browser": s.browser, "terminal": s.terminal} {
				who, err := signIn(t, tc.person)
				if tc.says != "" {
					refused(t, way, err, tc.says)
					refused(t, way, err, tc.names)
					if who.KeyID != "" {
						t.Errorf("%s: the key %s", way, who.KeyID)
					}
					continue
				}
				if err != nil || who.Name != tc.who || who.KeyID != tc.key || who.Subject != "4711" {
					t.Errorf("%s: %+v, %v", way, who, err)
				}
			}
		})
	}
}

// TestTokens: what is no token of the provider's, for the client, of just now.
func TestTokens(t *testing.T) {
	t.Parallel()
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	at := func(s *site, d time.Duration) int64 { return s.now().Add(d).Unix() }
	for name, tc := range map[string]struct {
		token func(*site, idp.Claims) string
		says  string
	}{
		"of another key":             {func(s *site, c idp.Claims) string { return idp.Sign(other, s.KeyID(), oidc.ES256, c) }, "failed to verify"},
		"of a key that nobody knows": {func(s *site, c idp.Claims) string { return idp.Sign(other, "x", oidc.ES256, c) }, "failed to verify"},
		"of no key":                  {func(s *site, c idp.Claims) string { return idp.Unsigned(c) }, "malformed jwt"},
		"of a secret":                {func(s *site, c idp.Claims) string { return idp.Sign(make([]byte, 64), s.KeyID(), "HS256", c) }, "malformed jwt"},
		"for somebody else":          {func(s *site, c idp.Claims) string { return s.Sign(with(c, "aud", "other")) }, "expected audience"},
		"for another client of ours": {func(s *site, c idp.Claims) string { return s.Sign(with(c, "aud", idp.ClientID)) }, "expected audience"},
		"for two, given to the other": {func(s *site, c idp.Claims) string {
			return s.Sign(with(c, "aud", []string{idp.DeviceClientID, "other"}, "azp", "other"))
		}, `was given to "other"`},
		"for two, given to nobody": {func(s *site, c idp.Claims) string {
			return s.Sign(with(c, "aud", []string{idp.DeviceClientID, "other"}))
		}, `was given to ""`},
		"of another issuer": {func(s *site, c idp.Claims) string { return s.Sign(with(c, "iss", "https://id.example.com")) }, "issued by a different provider"},
		"that is over":      {func(s *site, c idp.Claims) string { return s.Sign(with(c, "exp", at(s, -time.Second))) }, "Sign in again"},
		"that is good for long, but old": {func(s *site, c idp.Claims) string {
			return s.Sign(with(c, "iat", at(s, -11*time.Minute), "exp", at(s, time.Hour)))
		}, "older than 10 minutes"},
		"of nobody knows when": {func(s *site, c idp.Claims) string { return s.Sign(with(c, "iat", nil)) }, "older than 10 minutes"},
		"of tomorrow":          {func(s *site, c idp.Claims) string { return s.Sign(with(c, "iat", at(s, time.Hour))) }, "yet to come"},
		"not good yet":         {func(s *site, c idp.Claims) string { return s.Sign(with(c, "nbf", at(s, time.Hour))) }, "not before"},
		"without an end":       {func(s *site, c idp.Claims) string { return s.Sign(with(c, "exp", nil)) }, "Sign in again"},
		"that is large":        {func(s *site, c idp.Claims) string { return s.Sign(with(c, "x", strings.Repeat("x", 60<<10))) }, "larger than"},
		"that was changed": {func(s *site, c idp.Claims) string {
			of, others := strings.Split(s.Sign(c), "."), strings.Split(s.Sign(with(c, "groups", "staff")), ".")
			return of[0] + "." + others[1] + "." + of[2]
		}, "failed to verify"},
		"that is none":    {func(*site, idp.Claims) string { return "x" }, "malformed jwt"},
		"that is nothing": {func(*site, idp.Claims) string { return "" }, "malformed jwt"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			who, once, err := s.sso.Verify(t.Context(), tc.token(s, s.Claims(idp.DeviceClientID, anna)))
			if refused(t, "Verify", err, tc.says); who.KeyID != "" || once != "" {
				t.Errorf("%+v %q", who, once)
			}
		})
	}
	t.Run("one token is one, however it is written", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		// 1 and 2 bytes over in the payload leave bits in its last letter that say nothing.
		for _, pad := range []string{"", "x", "xx"} {
			token := s.Sign(s.Claims(idp.DeviceClientID, with(anna, "pad", pad)))
			_, once, err := s.sso.Verify(t.Context(), token)
			if err != nil {
				t.Fatal(err)
			}
			parts := strings.Split(token, ".")
			const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
			last := strings.IndexByte(letters, parts[1][len(parts[1])-1])
			parts[1] = parts[1][:len(parts[1])-1] + letters[last^1:last^1+1]
			if _, again, err := s.sso.Verify(t.Context(), strings.Join(parts, ".")); err == nil && again != once {
				t.Errorf("written otherwise it is another one")
			}
		}
		if _, once, err := s.sso.Verify(t.Context(), s.Sign(s.Claims(idp.DeviceClientID, anna))); err != nil || once == "" {
			t.Errorf("%q, %v", once, err)
		}
	})
	t.Run("without a client for terminals both are one", func(t *testing.T) {
		t.Parallel()
		s := open(t, func(o *sso.Options) { o.DeviceClientID = "" })
		if who, _, err := s.sso.Verify(t.Context(), s.Sign(s.Claims(idp.ClientID, anna))); err != nil || who.KeyID == "" {
			t.Errorf("%+v, %v", who, err)
		}
	})
}

// TestBrowsers: what does not fit what a browser has begun.
func TestBrowsers(t *testing.T) {
	t.Parallel()
	type change = func(*site, *string, url.Values)
	for name, tc := range map[string]struct {
		change change
		says   string
	}{
		"another state":        {func(_ *site, _ *string, q url.Values) { q.Set("state", "x") }, "Begin again"},
		"no state":             {func(_ *site, _ *string, q url.Values) { q.Del("state") }, "Begin again"},
		"nothing was begun":    {func(_ *site, sealed *string, _ url.Values) { *sealed = "" }, "Begin again"},
		"what it keeps is cut": {func(_ *site, sealed *string, _ url.Values) { *sealed = (*sealed)[:40] }, "Begin again"},
		"what it keeps is changed": {func(_ *site, sealed *string, _ url.Values) {
			flipped := []byte(*sealed)
			flipped[30] ^= 1
			*sealed = string(flipped)
		}, "Begin again"},
		"too late":          {func(s *site, _ *string, _ url.Values) { s.pass(11 * time.Minute) }, "Begin again"},
		"another issuer":    {func(_ *site, _ *string, q url.Values) { q.Set("iss", "https://id.example.com") }, "The answer is of https://id.example.com"},
		"another code":      {func(_ *site, _ *string, q url.Values) { q.Set("code", "x") }, "does not take the code"},
		"no code":           {func(_ *site, _ *string, q url.Values) { q.Del("code") }, "does not take the code"},
		"who did not want":  {func(_ *site, _ *string, q url.Values) { q.Set("error", "access_denied") }, "did not sign you in: access_denied"},
		"hostile":           {func(_ *site, _ *string, q url.Values) { q.Set("error", "\u202e<b>\x00") }, "did not sign you in: �<b>�"},
		"a nonce of others": {func(s *site, _ *string, _ url.Values) { s.Spoil = func(c idp.Claims) { c["nonce"] = "x" } }, "not made for this sign-in"},
		"no nonce":          {func(s *site, _ *string, _ url.Values) { s.Spoil = func(c idp.Claims) { delete(c, "nonce") } }, "not made for this sign-in"},
		"a token for terminals": {func(s *site, _ *string, _ url.Values) {
			s.Spoil = func(c idp.Claims) { c["aud"] = idp.DeviceClientID }
		}, "expected audience"},
		"a token that is over": {func(s *site, _ *string, _ url.Values) {
			s.Spoil = func(c idp.Claims) { c["exp"] = s.now().Add(-time.Minute).Unix() }
		}, "Sign in again"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			s.SignIn(anna)
			to, sealed := s.begin(t)
			answer := s.answer(t, to)
			tc.change(s, &sealed, answer)
			who, _, err := s.sso.Finish(t.Context(), sealed, answer)
			if refused(t, "Finish", err, tc.says); who.KeyID != "" {
				t.Errorf("%+v", who)
			}
		})
	}
	t.Run("a code, again", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		s.SignIn(anna)
		to, sealed := s.begin(t)
		answer := s.answer(t, to)
		if _, _, err := s.sso.Finish(t.Context(), sealed, answer); err != nil {
			t.Fatal(err)
		}
		_, _, err := s.sso.Finish(t.Context(), sealed, answer)
		refused(t, "again", err, "or not again")
	})
	t.Run("another browser's code", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		s.SignIn(anna)
		to, _ := s.begin(t)
		mine, sealed := s.begin(t)
		answer := s.answer(t, to)
		answer.Set("state", mine.Query().Get("state"))
		_, _, err := s.sso.Finish(t.Context(), sealed, answer)
		refused(t, "by PKCE", err, "does not take the code")
	})
	t.Run("what is asked", func(t *testing.T) {
		t.Parallel()
		s := open(t, func(o *sso.Options) { o.Scopes = []string{"roles", "email"} })
		to, sealed := s.begin(t)
		q := to.Query()
		if q.Get("scope") != "openid profile email groups roles" || q.Get("redirect_uri") != back || q.Get("code_challenge_method") != "S256" || len(q.Get("state")) < 20 || len(q.Get("nonce")) < 20 {
			t.Errorf("%v", q)
		}
		if strings.Contains(to.String(), "s3cret") || strings.Contains(sealed, q.Get("state")) {
			t.Error("a secret is told")
		}
		if len(sealed) > 3000 {
			t.Errorf("a cookie of %d bytes", len(sealed))
		}
	})
}

// TestKeysRotate: what is signed with a new key is taken at once, what is signed with one that
// is gone no longer than an hour.
func TestKeysRotate(t *testing.T) {
	t.Parallel()
	s := open(t)
	if _, err := s.terminal(t, anna); err != nil {
		t.Fatal(err)
	}
	old := s.Sign(with(s.Claims(idp.DeviceClientID, anna), "iat", s.now().Add(70*time.Minute).Unix(), "exp", s.now().Add(2*time.Hour).Unix()))
	s.Rotate()
	if _, err := s.terminal(t, anna); err != nil {
		t.Errorf("after a rotation: %v", err)
	}
	if n := s.Asked("/keys"); n != 2 {
		t.Errorf("the keys were asked for %d times", n)
	}
	s.pass(70 * time.Minute)
	_, _, err := s.sso.Verify(t.Context(), old)
	refused(t, "of a key that is gone", err, "failed to verify")
}

// TestAway: a provider that is not there, and comes.
func TestAway(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.Answer(false)
	_, _, err := s.sso.Begin(t.Context(), back, "")
	away(t, "Begin", err, "out of order")
	_, err = s.terminal(t, anna)
	away(t, "Verify", err, "out of order")
	_, err = s.sso.Device(t.Context())
	away(t, "Device", err, "out of order")
	away(t, "Check", s.sso.Check(t.Context()), "503")

	s.Answer(true)
	if _, err := s.browser(t, anna); err != nil {
		t.Errorf("when it is back: %v", err)
	}
	s.Answer(false)
	to, sealed := s.begin(t) // what it said an hour ago is believed
	_, _, err = s.sso.Finish(t.Context(), sealed, url.Values{"state": {to.Query().Get("state")}, "code": {"x"}})
	away(t, "Finish", err, "get a token for a code")
	s.pass(2 * time.Hour)
	_, err = s.terminal(t, anna) // its keys may be gone
	away(t, "Verify, later", err, "out of order")
	s.Answer(true)
	if _, err := s.terminal(t, anna); err != nil {
		t.Errorf("when it is back: %v", err)
	}
	s.Answer(false)
	s.Rotate()
	_, err = s.terminal(t, anna)
	away(t, "by a key that is not known", err, "fetching keys")
}

// TestAskedSeldom: nobody has the provider asked as often as he likes.
func TestAskedSeldom(t *testing.T) {
	t.Parallel()
	s := open(t)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	for range 100 {
		if _, _, err := s.sso.Verify(t.Context(), idp.Sign(other, rand.Text(), oidc.ES256, s.Claims(idp.DeviceClientID, anna))); err == nil {
			t.Fatal("it is taken")
		}
	}
	if n, most := s.Asked("/keys"), 20+int(time.Since(begun).Seconds()); n > most {
		t.Errorf("the keys were asked for %d times", n)
	}
	if _, err := s.terminal(t, anna); err != nil {
		t.Errorf("somebody else: %v", err)
	}
}

// TestHostileProviders: what a provider says of itself that is not believed.
func TestHostileProviders(t *testing.T) {
	t.Parallel()
	good := func(at string) map[string]any {
		return map[string]any{"issuer": at, "authorization_endpoint": at + "/auth", "token_endpoint": at + "/token", "jwks_uri": at + "/keys"}
	}
	for name, tc := range map[string]struct {
		says   map[string]any
		status int
		body   string
		wrong  string
	}{
		"good":                      {},
		"another issuer":            {says: map[string]any{"issuer": "https://id.example.com"}, wrong: "did not match"},
		"plain HTTP to others":      {says: map[string]any{"token_endpoint": "http://id.example.com/token"}, wrong: `token_endpoint "http://id.example.com/token" is not an https:// URL`},
		"keys over plain HTTP":      {says: map[string]any{"jwks_uri": "http://192.0.2.1/keys"}, wrong: "jwks_uri"},
		"a script as its page":      {says: map[string]any{"authorization_endpoint": "javascript:alert(1)"}, wrong: "authorization_endpoint"},
		"devices over plain HTTP":   {says: map[string]any{"device_authorization_endpoint": "http://id.example.com/"}, wrong: "device_authorization_endpoint"},
		"no page":                   {says: map[string]any{"authorization_endpoint": ""}, wrong: "authorization_endpoint"},
		"a file":                    {says: map[string]any{"jwks_uri": "file:///etc/passwd"}, wrong: "jwks_uri"},
		"no JSON":                   {body: "<html>", wrong: "decode"},
		"what has no end":           {body: `{"x":"` + strings.Repeat("x", 2<<20), wrong: "too large"},
		"elsewhere":                 {status: http.StatusFound, wrong: "302"},
		"a failure with hostile \n": {status: http.StatusInternalServerError, body: "a\nb\x1b[31m", wrong: "a�b�[31m"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var server *httptest.Server
			server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/.well-known/openid-configuration" {
					t.Errorf("asked for %s", r.URL.Path)
				}
				w.Header().Set("Content-Type", "application/json")
				if tc.status != 0 {
					w.Header().Set("Location", "/elsewhere")
					w.WriteHeader(tc.status)
				}
				if tc.body != "" || tc.status != 0 {
					w.Write([]byte(tc.body))
					return
				}
				says := good(server.URL)
				maps.Copy(says, tc.says)
				json.NewEncoder(w).Encode(says)
			}))
			defer server.Close()
			s := open(t, func(o *sso.Options) { o.Issuer = server.URL })
			err := s.sso.Check(t.Context())
			if tc.wrong == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			away(t, "Check", err, tc.wrong)
		})
	}
	t.Run("over TLS it never goes on without", func(t *testing.T) {
		t.Parallel()
		var plainAsked atomic.Int64
		plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { plainAsked.Add(1) }))
		defer plain.Close()
		var server *httptest.Server
		server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			says := good(server.URL)
			says["jwks_uri"] = strings.Replace(plain.URL, "127.0.0.1", "192.0.2.1", 1)
			json.NewEncoder(w).Encode(says)
		}))
		defer server.Close()
		trusting := x509.NewCertPool()
		trusting.AddCert(server.Certificate())
		s := open(t, func(o *sso.Options) { o.Issuer, o.Authorities = server.URL, trusting })
		away(t, "Check", s.sso.Check(t.Context()), "jwks_uri")
		stranger := open(t, func(o *sso.Options) { o.Issuer = server.URL })
		away(t, "Check", stranger.sso.Check(t.Context()), "certificate")
		if n := plainAsked.Load(); n > 0 {
			t.Errorf("asked over plain HTTP %d times", n)
		}
	})
}

// TestOptions: what an operator cannot mean.
func TestOptions(t *testing.T) {
	t.Parallel()
	rules := []sso.Rule{{"a", "K"}}
	for name, tc := range map[string]struct {
		o     sso.Options
		wrong string
	}{
		"good":              {sso.Options{Issuer: "https://id.example.com/realms/x", ClientID: "c", Rules: rules}, ""},
		"on this machine":   {sso.Options{Issuer: "http://localhost:8080", ClientID: "c", Rules: rules}, ""},
		"by its address":    {sso.Options{Issuer: "http://[::1]:8080", ClientID: "c", Rules: rules}, ""},
		"plain HTTP":        {sso.Options{Issuer: "http://id.example.com", ClientID: "c", Rules: rules}, "HTTPS"},
		"nearly localhost":  {sso.Options{Issuer: "http://localhost.example.com", ClientID: "c", Rules: rules}, "HTTPS"},
		"no URL":            {sso.Options{Issuer: "id.example.com", ClientID: "c", Rules: rules}, "not the URL of a provider"},
		"no URL at all":     {sso.Options{Issuer: "https://[", ClientID: "c", Rules: rules}, "not the URL of a provider"},
		"another scheme":    {sso.Options{Issuer: "ldap://id.example.com", ClientID: "c", Rules: rules}, "not the URL of a provider"},
		"with a password":   {sso.Options{Issuer: "https://a:b@id.example.com", ClientID: "c", Rules: rules}, "not the URL of a provider"},
		"with a query":      {sso.Options{Issuer: "https://id.example.com?x=1", ClientID: "c", Rules: rules}, "not the URL of a provider"},
		"no client":         {sso.Options{Issuer: "https://id.example.com", Rules: rules}, "--oidc-client-id"},
		"nobody may enter":  {sso.Options{Issuer: "https://id.example.com", ClientID: "c"}, "--oidc-key"},
		"nothing is spoken": {sso.Options{}, "not the URL of a provider"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := tc.o.Validate(); (err == nil) != (tc.wrong == "") || err != nil && !strings.Contains(err.Error(), tc.wrong) {
				t.Errorf("%v, want %q", err, tc.wrong)
			}
		})
	}
	for text, want := range map[string]sso.Rule{"a=K": {"a", "K"}, "cn=a,dc=b=K": {"cn=a,dc=b", "K"}, "a b=K": {"a b", "K"}, "a": {}, "=K": {}, "a=": {}, "": {}} {
		if got, err := sso.ParseRule(text); got != want || (err == nil) != (want != sso.Rule{}) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

// TestTerminal: the terminal's half, by the provider that this server names.
func TestTerminal(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		person idp.Claims
		change func(*idp.Provider, *sso.Device)
		wrong  string
	}{
		"signs in":            {person: anna},
		"somebody says no":    {person: nil, wrong: "somebody said no there"},
		"a confidential one":  {change: func(_ *idp.Provider, d *sso.Device) { d.ClientID = idp.ClientID }, wrong: "--oidc-device-client-id"},
		"plain HTTP":          {change: func(_ *idp.Provider, d *sso.Device) { d.DeviceURL = "http://192.0.2.1/device" }, wrong: "not an https:// URL"},
		"plain HTTP by issue": {change: func(_ *idp.Provider, d *sso.Device) { d.Issuer = "https://id.example.com" }, wrong: "not an https:// URL"},
		"out of order":        {change: func(p *idp.Provider, _ *sso.Device) { p.Answer(false) }, wrong: "(503)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			device, err := s.sso.Device(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if tc.change != nil {
				tc.change(s.Provider, &device)
			}
			token, err := device.Token(t.Context(), nil, func(address, code, complete string) {
				if address != s.URL+"/device" || code == "" || !strings.Contains(complete, code) {
					t.Errorf("shows %q %q %q", address, code, complete)
				}
				s.Approve(t, tc.person)
			})
			if tc.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wrong) {
					t.Errorf("%v, want %q", err, tc.wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if who, _, err := s.sso.Verify(t.Context(), token); err != nil || who.KeyID != "AKIAOPERATORS" {
				t.Errorf("%+v, %v", who, err)
			}
		})
	}
	t.Run("without device codes", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		s.NoDevices = true
		_, err := s.sso.Device(t.Context())
		refused(t, "Device", err, "has no device codes")
	})
}
