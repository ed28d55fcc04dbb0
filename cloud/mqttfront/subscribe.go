package mqttfront

import (
	"context"
	"fmt"

	"github.com/fescue-edge/fescue/cloud/broker"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/topic"
)

const maxFiltersInPacket = 8 // AWS IoT Core quotas

// Subscribe gives the session the filters that are allowed, and answers.
func (d *device) Subscribe(ctx context.Context, p *mqtt.Subscribe) error {
	if n := len(p.Filters); n > maxFiltersInPacket {
		return fmt.Errorf("%w: %d filters in one SUBSCRIBE, at most %d are allowed", ErrForbidden, n, maxFiltersInPacket)
	}
	codes := make([]byte, len(p.Filters))
	var granted []broker.Filter
	for i, s := range p.Filters {
		if s.QoS > 1 {
			return fmt.Errorf("%w: subscription with QoS 2", ErrForbidden)
		}
		if err := d.maySubscribe(s.Filter); err != nil {
			d.front.counters.deniedSubscribe.Add(1)
			d.front.refused(d, "subscription", err)
			codes[i] = mqtt.SubackFailure
			continue
		}
		codes[i] = s.QoS
		granted = append(granted, broker.Filter{Filter: s.Filter, QoS: s.QoS})
	}
	if err := d.session.Subscribe(ctx, granted); err != nil {
		return fmt.Errorf("%w: %w", ErrBrokerLost, err)
	}
	// What is retained by now follows the answer; what comes from here on is the
	// subscription's.
	var retained []broker.Retained
	for _, f := range granted {
		// AWS IoT Core sends what is retained for the exact topic only.
		if topic.ValidName(f.Filter) != nil {
			continue
		}
		if err := d.session.Retained(ctx, f, func(m broker.Retained) { retained = append(retained, m) }); err != nil {
			return fmt.Errorf("%w: %w", ErrBrokerLost, err)
		}
	}
	if err := d.line.Send(&mqtt.Suback{ID: p.ID, Codes: codes}); err != nil {
		return err
	}
	for _, m := range retained {
		d.session.Hand(m)
	}
	return nil
}

// maySubscribe decides on a filter and notes it.
func (d *device) maySubscribe(filter string) error {
	if err := checkFilter(filter); err != nil {
		return err
	}
	if resource := d.partition.TopicFilterARN(filter); !d.allowed("iot:Subscribe", resource) {
		return fmt.Errorf("%w: iot:Subscribe on %s", ErrForbidden, resource)
	}
	// A core that has the filter waits without asking: it is to know that nothing would come.
	if resource := d.partition.TopicARN(filter); wakes(filter) && !d.allowed("iot:Receive", resource) {
		return fmt.Errorf("%w: iot:Receive on %s", ErrForbidden, resource)
	}
	if err := d.front.book.add(d.key, filter); err != nil {
		return fmt.Errorf("%s: %w", filter, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.filters[filter] = true
	return nil
}

// Unsubscribe takes filters from the session, and answers.
func (d *device) Unsubscribe(ctx context.Context, p *mqtt.Unsubscribe) error {
	if n := len(p.Filters); n > maxFiltersInPacket {
		return fmt.Errorf("%w: %d filters in one UNSUBSCRIBE, at most %d are allowed", ErrForbidden, n, maxFiltersInPacket)
	}
	d.mu.Lock()
	for _, filter := range p.Filters {
		delete(d.filters, filter)
		d.front.book.remove(d.key, filter)
	}
	d.mu.Unlock()
	if err := d.session.Unsubscribe(ctx, p.Filters); err != nil {
		return fmt.Errorf("%w: %w", ErrBrokerLost, err)
	}
	return d.line.Send(&mqtt.Unsuback{ID: p.ID})
}
