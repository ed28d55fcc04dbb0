package mqttfront

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/broker"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/topic"
)

// ErrSlow ends a Listen whose messages come faster than they are taken.
var ErrSlow = errors.New("messages come faster than they are taken")

// Listen subscribes to a filter of a partition, for the cloud itself or a caller of
// its API, and gives each message to deliver until ctx ends, deliver fails or the
// broker is lost; it returns why. ready is called once, when the broker has granted
// the subscription. No policy is asked, but what is reserved from devices is reserved
// here too: the error is ErrForbidden. A message that is retained was kept by the
// broker from before the subscription. Messages come at QoS 0: one that deliver is
// too slow for ends it with ErrSlow.
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
	l := &listener{mail: newMailbox(func(*mqtt.Publish) { cancel(ErrSlow) }), end: cancel}
	defer context.AfterFunc(ctx, l.mail.close)()
	// Nobody knows the name of this session, and so none takes it over.
	s, _, err := f.o.Broker.Open(ctx, broker.Opening{Partition: p, ClientID: "listener-" + uuid.NewString()}, l)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBrokerLost, err)
	}
	defer s.Close(ctx) // it has no record that could fail
	granted := broker.Filter{Filter: filter}
	if err := s.Subscribe(ctx, []broker.Filter{granted}); err != nil {
		return fmt.Errorf("%w: %w", ErrBrokerLost, err)
	}
	if err := s.Retained(ctx, granted, s.Hand); err != nil {
		return fmt.Errorf("%w: %w", ErrBrokerLost, err)
	}
	ready()
	l.mail.run(func(m *mqtt.Publish) {
		if err := deliver(m.Topic, m.Payload, m.Retain); err != nil {
			cancel(err)
			l.mail.close()
		}
	})
	return context.Cause(ctx)
}

// listener is the broker's Client of a Listen.
type listener struct {
	mail *mailbox
	end  context.CancelCauseFunc
}

// Deliver implements broker.Client.
func (l *listener) Deliver(m *mqtt.Publish) bool {
	l.mail.put(m)
	return false
}

// End implements broker.Client.
func (l *listener) End(cause error) { l.end(fmt.Errorf("%w: %w", ErrBrokerLost, cause)) }
