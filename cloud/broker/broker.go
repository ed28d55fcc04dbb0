package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"

	"github.com/fescue-edge/fescue/topic"
)

const (
	// startTime is how long nats-server may take to recover its store.
	startTime = 60 * time.Second

	// answerTime is how long nats-server may take to answer, after which it is asked again:
	// a cluster without a leader says nothing. callTime bounds all of that.
	answerTime = 5 * time.Second
	callTime   = 30 * time.Second

	// defaultMaxStore is the default bound of the folder, defaultMaxWaiting that of the
	// messages with QoS 1 in it, defaultMaxRetained that of the retained ones.
	defaultMaxStore    = 16 << 30
	defaultMaxWaiting  = 1 << 30
	defaultMaxRetained = 256 << 20
)

// Errors of a broker.
var (
	// ErrLost means that nats-server, or the connection to it, has ended.
	ErrLost = errors.New("the message broker was lost")
	// ErrUnacknowledged ends a session whose client asks for more than it acknowledges.
	ErrUnacknowledged = errors.New("too many messages with QoS 1 are not acknowledged")
	// ErrTaken ends a session that another connection has taken over.
	ErrTaken = errors.New("the session was taken over by another connection")
)

// Options configure a Broker.
type Options struct {
	// Dir holds sessions and messages of a nats-server inside this process. It is created
	// with mode 0700 and must belong to one running broker at a time.
	Dir string
	// Remote is a nats-server elsewhere, in place of Dir; SyncAlways and MaxStore are its
	// own business then.
	Remote *Remote
	// SyncAlways flushes each message to the disk before it is acknowledged, so that it
	// survives a power cut; otherwise it survives the process only. It costs an order
	// of magnitude in QoS 1 throughput.
	SyncAlways bool
	// MaxStore bounds what Dir may hold, in bytes; default 16 GiB. At the bound messages
	// with QoS 1 are no longer accepted.
	MaxStore int64
	// MaxWaiting bounds the messages with QoS 1 that are kept for sessions, in bytes;
	// default 1 GiB. At the bound the oldest give way. It is part of MaxStore.
	MaxWaiting int64
	// MaxPartitionWaiting bounds those of one partition; its own oldest give way. Without it
	// a partition may have all that others do not need: at the bound of all the one with
	// the most gives way first.
	MaxPartitionWaiting int64
	// MaxSessionWaiting bounds what waits for one session, in bytes; 0 for no bound. The oldest
	// are not handed out then.
	MaxSessionWaiting int64
	// MaxRetained bounds the retained messages, in bytes; default 256 MiB.
	// MaxPartitionRetained and MaxPartitionTopics bound those of one partition, in bytes and
	// by their number; 0 for no bound. At each bound RoomToRetain says so.
	MaxRetained, MaxPartitionRetained int64
	MaxPartitionTopics                int
	// SessionExpiry is for how long messages with QoS 1 are kept for clients that are
	// away; default 1 h.
	SessionExpiry time.Duration
	// Now is the clock by which sessions were opened and last seen; default time.Now.
	Now func() time.Time
	// Logger gets nats-server's log at debug level, and the broker's own; required.
	Logger *slog.Logger
}

// Broker keeps the sessions of all clients. Its methods may be called from any goroutine.
type Broker struct {
	o      Options
	server *server.Server
	conn   *nats.Conn
	// others is what servers that share a nats-server say to each other; nil without them.
	others                     *nats.Conn
	api                        jetstream.JetStream
	messages, retained, filing jetstream.Stream
	testaments                 jetstream.Stream
	wills                      wills
	sizes                      sizes
	// run names this start of this server to the others, stamps is the last opening's.
	run    string
	stamps atomic.Int64

	// tally is how much of the messages each partition has, ledger what it retains. tooMuch
	// has giveWay look at the former; gaveWay counts what it removed, skipped what sessions
	// were not given.
	tally            *tally
	ledger           ledger
	tooMuch          chan struct{}
	gaveWay, skipped atomic.Uint64
	said             said

	// permits bounds the messages with QoS 1 that are not acknowledged, acks has them
	// in their order.
	permits chan struct{}
	acks    chan sent
	sentIDs atomic.Uint64

	// done is the last message of the stream that was handed to whom it is for.
	done atomic.Uint64
	// marks is what was read of it; shortSince is since when the stream ends before done,
	// and shortEnd where it did first; of follow.
	marks      marks
	shortSince time.Time
	shortEnd   uint64
	// reading bounds the sessions that read the stream for themselves, ahead is what they have
	// read and not handed out.
	reading *semaphore.Weighted
	ahead   ahead
	// measuring has a *measuring for each space.
	measuring sync.Map
	reached   reached

	mu       sync.RWMutex
	rewound  rewound
	spaces   map[space]*topic.Tree[*holders]
	sessions map[string]*Session
	// opening are those that are being opened.
	opening map[string]*Session
	// closing are persistent sessions that were closed and whose last record is not written
	// yet.
	closing map[string]*Session
	lost    bool

	// unwritten are the sessions whose records have changed.
	unwritten struct {
		sync.Mutex
		sessions map[*Session]struct{}
	}

	ctx      context.Context
	cancel   context.CancelFunc
	starting sync.Mutex
	running  sync.WaitGroup
}

// Start starts the broker on a nats-server, which it starts inside this process if it is not
// to use another one.
func Start(o Options) (*Broker, error) {
	if o.Logger == nil || (o.Dir == "") == (o.Remote == nil) {
		return nil, errors.New("message broker: Logger, and either Dir or Remote, are required")
	}
	setDefault(&o.MaxStore, defaultMaxStore)
	setDefault(&o.MaxWaiting, defaultMaxWaiting)
	setDefault(&o.MaxRetained, defaultMaxRetained)
	setDefault(&o.SessionExpiry, time.Hour)
	if o.Now == nil {
		o.Now = time.Now
	}
	b := &Broker{
		o: o, run: uuid.NewString(),
		permits: make(chan struct{}, maxUnstored), acks: make(chan sent, maxUnstored),
		tooMuch: make(chan struct{}, 1), tally: newTally(o.MaxWaiting, o.MaxPartitionWaiting),
		reading: semaphore.NewWeighted(maxReading),
		spaces:  map[space]*topic.Tree[*holders]{}, sessions: map[string]*Session{}, opening: map[string]*Session{}, closing: map[string]*Session{},
	}
	b.ahead.of = map[space]int64{}
	b.wills = wills{kept: map[string]keptWill{}, open: map[string]struct{}{}, settled: map[string]string{}}
	b.unwritten.sessions = map[*Session]struct{}{}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	if err := b.start(); err != nil {
		b.Shutdown()
		return nil, err
	}
	return b, nil
}

func setDefault[T int64 | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

func (b *Broker) start() error {
	connect := b.embed
	if b.o.Remote != nil {
		connect = b.join
	}
	if err := connect(); err != nil {
		return err
	}
	// A message that is retained, too, is two, and as many records are written at a time.
	var err error
	if b.api, err = jetstream.New(b.conn, jetstream.WithPublishAsyncMaxPending(4*maxUnstored), jetstream.WithPublishAsyncTimeout(storedWithin)); err != nil {
		return fmt.Errorf("speak to the message broker: %w", err)
	}
	ctx, cancel := context.WithTimeout(b.ctx, formerTime)
	defer cancel()
	if err := b.makeStreams(ctx); err != nil {
		return err
	}
	if b.server != nil {
		if err := b.takeFormer(ctx); err != nil {
			return err
		}
	}
	if err := insist(ctx, b.holdBackAll); err != nil {
		return fmt.Errorf("look through the sessions: %w", err)
	}
	if err := insist(ctx, b.follow); err != nil {
		return err
	}
	if b.others != nil {
		if err := b.meet(); err != nil {
			return err
		}
	}
	counted := b.done.Load()
	b.tally.stock = b.sizes.waiting.Load()
	b.running.Go(func() { b.keepTally(counted) })
	b.running.Go(b.followRetained)
	b.running.Go(b.awaitStored)
	b.running.Go(b.keepRecords)
	b.running.Go(b.look)
	if b.o.Remote != nil && b.o.Remote.Replicas == 0 {
		b.running.Go(b.widen)
	}
	return nil
}

// embed starts a nats-server inside this process and connects to it.
func (b *Broker) embed() (err error) {
	if err := os.MkdirAll(b.o.Dir, 0o700); err != nil {
		return fmt.Errorf("message broker's folder: %w", err)
	}
	if b.server, err = server.NewServer(&server.Options{
		ServerName: "fescue",
		// NATS is spoken to nobody but this process.
		DontListen:         true,
		NoSigs:             true,
		JetStream:          true,
		StoreDir:           b.o.Dir,
		SyncAlways:         b.o.SyncAlways,
		JetStreamMaxStore:  b.o.MaxStore,
		JetStreamMaxMemory: 64 << 20,
		MaxPayload:         1 << 20,
		// All clients share one connection, which is not to be ended for what it has not
		// read yet: the broker asks for so much at a time.
		MaxPending: 1 << 30,
		// No reader may slow a writer down.
		NoFastProducerStall: true,
	}); err != nil {
		return fmt.Errorf("configure the message broker: %w", err)
	}
	b.server.SetLoggerV2(natsLog{b.o.Logger}, false, false, false)
	b.server.Start()
	if !b.server.ReadyForConnections(startTime) {
		return fmt.Errorf("message broker did not start within %v: look at its log at debug level, and whether its folder %s is whole and not in use", startTime, b.o.Dir)
	}
	options := append(b.handlers(), nats.InProcessServer(b.server), nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { b.end() }))
	if b.conn, err = nats.Connect("", options...); err != nil {
		return fmt.Errorf("speak to the message broker: %w", err)
	}
	return nil
}

// goRun starts fn as something that Shutdown waits for, unless the broker is stopped.
func (b *Broker) goRun(fn func()) bool {
	b.starting.Lock()
	defer b.starting.Unlock()
	if b.ctx.Err() != nil {
		return false
	}
	b.running.Go(fn)
	return true
}

// Shutdown stops the broker and waits until its store is closed. What clients with
// persistent sessions have not acknowledged is there after the next start. Sessions are to
// be closed before.
func (b *Broker) Shutdown() {
	b.starting.Lock()
	b.cancel()
	b.starting.Unlock()
	b.running.Wait()
	for _, conn := range []*nats.Conn{b.others, b.conn} {
		if conn != nil {
			conn.Close()
		}
	}
	if b.server != nil {
		b.server.Shutdown()
		b.server.WaitForShutdown()
	}
}

// Connected reports whether there is a connection to nats-server. While there is none,
// nothing with QoS 1 is stored, and no session is opened or changed.
func (b *Broker) Connected() bool { return b.conn.IsConnected() }

// end ends all sessions: nats-server is no more.
func (b *Broker) end() {
	b.mu.Lock()
	b.lost = true
	b.mu.Unlock()
	b.endSessions()
}

// endSessions ends the connections of all clients.
func (b *Broker) endSessions() {
	b.mu.Lock()
	sessions := make([]*Session, 0, len(b.sessions))
	for _, s := range b.sessions {
		sessions = append(sessions, s)
	}
	b.mu.Unlock()
	for _, s := range sessions {
		s.client.End(ErrLost)
	}
}

// natsLog passes nats-server's log on.
type natsLog struct{ to *slog.Logger }

func (l natsLog) log(level slog.Level, format string, v []any) {
	if l.to.Enabled(context.Background(), level) {
		l.to.Log(context.Background(), level, "message broker: "+fmt.Sprintf(format, v...))
	}
}

func (l natsLog) Noticef(format string, v ...any) { l.log(slog.LevelDebug, format, v) }
func (l natsLog) Warnf(format string, v ...any)   { l.log(slog.LevelDebug, format, v) }
func (l natsLog) Errorf(format string, v ...any)  { l.log(slog.LevelDebug, format, v) }
func (l natsLog) Debugf(format string, v ...any)  { l.log(slog.LevelDebug, format, v) }
func (l natsLog) Tracef(format string, v ...any)  { l.log(slog.LevelDebug, format, v) }

// Fatalf reports what the broker cannot go on after.
func (l natsLog) Fatalf(format string, v ...any) { l.log(slog.LevelError, format, v) }
