package mqttfront

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/broker"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/policy"
)

const (
	maxClientID = 128 // bytes; AWS IoT Core quotas

	// partingTime is how long it may take to record that a client has left.
	partingTime = 5 * time.Second
)

// device is one connection of one client: the Handler of its packets, and the broker's
// Client.
type device struct {
	front      *Front
	end        context.CancelCauseFunc // ends the connection
	done       chan struct{}           // closed when nothing of it is left
	admitted   func()                  // called when the connection has proved whose it is
	connection map[string][]string     // policy variables
	credential *credential

	// Set by Connect, before anything else runs.
	clientID  string
	partition fescue.Partition
	key       string        // the session's
	line      *mqtt.Session // to the client
	will      *mqtt.Publish
	session   *broker.Session
	mail      *mailbox // where a decision may wait; nil where none does
	lasting   bool
	booked    bool     // in the front's book
	things    []string // whose presence this connection is

	undecided bool // a message was held back: so are those after it; of Deliver

	// missed are the messages with QoS 1 that were not acknowledged for want of room, by
	// topic and in order; of the session loop.
	missed map[string][]uint16
	// patience is for room; of the session loop.
	patience patience

	seen atomic.Pointer[view]

	mu      sync.Mutex
	filters map[string]bool // subscribed on this connection
}

// host is where the connection comes from.
func (d *device) host() string {
	if list := d.connection[policy.KeySourceIP]; len(list) > 0 {
		return list[0]
	}
	return ""
}

// Connect decides on the session and opens the one behind it.
func (d *device) Connect(ctx context.Context, s *mqtt.Session, c *mqtt.Connect) mqtt.Connack {
	f := d.front
	d.clientID = c.ClientID
	v := d.view()
	switch {
	case v == nil:
		return mqtt.Connack{Code: mqtt.RefusedNotAuthorized}
	case c.ClientID == "" || len(c.ClientID) > maxClientID:
		return mqtt.Connack{Code: mqtt.RefusedIdentifier}
	}
	d.partition = v.partition()
	d.key = broker.Key(d.partition, c.ClientID)
	d.line = s
	d.filters = map[string]bool{}
	d.lasting = !c.CleanSession
	if err := d.mayConnect(v, c); err != nil {
		f.refused(d, "connection", err)
		return mqtt.Connack{Code: mqtt.RefusedNotAuthorized}
	}
	d.will = c.Will
	if err := d.takeOver(ctx); err != nil {
		f.refused(d, "connection", err)
		return mqtt.Connack{Code: mqtt.RefusedUnavailable}
	}
	if err := f.book.open(d.key, v.holder(), d.lasting, f.o.Now()); err != nil {
		f.refused(d, "connection", err)
		return mqtt.Connack{Code: mqtt.RefusedUnavailable}
	}
	d.booked = true
	if d.credential.of.key != "" {
		d.mail = newMailbox(d.dropped)
	}
	session, present, err := f.o.Broker.Open(ctx, broker.Opening{Partition: d.partition, ClientID: c.ClientID, Holder: v.holder(), Lasting: d.lasting, Will: d.testament()}, d)
	if err != nil {
		switch {
		case errors.Is(err, broker.ErrTaken):
			f.refused(d, "connection", err)
		case ctx.Err() == nil:
			f.o.Logger.Error("MQTT connection refused, the message broker does not take it", "client", c.ClientID, "error", err)
		}
		return mqtt.Connack{Code: mqtt.RefusedUnavailable}
	}
	d.mu.Lock()
	d.session = session // which renew looks at
	d.mu.Unlock()
	if !present {
		f.book.fresh(d.key)
	}
	d.admitted()
	f.counters.accepted.Add(1)
	f.counters.connections.Add(1)
	d.things = v.things()
	for _, thing := range d.things {
		f.o.Presence.Connected(d.partition, thing, d.host())
	}
	if d.mail != nil {
		go d.mail.run(d.handLater)
	}
	return mqtt.Connack{SessionPresent: present}
}

func (d *device) mayConnect(v *view, c *mqtt.Connect) error {
	vars := maps.Clone(v.vars)
	if vars == nil {
		vars = map[string][]string{}
	}
	if !c.CleanSession {
		vars[policy.KeyConnectAttributes] = append(vars[policy.KeyConnectAttributes], "PersistentConnect")
	}
	if c.Will != nil {
		vars[policy.KeyConnectAttributes] = append(vars[policy.KeyConnectAttributes], "LastWill")
	}
	resource := d.partition.ClientARN(c.ClientID)
	if !d.may(v, policy.Request{Action: "iot:Connect", Resource: resource, Variables: vars}) {
		return fmt.Errorf("%w: iot:Connect on %s", ErrForbidden, resource)
	}
	if c.Will == nil {
		return nil
	}
	if c.Will.QoS > 1 {
		return fmt.Errorf("%w: a will with QoS 2", ErrForbidden)
	}
	if err := d.mayPublish(c.Will.Topic, c.Will.Retain); err != nil {
		return fmt.Errorf("will: %w", err)
	}
	return nil
}

// takeOver makes this the client id's connection: the older one is ended first, and
// completely, so that its session is recorded.
func (d *device) takeOver(ctx context.Context) error {
	f := d.front
	f.mu.Lock()
	old := f.sessions[d.key]
	f.sessions[d.key] = d
	f.mu.Unlock()
	if old == nil {
		return nil
	}
	old.end(ErrTakenOver)
	// Waited for even if this connection has ended meanwhile: whoever takes it
	// over waits for this one only.
	<-old.done
	return context.Cause(ctx)
}

// finish ends the session behind after Serve has returned why the client's ended.
func (d *device) finish(cause error) {
	f := d.front
	defer close(d.done)
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.sessions[d.key] == d {
			delete(f.sessions, d.key)
		}
		if d.booked && d.lasting {
			f.book.leave(d.key, f.o.Now())
		}
	}()
	if d.booked && !d.lasting {
		f.book.close(d.key)
	}
	if d.session == nil {
		return
	}
	f.counters.connections.Add(-1)
	for _, thing := range d.things {
		f.o.Presence.Gone(d.partition, thing)
	}
	// For all of it: the client's next connection waits. What is not recorded then is soon after.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(f.ctx), partingTime)
	defer cancel()
	apart := errors.Is(cause, broker.ErrApart)
	if cause != nil && !apart && d.will != nil && d.mayPublish(d.will.Topic, d.will.Retain) == nil {
		if err := d.session.SendWill(ctx, func(ctx context.Context, id string) error {
			return f.speakWill(ctx, d.partition, id, *d.will, f.keep)
		}); err != nil && f.words.Allow() {
			f.o.Logger.Warn("MQTT: cannot publish a client's will yet", "partition", d.partition, "client", d.clientID, "error", err)
		}
	}
	leave := d.session.Close
	if apart {
		leave = d.session.Leave
	}
	if err := leave(ctx); err != nil {
		f.o.Logger.Debug("MQTT: cannot record when a client left", "client", d.key, "error", err)
	}
	if d.mail != nil {
		d.mail.close()
	}
}

// Publish passes a message on to the broker, which acknowledges it. What it asks
// of the cloud itself is done before that, so that what was acknowledged was done.
func (d *device) Publish(ctx context.Context, p *mqtt.Publish) error {
	if err := d.checkMessage(p); err != nil {
		d.front.counters.deniedPublish.Add(1)
		return fmt.Errorf("publish: %w", err)
	}
	if Retains(p) || p.QoS > 0 {
		if err := d.front.o.Room(d.partition, p); err != nil {
			return d.unkept(ctx, p, err)
		}
	}
	before := d.missed[p.Topic]
	if p.QoS > 0 && len(before) > 0 && before[0] != p.ID {
		return fmt.Errorf("%w: a message of %s that came before this one is to come again first", ErrNoRoom, p.Topic)
	}
	begun := time.Now()
	room, err := d.front.o.Broker.Reserve(ctx, d.partition, p, d.patience.left(begun))
	d.patience.spend(time.Since(begun))
	switch {
	case errors.Is(err, fescue.ErrCrowded):
		return d.unkept(ctx, p, err)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrBrokerLost, err)
	}
	if err := d.front.forward(ctx, d.partition, p.Topic, p.Payload); err != nil && p.QoS > 0 {
		d.front.o.Broker.Release(d.partition, room)
		return d.unkept(ctx, p, err)
	}
	if p.QoS > 0 && len(before) > 0 {
		d.missed[p.Topic] = before[1:]
	}
	return d.passOn(ctx, p, room)
}

// unkept deals with a message that there is no room for: with QoS 1 it is not
// acknowledged, so that the client sends it again; with QoS 0 it is not retained.
func (d *device) unkept(ctx context.Context, p *mqtt.Publish, cause error) error {
	d.front.counters.unkept.Add(1)
	d.front.refused(d, "message", cause)
	if p.QoS > 0 {
		return d.miss(p)
	}
	now := *p
	now.Retain = false
	return d.passOn(ctx, &now, broker.Room{})
}

// maxMissed is how many messages a connection may have that were not acknowledged (100 in
// the AWS IoT Core quotas).
const maxMissed = 100

// miss notes a message that is not acknowledged. Nothing is acknowledged over it: the order
// of a topic stays (MQTT 3.1.1, 4.6). A client begins again with it when it connects anew,
// so the connection ends with the first message for which there is room.
func (d *device) miss(p *mqtt.Publish) error {
	if d.missed == nil {
		d.missed = make(map[string][]uint16)
	}
	if slices.Contains(d.missed[p.Topic], p.ID) {
		return nil
	}
	all := 0
	for _, list := range d.missed {
		all += len(list)
	}
	if all == maxMissed {
		return fmt.Errorf("%w: %d messages wait for it", ErrNoRoom, all)
	}
	d.missed[p.Topic] = append(d.missed[p.Topic], p.ID)
	return nil
}

// passOn passes a message on for which there is room.
func (d *device) passOn(ctx context.Context, p *mqtt.Publish, room broker.Room) error {
	d.front.counters.published.Add(1)
	d.front.receive(ctx, d.partition, p.Topic, p.Payload)
	var stored func(error)
	if id := p.ID; p.QoS > 0 {
		stored = func(err error) {
			if err != nil {
				d.end(fmt.Errorf("%w: %w", ErrBrokerLost, err))
				return
			}
			_ = d.line.Send(&mqtt.Puback{ID: id}) // a failure ends the connection
		}
	}
	if err := d.front.o.Broker.Publish(ctx, broker.Publication{
		Partition: d.partition, Message: &mqtt.Publish{Topic: p.Topic, Payload: p.Payload, QoS: p.QoS, Retain: p.Retain},
		Room: room, Stored: stored,
	}); err != nil {
		return fmt.Errorf("%w: %w", ErrBrokerLost, err)
	}
	return nil
}

func (d *device) checkMessage(p *mqtt.Publish) error {
	if p.QoS > 1 {
		return fmt.Errorf("%w: QoS 2", ErrForbidden)
	}
	if n := len(p.Payload); n > d.front.o.MaxPayload {
		return fmt.Errorf("%w: payload of %d bytes, at most %d are allowed", ErrForbidden, n, d.front.o.MaxPayload)
	}
	return d.mayPublish(p.Topic, p.Retain)
}

// Puback passes the client's acknowledgement on.
func (d *device) Puback(_ context.Context, id uint16) error {
	d.session.Ack(id)
	return nil
}

// End implements broker.Client.
func (d *device) End(cause error) {
	switch {
	case errors.Is(cause, broker.ErrTaken):
		cause = fmt.Errorf("%w: %w", ErrTakenOver, cause)
	case errors.Is(cause, broker.ErrUnacknowledged):
		cause = fmt.Errorf("%w: %w", mqtt.ErrOverflow, cause)
	default:
		cause = fmt.Errorf("%w: %w", ErrBrokerLost, cause)
	}
	d.end(cause)
}

// Deliver implements broker.Client. Where it would have to wait for a decision, the
// mailbox takes the message.
func (d *device) Deliver(m *mqtt.Publish) (awaited bool) {
	if d.mail != nil {
		d.mail.put(m)
		return m.QoS > 0
	}
	return d.hand(m)
}

// dropped deals with a message for which the mailbox has no room.
func (d *device) dropped(m *mqtt.Publish) {
	d.front.counters.dropped.Add(1)
	if m.QoS > 0 {
		d.end(mqtt.ErrOverflow)
	}
}

// handLater hands out a message of the mailbox.
func (d *device) handLater(m *mqtt.Publish) {
	if !d.hand(m) && m.QoS > 0 {
		d.session.Ack(m.ID)
	}
}

// hand passes a message on to the client, if the client may receive it. It reports
// whether an acknowledgement is still to come.
func (d *device) hand(m *mqtt.Publish) (awaited bool) {
	f, name := d.front, m.Topic
	if d.undecided {
		return true
	}
	switch ok, err := d.decide("iot:Receive", d.partition.TopicARN(name)); {
	case err != nil:
		// Without an acknowledgement it is kept for a persistent session.
		d.undecided = true
		d.end(err)
		return true
	case !ok:
		f.counters.deniedReceive.Add(1)
		if wakes(name) && d.subscribed(name) {
			d.end(fmt.Errorf("%w: iot:Receive on %s, which the core was granted and waits for", ErrForbidden, d.partition.TopicARN(name)))
		}
		return false
	}
	switch err := d.line.Send(m); {
	case err == nil:
		f.counters.delivered.Add(1)
	case errors.Is(err, mqtt.ErrDropped):
		f.counters.dropped.Add(1)
	}
	return true
}

// subscribed reports whether the client has exactly this filter.
func (d *device) subscribed(filter string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.filters[filter]
}

// renew records that the client is still here.
func (d *device) renew() {
	d.mu.Lock()
	s := d.session
	d.mu.Unlock()
	if s != nil {
		s.Renew()
	}
}
