// Package webhook posts to HTTP endpoints that the operator names: to https, or to this
// machine, never on to where a redirect leads, and without the URL in errors, which is often
// a secret. It knows nothing of what is posted.
package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
)

// maxAnswer is how much of an answer is read, so that the connection can be used
// again.
const maxAnswer = 64 << 10

// Check refuses a URL that is not http or https, or that is plain http to another
// machine. Its error has the URL as it may be shown.
func Check(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("%q is not an http or https URL", Redacted(address))
	}
	if u.Scheme == "http" && !Loopback(u.Hostname()) {
		return fmt.Errorf("%q: beyond this machine https only", Redacted(address))
	}
	return nil
}

// Redacted is a URL as an error may show it: paths, queries and passwords of
// webhooks are often secrets.
func Redacted(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "(not shown)"
	}
	return u.Scheme + "://" + u.Host + "/…"
}

// Name tells endpoints apart in logs and metrics: the URL's host and the beginning of the
// URL's hash.
func Name(address string) string {
	host := ""
	if u, err := url.Parse(address); err == nil {
		host = u.Host
	}
	sum := sha256.Sum256([]byte(address))
	return host + "#" + hex.EncodeToString(sum[:4])
}

// Loopback reports whether a host is this machine.
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Client makes a client that keeps so many connections to an endpoint.
func Client(connections int) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = connections
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // what is meant for one goes to nobody else
	}}
}

// StatusError is an answer that is not of 2xx.
type StatusError struct{ Status int }

// Error has the status.
func (e *StatusError) Error() string { return fmt.Sprintf("answered with status %d", e.Status) }

// Post posts a body. Anything but a 2xx answer is a *StatusError.
func Post(ctx context.Context, client *http.Client, address string, header http.Header, body io.Reader) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, body)
	if err != nil {
		return plain(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", "fescue")
	resp, err := client.Do(req)
	if err != nil {
		return plain(err)
	}
	defer resp.Body.Close()
	io.CopyN(io.Discard, resp.Body, maxAnswer)
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return &StatusError{resp.StatusCode}
	}
	return nil
}

// plain is an HTTP client's error without the URL.
func plain(err error) error {
	var withURL *url.Error
	if errors.As(err, &withURL) {
		return withURL.Err
	}
	return err
}
