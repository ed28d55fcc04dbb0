package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fescue-edge/fescue/periodic"
)

// The streams, and the prefixes of their subjects: messages with QoS 1, retained
// messages, the records of sessions with the checkpoints of servers, and wills.
const (
	messagesStream = "FESCUE_messages"
	retainedStream = "FESCUE_retained"
	sessionsStream = "FESCUE_sessions"
	willsStream    = "FESCUE_wills"

	messagePrefix    = "fescue.message."
	retainedPrefix   = "fescue.retained."
	sessionPrefix    = "fescue.session."
	checkpointPrefix = "fescue.checkpoint."
	willPrefix       = "fescue.will."
)

// lookEvery is how often the broker's store is looked at.
const lookEvery = time.Second

// leastSlack is the least by which the bound of a stream that servers share lies above
// that by which they have partitions give way.
const leastSlack = 64 << 20

// sizes are how large the messages are together, in bytes.
type sizes struct{ waiting, retained atomic.Int64 }

// makeStreams makes the streams, or bounds those that are there. No stream lets its
// replicas answer, one that lags would not know of a message that is there, but that of the messages,
// for messagesOf.
func (b *Broker) makeStreams(ctx context.Context) error {
	for _, s := range []struct {
		stream *jetstream.Stream
		config jetstream.StreamConfig
	}{
		{&b.messages, jetstream.StreamConfig{
			Name: messagesStream, Subjects: []string{messagePrefix + ">"}, Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage,
			MaxBytes: b.streamBound(), Discard: jetstream.DiscardOld, MaxAge: b.o.SessionExpiry + time.Minute,
			Duplicates: idsLast, AllowDirect: true,
		}},
		{&b.retained, jetstream.StreamConfig{
			Name: retainedStream, Subjects: []string{retainedPrefix + ">"}, Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage,
			MaxMsgsPerSubject: 1, AllowMsgTTL: true,
		}},
		{&b.filing, jetstream.StreamConfig{
			Name: sessionsStream, Subjects: []string{sessionPrefix + ">", checkpointPrefix + ">"}, Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage,
			MaxMsgsPerSubject: 1, AllowMsgTTL: true,
		}},
		{&b.testaments, jetstream.StreamConfig{
			Name: willsStream, Subjects: []string{willPrefix + ">"}, Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage,
			MaxMsgsPerSubject: 1, AllowMsgTTL: true,
		}},
	} {
		var err error
		if *s.stream, err = b.makeStream(ctx, s.config); err != nil {
			return fmt.Errorf("make the message broker's stream %s: %w", s.config.Name, err)
		}
	}
	b.sizes.waiting.Store(int64(b.messages.CachedInfo().State.Bytes))
	b.sizes.retained.Store(int64(b.retained.CachedInfo().State.Bytes))
	return nil
}

// streamBound is where the stream drops the oldest messages of anybody. Servers that share
// it do not know at once what comes through others.
func (b *Broker) streamBound() int64 {
	if b.o.Remote == nil {
		return b.o.MaxWaiting
	}
	return b.o.MaxWaiting + max(b.o.MaxWaiting/4, leastSlack)
}

// look reads how much is kept. It asks for the streams anew: the library's Info writes into
// what its GetMsg reads.
func (b *Broker) look() {
	periodic.Every(b.ctx, lookEvery, func() {
		ctx, cancel := context.WithTimeout(b.ctx, callTime)
		defer cancel()
		if s, err := b.api.Stream(ctx, messagesStream); err == nil {
			state := s.CachedInfo().State
			b.sizes.waiting.Store(int64(state.Bytes))
			b.tally.from(state.FirstSeq)
		}
		if s, err := b.api.Stream(ctx, retainedStream); err == nil {
			b.sizes.retained.Store(int64(s.CachedInfo().State.Bytes))
		}
	})
}

// Stored is how many bytes the messages that are kept for sessions take, and the retained
// ones, as of a moment ago.
func (b *Broker) Stored() (waiting, retained int64) {
	return b.sizes.waiting.Load(), b.sizes.retained.Load()
}

// Dropped is how many messages gave way to newer ones of their partition, and how many were
// not handed to sessions for which too many waited. What the bound of all dropped is not
// among them.
func (b *Broker) Dropped() (gaveWay, skipped uint64) { return b.gaveWay.Load(), b.skipped.Load() }

// ask calls nats-server until it answers, for callTime at most.
func ask[T any](ctx context.Context, call func(ctx context.Context) (T, error)) (answer T, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	for failures := 1; ; failures++ {
		once, end := context.WithTimeout(ctx, answerTime)
		answer, err = call(once)
		end()
		if !silent(err) || !periodic.Sleep(ctx, resend.Pause(failures)) {
			return answer, err
		}
	}
}

// silent reports whether an error says that nobody could answer now: there was no time, no
// leader, or a write to the same subject is under way.
func silent(err error) bool {
	for _, each := range []error{context.DeadlineExceeded, errForming, nats.ErrTimeout, nats.ErrNoResponders, jetstream.ErrNoStreamResponse} {
		if errors.Is(err, each) {
			return true
		}
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && slices.Contains([]jetstream.ErrorCode{errNoLeader, errNotLeader, jetstream.JSErrCodeStreamWrongLastSequenceConstant}, api.ErrorCode)
}

// insist does what reads a stream until it is not for a node's or leader's loss that it
// fails, or ctx ends. do begins anew each time.
func insist(ctx context.Context, do func(ctx context.Context) error) error {
	for failures := 1; ; failures++ {
		err := do(ctx)
		lost := silent(err)
		for _, each := range []error{errGap, errSilent, jetstream.ErrNoHeartbeat, jetstream.ErrConsumerDeleted, jetstream.ErrConsumerLeadershipChanged, jetstream.ErrServerShutdown} {
			lost = lost || errors.Is(err, each)
		}
		if !lost || !periodic.Sleep(ctx, resend.Pause(failures)) {
			return err
		}
	}
}

// last reads the last message of a subject; ok is false when there is none.
func last(ctx context.Context, stream jetstream.Stream, subject string) (m *jetstream.RawStreamMsg, ok bool, err error) {
	m, err = ask(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return stream.GetLastMsgForSubject(ctx, subject)
	})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, false, nil
	}
	return m, err == nil, err
}

// put stores a message in the place of its subject's last one, which has the revision. A
// wrong sequence may mean that it was stored and the answer was lost.
func (b *Broker) put(ctx context.Context, m *nats.Msg, revision uint64) (*jetstream.PubAck, error) {
	return ask(ctx, func(ctx context.Context) (*jetstream.PubAck, error) {
		return b.api.PublishMsg(ctx, &nats.Msg{Subject: m.Subject, Header: maps.Clone(m.Header), Data: m.Data}, jetstream.WithExpectLastSequencePerSubject(revision))
	})
}

// eachLast calls fn with the last message of each subject that a filter finds, until it
// fails or all that are there have been seen.
func (b *Broker) eachLast(ctx context.Context, stream, filter string, fn func(m jetstream.Msg, meta *jetstream.MsgMetadata) error) error {
	return b.consume(ctx, stream, jetstream.ConsumerConfig{FilterSubject: filter, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy}, true, fn)
}

const (
	// readAhead is how many messages are fetched at a time, readAheadBytes how many bytes
	// that may be: nats-server ends a connection to which it has 64 MB to send.
	readAhead      = 2000
	readAheadBytes = 8 << 20
	// pullTime is for how long messages are waited for: a node that is silent for two
	// fifths of it is asked no more.
	pullTime = 10 * time.Second
)

// errGap means that a consumer has passed messages over.
var errGap = errors.New("messages are missing between two")

// consume calls fn with each message that a consumer finds, until it or something else fails
// or, with untilEnd, all that are there have been seen. The library's ordered consumer does
// the same, but was seen to stay silent for good after the node had died that kept it.
func (b *Broker) consume(ctx context.Context, stream string, which jetstream.ConsumerConfig, untilEnd bool, fn func(m jetstream.Msg, meta *jetstream.MsgMetadata) error) error {
	which.AckPolicy, which.MemoryStorage, which.Replicas, which.InactiveThreshold = jetstream.AckNonePolicy, true, 1, time.Minute
	making, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	c, err := b.api.CreateConsumer(making, stream, which)
	if err != nil {
		return err
	}
	// nats-server removes it after a minute, if it does not hear this.
	defer func() { _ = b.conn.Publish("$JS.API.CONSUMER.DELETE."+stream+"."+c.CachedInfo().Name, nil) }()
	if untilEnd && c.CachedInfo().NumPending == 0 {
		return nil
	}
	found, err := c.Messages(jetstream.PullMaxMessagesWithBytesLimit(readAhead, readAheadBytes), jetstream.PullExpiry(pullTime), jetstream.PullHeartbeat(pullTime/5),
		// The library drops what comes while it has as many as it may ask for: no more are asked
		// for before all have been taken.
		jetstream.PullThresholdMessages(1), jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return err
	}
	defer found.Stop()
	// It has to end with the broker as well.
	ctx, end := context.WithCancel(ctx)
	defer end()
	defer context.AfterFunc(b.ctx, end)()
	for next := uint64(1); ; next++ {
		m, err := b.nextOf(ctx, c, found, untilEnd, next)
		if err != nil || m == nil {
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if meta.Sequence.Consumer != next {
			return errGap
		}
		if err := fn(m, meta); err != nil || untilEnd && meta.NumPending == 0 {
			return err
		}
	}
}

// endAfter is how long nothing has to come until it is asked whether this was the end, and
// silences how often it may be none: once where nothing has come at all, since a node may
// not have heard yet that it is asked by this one.
const (
	endAfter = time.Second
	silences = 10
)

// errSilent means that a consumer has messages and does not hand them out.
var errSilent = errors.New("messages do not come")

// nextOf is the next message that a consumer finds, its so many-th; with untilEnd nil when there is none:
// messages that were still to come may have been removed.
func (b *Broker) nextOf(ctx context.Context, c jetstream.Consumer, found jetstream.MessagesContext, untilEnd bool, number uint64) (jetstream.Msg, error) {
	for silent := 1; ; silent++ {
		once, end := ctx, context.CancelFunc(func() {})
		if untilEnd {
			once, end = context.WithTimeout(ctx, endAfter)
		}
		m, err := found.Next(jetstream.NextContext(once))
		end()
		if err == nil || !untilEnd || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return m, err
		}
		info, err := c.Info(ctx)
		switch {
		case err == nil && info.NumPending == 0 && info.Delivered.Consumer < number:
			return nil, nil
		case silences <= silent || number == 1 && silent > 1:
			return nil, cmp.Or(err, errSilent)
		}
	}
}
