package mqttfront

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	loopback = "127.0.0.1"

	// brokerUser is who the front is to the broker.
	brokerUser = "fescue-front"

	// brokerStart is how long a broker may take to recover its store.
	brokerStart = 60 * time.Second

	// brokerUnacked is how many messages with QoS 1 may be on their way to one
	// subscription (100 for a connection in the AWS IoT Core quotas).
	brokerUnacked = 100

	// brokerRedeliver is a compromise: nats-server sends again by the clock only,
	// never on connecting, and a slow client must not get everything twice.
	brokerRedeliver = 10 * time.Second

	// brokerMaxStore is the default bound of the broker's folder, brokerMaxWaiting
	// that of the messages which wait in it, brokerMaxRetained that of the retained.
	brokerMaxStore    = 16 << 30
	brokerMaxWaiting  = 1 << 30
	brokerMaxRetained = 256 << 20
)

// BrokerOptions configure the embedded broker.
type BrokerOptions struct {
	// Dir holds sessions and their waiting messages. It is created with mode
	// 0700 and must belong to one running broker at a time.
	Dir string
	// SyncAlways flushes each message to the disk before it is acknowledged,
	// so that it survives a power cut; otherwise it survives the process only.
	// It costs an order of magnitude in QoS 1 throughput.
	SyncAlways bool
	// MaxStore bounds what Dir may hold, in bytes; default 16 GiB. At the
	// bound messages with QoS 1 are no longer accepted.
	MaxStore int64
	// MaxWaiting bounds the messages with QoS 1 that wait for sessions, those of
	// clients that are away included, in bytes; default 1 GiB. At the bound the
	// oldest give way. It is part of MaxStore.
	MaxWaiting int64
	// MaxRetained bounds the retained messages, in bytes; default 256 MiB. At the
	// bound RoomToRetain says so.
	MaxRetained int64
	// Redeliver is after how long a message with QoS 1 that was not acknowledged
	// is sent again, also to a client that has connected anew; default 10 s.
	Redeliver time.Duration
	// Logger gets the broker's own log at debug level; required.
	Logger *slog.Logger
}

// Broker is a nats-server inside this process that speaks MQTT 3.1.1 on a random
// port of the loopback interface, to whoever has the secret of this start.
type Broker struct {
	server   *server.Server
	address  string
	password string
	stored   *stored
}

// StartBroker starts a broker and waits until it takes connections.
func StartBroker(o BrokerOptions) (*Broker, error) {
	if o.Logger == nil || o.Dir == "" {
		return nil, fmt.Errorf("message broker: Dir and Logger are required")
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("message broker's folder: %w", err)
	}
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return nil, fmt.Errorf("secret of the message broker: %w", err)
	}
	b := &Broker{password: hex.EncodeToString(secret)}
	setDefault(&o.MaxStore, brokerMaxStore)
	setDefault(&o.MaxWaiting, brokerMaxWaiting)
	setDefault(&o.MaxRetained, brokerMaxRetained)
	setDefault(&o.Redeliver, brokerRedeliver)
	options := &server.Options{
		ServerName: "fescue",
		// The NATS protocol itself is spoken to nobody.
		DontListen:         true,
		NoSigs:             true,
		JetStream:          true,
		StoreDir:           o.Dir,
		SyncAlways:         o.SyncAlways,
		JetStreamMaxStore:  o.MaxStore,
		JetStreamMaxMemory: 64 << 20,
		// Each subscription with QoS 1 is a consumer, and nats-server would grant
		// 1,000 for all clients together. How many there are is the front's to bound.
		JetStreamLimits:     server.JSLimitOpts{DefaultMaxConsumers: -1},
		MaxPayload:          1 << 20,
		NoFastProducerStall: true, // no reader may slow a writer down
		MQTT: server.MQTTOpts{
			Host: loopback, Port: server.RANDOM_PORT,
			Username: brokerUser, Password: b.password,
			MaxAckPending: brokerUnacked,
			AckWait:       o.Redeliver,
		},
	}
	var err error
	if b.server, err = server.NewServer(options); err != nil {
		return nil, fmt.Errorf("configure the message broker: %w", err)
	}
	b.server.SetLoggerV2(brokerLog{o.Logger}, false, false, false)
	b.server.Start()
	if !b.server.ReadyForConnections(brokerStart) {
		b.Shutdown()
		return nil, fmt.Errorf("message broker did not start within %v: look at its log at debug level, and whether its folder %s is whole and not in use", brokerStart, o.Dir)
	}
	if b.stored, err = boundStore(b.server, o); err != nil {
		b.Shutdown()
		return nil, err
	}
	// The server writes the port that it got into its options.
	b.address = net.JoinHostPort(loopback, strconv.Itoa(options.MQTT.Port))
	return b, nil
}

// Shutdown stops the broker and waits until its store is closed. What clients
// with persistent sessions have not acknowledged is there after the next start.
func (b *Broker) Shutdown() {
	if b.stored != nil {
		b.stored.close()
	}
	b.server.Shutdown()
	b.server.WaitForShutdown()
}

// Dial connects to the broker.
func (b *Broker) Dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", b.address)
	if err != nil {
		return nil, fmt.Errorf("connect to the message broker: %w", err)
	}
	return conn, nil
}

// Credentials are the user name and password for CONNECT.
func (b *Broker) Credentials() (username, password string) { return brokerUser, b.password }

// brokerLog passes nats-server's log on.
type brokerLog struct{ to *slog.Logger }

func (l brokerLog) log(level slog.Level, format string, v []any) {
	if l.to.Enabled(context.Background(), level) {
		l.to.Log(context.Background(), level, "message broker: "+fmt.Sprintf(format, v...))
	}
}

func (l brokerLog) Noticef(format string, v ...any) { l.log(slog.LevelDebug, format, v) }
func (l brokerLog) Warnf(format string, v ...any)   { l.log(slog.LevelDebug, format, v) }
func (l brokerLog) Errorf(format string, v ...any)  { l.log(slog.LevelDebug, format, v) }
func (l brokerLog) Debugf(format string, v ...any)  { l.log(slog.LevelDebug, format, v) }
func (l brokerLog) Tracef(format string, v ...any)  { l.log(slog.LevelDebug, format, v) }

// Fatalf reports what the broker cannot go on after.
func (l brokerLog) Fatalf(format string, v ...any) { l.log(slog.LevelError, format, v) }
