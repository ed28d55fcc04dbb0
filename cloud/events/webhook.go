package events

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/fescue-edge/fescue/cloud/webhook"
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

// Webhook is an HTTP endpoint that takes notifications by POST.
type Webhook struct {
	url, name string
	secret    []byte
	client    *http.Client
	now       func() time.Time
}

// NewWebhook makes a destination of a URL. Beyond this machine it must be https.
func NewWebhook(address string, secret []byte, now func() time.Time) (*Webhook, error) {
	if err := webhook.Check(address); err != nil {
		return nil, fmt.Errorf("--event-url %w", err)
	}
	if len(secret) < minSecret {
		return nil, fmt.Errorf("--event-url needs a secret of at least %d bytes that signs what is sent: set FESCUE_EVENT_SECRET or name a file with --event-secret-file", minSecret)
	}
	return &Webhook{url: address, name: webhook.Name(address), secret: secret, now: now, client: webhook.Client(parallel)}, nil
}

// Name is the URL's host and the beginning of the URL's hash.
func (w *Webhook) Name() string { return w.name }

// Deliver posts a notification. Anything but a 2xx answer is an error.
func (w *Webhook) Deliver(ctx context.Context, n Notification) error {
	return webhook.Post(ctx, w.client, w.url, http.Header{
		"Content-Type": {"application/json"}, EventIDHeader: {n.ID}, SignatureHeader: {w.signature(n.Body)},
	}, bytes.NewReader(n.Body))
}

func (w *Webhook) signature(body []byte) string {
	at := strconv.FormatInt(w.now().Unix(), 10)
	mac := hmac.New(sha256.New, w.secret)
	mac.Write([]byte(at + "."))
	mac.Write(body)
	return "t=" + at + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}
