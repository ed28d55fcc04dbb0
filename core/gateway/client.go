package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/fescue-edge/fescue/core/router"
	"github.com/fescue-edge/fescue/inbound"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/topic"
)

// client is one connection. It implements mqtt.Handler.
type client struct {
	gateway     *Gateway
	conn        *tls.Conn
	certificate string
	notAfter    time.Time

	// Known from CONNECT on.
	session *mqtt.Session
	device  *device
	will    *mqtt.Publish
	acks    acks
}

func (c *client) serve(ctx context.Context) {
	g := c.gateway
	err := mqtt.Serve(ctx, c.conn, c, g.o.Session)
	d := c.device
	if err != nil && c.will != nil && g.devices.Load().byThing[d.thing] == d {
		// What is due is sent even when the core stops.
		lost := func(err error) {
			if err != nil {
				g.refuse("last will", d.thing, nil, fmt.Errorf("client device %q: %w", d.thing, err))
			}
		}
		lost(g.publish(context.WithoutCancel(ctx), d, c.will, lost))
	}
	thing := ""
	if d != nil {
		d.leave(c)
		thing = d.thing
	}
	if slices.ContainsFunc(misbehaviour, func(kind error) bool { return errors.Is(err, kind) }) {
		g.refuse("connection", c.certificate, c.conn.RemoteAddr(), fmt.Errorf("client device %q: %w", thing, err))
	}
	g.o.Logger.Debug("A client device's connection has ended.", slog.String("thing", thing), slog.Any("cause", err))
}

// misbehaviour are the ends of connections that are logged. Others are a
// device's own affair, or that of its network.
var misbehaviour = []error{
	ErrForbidden, ErrRemoved, ErrTakenOver, ErrExpired,
	mqtt.ErrMalformed, mqtt.ErrProtocol, mqtt.ErrTooLarge, mqtt.ErrVersion, mqtt.ErrOverflow, mqtt.ErrStalled,
}

// Connect implements mqtt.Handler.
func (c *client) Connect(_ context.Context, s *mqtt.Session, m *mqtt.Connect) mqtt.Connack {
	g := c.gateway
	c.session = s
	d, present, err := g.admit(c, m.ClientID, m.CleanSession)
	if err != nil {
		g.refuse("CONNECT", c.certificate, c.conn.RemoteAddr(), err)
		if m.ClientID == "" {
			return mqtt.Connack{Code: mqtt.RefusedIdentifier} // MQTT 3.1.1, 3.1.3.1
		}
		return mqtt.Connack{Code: mqtt.RefusedNotAuthorized}
	}
	inbound.Work(c.conn)
	c.device, c.will = d, m.Will
	g.o.Logger.Debug("A client device has connected.", slog.String("thing", d.thing), slog.String("address", c.conn.RemoteAddr().String()))
	return mqtt.Connack{SessionPresent: present}
}

// Publish implements mqtt.Handler. A message with QoS 1 is acknowledged when every
// target has taken it or missed it, and the disk has it, if it is to go there.
func (c *client) Publish(ctx context.Context, p *mqtt.Publish) error {
	switch p.QoS {
	case 0:
		return c.gateway.publish(ctx, c.device, p, func(error) {})
	case 1:
		due := c.acks.expect(p.ID)
		return c.gateway.publish(ctx, c.device, p, func(err error) { c.acknowledge(due, err) })
	}
	return fmt.Errorf("%w: a message with QoS 2", ErrForbidden)
}

// acknowledge sends the device the PUBACK of a message. One that could not be kept gets
// none: there is no way to say so in MQTT 3.1.1 but to end the connection, after which
// the device sends it again.
func (c *client) acknowledge(due *ack, err error) {
	if err != nil {
		c.gateway.refuse("message", c.certificate, c.conn.RemoteAddr(), fmt.Errorf("client device %s: a message could not be kept, and its connection is ended so that it is sent again: %w", c.device.thing, err))
		c.session.Close(err)
		return
	}
	c.acks.done(due, func(id uint16) {
		// A failure ends the connection.
		_ = c.session.Send(&mqtt.Puback{ID: id})
	})
}

// publish gives the router a message of a device. The error is that of a message
// that no device may send; otherwise kept is called when the message is where it is to
// be, or why it is not.
func (g *Gateway) publish(ctx context.Context, d *device, p *mqtt.Publish, kept func(error)) error {
	if len(p.Payload) > MaxPayload {
		return fmt.Errorf("%w: a payload of %d bytes, at most %d are", ErrForbidden, len(p.Payload), MaxPayload)
	}
	if err := topic.ValidName(p.Topic); err != nil {
		return fmt.Errorf("%w: %w", ErrForbidden, err)
	}
	if service := topic.AnsweredBy(p.Topic); service != "" {
		g.refuse("message", d.thing, nil, fmt.Errorf("client device %s: %s is for the %s service to publish to", d.thing, p.Topic, service))
		kept(nil)
		return nil
	}
	d.in.Add(1)
	// Retain is not heeded: nothing is kept for those who subscribe later.
	g.o.Publisher.Send(ctx, router.Message{Source: d.arn, Topic: p.Topic, Payload: p.Payload, Once: p.QoS == 0}, kept)
	return nil
}

// Subscribe implements mqtt.Handler. Every filter that is one is taken.
func (c *client) Subscribe(_ context.Context, p *mqtt.Subscribe) error {
	return c.session.Send(&mqtt.Suback{ID: p.ID, Codes: c.device.subscribe(p.Filters)})
}

// Unsubscribe implements mqtt.Handler.
func (c *client) Unsubscribe(_ context.Context, p *mqtt.Unsubscribe) error {
	c.device.unsubscribe(p.Filters)
	return c.session.Send(&mqtt.Unsuback{ID: p.ID})
}

// Puback implements mqtt.Handler.
func (c *client) Puback(_ context.Context, id uint16) error {
	c.device.acknowledged(c, id)
	return nil
}
