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
}

func (c *client) serve(ctx context.Context) {
	g := c.gateway
	err := mqtt.Serve(ctx, c.conn, c, g.o.Session)
	d := c.device
	if err != nil && c.will != nil && g.devices.Load().byThing[d.thing] == d {
		// What is due is sent even when the core stops.
		_ = g.publish(context.WithoutCancel(ctx), d, c.will)
	}
	thing := ""
	if d != nil {
		d.leave(c)
		thing = d.thing
	}
	if slices.ContainsFunc(misbehaviour, func(kind error) bool { return errors.Is(err, kind) }) {
		g.refused.log("connection", c.certificate, c.conn.RemoteAddr(), fmt.Errorf("client device %q: %w", thing, err))
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
		g.refused.log("CONNECT", c.certificate, c.conn.RemoteAddr(), err)
		return mqtt.Connack{Code: mqtt.RefusedNotAuthorized}
	}
	inbound.Work(c.conn)
	c.device, c.will = d, m.Will
	g.o.Logger.Debug("A client device has connected.", slog.String("thing", d.thing), slog.String("address", c.conn.RemoteAddr().String()))
	return mqtt.Connack{SessionPresent: present}
}

// Publish implements mqtt.Handler. A message with QoS 1 is acknowledged when every
// target has taken it or missed it.
func (c *client) Publish(ctx context.Context, p *mqtt.Publish) error {
	if p.QoS > 1 {
		return fmt.Errorf("%w: a message with QoS 2", ErrForbidden)
	}
	if err := c.gateway.publish(ctx, c.device, p); err != nil || p.QoS == 0 {
		return err
	}
	return c.session.Send(&mqtt.Puback{ID: p.ID})
}

// publish gives the router a message of a device. The error is that of a message
// that no device may send.
func (g *Gateway) publish(ctx context.Context, d *device, p *mqtt.Publish) error {
	if len(p.Payload) > MaxPayload {
		return fmt.Errorf("%w: a payload of %d bytes, at most %d are", ErrForbidden, len(p.Payload), MaxPayload)
	}
	if err := topic.ValidName(p.Topic); err != nil {
		return fmt.Errorf("%w: %w", ErrForbidden, err)
	}
	if service := topic.AnsweredBy(p.Topic); service != "" {
		g.refused.log("message", d.thing, nil, fmt.Errorf("client device %s: %s is for the %s service to publish to", d.thing, p.Topic, service))
		return nil
	}
	// Retain is not heeded: nothing is kept for those who subscribe later.
	return g.o.Publisher.Publish(ctx, router.Message{Source: d.arn, Topic: p.Topic, Payload: p.Payload, Once: p.QoS == 0}, false)
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
