package forward

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/fescue-edge/fescue/cloud/webhook"
)

// Headers of a message that is posted. The body is the payload.
const (
	TopicHeader   = "Fescue-Topic" // bytes beyond visible ASCII, and %, as %XX
	AccountHeader = "Fescue-Account"
	RegionHeader  = "Fescue-Region"
	TimeHeader    = "Fescue-Time" // RFC 3339, when the server had it
	// MessageIDHeader is the message's id, a UUID: what has the same one is the same message.
	MessageIDHeader = "Fescue-Message-Id"
)

// hook is a webhook.
type hook struct {
	address, authorization string
	client                 *http.Client
}

func newHook(r Rule) *hook {
	h := &hook{address: r.address(), client: webhook.Client(parallel)}
	h.client.Transport.(*http.Transport).TLSClientConfig = r.tlsConfig()
	if r.username != "" || r.password != "" {
		h.authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(r.username+":"+r.password))
	}
	return h
}

// refusing are the answers that say that the message itself is not wanted.
var refusing = map[int]bool{
	http.StatusBadRequest: true, http.StatusRequestEntityTooLarge: true, http.StatusUnsupportedMediaType: true, http.StatusUnprocessableEntity: true,
}

// Send posts the payload.
func (h *hook) Send(ctx context.Context, m Message) error {
	header := http.Header{
		"Content-Type": {"application/octet-stream"}, TopicHeader: {escaped(m.Topic)}, AccountHeader: {m.Partition.Account}, RegionHeader: {m.Partition.Region},
		TimeHeader: {m.At.UTC().Format(time.RFC3339Nano)}, MessageIDHeader: {m.ID},
	}
	if h.authorization != "" {
		header.Set("Authorization", h.authorization)
	}
	err := webhook.Post(ctx, h.client, h.address, header, bytes.NewReader(m.Payload))
	if status := (*webhook.StatusError)(nil); errors.As(err, &status) && refusing[status.Status] {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}

// Close implements sender.
func (h *hook) Close() { h.client.CloseIdleConnections() }

// escaped is a topic as a header can have it.
func escaped(name string) string {
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; c > ' ' && c < 0x7f && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
