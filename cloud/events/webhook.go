package events

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Headers of a delivery.
const (
	// EventIDHeader is the event's id: deliveries with the same one are the same
	// event.
	EventIDHeader = "Fescue-Event-Id"
	// SignatureHeader is "t=<seconds>,v1=<hex>": the HMAC-SHA256 of the seconds,
	// a full stop and the body.
	SignatureHeader = "Fescue-Signature"
)

// minSecret is the least length of the secret that signs, in bytes.
const minSecret = 16

// maxAnswer is how much of an answer is read, so that the connection can be used
// again.
const maxAnswer = 64 << 10

// Webhook is an HTTP endpoint that takes notifications by POST.
type Webhook struct {
	url, name string
	secret    []byte
	client    *http.Client
	now       func() time.Time
}

// NewWebhook makes a destination of a URL. Beyond this machine it must be https.
func NewWebhook(address string, secret []byte, now func() time.Time) (*Webhook, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("--event-url %q is not an http or https URL", redacted(address))
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		return nil, fmt.Errorf("--event-url %q: beyond this machine events are sent over https only", redacted(address))
	}
	if len(secret) < minSecret {
		return nil, fmt.Errorf("--event-url needs a secret of at least %d bytes that signs what is sent: set FESCUE_EVENT_SECRET or name a file with --event-secret-file", minSecret)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = parallel
	sum := sha256.Sum256([]byte(address))
	return &Webhook{
		url: u.String(), name: u.Host + "#" + hex.EncodeToString(sum[:4]), secret: secret, now: now,
		client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // what is signed goes where it was meant to go
		}},
	}, nil
}

// redacted is a URL as an error may show it: paths, queries and passwords of
// webhooks are often secrets.
func redacted(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "(not shown)"
	}
	return u.Scheme + "://" + u.Host + "/…"
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Name is the URL's host and the beginning of the URL's hash.
func (w *Webhook) Name() string { return w.name }

// Deliver posts a notification. Anything but a 2xx answer is an error.
func (w *Webhook) Deliver(ctx context.Context, n Notification) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(n.Body))
	if err != nil {
		return plain(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "fescue")
	req.Header.Set(EventIDHeader, n.ID)
	req.Header.Set(SignatureHeader, w.signature(n.Body))
	resp, err := w.client.Do(req)
	if err != nil {
		return plain(err)
	}
	defer resp.Body.Close()
	io.CopyN(io.Discard, resp.Body, maxAnswer)
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("answered with status %d", resp.StatusCode)
	}
	return nil
}

func (w *Webhook) signature(body []byte) string {
	at := strconv.FormatInt(w.now().Unix(), 10)
	mac := hmac.New(sha256.New, w.secret)
	mac.Write([]byte(at + "."))
	mac.Write(body)
	return "t=" + at + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

// plain is an HTTP client's error without the URL.
func plain(err error) error {
	var withURL *url.Error
	if errors.As(err, &withURL) {
		return withURL.Err
	}
	return err
}
