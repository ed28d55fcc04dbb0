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
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core/invoke"
	"github.com/fescue-edge/fescue/core/logs"
)

// ErrNoEndpoint means that this core cannot reach targets of that kind.
var ErrNoEndpoint = errors.New("this core serves no such endpoint")

// Router delivers by the table of the moment. Make one with New.
type Router struct {
	endpoints map[fescue.EndpointKind]Endpoint
	logger    *slog.Logger
	dropped   *logs.Seldom
	table     atomic.Pointer[Table]
}

// New makes a router with an empty table. The endpoints are those that this
// core serves; the map is not changed afterwards.
func New(endpoints map[fescue.EndpointKind]Endpoint, logger *slog.Logger) *Router {
	r := &Router{endpoints: endpoints, logger: logger, dropped: logs.NewSeldom(logger, time.Now)}
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
// that has no room misses the message and the publisher does not learn of it; the log
// does, of each target once a minute.
// With allOrError either every target gets it or none does; the error then
// wraps what the first refusing endpoint said. It waits for the disk, where that is to
// have the message.
//
// A source's messages reach each target in the order of the calls, if the
// source waits for each call to return.
func (r *Router) Publish(ctx context.Context, m Message, allOrError bool) error {
	kept := make(chan error, 1)
	rule := bestEffort
	if allOrError {
		rule = allOrNone
	}
	if err := r.send(ctx, m, rule, allOrError, func(err error) { kept <- err }); err != nil {
		return err
	}
	select {
	case err := <-kept:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Send is Publish with best effort that waits for nothing. kept is called once, from any
// goroutine, maybe before Send returns: with nil when every target has the message or
// has missed it, with an error when the disk was to have it and does not; unless the
// message is one that is to be delivered once, which is no error then.
//
// Messages reach each target in the order of the calls.
func (r *Router) Send(ctx context.Context, m Message, kept func(error)) {
	// With best effort there is no other error.
	_ = r.send(ctx, m, bestEffort, !m.Once, kept)
}

// Post is Send for a source that need not know: what the disk does not take stays in
// memory, on its way to the cloud.
func (r *Router) Post(ctx context.Context, m Message) {
	// With best effort there is no error.
	_ = r.send(ctx, m, bestEffort, false, func(error) {})
}

// rule is what becomes of a message that some target does not take.
type rule int

const (
	// bestEffort has the target miss it, allOrNone all of them.
	bestEffort rule = iota
	allOrNone
	// whenRoom has all of them miss it for now if a function's queue is full.
	whenRoom
)

// fails reports whether a target's error is the message's.
func (r rule) fails(err error) bool {
	return r == allOrNone || r == whenRoom && (errors.Is(err, invoke.ErrQueueFull) || errors.Is(err, invoke.ErrShuttingDown))
}

// send reserves all places before it takes any. What a Keeper takes comes first, and
// when all or none are to have the message, the others get it when that is done.
func (r *Router) send(ctx context.Context, m Message, rule rule, strict bool, kept func(error)) error {
	var few [8]*target
	targets := r.table.Load().route(few[:0], m.Source, m.Topic)
	if len(targets) == 0 {
		r.logger.Debug("Failed to get routes. Discarding message.", "source", m.Source, "topic", m.Topic, "size", len(m.Payload))
		kept(nil)
		return nil
	}
	var places [8]func(bool)
	settle := places[:0]
	var keeper Keeper
	var keeping *target
	for _, target := range targets {
		if k, ok := r.endpoints[target.kind].(Keeper); ok && keeper == nil {
			keeper, keeping = k, target
			continue
		}
		place, err := r.reserve(ctx, target, m)
		if err == nil {
			settle = append(settle, place)
			continue
		}
		if rule.fails(err) {
			settleAll(settle, false)
			return fmt.Errorf("deliver to %s: %w", target.name, err)
		}
		r.dropped.Warn("A message was dropped.", target.name, "source", m.Source, "topic", m.Topic, "target", target.name, "errorString", err.Error())
	}
	switch {
	case keeper == nil:
		settleAll(settle, true)
		kept(nil)
	case rule == allOrNone:
		keeper.Keep(keeping.name, m, strict, func(err error) {
			settleAll(settle, err == nil)
			if err != nil {
				err = fmt.Errorf("deliver to %s: %w", keeping.name, err)
			}
			kept(err)
		})
	default:
		keeper.Keep(keeping.name, m, strict, kept)
		settleAll(settle, true)
	}
	return nil
}

func settleAll(places []func(bool), deliver bool) {
	for _, each := range places {
		each(deliver)
	}
}

// FromCloud sends a message that arrived from the cloud, with best effort.
func (r *Router) FromCloud(ctx context.Context, topic string, payload []byte) error {
	return r.Publish(ctx, fromCloud(topic, payload), false)
}

// KeptByCloud is FromCloud for a message that comes again until it is acknowledged. Its
// error says that a function has no room for it now; then no target has got it. What
// other targets do not take they miss: waiting for them would hold up everybody else's.
func (r *Router) KeptByCloud(ctx context.Context, topic string, payload []byte) error {
	return r.send(ctx, fromCloud(topic, payload), whenRoom, false, func(error) {})
}

func fromCloud(topic string, payload []byte) Message {
	return Message{Source: fescue.CloudEndpoint, Topic: topic, Payload: payload}
}

func (r *Router) reserve(ctx context.Context, t *target, m Message) (func(bool), error) {
	endpoint := r.endpoints[t.kind]
	if endpoint == nil {
		return nil, fmt.Errorf("%w (%s)", ErrNoEndpoint, t.kind)
	}
	return endpoint.Reserve(ctx, t.name, m)
}
