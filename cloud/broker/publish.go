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
}

// Publish gives a message of a partition to everybody who has a filter for it, and
// retains it if it says so; an empty one removes what is retained. With QoS 0 it has
// been handed to the sessions of this server when Publish returns. With QoS 1, or to be
// retained, stored is called when the streams have it, or cannot have it; messages of
// one caller are stored in their order, but where a cluster lost its leader meanwhile. stored must not wait, and may be nil. The message
// must not be changed afterwards.
//
// Publish waits while too many messages are on their way.
func (b *Broker) Publish(ctx context.Context, p fescue.Partition, m *mqtt.Publish, stored func(error)) error {
	in := spaceOf(p)
	if m.QoS == 0 {
		b.hand(in, &mqtt.Publish{Topic: m.Topic, Payload: m.Payload})
		if b.others != nil {
			_ = b.others.Publish(nowPrefix+in.subject(m.Topic), m.Payload) // as far as they can be reached
		}
		if !m.Retain {
			return nil
		}
	}
	select {
	case b.permits <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-b.ctx.Done():
		return ErrLost
	}
	var s sent
	s.stored, s.at = stored, time.Now()
	subject := in.subject(m.Topic)
	if m.Retain {
		r := &nats.Msg{Subject: retainedPrefix + subject, Data: m.Payload, Header: nats.Header{}}
		if m.QoS > 0 {
			r.Header.Set(qosHeader, strconv.Itoa(int(m.QoS)))
		}
		if len(m.Payload) == 0 {
			r.Header.Set(jetstream.MsgTTLHeader, removedLasts.String())
		}
		s.messages[0] = r
	}
	if m.QoS > 0 {
		s.messages[1] = &nats.Msg{Subject: messagePrefix + subject, Data: m.Payload}
	}
	for i, message := range s.messages {
		if message == nil {
			continue
		}
		var err error
		// With its id a message that is sent again is stored once.
		id := b.run + "-" + strconv.FormatUint(b.sentIDs.Add(1), 36)
		if s.futures[i], err = b.api.PublishMsgAsync(message, jetstream.WithMsgID(id)); err != nil {
			if b.conn.IsClosed() {
				<-b.permits
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
			err := b.await(s)
			if s.stored != nil {
				s.stored(err)
			}
		case <-b.ctx.Done():
			return
		}
	}
}

// await waits until a message is stored, which is sent again where nobody says so.
func (b *Broker) await(s sent) (err error) {
	for i, future := range s.futures {
		if s.messages[i] == nil || err != nil {
			continue
		}
		if future == nil {
			err = b.sendAgain(s.messages[i], s.at)
			continue
		}
		select {
		case <-future.Ok():
		case <-future.Err(): // after storedWithin at the latest
			err = b.sendAgain(s.messages[i], s.at)
		case <-b.ctx.Done():
			err = ErrLost
		}
	}
	return err
}

// sendAgain sends a message, which has its id and was sent first at a time, until it is
// stored, that has taken too long, or it never will be.
func (b *Broker) sendAgain(m *nats.Msg, first time.Time) error {
	left := max(time.Until(first.Add(storedWithin+storedAtLast)), time.Second)
	ctx, cancel := context.WithTimeout(b.ctx, left)
	defer cancel()
	for failures := 1; ; failures++ {
		once, end := context.WithTimeout(ctx, answerTime)
		// Without where the answer was to go.
		_, err := b.api.PublishMsg(once, &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data})
		end()
		if err == nil {
			return nil
		}
		again := silent(err) || errors.Is(err, nats.ErrDisconnected) || errors.Is(err, nats.ErrConnectionReconnecting) || errors.Is(err, nats.ErrReconnectBufExceeded) || errors.As(err, new(net.Error))
		if !again || b.conn.IsClosed() || !periodic.Sleep(ctx, resend.Pause(failures)) {
			return fmt.Errorf("%w: %w", ErrLost, err)
		}
	}
}

// eachRetained calls fn with what is retained at the topics that a filter finds.
func (b *Broker) eachRetained(ctx context.Context, in space, filter string, fn func(m *mqtt.Publish)) error {
	found := func(subject string, header nats.Header, payload []byte) {
		if _, name, ok := original(strings.TrimPrefix(subject, retainedPrefix)); ok && len(payload) > 0 {
			m := &mqtt.Publish{Topic: name, Payload: payload, Retain: true}
			if header.Get(qosHeader) != "" {
				m.QoS = 1
			}
			fn(m)
		}
	}
	subject := retainedPrefix + in.subject(filter)
	if topic.ValidName(filter) != nil {
		return b.eachLast(ctx, retainedStream, subject, func(m jetstream.Msg, _ *jetstream.MsgMetadata) error {
			found(m.Subject(), m.Headers(), m.Data())
			return nil
		})
	}
	m, ok, err := last(ctx, b.retained, subject)
	if err == nil && ok {
		found(m.Subject, m.Header, m.Data)
	}
	return err
}
