package mqttfront

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fescue-edge/fescue/periodic"
)

// The streams of nats-server's MQTT: what waits for persistent sessions and for
// acknowledgements, and retained messages (server/mqtt.go). It uses those that are
// there, and would make them without bounds.
const (
	waitingStream  = "$MQTT_msgs"
	waitingPrefix  = "$MQTT.msgs."
	retainedStream = "$MQTT_rmsgs"
	retainedPrefix = "$MQTT.rmsgs."
)

// streamCall bounds one call to the broker's own API.
const streamCall = 30 * time.Second

// lookEvery is how often the broker's store is looked at.
const lookEvery = time.Second

// stored bounds what the broker keeps, and knows how much that is.
type stored struct {
	conn *nats.Conn
	api  jetstream.JetStream
	// waiting and retained are how large those messages are together, in bytes.
	waiting, retained atomic.Int64
	maxRetained       int64

	stop context.CancelFunc
	done chan struct{}
}

// boundStore makes the broker's streams, or bounds those that are there. Of what
// waits, the oldest gives way; retained messages stay, and are no longer taken.
func boundStore(server nats.InProcessConnProvider, o BrokerOptions) (*stored, error) {
	conn, err := nats.Connect("", nats.InProcessServer(server))
	if err != nil {
		return nil, fmt.Errorf("speak to the message broker: %w", err)
	}
	api, err := jetstream.New(conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("speak to the message broker: %w", err)
	}
	s := &stored{conn: conn, api: api, maxRetained: o.MaxRetained, done: make(chan struct{})}
	ctx, cancel := context.WithTimeout(context.Background(), streamCall)
	defer cancel()
	var streams []jetstream.Stream
	for _, cfg := range []jetstream.StreamConfig{
		{
			Name: waitingStream, Subjects: []string{waitingPrefix + ">"}, Retention: jetstream.InterestPolicy,
			Storage: jetstream.FileStorage, MaxBytes: o.MaxWaiting, Discard: jetstream.DiscardOld,
		},
		{
			Name: retainedStream, Subjects: []string{retainedPrefix + ">"}, Retention: jetstream.LimitsPolicy,
			Storage: jetstream.FileStorage, MaxMsgsPerSubject: 1,
		},
	} {
		stream, err := api.CreateOrUpdateStream(ctx, cfg)
		if err != nil {
			conn.Close()
			return nil, fmt.Errorf("bound the message broker's stream %s: %w", cfg.Name, err)
		}
		streams = append(streams, stream)
	}
	s.retained.Store(int64(streams[1].CachedInfo().State.Bytes))
	looking, stop := context.WithCancel(context.Background())
	s.stop = stop
	go s.look(looking, streams[0], streams[1])
	return s, nil
}

// look reads how much waits and how much is retained until ctx ends.
func (s *stored) look(ctx context.Context, waiting, retained jetstream.Stream) {
	defer close(s.done)
	periodic.Every(ctx, lookEvery, func() {
		call, cancel := context.WithTimeout(ctx, streamCall)
		if info, err := retained.Info(call); err == nil {
			s.retained.Store(int64(info.State.Bytes))
		}
		if info, err := waiting.Info(call); err == nil {
			s.waiting.Store(int64(info.State.Bytes))
		}
		cancel()
	})
}

func (s *stored) close() {
	s.stop()
	<-s.done
	s.conn.Close()
}

// Stored is how many bytes the messages that wait for sessions take, and the retained
// ones, as of a moment ago.
func (b *Broker) Stored() (waiting, retained int64) {
	return b.stored.waiting.Load(), b.stored.retained.Load()
}

// RoomToRetain is nil while the broker may keep more retained messages.
func (b *Broker) RoomToRetain() error {
	if n := b.stored.retained.Load(); n >= b.stored.maxRetained {
		return fmt.Errorf("retained messages take %d MB, and %d MB are allowed: remove some by retaining empty ones", n>>20, b.stored.maxRetained>>20)
	}
	return nil
}
