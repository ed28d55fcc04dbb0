package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fescue-edge/fescue/core/logs"
	"github.com/fescue-edge/fescue/core/router"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/inbound"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/periodic"
	"github.com/fescue-edge/fescue/pki"
)

// Device is a client device of the group.
type Device struct {
	// ThingARN is its end of subscriptions, Thing its client id.
	ThingARN, Thing string
	// CertificateID is the SHA-256 of its certificate, as pki.CertificateID gives it. A
	// device with several certificates is listed with each.
	CertificateID string
}

// Publisher takes what devices publish; the core's router is one.
type Publisher interface {
	// Send hands a message over without waiting. kept is called once: with nil when
	// the message is where it is to be, with an error when it is to be sent again.
	Send(ctx context.Context, m router.Message, kept func(error))
}

// Protocol is what clients negotiate by ALPN, if anything (AWS IoT Core developer
// guide, "Device communication protocols").
const Protocol = "x-amzn-mqtt-ca"

// Limits of a message (AWS General Reference, "AWS IoT Greengrass V1 endpoints and
// quotas"); those of topics are package topic's.
const (
	// MaxPayload is the largest payload, in bytes.
	MaxPayload = 128 << 10
	// maxPacket leaves room for the topic.
	maxPacket = MaxPayload + 1<<10
)

// Why the gateway ends sessions.
var (
	// ErrRemoved ends the session of a device that is not in the group any more, or
	// whose certificate was deactivated.
	ErrRemoved = errors.New("the device has left the group, or its certificate was deactivated")
	// errUnknown refuses a certificate in the handshake.
	errUnknown = errors.New("is of no client device of the group, or was deactivated")
	// ErrTakenOver ends a session when its device connects anew.
	ErrTakenOver = errors.New("the device has connected anew")
	// ErrExpired ends the session of a certificate that is over.
	ErrExpired = errors.New("the certificate is not valid at this time")
	// ErrForbidden ends the session of a device that sends what is not taken.
	ErrForbidden = errors.New("not taken")
	// ErrClosed ends all sessions.
	ErrClosed = errors.New("the core stops")
)

// Options are what a Gateway is made of. All but those with a default are needed.
type Options struct {
	Publisher Publisher
	// Certificate is asked for the server's certificate in each handshake.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	Logger      *slog.Logger
	// Session are the limits of a connection; zero ones take the gateway's.
	Session mqtt.Options
	// HandshakeTimeout is how long TLS may take; default 10 s.
	HandshakeTimeout time.Duration
	// MaxConnections bounds connections on one port, those that are not admitted yet
	// among them; default 4096, or half of the descriptors.
	MaxConnections int
	// Now is the clock; time.Now if nil.
	Now func() time.Time
}

// Gateway serves client devices. Make one with New; its methods may be called from
// any goroutine.
type Gateway struct {
	o       Options
	tls     *tls.Config
	refused *logs.Seldom
	devices atomic.Pointer[directory]

	// changing orders SetDevices and Revoke.
	changing sync.Mutex
	revoked  map[string]bool
}

// directory are the devices of the moment. It never changes.
type directory struct {
	byThing, byARN map[string]*device
	// certificates are those that are taken, each with its devices.
	certificates map[string][]*device
}

// New makes a gateway without devices.
func New(o Options) *Gateway {
	setDefault(&o.HandshakeTimeout, 10*time.Second)
	setDefault(&o.MaxConnections, min(4096, max(inbound.Descriptors()/2, 64)))
	setDefault(&o.Session.MaxPacket, maxPacket)
	setDefault(&o.Session.QueuePackets, queuePackets)
	setDefault(&o.Session.QueueBytes, queueBytes)
	if o.Now == nil {
		o.Now = time.Now
	}
	g := &Gateway{o: o, refused: logs.NewSeldom(o.Logger, o.Now)}
	g.devices.Store(&directory{})
	g.tls = pki.DeviceTLS(o.Certificate, g.verify)
	return g
}

// Bounds of what waits for one connection to be written. Messages with QoS 0 may
// use a quarter, which is at least three of the largest.
const (
	queuePackets = 4096
	queueBytes   = 2 << 20
)

func setDefault[T int | time.Duration](v *T, standard T) {
	if *v <= 0 {
		*v = standard
	}
}

// SetDevices exchanges the devices. Those that stay keep their sessions and notice
// nothing; those that go are disconnected and forgotten.
func (g *Gateway) SetDevices(list []Device) {
	g.changing.Lock()
	defer g.changing.Unlock()
	old := g.devices.Load()
	next := &directory{byThing: make(map[string]*device), byARN: make(map[string]*device), certificates: make(map[string][]*device)}
	for _, one := range list {
		d := next.byThing[one.Thing]
		if d == nil {
			if d = old.byThing[one.Thing]; d == nil || d.arn != one.ThingARN {
				d = newDevice(one.ThingARN, one.Thing)
			}
			next.byThing[one.Thing], next.byARN[one.ThingARN] = d, d
		}
		if of := next.certificates[one.CertificateID]; !slices.Contains(of, d) {
			next.certificates[one.CertificateID] = append(of, d)
		}
	}
	g.devices.Store(next)
	g.enforce(old)
}

// Revoke says which of the devices' certificates are not to be taken, in place of
// those said before.
func (g *Gateway) Revoke(certificates []string) {
	g.changing.Lock()
	defer g.changing.Unlock()
	revoked := make(map[string]bool, len(certificates))
	for _, id := range certificates {
		revoked[id] = true
	}
	g.revoked = revoked
	g.enforce(g.devices.Load())
}

// enforce ends the sessions of those devices that may not have them any more; the
// caller holds changing.
func (g *Gateway) enforce(devices *directory) {
	now := g.o.Now()
	for thing, d := range devices.byThing {
		c := d.connected()
		if g.devices.Load().byThing[thing] != d {
			d.forget()
		}
		if c == nil {
			continue
		}
		if err := g.admits(c.certificate, d); err != nil {
			c.session.Close(err)
		} else if now.After(c.notAfter) {
			c.session.Close(ErrExpired)
		}
	}
}

// admits is nil for a certificate of a device; the caller holds changing.
func (g *Gateway) admits(certificate string, d *device) error {
	if g.revoked[certificate] || !slices.Contains(g.devices.Load().certificates[certificate], d) {
		return ErrRemoved
	}
	return nil
}

// admit makes c the connection of a device, if its certificate is one of the
// device's. What is changed at the same time sees either no connection or this one.
func (g *Gateway) admit(c *client, thing string, clean bool) (d *device, present bool, err error) {
	g.changing.Lock()
	defer g.changing.Unlock()
	d = g.devices.Load().byThing[thing]
	if d == nil {
		return nil, false, fmt.Errorf("the group has no client device %.200q", thing)
	}
	if err := g.admits(c.certificate, d); err != nil {
		return nil, false, fmt.Errorf("the certificate is not the one of client device %q", thing)
	}
	return d, d.take(c, clean), nil
}

// verify is the certificate check of each handshake.
func (g *Gateway) verify(cert *x509.Certificate) error {
	if now := g.o.Now(); now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return ErrExpired
	}
	id := pki.CertificateID(cert.Raw)
	g.changing.Lock()
	defer g.changing.Unlock()
	if g.revoked[id] || len(g.devices.Load().certificates[id]) == 0 {
		return fmt.Errorf("certificate %s %w", id, errUnknown)
	}
	return nil
}

// expiryInterval is how often connections are held against the end of their
// certificates.
const expiryInterval = time.Minute

// Serve serves a listener until ctx ends, closes it and ends its connections, whose
// wills are published, and returns nil. Any other end is an error.
func (g *Gateway) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancelCause(ctx)
	secure := inbound.Negotiate(inbound.Limit(l, g.o.MaxConnections, "client devices", nil, g.o.Logger), g.tls, Protocol)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel(ErrClosed)
	defer context.AfterFunc(ctx, func() { _ = secure.Close() })()
	running.Go(func() { g.expire(ctx) })
	for {
		conn, err := secure.Accept()
		switch {
		case err == nil:
			running.Go(func() { g.serve(ctx, conn.(*tls.Conn), &running) })
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept client devices: %w", err)
		default: // such as no file descriptor being left: it passes
			g.o.Logger.Warn("A client device's connection could not be accepted.", slog.String("errorString", err.Error()))
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
		}
	}
}

const acceptPause = 100 * time.Millisecond

func (g *Gateway) expire(ctx context.Context) {
	periodic.Every(ctx, expiryInterval, func() {
		g.changing.Lock()
		defer g.changing.Unlock()
		g.enforce(g.devices.Load())
	})
}

// serve has a connection shake hands, and its session run in a goroutine of its own:
// the stack that handshakes grow would otherwise stay as long as the device does.
func (g *Gateway) serve(ctx context.Context, conn *tls.Conn, running *sync.WaitGroup) {
	handshake, cancel := context.WithTimeout(ctx, g.o.HandshakeTimeout)
	defer cancel()
	if err := conn.HandshakeContext(handshake); err != nil {
		_ = conn.Close()
		if ctx.Err() == nil {
			g.refuse("handshake", handshakeFailure(err), conn.RemoteAddr(), err)
		}
		return
	}
	leaf := conn.ConnectionState().PeerCertificates[0]
	c := &client{gateway: g, conn: conn, certificate: pki.CertificateID(leaf.Raw), notAfter: leaf.NotAfter}
	running.Go(func() { c.serve(ctx) })
}

// handshakeFailure names why a handshake failed, for the log: by its cause, since
// nothing is known of the client.
func handshakeFailure(err error) string {
	for _, cause := range []error{errUnknown, ErrExpired, context.DeadlineExceeded} {
		if errors.Is(err, cause) {
			return cause.Error()
		}
	}
	return ""
}

// Reserve implements router.Endpoint for devices. A device that is away, or has
// subscribed to nothing that matches, misses the message, which is no error.
func (g *Gateway) Reserve(_ context.Context, target string, m router.Message) (func(deliver bool), error) {
	d := g.devices.Load().byARN[target]
	if d == nil {
		return nobody, nil
	}
	return d.reserve(m)
}

// Activity is what the client devices do, by thing.
func (g *Gateway) Activity() []corelink.DeviceActivity {
	devices := g.devices.Load().byThing
	list := make([]corelink.DeviceActivity, 0, len(devices))
	for _, thing := range slices.Sorted(maps.Keys(devices)) {
		list = append(list, devices[thing].activity())
	}
	return list
}

// nobody is where messages go that nobody wants.
func nobody(bool) {}
