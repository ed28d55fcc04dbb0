package mqttfront

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/broker"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/cloud/policyvars"
	"github.com/fescue-edge/fescue/inbound"
	"github.com/fescue-edge/fescue/mqtt"
)

// Why the front ends sessions; Serve's log and ServeConn's error wrap them.
var (
	// ErrClosed ends what is under way when the front is closed.
	ErrClosed = errors.New("MQTT front is closed")
	// ErrRevoked ends the sessions of a certificate or an access key that is unknown,
	// no longer active or outside its validity.
	ErrRevoked = errors.New("certificate or access key is not known, not active or outside its validity")

	// ErrUndecided ends the sessions of clients for whom there is a message of which it
	// cannot be decided whether they may have it: it is neither given out nor lost.
	ErrUndecided = errors.New("the rights cannot be decided now")
	// ErrLifetime ends a session that was opened with an access key when it has
	// lasted for as long as one may.
	ErrLifetime = errors.New("a connection that was opened with an access key has lasted as long as one may")
	// ErrTakenOver ends a session when its client id connects anew.
	ErrTakenOver = errors.New("another connection uses the same client id")
	// ErrForbidden ends a session whose client did what policies, or the rules
	// for topics, do not allow.
	ErrForbidden = errors.New("not allowed")
	// ErrNoRoom ends a session when a message is due again that could not be kept.
	ErrNoRoom = errors.New("there was no room for messages, which are to be sent again")
	// ErrBrokerLost ends a session that the broker cannot keep any more.
	ErrBrokerLost = errors.New("connection to the message broker was lost")
)

// Presence is notified when a thing opens a connection and when that ends.
type Presence interface {
	Connected(p fescue.Partition, thing, host string)
	Gone(p fescue.Partition, thing string)
}

// Options configure a Front. Zero numbers take the defaults.
type Options struct {
	Directory Directory      // required
	Broker    *broker.Broker // required
	Logger    *slog.Logger   // required
	// Changes reports whether the front is told of what changes in the Directory and for
	// Keys; nil for never.
	Changes Changes
	// Keys and Inventory are for ServeKey: who has an access key, and what the limits
	// of keys ask about.
	Keys      Keys
	Inventory identity.Inventory
	// KeyLifetime is how long a connection of an access key may last; default 24 h, as
	// on AWS IoT.
	KeyLifetime time.Duration
	// Presence is notified which things connect; nil for nobody.
	Presence Presence
	// Now is the clock for the validity of certificates and the age of
	// sessions; default time.Now.
	Now func() time.Time

	// Session are the limits of a device's connection.
	Session mqtt.Options
	// HandshakeTimeout is how long TLS may take; default 10 s.
	HandshakeTimeout time.Duration
	// MaxPayload is the largest payload in bytes; default 128 KiB (AWS IoT Core
	// quotas).
	MaxPayload int
	// MaxSubscriptions is how many filters one session may have; default 50 (AWS
	// IoT Core quotas).
	MaxSubscriptions int
	// Quotas are those that differ from QuotaFacts.
	Quotas deploy.Quotas
	// Room says by its error that a message of a partition cannot be kept, because the disk is
	// full or, for one that Retains, too many are. Messages with QoS 1 are then not
	// acknowledged, so that their senders send them again. nil means that there
	// always is room.
	Room func(p fescue.Partition, m *mqtt.Publish) error
	// Forwarder keeps what is to go elsewhere, too; nil for nothing.
	Forwarder Forwarder
	// Refresh is how often principals are looked at, and read again while Changes does not
	// tell what changed; default 750 ms, so that a change takes effect within a second.
	Refresh time.Duration
	// MaxStale is how long a principal counts that cannot be read again because
	// the directory fails; default 30 s.
	MaxStale time.Duration
	// SessionExpiry is how long a persistent session outlives its connection;
	// default 1 h, as AWS IoT Core's.
	SessionExpiry time.Duration
}

func (o *Options) setDefaults() error {
	if o.Directory == nil || o.Broker == nil || o.Logger == nil {
		return errors.New("MQTT front: Directory, Broker and Logger are required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Presence == nil {
		o.Presence = unwatched{}
	}
	if o.Changes == nil {
		o.Changes = unfollowed{}
	}
	if o.Room == nil {
		o.Room = func(fescue.Partition, *mqtt.Publish) error { return nil }
	}
	if err := o.Quotas.Validate(QuotaFacts); err != nil {
		return fmt.Errorf("MQTT front: %w", err)
	}
	setDefault(&o.HandshakeTimeout, 10*time.Second)
	setDefault(&o.MaxPayload, 128<<10)
	setDefault(&o.MaxSubscriptions, 50)
	setDefault(&o.Refresh, 750*time.Millisecond)
	setDefault(&o.MaxStale, 30*time.Second)
	setDefault(&o.KeyLifetime, 24*time.Hour)
	setDefault(&o.SessionExpiry, time.Hour)
	return nil
}

// Retains reports whether a message is to be retained: an empty one removes the one that is.
func Retains(m *mqtt.Publish) bool { return m.Retain && len(m.Payload) > 0 }

// unwatched is the Presence of nobody.
type unwatched struct{}

func (unwatched) Connected(fescue.Partition, string, string) {}
func (unwatched) Gone(fescue.Partition, string)              {}

func setDefault[T int | int64 | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// Front is the MQTT endpoint of the cloud. Its methods may be called from any
// goroutine.
type Front struct {
	o           Options
	credentials *credentials
	counters    counters
	expiry      *expiry
	book        *book
	// words bounds how much the log says of what clients are refused.
	words *rate.Limiter

	receivers []Receiver

	ctx    context.Context // ends with Close
	cancel context.CancelCauseFunc

	mu       sync.Mutex
	draining bool // no client is let in any more
	closed   bool
	running  sync.WaitGroup     // everything that Close waits for
	sessions map[string]*device // by key
}

// New makes a front and starts what runs behind it; end it with Close.
func New(o Options) (*Front, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	f := &Front{
		o:           o,
		credentials: newCredentials(o),
		sessions:    map[string]*device{},
	}
	f.ctx, f.cancel = context.WithCancelCause(context.Background())
	f.expiry = &expiry{f}
	f.book = newBook(o.Quotas, o.MaxSubscriptions)
	f.words = rate.NewLimiter(refusalsASecond, refusalsAtOnce)
	unread := func(err error) {
		f.o.Logger.Warn("MQTT: cannot read the principals of connected devices again", "error", err)
	}
	f.goRun(func() { f.credentials.watch(f.ctx, f.o.Refresh, f.o.Changes, unread) })
	f.goRun(func() { f.credentials.readTold(f.ctx, unread) })
	if err := o.Broker.Watch(f.ctx, f.expiry.learn); err != nil {
		f.Close()
		return nil, fmt.Errorf("MQTT front: %w", err)
	}
	if err := o.Broker.Wills(f.lateWill); err != nil {
		f.Close()
		return nil, fmt.Errorf("MQTT front: %w", err)
	}
	f.goRun(func() { f.expiry.run(f.ctx) })
	return f, nil
}

// How many refusals the log shows.
const (
	refusalsASecond = 1
	refusalsAtOnce  = 100
)

// refused logs what a client was refused.
func (f *Front) refused(d *device, what string, cause error) {
	if errors.Is(cause, ErrQuota) {
		f.counters.overQuota.Add(1)
	}
	if f.words.Allow() {
		f.o.Logger.Warn("MQTT: "+what+" refused", "partition", d.partition, "client", d.clientID, d.credential.of.attribute(), d.credential.of.id, "cause", cause)
	}
}

// goRun starts fn as something that Close waits for, unless the front is closed.
func (f *Front) goRun(fn func()) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.running.Go(fn)
	return true
}

// drainPause is the least between two sessions that Drain ends: as fast as two processors
// can take them in elsewhere.
const drainPause = 5 * time.Millisecond

// Drain lets no client in any more, and ends the sessions of those that are here one after
// the other, in no order, for no longer than most: so they come to other servers, or back,
// spread over that time. The rest is Close's.
func (f *Front) Drain(most time.Duration) {
	f.mu.Lock()
	f.draining = true
	sessions := slices.Collect(maps.Values(f.sessions))
	f.mu.Unlock()
	if most <= 0 || len(sessions) == 0 {
		return
	}
	tick := time.NewTicker(max(min(most/time.Duration(len(sessions)), drainPause), 1))
	defer tick.Stop()
	for _, d := range sessions {
		select {
		case <-tick.C:
			d.end(ErrClosed)
		case <-f.ctx.Done():
			return
		}
	}
}

// Close ends all sessions, Serve and the subscriptions of Subscribe, and waits for
// them. Wills are published, as after any end that the client did not ask for.
// The broker is not closed.
func (f *Front) Close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.cancel(ErrClosed)
	f.running.Wait()
}

// unknownFor is for how long what changes elsewhere may be unknown to Principal.
const unknownFor = time.Second

// Principal is who a certificate is. Of one that is connected here it is known, for as long as
// the front is told of what changes within a second; of others it is read from the Directory.
func (f *Front) Principal(ctx context.Context, certificateID string) (identity.Principal, error) {
	if f.o.Changes.Within(unknownFor) {
		if r, ok := f.credentials.sure(proof{id: certificateID}).(*certificateRights); ok {
			return r.Principal, nil
		}
	}
	return f.o.Directory.Principal(ctx, certificateID)
}

// Invalidate makes changes of certificates, their status or their policies take
// effect at once, also for temporary keys that they asked for. Its error says that what has
// changed could not be read; the old counts until the next refresh succeeds, but not for
// Principal.
func (f *Front) Invalidate(certificateIDs ...string) error {
	changed := make(map[string]bool, len(certificateIDs))
	list := f.credentials.ofKeys()
	for _, id := range certificateIDs {
		changed[id] = true
		list = append(list, f.credentials.certificate(id)...)
	}
	return f.credentials.invalidate(f.ctx, list, func(c *credential, r rights) bool { return changed[c.of.id] || changed[r.holder()] })
}

// InvalidatePolicies makes it take effect soon that one of a partition's policies acts
// otherwise: Principal knows none of its certificates in use until it was read again. It waits
// for nothing.
func (f *Front) InvalidatePolicies(p fescue.Partition) {
	f.credentials.invalidateSoon(f.credentials.all(), func(c *credential, r rights) bool { return c.of.key == "" && r.partition() == p })
}

// InvalidateKey is Invalidate for an access key, and the temporary ones that are from it.
func (f *Front) InvalidateKey(id string) error {
	return f.credentials.invalidate(f.ctx, f.credentials.ofKeys(), func(c *credential, r rights) bool { return c.of.id == id || r.holder() == id })
}

// InvalidateKeys is InvalidateKey for all keys of an account in use: one of its roles gives
// something else.
func (f *Front) InvalidateKeys(account string) error {
	return f.credentials.invalidate(f.ctx, f.credentials.ofKeys(), func(_ *credential, r rights) bool { return r.partition().Account == account })
}

// InvalidateAll is InvalidatePolicies for all certificates and access keys in use: anything of
// them may have changed.
func (f *Front) InvalidateAll() {
	f.credentials.invalidateSoon(f.credentials.all(), func(*credential, rights) bool { return true })
}

// Serve accepts connections until ctx ends or the front is closed, then closes
// ln, ends the connections and returns nil after the last. ln yields *tls.Conn
// whose configuration asks for, and checks possession of, a client certificate, and
// bounds how many there are.
func (f *Front) Serve(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(f.ctx, func() { cancel(ErrClosed) })()
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
	var conns sync.WaitGroup
	defer conns.Wait()
	defer cancel(ErrClosed) // runs before the wait
	for pause := time.Duration(0); ; {
		conn, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("accept MQTT connections: %w", err)
			}
			// Such as no file descriptor being left: it passes.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			f.o.Logger.Warn("MQTT: cannot accept a connection, trying again", "error", err, "after", pause)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			continue
		}
		pause = 0
		conns.Go(func() {
			if t := f.greet(ctx, conn); t != nil {
				// The stack that the handshake has taken does not stay for the session.
				conns.Go(func() { f.logEnd(ctx, conn, f.ServeConn(ctx, t)) })
			}
		})
	}
}

// greet does the handshake of a connection. It returns nil for one that it has closed.
func (f *Front) greet(ctx context.Context, conn net.Conn) *tls.Conn {
	t, ok := conn.(*tls.Conn)
	if !ok {
		_ = conn.Close()
		f.o.Logger.Error("MQTT: the listener does not speak TLS, connection closed", "remote", conn.RemoteAddr())
		return nil
	}
	_, err := f.handshake(ctx, t)
	if err != nil {
		_ = conn.Close()
		f.logEnd(ctx, conn, err)
		return nil
	}
	return t
}

// logEnd logs why a connection ended.
func (f *Front) logEnd(ctx context.Context, conn net.Conn, err error) {
	if err == nil {
		return
	}
	level := slog.LevelDebug
	for _, noteworthy := range []error{ErrForbidden, ErrRevoked, ErrUndecided, ErrTakenOver, mqtt.ErrStalled, mqtt.ErrOverflow} {
		if errors.Is(err, noteworthy) {
			level = slog.LevelInfo
		}
	}
	f.o.Logger.Log(ctx, level, "MQTT connection ended", "remote", conn.RemoteAddr(), "cause", err)
}

// ServeConn serves one device and closes conn. It returns nil after the client's
// DISCONNECT and otherwise why the connection ended.
func (f *Front) ServeConn(ctx context.Context, conn *tls.Conn) error {
	defer conn.Close()
	ctx, end, leave, err := f.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	leaf, err := f.handshake(ctx, conn)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(leaf.Raw)
	id := hex.EncodeToString(sum[:])
	return f.session(ctx, conn, proof{id: id, find: f.byCertificate}, &device{
		front: f, end: end, done: make(chan struct{}), admitted: func() { inbound.Work(conn) },
		connection: policyvars.Connection(conn.RemoteAddr().String(), conn.ConnectionState(), leaf, id),
	})
}

// ServeKey serves a client who has proved to have an access key, and closes conn. The
// partition is the key's account in the Region that the client chose, the variables what
// the conditions of the key's policies may ask about. Its policies and its limit decide on
// each packet as a certificate's policies do; a key that is revoked, or a temporary one that
// expires, ends its connections. Why the connection ended is logged.
func (f *Front) ServeKey(ctx context.Context, conn net.Conn, keyID string, p fescue.Partition, variables map[string][]string) {
	defer conn.Close()
	f.logEnd(ctx, conn, f.serveKey(ctx, conn, keyID, p, variables))
}

func (f *Front) serveKey(ctx context.Context, conn net.Conn, keyID string, p fescue.Partition, variables map[string][]string) error {
	ctx, end, leave, err := f.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	defer time.AfterFunc(f.o.KeyLifetime, func() { end(ErrLifetime) }).Stop()
	return f.session(ctx, conn, proof{id: keyID, key: p.Key(), find: f.byKey(p)}, &device{
		front: f, end: end, done: make(chan struct{}), admitted: func() {}, connection: variables,
	})
}

// shut reports whether no client is let in any more.
func (f *Front) shut() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed || f.draining
}

// enter begins a connection, which goes on for as long as the context that it gives:
// end ends that, and leave must be called when nothing of the connection is left.
func (f *Front) enter(ctx context.Context) (_ context.Context, end context.CancelCauseFunc, leave func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || f.draining {
		return nil, nil, nil, ErrClosed
	}
	f.running.Add(1)
	ctx, end = context.WithCancelCause(ctx)
	stop := context.AfterFunc(f.ctx, func() { end(context.Cause(f.ctx)) })
	return ctx, end, func() {
		stop()
		end(nil)
		f.running.Done()
	}, nil
}

// session serves a client who has proved who it is.
func (f *Front) session(ctx context.Context, conn net.Conn, of proof, d *device) error {
	c, err := f.credentials.acquire(ctx, of, d)
	if err != nil {
		f.counters.rejected.Add(1)
		return err
	}
	defer f.credentials.release(c, d)
	if !c.current.Load().usable(f.o.Now()) {
		f.counters.rejected.Add(1)
		return fmt.Errorf("%s %s: %w", of.what(), of.id, ErrRevoked)
	}
	d.credential = c
	err = mqtt.Serve(ctx, conn, d, f.o.Session)
	d.finish(err)
	f.countEnd(err)
	if err != nil {
		return fmt.Errorf("%s %s, client %q: %w", of.what(), of.id, d.clientID, err)
	}
	return nil
}

// handshake returns the client's certificate. It may be called again.
func (f *Front) handshake(ctx context.Context, conn *tls.Conn) (*x509.Certificate, error) {
	if f.shut() {
		return nil, ErrClosed
	}
	ctx, cancel := context.WithTimeout(ctx, f.o.HandshakeTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		f.counters.rejected.Add(1)
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	// A chain may follow; the device's own certificate comes first.
	chain := conn.ConnectionState().PeerCertificates
	if len(chain) == 0 {
		f.counters.rejected.Add(1)
		return nil, errors.New("TLS handshake brought no client certificate")
	}
	return chain[0], nil
}

// countEnd counts a session's end by its cause.
func (f *Front) countEnd(err error) {
	for _, e := range []struct {
		cause error
		count interface{ Add(uint64) uint64 }
	}{
		{mqtt.ErrMalformed, &f.counters.malformed},
		{mqtt.ErrProtocol, &f.counters.malformed},
		{mqtt.ErrTooLarge, &f.counters.malformed},
		{mqtt.ErrStalled, &f.counters.stalled},
		{mqtt.ErrOverflow, &f.counters.stalled},
		{mqtt.ErrSilent, &f.counters.silent},
		{mqtt.ErrRefused, &f.counters.refused},
		{ErrTakenOver, &f.counters.takenOver},
		{ErrRevoked, &f.counters.revoked},
		{ErrBrokerLost, &f.counters.brokerLost},
	} {
		if errors.Is(err, e.cause) {
			e.count.Add(1)
			return
		}
	}
}
