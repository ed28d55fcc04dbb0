package sso

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"golang.org/x/time/rate"
)

// bounded carries requests to a provider: over HTTPS, not too often, with answers that are
// not too large. Anybody can have the provider asked, who sends tokens of keys that nobody
// knows, or codes that nobody gave out.
type bounded struct {
	http.RoundTripper
	// local allows plain HTTP on this machine, for a provider that is here itself.
	local       bool
	gets, posts *rate.Limiter
}

const (
	// maxAnswer bounds what a provider answers, in bytes.
	maxAnswer = 1 << 20
	// A provider is asked for its keys and for what it says of itself so often a second, and
	// first so many times at once; for tokens so often. Who comes too early for keys is
	// refused, as others have just got them; for tokens everyone waits.
	getsPerSecond, getsAtOnce   = 1, 20
	postsPerSecond, postsAtOnce = 20, 40
)

func newClient(authorities *x509.CertPool, local bool) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12}
	return &http.Client{
		Transport: &bounded{transport, local, rate.NewLimiter(getsPerSecond, getsAtOnce), rate.NewLimiter(postsPerSecond, postsAtOnce)},
		Timeout:   patience,
		// What is sent has secrets, and what comes back is believed.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// CloseIdleConnections has http.Client do so.
func (b *bounded) CloseIdleConnections() { b.RoundTripper.(*http.Transport).CloseIdleConnections() }

// allows reports whether nobody on the way to a URL can read or change anything.
func (b *bounded) allows(u *url.URL) bool {
	return u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && b.local && onThisMachine(u))
}

var errTooOften = errors.New("it was asked too often in the last seconds")

// RoundTrip implements http.RoundTripper.
func (b *bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := b.admit(r.Context(), r); err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	answer, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		answer.Body = http.MaxBytesReader(nil, answer.Body, maxAnswer)
	}
	return answer, err
}

func (b *bounded) admit(ctx context.Context, r *http.Request) error {
	switch {
	case !b.allows(r.URL):
		return fmt.Errorf("%s is not asked: it is not an https:// URL", r.URL.Redacted())
	case r.Method != http.MethodGet:
		return b.posts.Wait(ctx)
	case !b.gets.Allow():
		return errTooOften
	}
	return nil
}
