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
		if r.endpoints[target.kind] == nil {
			r.logger.Warn("A subscription's target cannot be reached; its messages will be dropped.",
				"target", target.name, "kind", string(target.kind))
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
func (r *Router) Publish(ctx context.Context, m Message, allOrError bool) error {
	var few [8]*target
	targets := r.table.Load().route(few[:0], m.Source, m.Topic)
	if len(targets) == 0 {
		r.logger.Debug("Failed to get routes. Discarding message.", "source", m.Source, "topic", m.Topic, "size", len(m.Payload))
		return nil
	}
	var places [8]func(bool)
	settle := places[:0]
	for _, target := range targets {
		place, err := r.reserve(ctx, target, m)
		if err == nil {
			settle = append(settle, place)
			continue
		}
		if allOrError {
			for _, each := range settle {
				each(false)
			}
			return fmt.Errorf("deliver to %s: %w", target.name, err)
		}
		r.logger.Warn("A message was dropped.", "source", m.Source, "topic", m.Topic, "target", target.name, "errorString", err.Error())
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
	return r.Publish(ctx, Message{Source: fescue.CloudEndpoint, Topic: topic, Payload: payload}, false)
}

func (r *Router) reserve(ctx context.Context, t *target, m Message) (func(bool), error) {
	endpoint := r.endpoints[t.kind]
	if endpoint == nil {
		return nil, fmt.Errorf("%w (%s)", ErrNoEndpoint, t.kind)
	}
	return endpoint.Reserve(ctx, t.name, m)
}
