package console

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
	"unicode/utf8"

	"golang.org/x/time/rate"

	"github.com/fescue-edge/fescue/cloud/awsapi"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/cloud/identity"
)

// messagesPage subscribes and publishes.
type messagesPage struct {
	Filter, Topic, Payload string
	QoS1                   bool
	May                    bool // publish
	// Sent is how many bytes were published, nil for nothing; Wrong why nothing was.
	Sent  *int
	Wrong string
}

func (v *visit) messages() error {
	return v.showMessages(messagesPage{Filter: v.form.Get("filter")})
}

func (v *visit) showMessages(p messagesPage) error {
	p.May = v.may(iotdata, awsapi.Target{Operation: "Publish"})
	return v.show("messages", "Messages", p, v.fescueCLI("sub 'mill/#'"), v.fescueCLI("pub mill/state '{\"on\":true}'"),
		v.aws("iot-data publish --topic mill/state --qos 1 --cli-binary-format raw-in-base64-out --payload '{\"on\":true}'"))
}

// publish sends a message. The page that answers says what became of it.
func (v *visit) publish() error {
	p := messagesPage{Topic: v.form.Get("topic"), Payload: v.form.Get("payload"), QoS1: v.form.Get("qos") == "1"}
	query := ""
	if p.QoS1 {
		query = "?qos=1"
	}
	_, err := post[struct{}](v, iotdata, "/topics/"+url.PathEscape(p.Topic)+query, raw(p.Payload))
	denied := (*refusal)(nil)
	switch {
	case errors.As(err, &denied):
		p.Wrong = denied.Message
	case err != nil:
		return err
	default:
		size := len(p.Payload)
		p.Sent = &size
	}
	return v.showMessages(p)
}

// Bounds of what a subscription brings to a browser.
const (
	// streamRate is how many messages a second it gets, streamBurst how many at once;
	// what is more is counted.
	streamRate, streamBurst = 20, 100
	// maxShown is how many bytes of a payload it gets, and of one that is no text half
	// as many.
	maxShown = 4096
	// sessionEvery is how often it is asked whether the session goes on. Whether the key
	// still may is the API's to ask, each second.
	sessionEvery = 5 * time.Second
)

// shownMessage is a message as the browser gets it.
type shownMessage struct {
	Topic    string    `json:"topic"`
	At       time.Time `json:"at"`
	Text     string    `json:"text"`
	Bytes    int       `json:"bytes"`
	Hex      bool      `json:"hex,omitempty"`
	Retained bool      `json:"retained,omitempty"`
	// Skipped are the messages before this one that were too many.
	Skipped int `json:"skipped,omitempty"`
}

// stream has the API subscribe for the session's key, and hands on what comes as
// server-sent events, until the browser goes or may no longer read it.
func (v *visit) stream() error {
	ctx, cancel := context.WithCancelCause(v.r.Context())
	defer cancel(nil)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		again := time.NewTicker(sessionEvery)
		defer again.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-again.C:
				if _, err := v.c.bearer(v.r); errors.Is(err, identity.ErrUnknownKey) || errors.Is(err, identity.ErrExpiredKey) {
					cancel(errors.New("your session has ended"))
				}
			}
		}
	}()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "/fescue/v1/messages?"+url.Values{"filter": {v.form.Get("filter")}}.Encode(), http.NoBody)
	if err != nil {
		return err
	}
	h := v.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("X-Accel-Buffering", "no")
	s := &eventStream{
		recorder: recorder{header: make(http.Header), status: http.StatusOK}, to: v.w,
		connection: http.NewResponseController(v.w), pace: rate.NewLimiter(streamRate, streamBurst),
	}
	s.send("", nil) // the header
	v.inside.Serve(s, r, own)
	cancel(nil)
	<-ended
	why := "the server ends the subscription"
	var said struct{ Message string }
	if json.Unmarshal(s.body.Bytes(), &said); said.Message != "" {
		why = said.Message
	} else if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		why = cause.Error()
	}
	s.send("ended", why)
	return nil
}

// eventStream makes events of the lines that Subscribe answers with. A refusal it keeps.
type eventStream struct {
	recorder
	to         io.Writer
	connection *http.ResponseController
	pace       *rate.Limiter
	line       []byte
	skipped    int
	over       bool
}

// Write implements http.ResponseWriter.
func (s *eventStream) Write(p []byte) (int, error) {
	if s.status >= http.StatusBadRequest {
		return s.recorder.Write(p)
	}
	for rest := p; len(rest) > 0; {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			s.line = append(s.line, rest...)
			break
		}
		line := append(s.line, rest[:end]...)
		s.line, rest = s.line[:0], rest[end+1:]
		if err := s.take(line); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// FlushError lets http.ResponseController flush what is flushed already.
func (s *eventStream) FlushError() error { return nil }

// take hands a line on.
func (s *eventStream) take(line []byte) error {
	var m ownapi.StreamedMessage
	if len(line) == 0 {
		return s.send("", nil)
	}
	if err := json.Unmarshal(line, &m); err != nil {
		return fmt.Errorf("line of a subscription: %w", err)
	}
	switch {
	case m.Error != "":
		return s.send("ended", m.Error)
	case m.Subscribed != "":
		return s.send("subscribed", m.Subscribed)
	case !s.pace.Allow():
		s.skipped++
		return nil
	}
	shown := shownMessage{Topic: m.Topic, Bytes: len(m.Payload), Retained: m.Retained, Skipped: s.skipped}
	if m.At != nil {
		shown.At = *m.At
	}
	if s.skipped = 0; utf8.Valid(m.Payload) {
		text := m.Payload[:min(len(m.Payload), maxShown)]
		for !utf8.Valid(text) {
			text = text[:len(text)-1] // a character that the bound parts
		}
		shown.Text = string(text)
	} else {
		shown.Hex, shown.Text = true, hex.EncodeToString(m.Payload[:min(len(m.Payload), maxShown/2)])
	}
	return s.send("message", shown)
}

// send sends an event; one without a name is only a sign of life.
func (s *eventStream) send(name string, data any) error {
	if s.over {
		return nil
	}
	s.over = name == "ended"
	text := []byte(": \n\n")
	if name != "" {
		encoded, err := json.Marshal(data)
		if err != nil {
			return err
		}
		text = fmt.Appendf(nil, "event: %s\ndata: %s\n\n", name, encoded)
	}
	if _, err := s.to.Write(text); err != nil {
		return err
	}
	return s.connection.Flush()
}
