package mqttfront

import (
	"context"
	"fmt"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/topic"
)

// Publish sends a message from the cloud itself to a partition. No policy is
// asked. With qos 1, or retain, it returns when the broker has stored the message; qos 0
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
	if err := f.store(ctx, p, &mqtt.Publish{Topic: name, Payload: payload, QoS: qos, Retain: retain}); err != nil {
		return fmt.Errorf("publish to %s in %s: %w", name, p, err)
	}
	return nil
}

func (f *Front) store(ctx context.Context, p fescue.Partition, m *mqtt.Publish) error {
	if f.ctx.Err() != nil {
		return ErrClosed
	}
	stored := make(chan error, 1)
	if err := f.o.Broker.Publish(ctx, p, m, func(err error) { stored <- err }); err != nil {
		return fmt.Errorf("%w: %w", ErrBrokerLost, err)
	}
	if m.QoS == 0 && !m.Retain {
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
	case <-f.ctx.Done():
		return ErrClosed
	}
}
