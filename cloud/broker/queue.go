package broker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fescue-edge/fescue/cloud/forward"
)

// The streams and subjects of queues; the name is in the stream's description. No client's
// topic becomes such a subject.
const (
	queueStream  = "FESCUE_queue_"
	queueSubject = "fescue.queue."
)

// queueID is a queue's name as streams can be called.
func queueID(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:8])
}

// Queue implements forward.Queues by a stream of the broker's store, which survives as its
// messages do.
func (b *Broker) Queue(ctx context.Context, name string, most int64) (forward.Queue, error) {
	api := b.api
	// A node that lags would have an item come again that was removed.
	direct := b.o.Remote == nil
	stream, err := b.makeStream(ctx, jetstream.StreamConfig{
		Name: queueStream + queueID(name), Description: name, Subjects: []string{queueSubject + queueID(name)}, Retention: jetstream.LimitsPolicy,
		Storage: jetstream.FileStorage, MaxBytes: most, Discard: jetstream.DiscardOld, AllowDirect: direct,
	})
	if err != nil {
		return nil, fmt.Errorf("make the message broker's stream: %w", err)
	}
	return &queue{api: api, stream: stream, subject: queueSubject + queueID(name)}, nil
}

// RemoveOthers implements forward.Queues.
func (b *Broker) RemoveOthers(ctx context.Context, names []string) (map[string]uint64, error) {
	api, removed := b.api, map[string]uint64{}
	list := api.ListStreams(ctx)
	for info := range list.Info() {
		if name := info.Config.Description; strings.HasPrefix(info.Config.Name, queueStream) && !slices.Contains(names, name) {
			if err := api.DeleteStream(ctx, info.Config.Name); err != nil {
				return nil, fmt.Errorf("remove the message broker's stream of %s: %w", name, err)
			}
			removed[name] = info.State.Msgs
		}
	}
	return removed, list.Err()
}

// queue is one of a stream.
type queue struct {
	api     jetstream.JetStream
	stream  jetstream.Stream
	subject string
}

// Add implements forward.Queue.
func (q *queue) Add(ctx context.Context, record []byte) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	_, err := q.api.Publish(ctx, q.subject, record)
	return err
}

// Next implements forward.Queue.
func (q *queue) Next(ctx context.Context, after uint64) (forward.Item, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	m, err := q.stream.GetMsg(ctx, after+1, jetstream.WithGetMsgSubject(q.subject))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return forward.Item{}, forward.ErrEmpty
	}
	if err != nil {
		return forward.Item{}, err
	}
	return forward.Item{Sequence: m.Sequence, At: m.Time, Record: m.Data}, nil
}

// Remove implements forward.Queue.
func (q *queue) Remove(ctx context.Context, sequence uint64) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	err := q.stream.DeleteMsg(ctx, sequence)
	var api *jetstream.APIError
	if errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) || errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeMessageNotFound {
		// It gave way to a newer one meanwhile, if it is not there.
		if _, missing := q.stream.GetMsg(ctx, sequence); errors.Is(missing, jetstream.ErrMsgNotFound) {
			return nil
		}
	}
	return err
}

// State implements forward.Queue.
func (q *queue) State(ctx context.Context) (forward.QueueState, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	info, err := q.stream.Info(ctx)
	if err != nil {
		return forward.QueueState{}, err
	}
	return forward.QueueState{Items: info.State.Msgs, Last: info.State.LastSeq, Bytes: info.State.Bytes}, nil
}
