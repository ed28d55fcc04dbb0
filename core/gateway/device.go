package gateway

import (
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fescue-edge/fescue/core/router"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/topic"
)

// Bounds of one device.
const (
	// MaxFilters is how many filters a device may have subscribed to; the ones
	// beyond are answered with mqtt.SubackFailure.
	MaxFilters = 100
	// maxInFlight is how many messages with QoS 1 may wait for the device's
	// acknowledgement (AWS IoT Core quotas).
	maxInFlight = 100
	// maxWaiting and maxWaitingBytes bound the messages with QoS 1 that wait for the
	// device, those in flight among them. In bytes the payloads count.
	maxWaiting      = 1000
	maxWaitingBytes = 2 << 20
)

// ErrFull means that too much waits for a device.
var ErrFull = errors.New("too many messages wait for the client device, which reads too slowly or is away")

// device is one client device and what it has of a session, connected or not.
type device struct {
	arn, thing string

	mu sync.Mutex
	// client is nil while the device is away.
	client *client
	// lasting is of a session that outlives its connection.
	lasting bool
	// filters are the granted QoS of what it has subscribed to.
	filters topic.Tree[byte]
	// waiting are messages with QoS 1, oldest first; the first flying ones of them
	// are in flight, and have identifiers.
	waiting []*mqtt.Publish
	flying  int
	lastID  uint16
	// last is the connection that it has or had last; since is when that began or ended.
	last  connection
	since time.Time
	// in and out count messages from and to it.
	in, out atomic.Uint64
	// held and bytes are what counts for the bounds: what waits, and what places
	// were taken for.
	held, bytes int
}

// connection is what is known of one.
type connection struct {
	from     net.Addr
	notAfter time.Time
}

// activity is what the device does.
func (d *device) activity() corelink.DeviceActivity {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := corelink.DeviceActivity{Thing: d.thing, Connected: d.client != nil, In: d.in.Load(), Out: d.out.Load(), Waiting: len(d.waiting)}
	if d.since.IsZero() {
		return a
	}
	since, end := d.since.UTC(), d.last.notAfter.UTC()
	a.Since, a.CertificateEnd = &since, &end
	if host, _, err := net.SplitHostPort(d.last.from.String()); err == nil {
		a.Address = host
	}
	return a
}

func newDevice(arn, thing string) *device { return &device{arn: arn, thing: thing} }

func (d *device) connected() *client {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.client
}

// take makes c the device's connection in place of the one that it has, and reports
// whether there was a session to go on with. What is still in flight follows the
// CONNACK.
func (d *device) take(c *client, clean bool) (present bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last, d.since = connection{c.conn.RemoteAddr(), c.notAfter}, c.gateway.o.Now()
	if old := d.client; old != nil {
		old.session.Close(ErrTakenOver)
	}
	present = d.lasting && !clean
	if !present {
		d.reset()
	}
	d.client, d.lasting = c, !clean
	again := d.waiting[:d.flying]
	for i, p := range again {
		copied := *p // the old one may still be being written
		copied.Dup = true
		again[i] = &copied
		_ = c.session.Send(&copied)
	}
	d.fly()
	return present
}

// leave ends a connection, unless another one has taken its place.
func (d *device) leave(c *client) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.client != c {
		return
	}
	d.client, d.since = nil, c.gateway.o.Now()
	if !d.lasting {
		d.reset()
	}
}

// forget ends the session of a device that is none any more.
func (d *device) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.client, d.lasting = nil, false
	d.reset()
}

// reset drops what a session remembers; the caller holds mu. Places that were taken
// stay so until they are settled.
func (d *device) reset() {
	d.filters = topic.Tree[byte]{}
	for _, p := range d.waiting {
		d.held--
		d.bytes -= len(p.Payload)
	}
	d.waiting, d.flying = nil, 0
}

func (d *device) subscribe(filters []mqtt.Subscription) (codes []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range filters {
		_, known := d.filters.Get(f.Filter)
		if topic.ValidFilter(f.Filter) != nil || !known && d.filters.Len() >= MaxFilters {
			codes = append(codes, mqtt.SubackFailure)
			continue
		}
		granted := min(f.QoS, 1)
		d.filters.Set(f.Filter, granted)
		codes = append(codes, granted)
	}
	return codes
}

func (d *device) unsubscribe(filters []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range filters {
		d.filters.Delete(f)
	}
}

// reserve takes a place for a message, as router.Endpoint says.
func (d *device) reserve(m router.Message) (settle func(deliver bool), err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	qos, wanted := byte(0), false
	d.filters.Match(m.Topic, func(granted byte) { qos, wanted = max(qos, granted), true })
	if m.Once {
		qos = 0
	}
	if !wanted || d.client == nil && qos == 0 {
		return nobody, nil
	}
	p := &mqtt.Publish{Topic: m.Topic, Payload: m.Payload, QoS: qos}
	if qos == 0 {
		return d.reserveOnce(p)
	}
	if n := len(p.Payload); d.held >= maxWaiting || d.held > 0 && d.bytes+n > maxWaitingBytes {
		return nil, ErrFull
	} else {
		d.held++
		d.bytes += n
	}
	return func(deliver bool) { d.settle(p, deliver) }, nil
}

// reserveOnce takes a place for a message with QoS 0 in the connection's own queue.
func (d *device) reserveOnce(p *mqtt.Publish) (func(bool), error) {
	place, err := d.client.session.Reserve(p)
	switch {
	case errors.Is(err, mqtt.ErrClosed):
		return nobody, nil
	case err != nil:
		return nil, ErrFull
	}
	return func(deliver bool) {
		if deliver {
			d.out.Add(1)
		}
		place(deliver)
	}, nil
}

// settle has a message with QoS 1 wait for the device, in the place that was taken
// for it, or gives that back.
func (d *device) settle(p *mqtt.Publish, deliver bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !deliver || d.client == nil && !d.lasting {
		d.held--
		d.bytes -= len(p.Payload)
		return
	}
	d.waiting = append(d.waiting, p)
	d.fly()
}

// fly sends what may be in flight; the caller holds mu.
func (d *device) fly() {
	for d.client != nil && d.flying < min(len(d.waiting), maxInFlight) {
		p := d.waiting[d.flying]
		p.ID = d.nextID()
		// A failure ends the connection; the next one goes on from here.
		if d.client.session.Send(p) != nil {
			return
		}
		d.flying++
		d.out.Add(1)
	}
}

// nextID is an identifier that no message in flight has; the caller holds mu.
func (d *device) nextID() uint16 {
	for {
		d.lastID++
		used := func(p *mqtt.Publish) bool { return p.ID == d.lastID }
		if d.lastID != 0 && !slices.ContainsFunc(d.waiting[:d.flying], used) {
			return d.lastID
		}
	}
}

// acknowledged lets go of a message that the device has.
func (d *device) acknowledged(c *client, id uint16) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.client != c {
		return
	}
	for i, p := range d.waiting[:d.flying] {
		if p.ID != id {
			continue
		}
		d.held--
		d.bytes -= len(p.Payload)
		d.flying--
		if d.waiting = slices.Delete(d.waiting, i, i+1); len(d.waiting) == 0 {
			d.waiting = nil // a device at rest keeps no memory
		}
		d.fly()
		return
	}
}
