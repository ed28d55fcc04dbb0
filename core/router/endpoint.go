package router

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// Message is what is being routed.
type Message struct {
	// Source is the endpoint that it came from.
	Source  string
	Topic   string
	Payload []byte
	// Once says that the source wants the message delivered at most once: QoS 0 of a
	// client device. What comes from elsewhere may be delivered again where the
	// target wants that.
	Once bool
}

// Endpoint takes messages for the targets of one kind, without waiting for
// anything.
type Endpoint interface {
	// Reserve takes a place for a message. The returned function must be called
	// once: with true it hands the message over, which cannot fail any more;
	// with false it gives the place back.
	Reserve(ctx context.Context, target string, m Message) (settle func(deliver bool), err error)
}

// Functions is the part of the function supervisor that the router needs.
type Functions interface {
	// ReserveEvent takes a place in a function's queue for a message from a
	// source, as Endpoint.Reserve does. clientContext is base64 JSON.
	ReserveEvent(arn, source, clientContext string, payload []byte) (settle func(deliver bool), err error)
}

// ToFunctions makes an endpoint of the functions: a message becomes an Event
// invocation, with the topic in the client context, where the SDKs' users read
// it (developer guide, Module 3 part 2).
func ToFunctions(f Functions) Endpoint { return functions{f} }

type functions struct{ Functions }

func (f functions) Reserve(_ context.Context, target string, m Message) (func(bool), error) {
	text, err := json.Marshal(map[string]any{"custom": map[string]string{"subject": m.Topic}})
	if err != nil {
		return nil, fmt.Errorf("make a client context: %w", err)
	}
	return f.ReserveEvent(target, m.Source, base64.StdEncoding.EncodeToString(text), m.Payload)
}

// CloudLink is the part of the connection to the cloud that the router needs.
type CloudLink interface {
	// PublishCloud queues a message for the cloud. When its queue is full the
	// oldest message gives way.
	PublishCloud(ctx context.Context, topic string, payload []byte) error
}

// ToCloud makes an endpoint of the link to the cloud. Its queue always has room
// for a message, so a place is not taken before the message is handed over;
// failed is called if that does not succeed.
func ToCloud(link CloudLink, failed func(m Message, err error)) Endpoint {
	return cloud{link, failed}
}

type cloud struct {
	link   CloudLink
	failed func(Message, error)
}

func (c cloud) Reserve(ctx context.Context, _ string, m Message) (func(bool), error) {
	return func(deliver bool) {
		if !deliver {
			return
		}
		if err := c.link.PublishCloud(ctx, m.Topic, m.Payload); err != nil {
			c.failed(m, err)
		}
	}, nil
}
