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
	"net"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/policyvars"
	"github.com/fescue-edge/fescue/inbound"
	"github.com/fescue-edge/fescue/mqtt"
)

// Why the front ends sessions; Serve's log and ServeConn's error wrap them.
var (
	// ErrClosed ends what is under way when the front is closed.
	ErrClosed = errors.New("MQTT front is closed")
	// ErrRevoked ends the sessions of a certificate that is unknown, not ACTIVE
	// or outside its validity.
	ErrRevoked = errors.New("certificate is not registered, not active or outside its validity")
	// ErrTakenOver ends a session when its client id connects anew.
	ErrTakenOver = errors.New("another connection uses the same client id")
	// ErrForbidden ends a session whose client did what policies, or the rules
	// for topics, do not allow.
	ErrForbidden = errors.New("not allowed")
	// ErrBrokerLost ends a session whose broker connection failed.
	ErrBrokerLost = errors.New("connection to the message broker was lost")
)

// Upstream is the broker behind the front: nats-server as Broker has it, or any
// other broker of MQTT 3.1.1 that nobody but fronts can reach.
type Upstream interface {
	// Dial opens a connection that is ready for CONNECT.
	Dial(ctx context.Context) (net.Conn, error)
	// Credentials are for that CONNECT; an empty user name sends none.
	Credentials() (username, password string)
}

// Presence is notified when a thing opens a connection and when that ends.
type Presence interface {
	Connected(p fescue.Partition, thing, host string)
	Gone(p fescue.Partition, thing string)
}

// Options configure a Front. Zero numbers take the defaults.
type Options struct {
	Directory Directory    // required
	Broker    Upstream     // required
	Logger    *slog.Logger // required
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
	// Room says by its error that a message cannot be kept, because the disk is full
	// or, for one to be retained, too many are. Messages with QoS 1 are then not
	// acknowledged, so that their senders send them again. nil means that there
	// always is room.
	Room func(retain bool) error
	// Refresh is how often principals are read again; default 750 ms, so that a
	// change takes effect within a second.
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
	if o.Room == nil {
		o.Room = func(bool) error { return nil }
	}
	if err := o.Quotas.Validate(QuotaFacts); err != nil {
		return fmt.Errorf("MQTT front: %w", err)
	}
	setDefault(&o.HandshakeTimeout, 10*time.Second)
	setDefault(&o.MaxPayload, 128<<10)
	setDefault(&o.MaxSubscriptions, 50)
	setDefault(&o.Refresh, 750*time.Millisecond)
	setDefault(&o.MaxStale, 30*time.Second)
	setDefault(&o.SessionExpiry, time.Hour)
	return nil
}

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
	speaker     *speaker
	expiry      *expiry
	book        *book
	// words bounds how much the log says of what clients are refused.
	words *rate.Limiter

	receivers []Receiver

	ctx    context.Context // ends with Close
	cancel context.CancelCauseFunc

	mu       sync.Mutex
	closed   bool
	running  sync.WaitGroup     // everything that Close waits for
	sessions map[string]*device // by the broker's client id
}

// New makes a front and starts what runs behind it; end it with Close.
func New(o Options) (*Front, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	f := &Front{
		o: o,
		credentials: &credentials{
			directory: o.Directory, now: o.Now, maxStale: o.MaxStale, byID: map[string]*credential{},
		},
		sessions: map[string]*device{},
	}
	f.ctx, f.cancel = context.WithCancelCause(context.Background())
	f.speaker = newSpeaker(f)
	f.expiry = &expiry{f}
	f.book = newBook(o.Quotas, o.MaxSubscriptions)
	f.words = rate.NewLimiter(refusalsASecond, refusalsAtOnce)
	f.goRun(func() {
		f.credentials.watch(f.ctx, f.o.Refresh, func(err error) {
			f.o.Logger.Warn("MQTT: cannot read the principals of connected devices again", "error", err)
		})
	})
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
		f.o.Logger.Warn("MQTT: "+what+" refused", "partition", d.partition, "client", d.clientID, "certificate", d.credential.id, "cause", cause)
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

// Close ends all sessions, Serve and the subscriptions of Subscribe, and waits for
// them. Wills are published, as after any end that the client did not ask for.
// The broker is not closed.
func (f *Front) Close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.cancel(ErrClosed)
	f.running.Wait()
	f.speaker.close()
}

// Invalidate makes a change of a certificate, its status or its policies take
// effect at once. Its error says that the principal could not be read; the old
// one then counts until the next refresh succeeds.
func (f *Front) Invalidate(certificateID string) error {
	err := f.credentials.invalidate(f.ctx, certificateID)
	if errors.Is(err, fescue.ErrNotFound) {
		return nil // its sessions have been ended
	}
	return err
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
		conns.Go(func() { f.serveAccepted(ctx, conn) })
	}
}

func (f *Front) serveAccepted(ctx context.Context, conn net.Conn) {
	t, ok := conn.(*tls.Conn)
	if !ok {
		_ = conn.Close()
		f.o.Logger.Error("MQTT: the listener does not speak TLS, connection closed", "remote", conn.RemoteAddr())
		return
	}
	err := f.ServeConn(ctx, t)
	if err == nil {
		return
	}
	level := slog.LevelDebug
	for _, noteworthy := range []error{ErrForbidden, ErrRevoked, ErrTakenOver, mqtt.ErrStalled, mqtt.ErrOverflow} {
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
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return ErrClosed
	}
	f.running.Add(1)
	f.mu.Unlock()
	defer f.running.Done()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(f.ctx, func() { cancel(context.Cause(f.ctx)) })()

	leaf, err := f.handshake(ctx, conn)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(leaf.Raw)
	id := hex.EncodeToString(sum[:])
	d := &device{
		front: f, end: cancel, done: make(chan struct{}), admitted: func() { inbound.Work(conn) },
		connection: policyvars.Connection(conn.RemoteAddr().String(), conn.ConnectionState(), leaf, id),
	}
	c, err := f.credentials.acquire(ctx, id, d)
	if err != nil {
		f.counters.rejected.Add(1)
		return err
	}
	defer f.credentials.release(c, d)
	if !c.current.Load().Usable(f.o.Now()) {
		f.counters.rejected.Add(1)
		return fmt.Errorf("certificate %s: %w", id, ErrRevoked)
	}
	d.credential = c
	err = mqtt.Serve(ctx, conn, d, f.o.Session)
	d.finish(err)
	f.countEnd(err)
	if err != nil {
		return fmt.Errorf("certificate %s, client %q: %w", id, d.clientID, err)
	}
	return nil
}

func (f *Front) handshake(ctx context.Context, conn *tls.Conn) (*x509.Certificate, error) {
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
