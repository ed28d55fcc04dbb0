package mqttfront

import (
	"context"
	"fmt"

	"github.com/fescue-edge/fescue/mqtt"
)

const (
	maxFiltersInPacket = 8 // AWS IoT Core quotas

	// maxPendingSubscribes bounds the SUBSCRIBEs that the broker has not answered.
	maxPendingSubscribes = 64
)

// grantLater stands in a pending SUBACK for a code that the broker decides.
const grantLater byte = 0xff

// Subscribe asks the broker for the filters that are allowed, and answers for the
// others.
func (d *device) Subscribe(_ context.Context, p *mqtt.Subscribe) error {
	if n := len(p.Filters); n > maxFiltersInPacket {
		return fmt.Errorf("%w: %d filters in one SUBSCRIBE, at most %d are allowed", ErrForbidden, n, maxFiltersInPacket)
	}
	codes := make([]byte, len(p.Filters))
	up := &mqtt.Subscribe{ID: p.ID}
	for i, s := range p.Filters {
		if s.QoS > 1 {
			return fmt.Errorf("%w: subscription with QoS 2", ErrForbidden)
		}
		if !d.maySubscribe(s.Filter) {
			d.front.counters.deniedSubscribe.Add(1)
			codes[i] = mqtt.SubackFailure
			continue
		}
		codes[i] = grantLater
		up.Filters = append(up.Filters, mqtt.Subscription{Filter: d.names.filter(s.Filter), QoS: s.QoS})
	}
	if len(up.Filters) == 0 {
		return d.session.Send(&mqtt.Suback{ID: p.ID, Codes: codes})
	}
	d.mu.Lock()
	_, twice := d.pending[p.ID]
	full := len(d.pending) >= maxPendingSubscribes
	d.pending[p.ID] = codes
	d.mu.Unlock()
	if twice || full {
		return fmt.Errorf("%w: SUBSCRIBE %d while %d wait for their answer", mqtt.ErrProtocol, p.ID, maxPendingSubscribes)
	}
	return d.toBroker(up)
}

// maySubscribe decides on a filter and remembers it.
func (d *device) maySubscribe(filter string) bool {
	if checkFilter(filter) != nil || !d.allowed("iot:Subscribe", d.partition.TopicFilterARN(filter)) {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.filters[filter] && len(d.filters) >= d.front.o.MaxSubscriptions {
		return false
	}
	d.filters[filter] = true
	return true
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
	codes, ok := d.pending[p.ID]
	delete(d.pending, p.ID)
	d.mu.Unlock()
	if !ok {
		return fmt.Errorf("%w: it sent a SUBACK that nobody waits for", ErrBrokerLost)
	}
	granted := p.Codes
	for i, c := range codes {
		if c != grantLater {
			continue
		}
		codes[i] = mqtt.SubackFailure
		if len(granted) > 0 {
			codes[i], granted = granted[0], granted[1:]
		}
	}
	return d.session.Send(&mqtt.Suback{ID: p.ID, Codes: codes})
}
