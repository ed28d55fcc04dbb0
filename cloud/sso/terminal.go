package sso

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// Token is the terminal's half: it has a person sign in at the provider by a device code,
// which show is to show with the address where it is typed, and waits for the ID token.
// complete is an address with the code in it, where there is one. Nil authorities are the
// machine's.
func (d Device) Token(ctx context.Context, authorities *x509.CertPool, show func(address, code, complete string)) (string, error) {
	issuer, err := url.Parse(d.Issuer)
	if err != nil {
		return "", fmt.Errorf("the issuer %q is not a URL", d.Issuer)
	}
	client := newClient(authorities, onThisMachine(issuer))
	defer client.CloseIdleConnections()
	asking := oidc.ClientContext(ctx, client)
	config := oauth2.Config{
		ClientID: d.ClientID, Scopes: d.Scopes,
		Endpoint: oauth2.Endpoint{DeviceAuthURL: d.DeviceURL, TokenURL: d.TokenURL, AuthStyle: oauth2.AuthStyleInParams},
	}
	given, err := config.DeviceAuth(asking)
	if err != nil {
		return "", d.failed("get a device code", err)
	}
	show(given.VerificationURI, given.UserCode, given.VerificationURIComplete)
	tokens, err := config.DeviceAccessToken(asking, given)
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return "", fmt.Errorf("nobody used the code %s in time: try again", printable(given.UserCode, 32))
	}
	if err != nil {
		return "", d.failed("wait for a token", err)
	}
	token, ok := tokens.Extra("id_token").(string)
	if !ok {
		return "", d.failed("wait for a token", errors.New("the answer has no id_token"))
	}
	return token, nil
}

// failed says what the provider did not do, and the remedy where it is known.
func (d Device) failed(what string, err error) error {
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) {
		return fmt.Errorf("%s of %s: %s", what, d.Issuer, printable(err.Error(), 500))
	}
	remedy := ""
	switch refused.ErrorCode {
	case "invalid_client", "unauthorized_client":
		remedy = fmt.Sprintf("; the client %q there has to be a public one that may use device codes, and fescue server --oidc-device-client-id names it", d.ClientID)
	case "access_denied":
		remedy = "; somebody said no there"
	case "expired_token":
		remedy = "; nobody used the code in time: try again"
	}
	return fmt.Errorf("%s of %s: %s %s (%d)%s", what, d.Issuer, printable(refused.ErrorCode, 100), printable(refused.ErrorDescription, 300), refused.Response.StatusCode, remedy)
}
