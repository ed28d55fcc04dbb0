package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/backoff"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/periodic"
	"github.com/fescue-edge/fescue/topic"
)

const (
	// maxUnstored is how many messages may be on their way to the streams at a time.
	maxUnstored = 2000

	// storedWithin is how long a message may be on its way before it is sent again, and
	// storedAtLast how long it may then take.
	storedWithin = 5 * time.Second
	storedAtLast = 15 * time.Second
	// idsLast is for how long the streams know a message by its id: what was sent longer ago could be
	// stored a second time.
	idsLast = 2 * (storedWithin + storedAtLast)

	// qosHeader has the QoS of a retained message, if it is not 0.
	qosHeader = "Fescue-QoS"

	// removedLasts is for how long an empty message stays where one was removed.
	removedLasts = time.Minute
)

// resend are the pauses between attempts to have a message stored.
var resend = backoff.Policy{First: 100 * time.Millisecond, Most: 2 * time.Second}

// sent is a message with QoS 1, or one to be retained, on its way.
type sent struct {
	messages [2]*nats.Msg // nil for none
	futures  [2]jetstream.PubAckFuture
	stored   func(error)
	at       time.Time
	// in and size are whose message it is, and how large one with QoS 1 will be in the stream.
	in   space
	size int64
}

// Publication is a message to be published.
type Publication struct {
	Partition fescue.Partition
	// Message must not be changed afterwards.
	Message *mqtt.Publish
	// ID, if it has one, is nobody else's: what is published again under it is stored once, within
	// 40 s.
	ID string
	// Room is what was reserved for it, if that was done before.
	Room Room
	// Stored is called for one with QoS 1, or to be retained, when the streams have it, or cannot
	// have it. It must not wait, and may be nil.
	Stored func(error)
}

// Publish gives a message to everybody in its partition who has a filter for it, and
// retains it if it says so; an empty one removes what is retained. With QoS 0 it has
// been handed to the sessions of this server when Publish returns. Others of
// one caller are stored in their order, but where a cluster lost its leader meanwhile.
//
// Publish waits while too many messages are on their way, whoever's they are. One without Room fails
// with fescue.ErrCrowded when others of the same partition have to give way first.
func (b *Broker) Publish(ctx context.Context, p Publication) error {
	in, m := spaceOf(p.Partition), p.Message
	if m.QoS == 0 {
		b.hand(in, &mqtt.Publish{Topic: m.Topic, Payload: m.Payload})
		if b.others != nil {
			_ = b.others.Publish(nowPrefix+in.subject(m.Topic), m.Payload) // as far as they can be reached
		}
		if !m.Retain {
			return nil
		}
	}
	subject := in.subject(m.Topic)
	s := sent{stored: p.Stored, in: in}
	if m.QoS > 0 {
		s.messages[1] = &nats.Msg{Subject: messagePrefix + subject, Data: m.Payload}
		s.size = storedSize(s.messages[1].Subject, nil, len(m.Payload))
		if p.Room.size == 0 {
			if err := b.makeRoom(ctx, in, s.size, 0); err != nil {
				return err
			}
		}
	}
	select {
	case b.permits <- struct{}{}:
	case <-ctx.Done():
		b.tally.land(in, 0, s.size)
		return context.Cause(ctx)
	case <-b.ctx.Done():
		return ErrLost
	}
	s.at = time.Now()
	if m.Retain {
		r := &nats.Msg{Subject: retainedPrefix + subject, Data: m.Payload, Header: nats.Header{}}
		if m.QoS > 0 {
			r.Header.Set(qosHeader, strconv.Itoa(int(m.QoS)))
		}
		if len(m.Payload) == 0 {
			r.Header.Set(jetstream.MsgTTLHeader, removedLasts.String())
		}
		s.messages[0] = r
		b.ledger.set(in, r.Subject, storedSize(r.Subject, r.Header, len(r.Data)), len(m.Payload) == 0)
	}
	for i, message := range s.messages {
		if message == nil {
			continue
		}
		var err error
		// With its id a message that is sent again is stored once.
		id := p.ID
		if id == "" {
			id = b.run + "-" + strconv.FormatUint(b.sentIDs.Add(1), 36)
		}
		if s.futures[i], err = b.api.PublishMsgAsync(message, jetstream.WithMsgID(id)); err != nil {
			if b.conn.IsClosed() {
				<-b.permits
				b.tally.land(in, 0, s.size)
				return fmt.Errorf("%w: %w", ErrLost, err)
			}
			s.futures[i] = nil // the connection broke: it is sent on the next one
		}
	}
	b.acks <- s // as many as there are permits have room
	return nil
}

// awaitStored tells who published, one after the other, what became of it.
func (b *Broker) awaitStored() {
	for {
		select {
		case s := <-b.acks:
			<-b.permits
			seq, err := b.await(s)
			if s.size > 0 {
				b.tally.land(s.in, seq, s.size)
			}
			if s.stored != nil {
				s.stored(err)
			}
		case <-b.ctx.Done():
			return
		}
	}
}

// await waits until a message is stored, which is sent again where nobody says so, and
// returns its place in the stream of messages.
func (b *Broker) await(s sent) (seq uint64, err error) {
	for i, future := range s.futures {
		if s.messages[i] == nil || err != nil {
			continue
		}
		var ack *jetstream.PubAck
		if future == nil {
			ack, err = b.sendAgain(s.messages[i], s.at)
		} else {
			select {
			case ack = <-future.Ok():
			case <-future.Err(): // after storedWithin at the latest
				ack, err = b.sendAgain(s.messages[i], s.at)
			case <-b.ctx.Done():
				err = ErrLost
			}
		}
		if err == nil && i == len(s.futures)-1 {
			seq = ack.Sequence
		}
	}
	return seq, err
}

// errForgotten means that the streams may not know any more that they have a message.
var errForgotten = errors.New("nobody has said whether the message is stored, and it was sent too long ago to be sent again without being stored twice: publish it again")

// sendAgain sends a message, which has its id and was sent first at a time, until it is
// stored, that has taken too long, or it never will be. One may wait for its turn for longer than the
// streams know it: it is sent as long as they know it when they answer.
func (b *Broker) sendAgain(m *nats.Msg, first time.Time) (*jetstream.PubAck, error) {
	known := time.Until(first.Add(idsLast - answerTime))
	if known < time.Second {
		return nil, fmt.Errorf("%w: %w", ErrLost, errForgotten)
	}
	left := max(time.Until(first.Add(storedWithin+storedAtLast)), time.Second)
	ctx, cancel := context.WithTimeout(b.ctx, min(left, known))
	defer cancel()
	for failures := 1; ; failures++ {
		// What is given to a connection that has broken is sent when it is back, however late.
		err := nats.ErrDisconnected
		if b.conn.IsConnected() {
			once, end := context.WithTimeout(ctx, answerTime)
			// Without where the answer was to go.
			var ack *jetstream.PubAck
			ack, err = b.api.PublishMsg(once, &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data})
			end()
			if err == nil {
				return ack, nil
			}
		}
		again := silent(err) || errors.Is(err, nats.ErrDisconnected) || errors.Is(err, nats.ErrConnectionReconnecting) || errors.Is(err, nats.ErrReconnectBufExceeded) || errors.As(err, new(net.Error))
		if !again || b.conn.IsClosed() || !periodic.Sleep(ctx, resend.Pause(failures)) {
			return nil, fmt.Errorf("%w: %w", ErrLost, err)
		}
	}
}

// eachRetained calls fn with what is retained at the topics that a filter finds.
func (b *Broker) eachRetained(ctx context.Context, in space, filter string, fn func(m Retained)) error {
	found := func(seq uint64, subject string, header nats.Header, payload []byte) {
		if _, name, ok := original(strings.TrimPrefix(subject, retainedPrefix)); ok && len(payload) > 0 {
			m := &mqtt.Publish{Topic: name, Payload: payload, Retain: true}
			if header.Get(qosHeader) != "" {
				m.QoS = 1
			}
			fn(Retained{m, seq})
		}
	}
	subject := retainedPrefix + in.subject(filter)
	if topic.ValidName(filter) != nil {
		return b.eachLast(ctx, retainedStream, subject, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
			found(meta.Sequence.Stream, m.Subject(), m.Headers(), m.Data())
			return nil
		})
	}
	m, ok, err := last(ctx, b.retained, subject)
	if err == nil && ok {
		found(m.Sequence, m.Subject, m.Header, m.Data)
	}
	return err
}
