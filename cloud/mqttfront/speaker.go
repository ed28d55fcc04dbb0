package mqttfront

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/semaphore"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/topic"
)

// maxSpoken is how many messages of the cloud with QoS 1 may wait for their
// acknowledgement at the same time; more wait to be sent.
const maxSpoken = 1000

// Publish sends a message from the cloud itself to a partition. No policy is
// asked. With qos 1 it returns when the broker has stored the message; qos 0
// may lose it. The message reaches clients at the lower of qos and what each
// subscribed with.
func (f *Front) Publish(ctx context.Context, p fescue.Partition, name string, payload []byte, qos byte, retain bool) error {
	if err := f.checkSpoken(name, payload, qos); err != nil {
		return err
	}
	// What the cloud says goes to its subscribers whether or not it can be forwarded.
	if err := f.forward(ctx, p, name, payload); err != nil && f.words.Allow() {
		f.o.Logger.Warn("MQTT: a message of the cloud is not forwarded", "partition", p, "topic", name, "error", err)
	}
	return f.speak(ctx, p, name, payload, qos, retain)
}

// checkSpoken refuses what the cloud cannot publish.
func (f *Front) checkSpoken(name string, payload []byte, qos byte) error {
	switch err := topic.ValidName(name); {
	case err != nil:
		return fmt.Errorf("publish: %w", err)
	case qos > 1:
		return fmt.Errorf("publish to %s: QoS %d is not spoken, use 0 or 1", name, qos)
	case len(payload) > f.o.MaxPayload:
		return fmt.Errorf("publish to %s: payload of %d bytes, at most %d are allowed", name, len(payload), f.o.MaxPayload)
	}
	return nil
}

// speak gives a message to the broker.
func (f *Front) speak(ctx context.Context, p fescue.Partition, name string, payload []byte, qos byte, retain bool) error {
	err := f.speaker.publish(ctx, mqtt.Publish{Topic: newNamer(p).topic(name), Payload: payload, QoS: qos, Retain: retain})
	if err != nil {
		return fmt.Errorf("publish to %s in %s: %w", name, p, err)
	}
	return nil
}

// speaker is the front's own voice on the broker: one connection, made when it is
// needed.
type speaker struct {
	front   *Front
	permits *semaphore.Weighted
	readers sync.WaitGroup

	mu     sync.Mutex
	voice  *voice
	closed bool
}

// voice is one connection of the speaker.
type voice struct {
	link *mqtt.Client
	gone chan struct{} // closed when the connection has ended

	mu      sync.Mutex
	waiting map[uint16]chan struct{} // closed by PUBACK
	next    uint16
}

func newSpeaker(f *Front) *speaker {
	return &speaker{front: f, permits: semaphore.NewWeighted(maxSpoken)}
}

// publish sends p, a second time when the connection breaks under the first.
func (s *speaker) publish(ctx context.Context, p mqtt.Publish) error {
	if err := s.permits.Acquire(ctx, 1); err != nil {
		return err
	}
	defer s.permits.Release(1)
	err := s.publishOnce(ctx, p)
	if errors.Is(err, ErrBrokerLost) && ctx.Err() == nil {
		err = s.publishOnce(ctx, p)
	}
	return err
}

func (s *speaker) publishOnce(ctx context.Context, p mqtt.Publish) error {
	v, err := s.connect(ctx)
	if err != nil {
		return err
	}
	if p.QoS == 0 {
		if err := v.link.Send(&p); err != nil {
			return fmt.Errorf("%w: %w", ErrBrokerLost, err)
		}
		return nil
	}
	id, acked := v.expect()
	defer v.forget(id)
	p.ID = id
	if err := v.link.Send(&p); err != nil {
		return fmt.Errorf("%w: %w", ErrBrokerLost, err)
	}
	select {
	case <-acked:
		return nil
	case <-v.gone:
		return ErrBrokerLost
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// connect returns the connection, making it if there is none.
func (s *speaker) connect(ctx context.Context) (*voice, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if s.voice != nil {
		select {
		case <-s.voice.gone:
		default:
			return s.voice, nil
		}
	}
	link, _, err := s.front.openUpstream(ctx, &mqtt.Connect{ClientID: ownClientID("speaker"), CleanSession: true})
	if err != nil {
		return nil, err
	}
	v := &voice{link: link, gone: make(chan struct{}), waiting: map[uint16]chan struct{}{}}
	s.voice = v
	s.readers.Go(v.read)
	return v, nil
}

// ownClientID names a connection of the front itself. No device's name starts
// like that.
func ownClientID(role string) string { return "~" + role + "-" + uuid.NewString() }

func (v *voice) read() {
	defer close(v.gone)
	defer v.link.Close()
	for {
		p, err := v.link.Read()
		if err != nil {
			return
		}
		if ack, ok := p.(*mqtt.Puback); ok {
			v.forget(ack.ID)
		}
	}
}

// expect reserves a packet identifier. There are always free ones, because
// maxSpoken is far below their number.
func (v *voice) expect() (uint16, <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for {
		v.next++
		if _, taken := v.waiting[v.next]; v.next != 0 && !taken {
			break
		}
	}
	acked := make(chan struct{})
	v.waiting[v.next] = acked
	return v.next, acked
}

func (v *voice) forget(id uint16) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if acked, ok := v.waiting[id]; ok {
		close(acked)
		delete(v.waiting, id)
	}
}

// close says goodbye to the broker, after everything that was sent.
func (s *speaker) close() {
	s.mu.Lock()
	s.closed = true
	v := s.voice
	s.mu.Unlock()
	if v != nil {
		v.link.Disconnect(time.Second)
	}
	s.readers.Wait()
}
