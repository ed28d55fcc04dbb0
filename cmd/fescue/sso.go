package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/fescue-edge/fescue/client"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/cloud/sso"
)

// offered is how a server has people sign in who have no access key.
type offered struct {
	api *client.Client
	ownapi.SignInOffer
}

// offer asks the server of a profile how one signs in.
func offer(ctx context.Context, p client.Profile) (*offered, error) {
	if u, err := url.Parse(p.Endpoint); err != nil || u.Scheme != "https" && u.Hostname() != "localhost" && !net.ParseIP(u.Hostname()).IsLoopback() {
		return nil, fmt.Errorf("%s is no https:// URL: whoever is on the way could sign in as you; use one, or an access key with --key", p.Endpoint)
	}
	api, err := client.Unsigned(p.Endpoint, p.CA)
	if err != nil {
		return nil, err
	}
	o := &offered{api: api}
	if err := api.Call(ctx, "", "DescribeSignIn", http.MethodGet, ownapi.SignInPath, nil, &o.SignInOffer); err != nil {
		return nil, err
	}
	return o, nil
}

// noOffer reports whether a server has nobody sign in but with a key, as one does that is
// too old to be asked.
func noOffer(err error) bool {
	return client.IsStatus(err, http.StatusNotFound) || client.IsStatus(err, http.StatusForbidden)
}

// signIn has somebody sign in at the provider of a profile's server, and makes the session
// that comes of it the profile's.
func signIn(ctx context.Context, t *terminal, p *client.Profile) error {
	o, err := offer(ctx, *p)
	if err != nil {
		return err
	}
	return o.signIn(ctx, t, p)
}

func (o *offered) signIn(ctx context.Context, t *terminal, p *client.Profile) error {
	device := sso.Device{Issuer: o.Issuer, ClientID: o.ClientId, DeviceURL: o.DeviceAuthorizationEndpoint, TokenURL: o.TokenEndpoint, Scopes: o.Scopes}
	authorities, err := authoritiesWith(p.CA)
	if err != nil {
		return err
	}
	token, err := device.Token(ctx, authorities, func(address, code, complete string) {
		fmt.Fprintf(t.stderr, "To sign in to %s as yourself, open\n\n  %s\n\nin any browser and enter the code %s", p.Endpoint, printable(address), printable(code))
		if complete != "" {
			fmt.Fprintf(t.stderr, ", or open\n\n  %s\n\nwhich has it", printable(complete))
		}
		fmt.Fprint(t.stderr, ". Waiting…\n")
	})
	if err != nil {
		return err
	}
	var made ownapi.TerminalSession
	if err := o.api.Call(ctx, "", "SignIn", http.MethodPost, ownapi.SignInPath, ownapi.SignInRequest{IdToken: token}, &made); err != nil {
		return err
	}
	ends, err := time.Parse(time.RFC3339, made.ExpiresAt)
	if err != nil {
		return fmt.Errorf("SignIn: the answer does not parse: %w", err)
	}
	p.KeyID, p.Secret, p.Session = made.AccessKeyId, made.SecretAccessKey, client.Session{Token: made.SessionToken, Person: made.Person, Ends: ends}
	return nil
}

// authoritiesWith are the machine's, and those of a PEM: who keeps a server behind an
// authority of their own often has the provider behind it, too.
func authoritiesWith(pem []byte) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if len(pem) > 0 && !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("the authorities to trust: there is no certificate in PEM")
	}
	return pool, nil
}

// endSession ends the session of a profile at its server, if it has one that goes on.
func endSession(ctx context.Context, name string, p client.Profile) error {
	if p.Session.Token == "" || !time.Now().Before(p.Session.Ends) {
		return nil
	}
	api, err := clientOf(ctx, name, p)
	if err != nil {
		return err
	}
	err = api.Call(ctx, "greengrass", "EndTerminalSession", http.MethodPost, "/fescue/v1/terminal/sessions/end", nil, nil)
	if ended := (*client.EndedError)(nil); errors.As(err, &ended) || client.IsCode(err, "UnrecognizedClientException") {
		err = nil // it, or its key, has ended
	}
	return err
}

// localTime is a time for people, in this machine's zone.
func localTime(t time.Time) string { return t.Local().Format("2006-01-02 15:04 MST") }
