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
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/policy"
)

const (
	maxClientID = 128 // bytes; AWS IoT Core quotas

	// partingTime is how long the broker may take to end a session in peace. A
	// session is clear for its successor when the broker has closed it.
	partingTime = 5 * time.Second

	// willID is the packet identifier of a will, published when nothing else of
	// this connection matters any more.
	willID = 65535
)

// device is one connection of one client, and its Handler. Packet identifiers
// pass through unchanged, so that the broker and the client acknowledge each
// other's messages and the front remembers none.
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
	names     namer
	key       string // the broker's client id
	session   *mqtt.Session
	will      *mqtt.Publish
	link      *mqtt.Client
	pumped    chan struct{}
	lasting   bool
	opened    bool     // in the front's book
	replaces  bool     // a persistent session by a clean one
	things    []string // whose presence this connection is

	undecided bool // a message was held back: so are those after it; of the pump

	// missed are the messages with QoS 1 that were not acknowledged for want of room, by
	// topic and in order; of the session loop.
	missed map[string][]uint16

	seen atomic.Pointer[view]

	mu      sync.Mutex
	filters map[string]bool    // subscribed on this connection
	pending map[uint16]pending // SUBACKs to come
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
	d.names = newNamer(d.partition)
	d.key = d.names.client(c.ClientID)
	d.session = s
	d.filters = map[string]bool{}
	d.pending = map[uint16]pending{}
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
	var err error
	if d.replaces, err = f.book.open(d.key, v.holder(), d.lasting, f.o.Now()); err != nil {
		f.refused(d, "connection", err)
		return mqtt.Connack{Code: mqtt.RefusedUnavailable}
	}
	d.opened = true
	ack, err := d.connectUpstream(ctx, c.CleanSession)
	if err != nil {
		if ctx.Err() == nil {
			f.o.Logger.Error("MQTT connection refused, the message broker does not take it", "client", c.ClientID, "error", err)
		}
		return mqtt.Connack{Code: mqtt.RefusedUnavailable}
	}
	d.admitted()
	f.counters.accepted.Add(1)
	f.counters.connections.Add(1)
	d.pumped = make(chan struct{})
	d.things = v.things()
	for _, thing := range d.things {
		f.o.Presence.Connected(d.partition, thing, d.host())
	}
	go d.pump()
	return mqtt.Connack{SessionPresent: ack.SessionPresent}
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

// takeOver makes this the client id's connection: the older one is ended first,
// and completely, since a broker that met both would take the newcomer for a
// nuisance.
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

func (d *device) connectUpstream(ctx context.Context, clean bool) (mqtt.Connack, error) {
	if d.lasting {
		// Before the session exists, so that none is ever left unrecorded.
		if err := d.front.expiry.note(ctx, d.key); err != nil {
			return mqtt.Connack{}, err
		}
	}
	c := &mqtt.Connect{ClientID: d.key, CleanSession: clean}
	if d.will != nil {
		// The broker gets it for the case that the front itself dies.
		w := *d.will
		w.Topic = d.names.topic(w.Topic)
		c.Will = &w
	}
	link, ack, err := d.front.openUpstream(ctx, c)
	if err != nil {
		return ack, err
	}
	d.link = link
	if d.replaces {
		d.front.expiry.forget(d.key)
	}
	if !ack.SessionPresent {
		d.front.book.fresh(d.key)
	}
	return ack, nil
}

// openUpstream connects to the broker as a client.
func (f *Front) openUpstream(ctx context.Context, c *mqtt.Connect) (*mqtt.Client, mqtt.Connack, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	conn, err := f.o.Broker.Dial(ctx)
	if err != nil {
		return nil, mqtt.Connack{}, err
	}
	c.Level = mqtt.Level311
	if user, password := f.o.Broker.Credentials(); user != "" {
		c.HasUsername, c.Username = true, user
		c.HasPassword, c.Password = password != "", []byte(password)
	}
	// Names grow by the prefix and by escapes, so more is allowed from there.
	return mqtt.Open(ctx, conn, c, mqtt.Options{MaxPacket: f.o.MaxPayload + (64 << 10)})
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
	}()
	if d.opened && !d.lasting {
		f.book.close(d.key)
	}
	if d.link == nil {
		return
	}
	f.counters.connections.Add(-1)
	for _, thing := range d.things {
		f.o.Presence.Gone(d.partition, thing)
	}
	if cause != nil && d.will != nil && d.mayPublish(d.will.Topic, d.will.Retain) == nil {
		w := *d.will
		if f.o.Room(w.Retain) != nil {
			w.QoS, w.Retain = 0, false
		}
		if err := f.forward(context.WithoutCancel(f.ctx), d.partition, w.Topic, w.Payload); err != nil {
			f.refused(d, "forwarding of its will", err)
		}
		w.Topic = d.names.topic(w.Topic)
		if w.QoS > 0 {
			w.ID = willID
		}
		if d.link.Send(&w) == nil {
			f.counters.wills.Add(1)
		}
	}
	// The will was published or is not to be: DISCONNECT makes the broker drop it.
	d.link.Disconnect(partingTime)
	<-d.pumped
	d.link.Close()
	for _, p := range d.pending {
		p.answered()
	}
	if d.lasting {
		f.expiry.parted(d.key)
	}
}

// Publish passes a message on to the broker, which acknowledges it. What it asks
// of the cloud itself is done before that, so that what was acknowledged was done.
func (d *device) Publish(ctx context.Context, p *mqtt.Publish) error {
	if err := d.checkMessage(p); err != nil {
		d.front.counters.deniedPublish.Add(1)
		return fmt.Errorf("publish: %w", err)
	}
	// An empty message is not retained: it removes the one that is.
	if retain := p.Retain && len(p.Payload) > 0; retain || p.QoS > 0 {
		if err := d.front.o.Room(retain); err != nil {
			return d.unkept(ctx, p, err)
		}
	}
	before := d.missed[p.Topic]
	if p.QoS > 0 && len(before) > 0 && before[0] != p.ID {
		return fmt.Errorf("%w: a message of %s that came before this one is to come again first", ErrNoRoom, p.Topic)
	}
	if err := d.front.forward(ctx, d.partition, p.Topic, p.Payload); err != nil && p.QoS > 0 {
		return d.unkept(ctx, p, err)
	}
	if p.QoS > 0 && len(before) > 0 {
		d.missed[p.Topic] = before[1:]
	}
	return d.passOn(ctx, p)
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
	return d.passOn(ctx, &now)
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

func (d *device) passOn(ctx context.Context, p *mqtt.Publish) error {
	d.front.counters.published.Add(1)
	d.front.receive(ctx, d.partition, p.Topic, p.Payload)
	up := *p
	up.Topic = d.names.topic(p.Topic)
	return d.toBroker(&up)
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

func (d *device) toBroker(p mqtt.Packet) error {
	if err := d.link.Send(p); err != nil {
		return fmt.Errorf("%w: %w", ErrBrokerLost, err)
	}
	return nil
}

// Puback passes the client's acknowledgement on.
func (d *device) Puback(_ context.Context, id uint16) error { return d.toBroker(&mqtt.Puback{ID: id}) }

// pump takes what comes from the broker until that connection ends. It never
// waits for the client, so that the broker never waits for the front.
func (d *device) pump() {
	defer close(d.pumped)
	for {
		p, err := d.link.Read()
		if err != nil {
			d.end(fmt.Errorf("%w: %w", ErrBrokerLost, err))
			return
		}
		switch p := p.(type) {
		case *mqtt.Publish:
			d.deliver(p)
		case *mqtt.Suback:
			err = d.suback(p)
		case *mqtt.Puback, *mqtt.Unsuback:
			err = d.session.Send(p)
		}
		if err != nil && !errors.Is(err, mqtt.ErrClosed) {
			d.end(err)
		}
	}
}

// deliver passes a message on to the client, if the client may receive it.
func (d *device) deliver(p *mqtt.Publish) {
	f := d.front
	name, ok := d.names.original(p.Topic)
	if !ok || !d.wants(name, p.Retain) {
		d.discard(p)
		return
	}
	if d.undecided {
		return
	}
	switch ok, err := d.decide("iot:Receive", d.partition.TopicARN(name)); {
	case err != nil:
		// Without an acknowledgement the broker keeps it for a persistent session.
		d.undecided = true
		d.end(err)
		return
	case !ok:
		f.counters.deniedReceive.Add(1)
		d.discard(p)
		if wakes(name) && d.subscribed(name) {
			d.end(fmt.Errorf("%w: iot:Receive on %s, which the core was granted and waits for", ErrForbidden, d.partition.TopicARN(name)))
		}
		return
	}
	down := *p
	down.Topic = name
	switch err := d.session.Send(&down); {
	case err == nil:
		f.counters.delivered.Add(1)
	case errors.Is(err, mqtt.ErrDropped):
		f.counters.dropped.Add(1)
	}
}

// wants is false for a retained message that answers a subscription with
// wildcards: AWS IoT Core sends it for the exact topic only.
func (d *device) wants(name string, retained bool) bool {
	return !retained || d.subscribed(name)
}

// subscribed reports whether the client has exactly this filter.
func (d *device) subscribed(filter string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.filters[filter]
}

// discard acknowledges a message that the client does not get.
func (d *device) discard(p *mqtt.Publish) {
	if p.QoS > 0 {
		_ = d.link.Offer(&mqtt.Puback{ID: p.ID}) // a failure ends the pump
	}
}
