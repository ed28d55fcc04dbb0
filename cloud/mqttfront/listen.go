package mqttfront

import (
	"context"
	"errors"
	"fmt"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/topic"
)

// Listen subscribes to a filter of a partition, for the cloud itself or a caller of
// its API, and gives each message to deliver until ctx ends, deliver fails or the
// broker is lost; it returns why. ready is called once, when the broker has granted
// the subscription. No policy is asked, but what is reserved from devices is reserved
// here too: the error is ErrForbidden. A message that is retained was kept by the
// broker from before the subscription. Messages come at QoS 0: one that deliver is
// too slow for ends it.
func (f *Front) Listen(ctx context.Context, p fescue.Partition, filter string, ready func(), deliver func(topic string, payload []byte, retained bool) error) error {
	if err := topic.ValidFilter(filter); err != nil {
		return err
	}
	if err := checkFilter(filter); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(f.ctx, func() { cancel(ErrClosed) })()
	link, _, err := f.openUpstream(ctx, &mqtt.Connect{ClientID: ownClientID("listener"), CleanSession: true})
	if err != nil {
		return err
	}
	defer link.Close()
	defer context.AfterFunc(ctx, link.Close)()
	names := newNamer(p)
	if err := link.Send(&mqtt.Subscribe{ID: 1, Filters: []mqtt.Subscription{{Filter: names.filter(filter)}}}); err != nil {
		return fmt.Errorf("%w: %w", ErrBrokerLost, err)
	}
	for {
		packet, err := link.Read()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrBrokerLost, err)
		}
		switch p := packet.(type) {
		case *mqtt.Suback:
			if len(p.Codes) != 1 || p.Codes[0] == mqtt.SubackFailure {
				return errors.New("the broker does not take the subscription")
			}
			ready()
		case *mqtt.Publish:
			name, ok := names.original(p.Topic)
			if !ok {
				return fmt.Errorf("the broker sent a message of another partition: %.200q", p.Topic)
			}
			if err := deliver(name, p.Payload, p.Retain); err != nil {
				return err
			}
		}
	}
}
