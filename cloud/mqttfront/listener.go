package mqttfront

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/backoff"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/topic"
)

const (
	// listenerQueue is how many messages may wait for a subscriber of the cloud.
	listenerQueue = 4096
)

// retries are the pauses between attempts to reach the broker.
var retries = backoff.Policy{First: 50 * time.Millisecond, Most: 5 * time.Second}

// Subscribe has fn called for each message of a partition that matches filter,
// one after the other; retained messages come first. It returns when the broker
// has taken the subscription. cancel ends it and waits for fn.
//
// Messages with QoS 1 are acknowledged when fn returns, and come again if it did
// not. Messages with QoS 0 are dropped, and counted, when fn is slower than they
// come. What is published while the connection to the broker is down is missed:
// the subscription has no session.
func (f *Front) Subscribe(p fescue.Partition, filter string, fn func(name string, payload []byte)) (cancel func(), err error) {
	if err := topic.ValidFilter(filter); err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	names := newNamer(p)
	l := &listener{front: f, role: "listener", filter: names.filter(filter), fn: func(m *mqtt.Publish) {
		if name, ok := names.original(m.Topic); ok {
			fn(name, m.Payload)
		}
	}}
	cancel, err = l.start()
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s in %s: %w", filter, p, err)
	}
	return cancel, nil
}

// listener is one subscription of the cloud, with a broker connection of its own,
// so that filters that overlap bring no message twice.
type listener struct {
	front  *Front
	role   string
	filter string // in the broker's form
	// patient makes the broker wait for fn, in place of dropping QoS 0 messages.
	patient bool
	fn      func(*mqtt.Publish)
}

// start subscribes, and goes on in the background until cancel or the front's
// Close.
func (l *listener) start() (cancel func(), err error) {
	ctx, stop := context.WithCancel(l.front.ctx)
	link, first, err := l.subscribe(ctx)
	if err != nil {
		stop()
		return nil, err
	}
	done := make(chan struct{})
	if !l.front.goRun(func() {
		defer close(done)
		l.run(ctx, link, first)
	}) {
		stop()
		link.Close()
		return nil, ErrClosed
	}
	return func() {
		stop()
		<-done
	}, nil
}

// run serves one connection after the other.
func (l *listener) run(ctx context.Context, link *mqtt.Client, first []*mqtt.Publish) {
	for failures := 1; ; failures++ {
		if link != nil {
			l.serve(ctx, link, first)
			failures = 1
		}
		pause := retries.Pause(failures)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		var err error
		if link, first, err = l.subscribe(ctx); err != nil {
			link = nil
			l.front.o.Logger.Debug("MQTT: cannot subscribe at the message broker, trying again", "error", err, "after", pause)
		}
	}
}

// subscribe opens a connection with the subscription on it. Messages that came
// before the SUBACK are returned.
func (l *listener) subscribe(ctx context.Context) (*mqtt.Client, []*mqtt.Publish, error) {
	link, _, err := l.front.openUpstream(ctx, &mqtt.Connect{ClientID: ownClientID(l.role), CleanSession: true})
	if err != nil {
		return nil, nil, err
	}
	defer context.AfterFunc(ctx, func() { link.Close() })()
	first, err := l.await(link)
	if err != nil {
		link.Close()
		return nil, nil, err
	}
	return link, first, nil
}

func (l *listener) await(link *mqtt.Client) ([]*mqtt.Publish, error) {
	const id = 1
	err := link.Send(&mqtt.Subscribe{ID: id, Filters: []mqtt.Subscription{{Filter: l.filter, QoS: 1}}})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBrokerLost, err)
	}
	var first []*mqtt.Publish
	for {
		p, err := link.Read()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBrokerLost, err)
		}
		switch p := p.(type) {
		case *mqtt.Publish:
			first = append(first, p)
		case *mqtt.Suback:
			if p.Codes[0] == mqtt.SubackFailure {
				return nil, fmt.Errorf("the message broker refused the subscription %s", l.filter)
			}
			return first, nil
		}
	}
}

// serve passes messages on until the connection or ctx ends.
func (l *listener) serve(ctx context.Context, link *mqtt.Client, first []*mqtt.Publish) {
	defer context.AfterFunc(ctx, func() { link.Close() })()
	queue := make(chan *mqtt.Publish, listenerQueue)
	var worker sync.WaitGroup
	worker.Go(func() {
		for m := range queue {
			if ctx.Err() != nil {
				continue
			}
			l.fn(m)
			if m.QoS > 0 {
				_ = link.Send(&mqtt.Puback{ID: m.ID}) // else it comes again
			}
		}
	})
	for _, m := range first {
		queue <- m
	}
	for {
		p, err := link.Read()
		if err != nil {
			break
		}
		m, ok := p.(*mqtt.Publish)
		if !ok {
			continue
		}
		if l.patient {
			queue <- m
			continue
		}
		select {
		case queue <- m:
		default: // with QoS 1 it is not acknowledged and comes again
			if m.QoS == 0 {
				l.front.counters.dropped.Add(1)
			}
		}
	}
	close(queue)
	worker.Wait()
	link.Close()
}
