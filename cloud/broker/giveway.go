package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/periodic"
)

const (
	// deletions is how many messages are removed at a time.
	deletions = 64
	// sayEvery is how often the log says the same of the same.
	sayEvery = time.Minute
)

// errSeen ends the reading of a stream where enough was seen.
var errSeen = errors.New("enough of the stream was read")

// countStored counts what the stream has up to a place, for the tally.
func (b *Broker) countStored(ctx context.Context, upTo uint64) error {
	with := map[space]*account{}
	if upTo > 0 {
		err := b.consume(ctx, messagesStream, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy, HeadersOnly: true}, true, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
			if meta.Sequence.Stream > upTo {
				return errSeen
			}
			in, _, _ := strings.Cut(strings.TrimPrefix(m.Subject(), messagePrefix), ".")
			a := with[space(in)]
			if a == nil {
				a = &account{}
				with[space(in)] = a
			}
			a.add(meta.Sequence.Stream, storedSize(m.Subject(), m.Headers(), len(m.Data())), b.tally.grain)
			return nil
		})
		if err != nil && !errors.Is(err, errSeen) {
			return err
		}
	}
	b.tally.begin(with)
	return nil
}

// keepTally counts what was stored before this server started, and from then on has
// partitions give way that have too much.
func (b *Broker) keepTally(upTo uint64) {
	for failures := 1; ; failures++ {
		err := b.countStored(b.ctx, upTo)
		if err == nil {
			break
		}
		if b.ctx.Err() != nil {
			return
		}
		b.o.Logger.Warn("message broker: cannot count the messages of each account, trying again", "error", err)
		periodic.Sleep(b.ctx, rereads.Pause(failures))
	}
	b.giveWay()
	for {
		select {
		case <-b.tooMuch:
			b.giveWay()
		case <-b.ctx.Done():
			return
		}
	}
}

// giveWay removes the oldest messages of partitions that have too much, until none has.
func (b *Broker) giveWay() {
	for failures := 1; b.ctx.Err() == nil; {
		in, from, upTo, alone, ok := b.tally.tight()
		if !ok {
			return
		}
		gone, err := b.removeOldest(in, from, upTo, alone)
		if err != nil {
			b.o.Logger.Warn("message broker: cannot remove the oldest messages of an account, trying again", "account", in, "error", err)
			periodic.Sleep(b.ctx, rereads.Pause(failures))
			failures++
			continue
		}
		failures = 1
		b.tally.remove(in, upTo)
		b.gaveWay.Add(gone)
		if gone > 0 && b.said.now("account "+string(in)) {
			b.o.Logger.Info("message broker: the oldest messages of an account give way, it keeps as many as it may", "account", in, "messages", gone)
		}
	}
}

// removeOldest removes the messages of a partition that are in the stream between two
// places, of which up to alone there are no others, and reports how many it were.
func (b *Broker) removeOldest(in space, from, upTo, alone uint64) (gone uint64, err error) {
	if alone >= from {
		// Whole files at a time.
		before, err := b.countOf(in, from, alone)
		if err != nil {
			return 0, err
		}
		ctx, cancel := context.WithTimeout(b.ctx, callTime)
		defer cancel()
		if err := b.messages.Purge(ctx, jetstream.WithPurgeSequence(alone+1)); err != nil {
			return 0, err
		}
		gone, from = before, alone+1
	}
	if from > upTo {
		return gone, nil
	}
	// nats-server removes by subject, too, but reads all of the stream for that while
	// nobody can write.
	removing, ctx := errgroup.WithContext(b.ctx)
	removing.SetLimit(deletions)
	err = b.eachOf(ctx, in, from, upTo, func(m jetstream.Msg, meta *jetstream.MsgMetadata) {
		gone++
		seq := meta.Sequence.Stream
		removing.Go(func() error {
			if err := b.deleteMessage(ctx, seq); !goneAlready(err) {
				return err
			}
			return nil
		})
	})
	return gone, errors.Join(err, removing.Wait())
}

// deleteRequest asks for a message to be removed, which need not be overwritten on the disk.
type deleteRequest struct {
	Seq     uint64 `json:"seq"`
	NoErase bool   `json:"no_erase"`
}

// deleteMessage removes a message. The library does the same, but tells by its text alone why that
// fails.
func (b *Broker) deleteMessage(ctx context.Context, seq uint64) error {
	request, err := json.Marshal(deleteRequest{seq, true})
	if err != nil {
		return err
	}
	_, err = ask(ctx, func(ctx context.Context) (struct{}, error) {
		m, err := b.conn.RequestWithContext(ctx, deleteSubject, request)
		if err != nil {
			return struct{}{}, err
		}
		var answer struct {
			Error   *jetstream.APIError `json:"error"`
			Success bool                `json:"success"`
		}
		switch err := json.Unmarshal(m.Data, &answer); {
		case err != nil:
			return struct{}{}, fmt.Errorf("read an answer of nats-server: %w", err)
		case answer.Error != nil:
			return struct{}{}, answer.Error
		case !answer.Success:
			return struct{}{}, jetstream.ErrMsgDeleteUnsuccessful
		}
		return struct{}{}, nil
	})
	return err
}

// goneAlready reports whether a message could not be removed since it is not there any more.
func goneAlready(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (api.ErrorCode == errNoSequence || api.ErrorCode == errNotDeleted &&
		(api.Description == server.ErrStoreMsgNotFound.Error() || api.Description == server.ErrStoreEOF.Error()))
}

// countOf is how many messages of a partition the stream has between two places.
func (b *Broker) countOf(in space, from, upTo uint64) (n uint64, err error) {
	err = b.eachOf(b.ctx, in, from, upTo, func(jetstream.Msg, *jetstream.MsgMetadata) { n++ })
	return n, err
}

// eachOf calls fn with each message of a partition between two places, without its payload.
func (b *Broker) eachOf(ctx context.Context, in space, from, upTo uint64, fn func(m jetstream.Msg, meta *jetstream.MsgMetadata)) error {
	err := b.consume(ctx, messagesStream, jetstream.ConsumerConfig{
		FilterSubject: messagePrefix + string(in) + ".>", HeadersOnly: true,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(from, 1),
	}, true, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
		if meta.Sequence.Stream > upTo {
			return errSeen
		}
		fn(m, meta)
		if meta.Sequence.Stream == upTo {
			return errSeen
		}
		return nil
	})
	if errors.Is(err, errSeen) {
		return nil
	}
	return err
}

// Room is what is reserved for a message of a partition in the stream.
type Room struct{ size int64 }

// Reserve makes sure that there is room for a message before anything is done with it, for Publish, which takes
// it over whether or not it fails; otherwise it is to be given back with Release. While messages of
// the same partition have to give way it waits as long as there is patience, and fails with
// fescue.ErrCrowded.
func (b *Broker) Reserve(ctx context.Context, p fescue.Partition, m *mqtt.Publish, patience time.Duration) (Room, error) {
	if m.QoS == 0 {
		return Room{}, nil
	}
	in := spaceOf(p)
	size := storedSize(messagePrefix+in.subject(m.Topic), nil, len(m.Payload))
	if err := b.makeRoom(ctx, in, size, patience); err != nil {
		return Room{}, err
	}
	return Room{size}, nil
}

// Release gives back what was reserved for a message that is not published.
func (b *Broker) Release(p fescue.Partition, r Room) {
	if r.size > 0 {
		b.tally.land(spaceOf(p), 0, r.size)
	}
}

// makeRoom counts what a partition is about to send to the stream. It waits while the partition
// has to give way first, and fails with ErrCrowded when that takes too long. Who has too much is
// not known before all has been counted; then the message goes on, and the bound of all holds.
func (b *Broker) makeRoom(ctx context.Context, in space, size int64, patience time.Duration) error {
	var late <-chan time.Time
	for {
		less := b.tally.reserve(in, size)
		if less == nil {
			return nil
		}
		b.hasTooMuch()
		if late == nil {
			timer := time.NewTimer(patience)
			defer timer.Stop()
			late = timer.C
		}
		select {
		case <-less:
		case <-late:
			if b.tally.counted() {
				return fescue.ErrCrowded
			}
			b.tally.send(in, size)
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-b.ctx.Done():
			return ErrLost
		}
	}
}

// Crowded reports whether a message with QoS 1 of a partition would have to wait for room.
func (b *Broker) Crowded(p fescue.Partition) bool { return b.crowded(spaceOf(p)) }

func (b *Broker) crowded(in space) bool {
	if !b.tally.refuses(in) {
		return false
	}
	b.hasTooMuch()
	return true
}

// hasTooMuch has giveWay look.
func (b *Broker) hasTooMuch() {
	select {
	case b.tooMuch <- struct{}{}:
	default: // it will
	}
}

// said is what the log has said lately.
type said struct {
	mu sync.Mutex
	at map[string]time.Time
}

// maxSaid is how much is remembered of what was said.
const maxSaid = 10_000

// now reports whether something is to be said now, which it is once in a while.
func (s *said) now(what string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if at, ok := s.at[what]; ok && now.Sub(at) < sayEvery {
		return false
	}
	if len(s.at) >= maxSaid || s.at == nil {
		s.at = map[string]time.Time{}
	}
	s.at[what] = now
	return true
}
