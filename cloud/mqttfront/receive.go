package mqttfront

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/mqtt"
)

// Receiver serves requests that devices make by publishing, such as those to
// device shadows.
type Receiver interface {
	// Receive acts on a message of a device, which its policies allow, and
	// leaves alone what is not for it. The payload must not be kept. The session
	// waits: messages of one connection come one after another.
	Receive(ctx context.Context, p fescue.Partition, topic string, payload []byte)
}

// receiveTimeout bounds what receivers do with one message.
const receiveTimeout = 15 * time.Second

// Handle has messages to topics below $aws/things/ given to r before the broker
// gets them. It is called before Serve.
func (f *Front) Handle(r Receiver) { f.receivers = append(f.receivers, r) }

func (f *Front) receive(ctx context.Context, p fescue.Partition, topic string, payload []byte) {
	if !strings.HasPrefix(topic, thingTopics) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, receiveTimeout)
	defer cancel()
	for _, r := range f.receivers {
		r.Receive(ctx, p, topic, payload)
	}
}

// Forwarder keeps messages that are to go elsewhere, too.
type Forwarder interface {
	// Forward returns when a message that is to be forwarded is kept. On an error the
	// message is not taken from its sender, if that can send it again.
	Forward(ctx context.Context, p fescue.Partition, topic string, payload []byte) error
}

// forward gives a message to the Forwarder.
func (f *Front) forward(ctx context.Context, p fescue.Partition, topic string, payload []byte) error {
	if f.o.Forwarder == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, receiveTimeout)
	defer cancel()
	return f.o.Forwarder.Forward(ctx, p, topic, payload)
}

// Ask publishes a message for a caller of the cloud's API: like Publish, but what
// the message asks of the cloud itself is done first, as for a device's.
//
// A message to be retained for which there is no room is fescue.ErrDiskFull.
func (f *Front) Ask(ctx context.Context, p fescue.Partition, topic string, payload []byte, qos byte, retain bool) error {
	if m := (&mqtt.Publish{Topic: topic, Payload: payload, QoS: qos, Retain: retain}); Retains(m) {
		if err := f.o.Room(p, m); err != nil {
			return fmt.Errorf("publish to %s: %w: %w", topic, fescue.ErrDiskFull, err)
		}
	}
	if err := f.checkSpoken(topic, payload, qos); err != nil {
		return err
	}
	m, room, err := f.reserve(ctx, p, topic, payload, qos, retain)
	if err != nil {
		return err
	}
	if err := f.forward(ctx, p, topic, payload); err != nil {
		f.o.Broker.Release(p, room)
		return fmt.Errorf("publish to %s: %w", topic, err)
	}
	f.receive(ctx, p, topic, payload)
	return f.speak(ctx, p, m, room)
}
