package console

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/fescue-edge/fescue/cloud/awsapi"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/cloud/identity"
)

// cookieName is of the cookie that has a session's pass.
const cookieName = "fescue-console"

func (c *Console) cookie(r *http.Request, value string, seconds int) *http.Cookie {
	return c.cookieOf(r, cookieName, c.root+"/", value, seconds)
}

func (c *Console) cookieOf(r *http.Request, name, path, value string, seconds int) *http.Cookie {
	return &http.Cookie{
		Name: name, Value: value, Path: path, MaxAge: seconds,
		HttpOnly: true, Secure: overTLS(r), SameSite: http.SameSiteLaxMode,
	}
}

// bearer is who has signed in.
func (c *Console) bearer(r *http.Request) (identity.Signer, error) {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return identity.Signer{}, identity.ErrUnknownKey
	}
	signer, _, err := c.o.Keys.Bearer(r.Context(), identity.ConsoleSession, cookie.Value)
	return signer, err
}

// signInPage is what the form to sign in shows.
type signInPage struct {
	KeyID, Next string
	// Wrong is what was wrong with what was sent, Ended that there was a session.
	Wrong string
	Ended bool
	// Provider is the host of the provider where one can sign in without a key, empty for
	// none.
	Provider string
}

// askToSignIn shows the form.
func (c *Console) askToSignIn(w http.ResponseWriter, r *http.Request, status int, p signInPage) {
	if c.o.Provider != nil {
		p.Provider = c.o.Provider.Host()
	}
	c.show(w, r, status, "sign-in", "Sign in", p)
}

// tooMany is what an address is told that has tried too often.
const tooMany = "Too many attempts from your address. Try again in a minute."

// leadToSignIn asks who that is, and comes back here: to a page, not to an act.
func (c *Console) leadToSignIn(w http.ResponseWriter, r *http.Request) {
	query := url.Values{}
	if _, err := r.Cookie(cookieName); err == nil {
		query.Set("ended", "1")
	}
	if r.Method == http.MethodGet {
		query.Set("next", c.in(r.Context().Value(regionKey{}).(string))+r.URL.RequestURI())
	}
	http.Redirect(w, r, c.root+"/sign-in?"+query.Encode(), http.StatusSeeOther)
}

// next is where to go after signing in: a page of the console, whatever is asked.
func (c *Console) next(asked string) string {
	u, err := url.Parse(asked)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(u.Path, c.root+"/") || strings.Contains(u.Path, "\\") {
		return c.root + "/"
	}
	return u.RequestURI()
}

func (c *Console) showSignIn(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	c.askToSignIn(w, r, http.StatusOK, signInPage{Next: query.Get("next"), Ended: query.Has("ended")})
}

// signIn takes an access key: whoever knows its secret is its holder.
func (c *Console) signIn(w http.ResponseWriter, r *http.Request) {
	form, err := sent(r)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	p := signInPage{KeyID: strings.TrimSpace(form.Get("key")), Next: form.Get("next")}
	signer, err := c.o.Keys.Proves(r.Context(), p.KeyID, strings.TrimSpace(form.Get("secret")))
	if errors.Is(err, identity.ErrUnknownKey) {
		status := http.StatusForbidden
		if p.Wrong = "No access key has this id and secret, or it was revoked."; !c.o.API.MayRefuse(r) {
			status, p.Wrong = http.StatusTooManyRequests, tooMany
		}
		c.askToSignIn(w, r, status, p)
		return
	}
	if err != nil {
		c.fail(w, r, err)
		return
	}
	c.begin(w, r, signer, p.Next)
}

// begin begins a session.
func (c *Console) begin(w http.ResponseWriter, r *http.Request, signer identity.Signer, next string) {
	inside := awsapi.Inside{Handler: c.o.API, Signer: signer, Region: c.o.Regions[0], Origin: r}
	pass, err := call[ownapi.ConsolePass](r.Context(), inside, "fescue", http.MethodPost, "/fescue/v1/console/sessions", nil)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	http.SetCookie(w, c.cookie(r, pass.Session, int(identity.ConsoleSessionLife.Seconds())))
	http.Redirect(w, r, c.next(next), http.StatusSeeOther)
}

// linkPage is what a link leads to: it is followed by a button, so that what only looks
// at links does not use it up.
type linkPage struct{ Pass, Name, KeyID string }

func (c *Console) showLink(w http.ResponseWriter, r *http.Request) {
	pass := r.PathValue("pass")
	signer, ok := c.link(w, r, pass)
	if ok {
		c.show(w, r, http.StatusOK, "link", "Sign in", linkPage{pass, signer.Name, signer.ID})
	}
}

// link is whose a link is. One that is not good is answered.
func (c *Console) link(w http.ResponseWriter, r *http.Request, pass string) (identity.Signer, bool) {
	signer, _, err := c.o.Keys.Bearer(r.Context(), identity.ConsoleLink, pass)
	switch {
	case err == nil:
		return signer, true
	case !errors.Is(err, identity.ErrUnknownKey) && !errors.Is(err, identity.ErrExpiredKey):
		c.fail(w, r, err)
	case !c.o.API.MayRefuse(r):
		c.fail(w, r, &refusal{http.StatusTooManyRequests, "", tooMany})
	default:
		c.fail(w, r, badLink)
	}
	return signer, false
}

var badLink = &refusal{http.StatusForbidden, "", "This link was used already, or is older than ten minutes. fescue console prints another one."}

func (c *Console) followLink(w http.ResponseWriter, r *http.Request) {
	form, err := sent(r)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	pass := form.Get("pass")
	signer, ok := c.link(w, r, pass)
	if !ok {
		return
	}
	// Of two who follow it only one signs in.
	if err := c.o.Keys.EndPass(r.Context(), identity.ConsoleLink, pass); err != nil {
		if errors.Is(err, identity.ErrUnknownKey) || errors.Is(err, identity.ErrExpiredKey) {
			err = badLink
		}
		c.fail(w, r, err)
		return
	}
	c.begin(w, r, signer, "")
}

func (c *Console) signOut(w http.ResponseWriter, r *http.Request) {
	signer, err := c.bearer(r)
	if cookie, missing := r.Cookie(cookieName); err == nil && missing == nil {
		inside := awsapi.Inside{Handler: c.o.API, Signer: signer, Region: c.o.Regions[0], Origin: r}
		_, err = call[struct{}](r.Context(), inside, "fescue", http.MethodPost, "/fescue/v1/console/sessions/end", ownapi.ConsoleSession{Session: cookie.Value})
	}
	if err != nil && !errors.Is(err, identity.ErrUnknownKey) && !errors.Is(err, identity.ErrExpiredKey) {
		c.fail(w, r, err)
		return
	}
	http.SetCookie(w, c.cookie(r, "", -1))
	http.Redirect(w, r, c.root+"/sign-in", http.StatusSeeOther)
}
