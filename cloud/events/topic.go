package events

import (
	"context"

	"github.com/fescue-edge/fescue"
)

// Publisher sends an MQTT message from the cloud.
type Publisher interface {
	Publish(ctx context.Context, p fescue.Partition, topic string, payload []byte, qos byte, retain bool) error
}

// Topic is the MQTT side of the deployment's partition: a notification goes to
// the topic that StatusChange.Topic names, with QoS 1. Policies decide who
// receives it.
type Topic struct{ Publisher Publisher }

// Name is always the same: there is one.
func (Topic) Name() string { return "mqtt" }

// Deliver returns once the broker has the message.
func (t Topic) Deliver(ctx context.Context, n Notification) error {
	change, err := n.StatusChange()
	if err != nil {
		return err
	}
	return t.Publisher.Publish(ctx, n.Partition, change.Topic(), n.Body, 1, false)
}
