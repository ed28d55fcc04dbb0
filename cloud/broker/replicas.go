package broker

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fescue-edge/fescue/periodic"
)

const (
	// mostReplicas is how many nodes of a cluster keep each stream, if it has so many.
	mostReplicas = 3
	// formTime is how long the nodes of a cluster that has just started may take to find
	// each other, before a stream is made on fewer of them. It is part of callTime.
	formTime = 10 * time.Second
	// widenEvery is how often is looked whether more nodes have come.
	widenEvery = time.Minute
	// streamPrefix begins the names of all streams.
	streamPrefix = "FESCUE_"
)

// errForming means that the cluster has fewer nodes than are to keep a stream, perhaps
// because it has just started.
var errForming = errors.New("the cluster has fewer than three nodes")

// makeStream makes a stream, or changes the one that is there. A cluster that has just
// started, or lost its leader, does not answer: it is asked again.
func (b *Broker) makeStream(ctx context.Context, c jetstream.StreamConfig) (jetstream.Stream, error) {
	if b.o.Remote == nil {
		return b.api.CreateOrUpdateStream(ctx, c)
	}
	until := time.Now().Add(formTime)
	s, err := ask(ctx, func(ctx context.Context) (jetstream.Stream, error) { return b.makeRemoteStream(ctx, c, until) })
	if err == nil && b.o.Remote.Replicas == 0 && s.CachedInfo().Config.Replicas < mostReplicas {
		b.o.Logger.Warn("message broker: fewer than three nodes keep a stream, so that none may be lost", "stream", c.Name, "nodes", s.CachedInfo().Config.Replicas)
	}
	return s, err
}

func (b *Broker) makeRemoteStream(ctx context.Context, c jetstream.StreamConfig, until time.Time) (jetstream.Stream, error) {
	c.Replicas = b.o.Remote.Replicas
	there, err := b.api.Stream(ctx, c.Name)
	switch {
	case err == nil:
		if c.Replicas == 0 {
			c.Replicas = there.CachedInfo().Config.Replicas // widen looks for more
		}
		return b.api.UpdateStream(ctx, c)
	case !errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, err
	case c.Replicas > 0:
		return b.api.CreateOrUpdateStream(ctx, c)
	}
	return onMost(c, 1, func(c jetstream.StreamConfig) (jetstream.Stream, error) {
		s, err := b.api.CreateOrUpdateStream(ctx, c)
		if c.Replicas > 1 && hasCode(err, errNoPeers) && time.Now().Before(until) {
			err = errForming
		}
		return s, err
	})
}

// onMost does something to a stream on three nodes, or on as many as the cluster has, at
// least on so many.
func onMost(c jetstream.StreamConfig, least int, do func(jetstream.StreamConfig) (jetstream.Stream, error)) (jetstream.Stream, error) {
	for c.Replicas = mostReplicas; ; c.Replicas-- {
		s, err := do(c)
		if c.Replicas <= least || !hasCode(err, errNoPeers) && !hasCode(err, errNotClustered) {
			return s, err
		}
	}
}

func hasCode(err error, code jetstream.ErrorCode) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.ErrorCode == code
}

// widen has three nodes keep the streams as soon as there are so many: a stream on two loses
// its majority with one of them.
func (b *Broker) widen() {
	periodic.Every(b.ctx, cmp.Or(b.o.Remote.widenEvery, widenEvery), func() {
		ctx, cancel := context.WithTimeout(b.ctx, callTime)
		defer cancel()
		list := b.api.ListStreams(ctx)
		for info := range list.Info() {
			if c := info.Config; strings.HasPrefix(c.Name, streamPrefix) && c.Replicas < mostReplicas {
				s, err := onMost(c, c.Replicas, func(c jetstream.StreamConfig) (jetstream.Stream, error) { return b.api.UpdateStream(ctx, c) })
				switch {
				case err == nil && s.CachedInfo().Config.Replicas > c.Replicas:
					b.o.Logger.Info("message broker: more nodes keep a stream", "stream", c.Name, "nodes", s.CachedInfo().Config.Replicas)
				case err != nil && !silent(err) && b.said.now("replicas "+c.Name):
					b.o.Logger.Warn("message broker: cannot have more nodes keep a stream, trying again", "stream", c.Name, "nodes", c.Replicas, "error", err)
				}
			}
		}
		if err := list.Err(); err != nil && !silent(err) && b.ctx.Err() == nil && b.said.now("replicas") {
			b.o.Logger.Warn("message broker: cannot look how many nodes keep its streams, trying again", "error", err)
		}
	})
}
