package mqttfront

import (
	"context"
	"errors"
	"fmt"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/broker"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/topic"
)

// Publish sends a message from the cloud itself to a partition. No policy is
// asked. With qos 1, or retain, it returns when the broker has stored the message; qos 0
// may lose it. It fails with fescue.ErrCrowded, at once, where a partition's own messages have to
// give way first: what is to be said to others does not wait for that. The message reaches clients at the lower of qos and what each
// subscribed with.
func (f *Front) Publish(ctx context.Context, p fescue.Partition, name string, payload []byte, qos byte, retain bool) error {
	if err := f.checkSpoken(name, payload, qos); err != nil {
		return err
	}
	m, room, err := f.reserve(ctx, p, name, payload, qos, retain)
	if err != nil {
		return err
	}
	// What the cloud says goes to its subscribers whether or not it can be forwarded.
	if err := f.forward(ctx, p, name, payload); err != nil && f.words.Allow() {
		f.o.Logger.Warn("MQTT: a message of the cloud is not forwarded", "partition", p, "topic", name, "error", err)
	}
	return f.speak(ctx, p, m, room)
}

// reserve makes sure that there is room for a message of the cloud before anything else is done
// with it: whoever has it published may try again.
func (f *Front) reserve(ctx context.Context, p fescue.Partition, name string, payload []byte, qos byte, retain bool) (*mqtt.Publish, broker.Room, error) {
	m := &mqtt.Publish{Topic: name, Payload: payload, QoS: qos, Retain: retain}
	room, err := f.o.Broker.Reserve(ctx, p, m, 0)
	if err != nil {
		if errors.Is(err, fescue.ErrCrowded) && f.words.Allow() {
			f.o.Logger.Warn("MQTT: no room for a message of the cloud", "partition", p, "topic", name, "error", err)
		}
		err = fmt.Errorf("publish to %s in %s: %w", name, p, err)
	}
	return m, room, err
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

// speak gives a message for which there is room to the broker.
func (f *Front) speak(ctx context.Context, p fescue.Partition, m *mqtt.Publish, room broker.Room) error {
	if err := f.store(ctx, broker.Publication{Partition: p, Message: m, Room: room}); err != nil {
		return fmt.Errorf("publish to %s in %s: %w", m.Topic, p, err)
	}
	return nil
}

// store gives a message to the broker, and returns when that has it.
func (f *Front) store(ctx context.Context, p broker.Publication) error {
	if f.ctx.Err() != nil {
		f.o.Broker.Release(p.Partition, p.Room)
		return ErrClosed
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(f.ctx, func() { cancel(ErrClosed) })()
	return f.keep(ctx, p)
}

// keep is store while the front closes, too.
func (f *Front) keep(ctx context.Context, p broker.Publication) error {
	stored := make(chan error, 1)
	p.Stored = func(err error) { stored <- err }
	switch err := f.o.Broker.Publish(ctx, p); {
	case errors.Is(err, fescue.ErrCrowded):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", ErrBrokerLost, err)
	}
	if p.Message.QoS == 0 && !p.Message.Retain {
		return nil
	}
	select {
	case err := <-stored:
		if err != nil {
			return fmt.Errorf("%w: %w", ErrBrokerLost, err)
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
