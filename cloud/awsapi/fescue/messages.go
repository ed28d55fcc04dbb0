package fescue

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/topic"
)

// Listener gives the messages of a partition that a filter finds, until ctx ends or
// deliver fails. ready is called when the subscription holds.
type Listener interface {
	Listen(ctx context.Context, p fescue.Partition, filter string, ready func(), deliver func(topic string, payload []byte, retained bool) error) error
}

// StreamedMessage is a line of Subscribe's answer. The first has only Subscribed, an
// empty line says that the stream goes on, and the last may have only Error.
type StreamedMessage struct {
	// Subscribed is the filter that the server listens to from now on.
	Subscribed string     `json:",omitempty"`
	Topic      string     `json:",omitempty"`
	At         *time.Time `json:",omitempty"` // when the server had it
	Payload    []byte     `json:",omitempty"` // base64
	// Retained says that the message was kept from before the subscription.
	Retained bool `json:",omitempty"`
	// Error is why the stream ends.
	Error string `json:",omitempty"`
}

const (
	// maxStreams bounds the streams of one server, maxKeyStreams those of one key
	// and its temporary keys: each holds a connection to the broker.
	maxStreams    = 64
	maxKeyStreams = 8
	// alive is how often a stream without messages says that it goes on.
	alive = 15 * time.Second
	// stillEvery is how often a stream asks whether its caller still may.
	stillEvery = time.Second
)

// subscribe answers with the messages that come, a line of JSON for each, until the
// caller goes or may no longer read them.
func (a *API) subscribe(ctx context.Context, r *restjson.Request, _ nothing) (restjson.Stream, error) {
	filter := r.Query.Get("filter")
	if err := topic.ValidFilter(filter); err != nil {
		return restjson.Stream{}, fmt.Errorf("filter: %w", err)
	}
	if strings.HasPrefix(filter, "$") && !strings.HasPrefix(filter, "$aws/things/") && !strings.HasPrefix(filter, "$aws/events/") {
		return restjson.Stream{}, refuse(http.StatusBadRequest, badRequest, "Filter %q is reserved. Of the topics that begin with $ only those below $aws/things/<thing>/ and $aws/events/ can be subscribed to.", filter)
	}
	holder := r.Caller.Holder
	if !a.streams.Take(holder, 1, maxKeyStreams, maxStreams) {
		return restjson.Stream{}, refuse(http.StatusTooManyRequests, "ThrottlingException",
			"There are %d streams of this key and its temporary keys, or %d of this server, already; end one.", maxKeyStreams, maxStreams)
	}
	return restjson.Stream{ContentType: "application/x-ndjson", Send: func(w io.Writer) {
		defer a.streams.Give(holder, 1)
		a.stream(ctx, r, filter, w)
	}}, nil
}

// stream writes what Listen gives.
func (a *API) stream(ctx context.Context, r *restjson.Request, filter string, w io.Writer) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex // one line at a time
	write := func(line []byte) error {
		mu.Lock()
		defer mu.Unlock()
		_, err := w.Write(append(line, '\n'))
		return err
	}
	send := func(m StreamedMessage) error {
		line, err := json.Marshal(m)
		if err != nil {
			return err
		}
		return write(line)
	}
	var watching sync.WaitGroup
	watching.Go(func() {
		again, quiet := time.NewTicker(stillEvery), time.NewTicker(alive)
		defer again.Stop()
		defer quiet.Stop()
		for {
			var err error
			select {
			case <-ctx.Done():
				return
			case <-again.C:
				err = r.Still(ctx)
			case <-quiet.C:
				err = write(nil)
			}
			if err != nil {
				cancel(err)
				return
			}
		}
	})
	err := a.o.Listener.Listen(ctx, r.Partition, filter, func() { send(StreamedMessage{Subscribed: filter}) },
		func(topic string, payload []byte, retained bool) error {
			now := a.o.Now().UTC()
			return send(StreamedMessage{Topic: topic, At: &now, Payload: payload, Retained: retained})
		})
	cancel(err)
	watching.Wait()
	if err != nil {
		send(StreamedMessage{Error: err.Error()})
	}
}
