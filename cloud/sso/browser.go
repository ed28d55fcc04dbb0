package sso

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// attempt is a sign-in that a browser has begun: what the provider's answer has to fit.
type attempt struct {
	State, Nonce string
	// Verifier is the secret half of PKCE.
	Verifier string
	// Redirect is where the provider leads back to, and Next where to go then.
	Redirect, Next string
	At             time.Time
}

const attemptLabel = "sign-in by OpenID Connect"

// Begin begins a sign-in of a browser: it is led to a URL of the provider's, and keeps
// what is sealed until it comes back to redirect.
func (p *Provider) Begin(ctx context.Context, redirect, next string) (to, sealed string, err error) {
	k, err := p.ask(ctx)
	if err != nil {
		return "", "", err
	}
	a := attempt{rand.Text(), rand.Text(), oauth2.GenerateVerifier(), redirect, next, p.o.Now().UTC()}
	data, err := json.Marshal(a)
	if err == nil {
		data, err = p.o.Sealer.Seal(data, attemptLabel)
	}
	if err != nil {
		return "", "", fmt.Errorf("seal a sign-in: %w", err)
	}
	return p.config(k, a.Redirect).AuthCodeURL(a.State, oidc.Nonce(a.Nonce), oauth2.S256ChallengeOption(a.Verifier)), base64.RawURLEncoding.EncodeToString(data), nil
}

func (p *Provider) config(k *known, redirect string) *oauth2.Config {
	return &oauth2.Config{ClientID: p.o.ClientID, ClientSecret: p.o.ClientSecret, Endpoint: k.endpoint, RedirectURL: redirect, Scopes: k.scopes}
}

// Finish says who a browser is that comes back with an answer of the provider's, and where
// it wanted to go, as far as that is known. The error is a Refusal or Unavailable.
func (p *Provider) Finish(ctx context.Context, sealed string, answer url.Values) (who Person, next string, err error) {
	a, ok := p.opened(sealed)
	if !ok || subtle.ConstantTimeCompare([]byte(a.State), []byte(answer.Get("state"))) != 1 {
		return who, a.Next, refuse("This browser has not begun to sign in here in the last %d minutes, or has begun again since. Begin again.", int(oldest.Minutes()))
	}
	switch code := answer.Get("error"); {
	case answer.Has("iss") && answer.Get("iss") != p.o.Issuer: // RFC 9207
		return who, a.Next, refuse("The answer is of %s, and not of %s.", printable(answer.Get("iss"), 200), p.o.Issuer)
	case code != "":
		return who, a.Next, refuse("%s did not sign you in: %s %s", p.host, printable(code, 100), printable(answer.Get("error_description"), 300))
	}
	k, err := p.ask(ctx)
	if err != nil {
		return who, a.Next, err
	}
	token, err := p.redeem(ctx, k, a, answer.Get("code"))
	if err != nil {
		return who, a.Next, err
	}
	verified, err := p.verify(ctx, k, p.o.ClientID, token)
	if err != nil {
		return who, a.Next, err
	}
	if subtle.ConstantTimeCompare([]byte(a.Nonce), []byte(verified.Nonce)) != 1 {
		return who, a.Next, refuse("The token of %s was not made for this sign-in. Begin again.", p.host)
	}
	who, err = p.person(verified)
	return who, a.Next, err
}

func (p *Provider) opened(sealed string) (a attempt, ok bool) {
	data, err := base64.RawURLEncoding.DecodeString(sealed)
	if err == nil {
		data, err = p.o.Sealer.Open(data, attemptLabel)
	}
	if err != nil || json.Unmarshal(data, &a) != nil {
		return attempt{}, false
	}
	age := p.o.Now().Sub(a.At)
	return a, age >= -ahead && age < oldest
}

// redeem gets the ID token for a code.
func (p *Provider) redeem(ctx context.Context, k *known, a attempt, code string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tokens, err := p.config(k, a.Redirect).Exchange(oidc.ClientContext(ctx, p.client), code, oauth2.VerifierOption(a.Verifier))
	var refused *oauth2.RetrieveError
	switch {
	case err != nil && errors.Is(ctx.Err(), context.Canceled):
		return "", ctx.Err()
	case errors.As(err, &refused) && refused.ErrorCode == "invalid_grant":
		return "", refuse("%s does not take the code that it sent you with, or not again. Begin again.", p.host)
	case err != nil:
		return "", p.unavailable(fmt.Errorf("get a token for a code: %w", err))
	}
	token, ok := tokens.Extra("id_token").(string)
	if !ok {
		return "", p.unavailable(errors.New("get a token for a code: the answer has no id_token"))
	}
	return token, nil
}
