package mqttfront

import (
	"context"
	"fmt"

	"github.com/fescue-edge/fescue/mqtt"
)

const (
	maxFiltersInPacket = 8 // AWS IoT Core quotas

	// maxPendingSubscribes bounds the SUBSCRIBEs of a connection that the broker has not answered.
	maxPendingSubscribes = 64

	// maxGranting bounds those of all connections with a filter of QoS 1. The broker makes a
	// consumer for each, and refuses what it has not made after five seconds: all at once,
	// as devices come when a server is back, it would refuse them all.
	maxGranting = 64
)

// grantLater stands in a pending SUBACK for a code that the broker decides.
const grantLater byte = 0xff

// pending is the answer to a SUBSCRIBE that the broker has not answered.
type pending struct {
	codes   []byte // grantLater for the broker's
	filters []string
	// answered is called when the broker has answered, or never will.
	answered func()
}

// Subscribe asks the broker for the filters that are allowed, and answers for the
// others.
func (d *device) Subscribe(ctx context.Context, p *mqtt.Subscribe) error {
	if n := len(p.Filters); n > maxFiltersInPacket {
		return fmt.Errorf("%w: %d filters in one SUBSCRIBE, at most %d are allowed", ErrForbidden, n, maxFiltersInPacket)
	}
	codes, more := make([]byte, len(p.Filters)), false
	var filters []string
	var qos byte
	up := &mqtt.Subscribe{ID: p.ID}
	for i, s := range p.Filters {
		if s.QoS > 1 {
			return fmt.Errorf("%w: subscription with QoS 2", ErrForbidden)
		}
		isNew, err := d.maySubscribe(s.Filter)
		if err != nil {
			d.front.counters.deniedSubscribe.Add(1)
			d.front.refused(d, "subscription", err)
			codes[i] = mqtt.SubackFailure
			continue
		}
		more = more || isNew
		codes[i] = grantLater
		filters = append(filters, s.Filter)
		qos = max(qos, s.QoS)
		up.Filters = append(up.Filters, mqtt.Subscription{Filter: d.names.filter(s.Filter), QoS: s.QoS})
	}
	if len(up.Filters) == 0 {
		return d.session.Send(&mqtt.Suback{ID: p.ID, Codes: codes})
	}
	answered := func() {}
	if qos > 0 {
		if err := d.front.granting.Acquire(ctx, 1); err != nil {
			return context.Cause(ctx)
		}
		answered = func() { d.front.granting.Release(1) }
	}
	d.mu.Lock()
	_, twice := d.pending[p.ID]
	full := len(d.pending) >= maxPendingSubscribes
	if !twice {
		d.pending[p.ID] = pending{codes, filters, answered}
	}
	d.mu.Unlock()
	if twice {
		answered()
	}
	if twice || full {
		return fmt.Errorf("%w: SUBSCRIBE %d while %d wait for their answer", mqtt.ErrProtocol, p.ID, maxPendingSubscribes)
	}
	if d.lasting && more {
		if err := d.front.expiry.note(ctx, d.key); err != nil {
			return fmt.Errorf("%w: %w", ErrBrokerLost, err)
		}
	}
	return d.toBroker(up)
}

// maySubscribe decides on a filter and remembers it. It is new if the session did
// not have it.
func (d *device) maySubscribe(filter string) (isNew bool, err error) {
	if err := checkFilter(filter); err != nil {
		return false, err
	}
	if resource := d.partition.TopicFilterARN(filter); !d.allowed("iot:Subscribe", resource) {
		return false, fmt.Errorf("%w: iot:Subscribe on %s", ErrForbidden, resource)
	}
	// A core that has the filter waits without asking: it is to know that nothing would come.
	if resource := d.partition.TopicARN(filter); wakes(filter) && !d.allowed("iot:Receive", resource) {
		return false, fmt.Errorf("%w: iot:Receive on %s", ErrForbidden, resource)
	}
	if isNew, err = d.front.book.add(d.key, filter); err != nil {
		return false, fmt.Errorf("%s: %w", filter, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.filters[filter] = true
	return isNew, nil
}

// Unsubscribe passes the filters on to the broker, which answers.
func (d *device) Unsubscribe(_ context.Context, p *mqtt.Unsubscribe) error {
	if n := len(p.Filters); n > maxFiltersInPacket {
		return fmt.Errorf("%w: %d filters in one UNSUBSCRIBE, at most %d are allowed", ErrForbidden, n, maxFiltersInPacket)
	}
	up := &mqtt.Unsubscribe{ID: p.ID}
	for _, filter := range p.Filters {
		// What cannot have been subscribed is not there; the broker is not asked.
		if checkFilter(filter) == nil {
			up.Filters = append(up.Filters, d.names.filter(filter))
		}
	}
	d.mu.Lock()
	for _, filter := range p.Filters {
		delete(d.filters, filter)
		d.front.book.remove(d.key, filter)
	}
	d.mu.Unlock()
	if len(up.Filters) == 0 {
		return d.session.Send(&mqtt.Unsuback{ID: p.ID})
	}
	return d.toBroker(up)
}

// suback answers a SUBSCRIBE with the broker's codes and those that Subscribe has
// prepared.
func (d *device) suback(p *mqtt.Suback) error {
	d.mu.Lock()
	awaited, ok := d.pending[p.ID]
	delete(d.pending, p.ID)
	d.mu.Unlock()
	if !ok {
		return fmt.Errorf("%w: it sent a SUBACK that nobody waits for", ErrBrokerLost)
	}
	awaited.answered()
	codes, asked := awaited.codes, 0
	for i, c := range codes {
		if c != grantLater {
			continue
		}
		codes[i] = mqtt.SubackFailure
		if asked < len(p.Codes) {
			codes[i] = p.Codes[asked]
		}
		if codes[i] == mqtt.SubackFailure {
			d.front.book.remove(d.key, awaited.filters[asked])
			d.front.refused(d, "subscription", fmt.Errorf("the message broker does not take %s", awaited.filters[asked]))
		}
		asked++
	}
	return d.session.Send(&mqtt.Suback{ID: p.ID, Codes: codes})
}
