package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/cloud/sso"
)

// Provider is the provider of identities at which people sign in who have no access key.
// What it does not do is for people to read: an *sso.Refusal or *sso.Unavailable.
type Provider interface {
	Host() string
	// Begin leads a browser to the provider, which leads it back to redirect. What is
	// sealed is for the browser to keep.
	Begin(ctx context.Context, redirect, next string) (to, sealed string, err error)
	// Finish says who came back, and where they wanted to go.
	Finish(ctx context.Context, sealed string, answer url.Values) (who sso.Person, next string, err error)
}

const (
	// ssoBack is where the provider leads back to: what an operator registers there.
	ssoBack = "/sso/callback"
	// ssoCookie keeps what was begun, until it ends.
	ssoCookie        = "fescue-console-sso"
	ssoCookieSeconds = 600
	// maxNext is the longest address, in bytes, that is kept on the way to the provider and
	// back: browsers take cookies of 4096.
	maxNext = 1024
)

// leadToProvider sends a browser to sign in at the provider. A link leads here and no
// form: what a form may lead to is this server's alone.
func (c *Console) leadToProvider(w http.ResponseWriter, r *http.Request) {
	if c.o.Provider == nil {
		c.fail(w, r, noProvider)
		return
	}
	next := r.URL.Query().Get("next")
	if len(next) > maxNext {
		next = ""
	}
	to, sealed, err := c.o.Provider.Begin(r.Context(), origin(r)+c.root+ssoBack, next)
	if err != nil {
		c.notSignedIn(w, r, next, err)
		return
	}
	http.SetCookie(w, c.cookieOf(r, ssoCookie, c.root+ssoBack, sealed, ssoCookieSeconds))
	http.Redirect(w, r, to, http.StatusSeeOther)
}

var noProvider = &refusal{http.StatusNotFound, "", "Nobody signs in here but with an access key: the server was started without --oidc-issuer."}

// comeFromProvider takes who comes back from the provider.
func (c *Console) comeFromProvider(w http.ResponseWriter, r *http.Request) {
	if c.o.Provider == nil {
		c.fail(w, r, noProvider)
		return
	}
	sealed := ""
	if cookie, err := r.Cookie(ssoCookie); err == nil {
		sealed = cookie.Value
	}
	who, next, err := c.o.Provider.Finish(r.Context(), sealed, r.URL.Query())
	if err == nil || sealed != "" {
		http.SetCookie(w, c.cookieOf(r, ssoCookie, c.root+ssoBack, "", -1))
	}
	if err != nil {
		c.notSignedIn(w, r, next, err)
		return
	}
	signer, err := c.o.Keys.Signer(r.Context(), who.KeyID)
	if errors.Is(err, identity.ErrUnknownKey) {
		err = &sso.Refusal{Text: ownapi.UnknownKey(who)}
	}
	if err != nil {
		c.notSignedIn(w, r, next, err)
		return
	}
	signer.Person = who.Name
	c.o.Logger.Info("somebody signs in to the console by OpenID Connect", "person", who.Name, "subject", who.Subject, "key", who.KeyID, "from", r.RemoteAddr)
	c.begin(w, r, signer, next)
}

// notSignedIn shows the form again, and why.
func (c *Console) notSignedIn(w http.ResponseWriter, r *http.Request, next string, err error) {
	p, status := signInPage{Next: next}, 0
	refused, away := (*sso.Refusal)(nil), (*sso.Unavailable)(nil)
	switch {
	case errors.As(err, &refused) && !c.o.API.MayRefuse(r):
		status, p.Wrong = http.StatusTooManyRequests, tooMany
	case errors.As(err, &refused):
		status, p.Wrong = http.StatusForbidden, refused.Text
	case errors.As(err, &away):
		status, p.Wrong = http.StatusServiceUnavailable, away.Text()
	default:
		c.fail(w, r, err)
		return
	}
	c.askToSignIn(w, r, status, p)
}
