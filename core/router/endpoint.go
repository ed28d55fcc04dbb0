package router

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fescue-edge/fescue/topic"
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

// Keeper is an Endpoint that puts messages onto a disk, which takes its time. It has
// room for every message.
type Keeper interface {
	Endpoint
	// Keep hands a message over without waiting. kept is called once, from any
	// goroutine, maybe before Keep returns: with nil when the message will not be lost
	// any more. A strict message of which that cannot be said is dropped.
	Keep(target string, m Message, strict bool, kept func(error))
}

// ErrNotForCloud means a topic that the cloud does not take.
var ErrNotForCloud = errors.New("not a topic for the cloud")

// CloudLink is the part of the connection to the cloud that the router needs.
type CloudLink interface {
	// KeepCloud queues a message for the cloud, as Keeper says. When its queue is
	// full the oldest message gives way.
	KeepCloud(topic string, payload []byte, strict bool, kept func(error))
}

// ToCloud makes an endpoint of the link to the cloud. failed is called for a message
// that is dropped, unless it is a strict one, whose source learns of it.
func ToCloud(link CloudLink, failed func(m Message, err error)) Endpoint {
	return cloud{link, failed}
}

type cloud struct {
	link   CloudLink
	failed func(Message, error)
}

func (c cloud) Reserve(_ context.Context, target string, m Message) (func(bool), error) {
	if err := forCloud(m.Topic); err != nil {
		return nil, err
	}
	return func(deliver bool) {
		if deliver {
			c.Keep(target, m, false, func(error) {})
		}
	}, nil
}

func (c cloud) Keep(_ string, m Message, strict bool, kept func(error)) {
	done := func(err error) {
		if err != nil && !strict {
			c.failed(m, err)
			err = nil
		}
		kept(err)
	}
	if err := forCloud(m.Topic); err != nil {
		done(err)
		return
	}
	c.link.KeepCloud(m.Topic, m.Payload, strict, done)
}

// forCloud refuses topics at which the cloud would close the connection.
func forCloud(name string) error {
	if service := topic.AnsweredBy(name); service != "" {
		return fmt.Errorf("%w: the cloud's own %s service alone publishes there", ErrNotForCloud, service)
	}
	return nil
}
