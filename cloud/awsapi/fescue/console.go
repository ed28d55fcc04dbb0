package fescue

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/identity"
)

// Passes make and end what the console knows callers by.
type Passes interface {
	IssuePass(ctx context.Context, keyID, person string, use identity.Use, life time.Duration) (pass string, ends time.Time, err error)
	EndPass(ctx context.Context, use identity.Use, pass string) error
}

// ConsolePath begins the paths of the console.
const ConsolePath = "/console/"

// ConsoleLinkPath is the path of a link, without what it carries.
const ConsoleLinkPath = ConsolePath + "link/"

// ConsolePass is the answer of CreateConsoleLink and CreateConsoleSession.
type ConsolePass struct {
	// Path of a link is what to open below the URL of the API; Session is what the
	// console keeps in the browser.
	Path      string `json:",omitempty"`
	Session   string `json:",omitempty"`
	ExpiresAt string
}

// ConsoleSession is the body of EndConsoleSession.
type ConsoleSession struct{ Session string }

func (a *API) createConsoleLink(ctx context.Context, r *restjson.Request, _ nothing) (out ConsolePass, err error) {
	link, ends, err := a.pass(ctx, r, identity.ConsoleLink, identity.ConsoleLinkLife)
	return ConsolePass{Path: ConsoleLinkPath + link, ExpiresAt: timestamp(ends)}, err
}

func (a *API) createConsoleSession(ctx context.Context, r *restjson.Request, _ nothing) (out ConsolePass, err error) {
	session, ends, err := a.pass(ctx, r, identity.ConsoleSession, identity.ConsoleSessionLife)
	return ConsolePass{Session: session, ExpiresAt: timestamp(ends)}, err
}

// noConsole refuses what is for a console that is not there.
var noConsole = refuse(http.StatusNotFound, resourceNotFound, "This server has no console: it was started with --no-console.")

func (a *API) pass(ctx context.Context, r *restjson.Request, use identity.Use, life time.Duration) (string, time.Time, error) {
	if a.o.Passes == nil {
		return "", time.Time{}, noConsole
	}
	pass, ends, err := a.o.Passes.IssuePass(ctx, r.KeyID, r.Caller.Person, use, life)
	if errors.Is(err, identity.ErrTemporaryKey) {
		remedy := "sign in with the access key that they are from"
		if r.Caller.Person != "" {
			remedy = "open the console, and sign in there"
		}
		err = refuse(http.StatusForbidden, "AccessDeniedException", "Cannot call %s with temporary credentials: %s.", r.Operation, remedy)
	}
	return pass, ends, err
}

// endConsoleSession is for whoever has the session, as that is what it is.
func (a *API) endConsoleSession(ctx context.Context, _ *restjson.Request, in ConsoleSession) (out nothing, err error) {
	if a.o.Passes == nil {
		return out, noConsole
	}
	err = a.o.Passes.EndPass(ctx, identity.ConsoleSession, in.Session)
	if errors.Is(err, identity.ErrUnknownKey) || errors.Is(err, identity.ErrExpiredKey) {
		err = nil // it has ended
	}
	return out, err
}
