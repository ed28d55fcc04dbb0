// Package router carries messages between functions, client devices, the cloud
// and the shadow service as the group's subscription table says, and nowhere
// else. It keeps no messages and waits for nobody; payloads are opaque to it.
//
// It must not know how an endpoint takes a message: processes, MQTT sessions
// and the cloud's spool are behind Endpoint.
package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/fescue-edge/fescue"
)

// ErrNoEndpoint means that this core cannot reach targets of that kind.
var ErrNoEndpoint = errors.New("this core serves no such endpoint")

// Router delivers by the table of the moment. Make one with New.
type Router struct {
	endpoints map[fescue.EndpointKind]Endpoint
	logger    *slog.Logger
	table     atomic.Pointer[Table]
}

// New makes a router with an empty table. The endpoints are those that this
// core serves; the map is not changed afterwards.
func New(endpoints map[fescue.EndpointKind]Endpoint, logger *slog.Logger) *Router {
	r := &Router{endpoints: endpoints, logger: logger}
	r.table.Store(&Table{})
	return r
}

// SetTable exchanges the table. Each message goes by the old one or the new
// one, never by both. Targets that this core cannot reach are named in the log.
func (r *Router) SetTable(t *Table) {
	for _, target := range t.targets {
		if r.endpoints[fescue.EndpointKindOf(target)] == nil {
			r.logger.Warn("A subscription's target cannot be reached; its messages will be dropped.",
				"target", target, "kind", string(fescue.EndpointKindOf(target)))
		}
	}
	r.table.Store(t)
}

// Table is the table of the moment.
func (r *Router) Table() *Table { return r.table.Load() }

// Publish sends a message to every target whose subscription matches; none is
// a success, as with the original. With best effort (allOrError false) a target
// that has no room misses the message and the publisher does not learn of it.
// With allOrError either every target gets it or none does; the error then
// wraps what the first refusing endpoint said.
//
// A source's messages reach each target in the order of the calls, if the
// source waits for each call to return.
func (r *Router) Publish(ctx context.Context, source, topic string, payload []byte, allOrError bool) error {
	targets := r.table.Load().Route(source, topic)
	if len(targets) == 0 {
		r.logger.Debug("Failed to get routes. Discarding message.", "source", source, "topic", topic, "size", len(payload))
		return nil
	}
	message := Message{Source: source, Topic: topic, Payload: payload}
	settle := make([]func(bool), 0, len(targets))
	for _, target := range targets {
		place, err := r.reserve(ctx, target, message)
		if err == nil {
			settle = append(settle, place)
			continue
		}
		if allOrError {
			for _, each := range settle {
				each(false)
			}
			return fmt.Errorf("deliver to %s: %w", target, err)
		}
		r.logger.Warn("A message was dropped.", "source", source, "topic", topic, "target", target, "errorString", err.Error())
	}
	for _, each := range settle {
		each(true)
	}
	return nil
}

// FromCloud sends a message that arrived from the cloud, with best effort. A
// link that acknowledges only what was queued calls Publish with the cloud as source
// and allOrError instead.
func (r *Router) FromCloud(ctx context.Context, topic string, payload []byte) error {
	return r.Publish(ctx, fescue.CloudEndpoint, topic, payload, false)
}

func (r *Router) reserve(ctx context.Context, target string, m Message) (func(bool), error) {
	kind := fescue.EndpointKindOf(target)
	endpoint := r.endpoints[kind]
	if endpoint == nil {
		return nil, fmt.Errorf("%w (%s)", ErrNoEndpoint, kind)
	}
	return endpoint.Reserve(ctx, target, m)
}
