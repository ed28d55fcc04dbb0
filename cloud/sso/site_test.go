package sso_test

import (
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/cloud/sso"
	"github.com/fescue-edge/fescue/pki"
	"github.com/fescue-edge/fescue/testkit/idp"
)

// site is a provider, and a server that knows people by it.
type site struct {
	*idp.Provider
	sso  *sso.Provider
	past atomic.Int64
}

const back = "https://fescue.example.com/console/sso/callback"

func (s *site) now() time.Time       { return time.Now().Add(time.Duration(s.past.Load())) }
func (s *site) pass(d time.Duration) { s.past.Add(int64(d)) }

// open starts both. The options may be changed before.
func open(t *testing.T, changes ...func(*sso.Options)) *site {
	t.Helper()
	s := &site{Provider: idp.Start(t)}
	s.Provider.Now = s.now
	master, err := pki.NewMasterKey(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	o := sso.Options{
		Issuer: s.URL, ClientID: idp.ClientID, ClientSecret: idp.ClientSecret, DeviceClientID: idp.DeviceClientID,
		Rules: []sso.Rule{{"operators", "AKIAOPERATORS"}, {"staff", "AKIASTAFF"}}, Sealer: master, Now: s.now, Logger: slog.New(slog.DiscardHandler),
	}
	for _, change := range changes {
		change(&o)
	}
	if s.sso, err = sso.New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.sso.Close)
	return s
}

// anna may do something.
var anna = idp.Claims{"sub": "4711", "email": "anna@example.com", "email_verified": true, "preferred_username": "anna", "groups": []string{"all", "operators"}}

// with is a person with other claims; nil takes one away.
func with(person idp.Claims, pairs ...any) idp.Claims {
	other := idp.Claims{}
	for name, value := range person {
		other[name] = value
	}
	for i := 0; i < len(pairs); i += 2 {
		if other[pairs[i].(string)] = pairs[i+1]; pairs[i+1] == nil {
			delete(other, pairs[i].(string))
		}
	}
	return other
}

// begin begins a sign-in, and gives what the browser keeps and where it is led to.
func (s *site) begin(t *testing.T) (to *url.URL, sealed string) {
	t.Helper()
	address, sealed, err := s.sso.Begin(t.Context(), back, "/console/x")
	if err != nil {
		t.Fatal(err)
	}
	if to, err = url.Parse(address); err != nil {
		t.Fatal(err)
	}
	return to, sealed
}

// answer is what a browser comes back with that was led to the provider.
func (s *site) answer(t *testing.T, to *url.URL) url.Values {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, to.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	led, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	led.Body.Close()
	at, err := led.Location()
	if err != nil {
		t.Fatalf("%s leads nowhere: %v", to, err)
	}
	if got := at.Scheme + "://" + at.Host + at.Path; got != back {
		t.Errorf("the provider leads to %s", got)
	}
	return at.Query()
}

// browser signs in by a browser.
func (s *site) browser(t *testing.T, person idp.Claims) (sso.Person, error) {
	t.Helper()
	s.SignIn(person)
	to, sealed := s.begin(t)
	who, next, err := s.sso.Finish(t.Context(), sealed, s.answer(t, to))
	if next != "/console/x" {
		t.Errorf("leads to %q", next)
	}
	return who, err
}

// terminal signs in by a device code.
func (s *site) terminal(t *testing.T, person idp.Claims) (sso.Person, error) {
	t.Helper()
	who, _, err := s.sso.Verify(t.Context(), s.Sign(s.Claims(idp.DeviceClientID, person)))
	return who, err
}
