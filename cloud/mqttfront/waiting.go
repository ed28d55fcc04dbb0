package mqttfront

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The streams of nats-server's MQTT: what waits for persistent sessions and for
// acknowledgements, and retained messages (server/mqtt.go). It uses those that are
// there, and would make them without bounds.
const (
	waitingStream    = "$MQTT_msgs"
	waitingSubjects  = "$MQTT.msgs.>"
	retainedStream   = "$MQTT_rmsgs"
	retainedSubjects = "$MQTT.rmsgs.>"
)

// streamCall bounds one call to the broker's own API.
const streamCall = 30 * time.Second

// lookEvery is how often the broker's store is looked at.
const lookEvery = time.Second

// stored bounds what the broker keeps, and knows how much that is.
type stored struct {
	conn *nats.Conn
	// retained is how large all retained messages are together, in bytes.
	retained    atomic.Int64
	maxRetained int64

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
	s := &stored{conn: conn, maxRetained: o.MaxRetained, done: make(chan struct{})}
	api, err := jetstream.New(conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("speak to the message broker: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), streamCall)
	defer cancel()
	for _, cfg := range []jetstream.StreamConfig{
		{
			Name: waitingStream, Subjects: []string{waitingSubjects}, Retention: jetstream.InterestPolicy,
			Storage: jetstream.FileStorage, MaxBytes: o.MaxWaiting, Discard: jetstream.DiscardOld,
		},
		{
			Name: retainedStream, Subjects: []string{retainedSubjects}, Retention: jetstream.LimitsPolicy,
			Storage: jetstream.FileStorage, MaxMsgsPerSubject: 1,
		},
	} {
		if _, err := api.CreateOrUpdateStream(ctx, cfg); err != nil {
			conn.Close()
			return nil, fmt.Errorf("bound the message broker's stream %s: %w", cfg.Name, err)
		}
	}
	retained, err := api.Stream(ctx, retainedStream)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("look at the message broker's stream %s: %w", retainedStream, err)
	}
	s.retained.Store(int64(retained.CachedInfo().State.Bytes))
	looking, stop := context.WithCancel(context.Background())
	s.stop = stop
	go s.look(looking, retained)
	return s, nil
}

// look reads how much is retained until ctx ends.
func (s *stored) look(ctx context.Context, retained jetstream.Stream) {
	defer close(s.done)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		call, cancel := context.WithTimeout(ctx, streamCall)
		if info, err := retained.Info(call); err == nil {
			s.retained.Store(int64(info.State.Bytes))
		}
		cancel()
	}
}

func (s *stored) close() {
	s.stop()
	<-s.done
	s.conn.Close()
}

// RoomToRetain is nil while the broker may keep more retained messages.
func (b *Broker) RoomToRetain() error {
	if n := b.stored.retained.Load(); n >= b.stored.maxRetained {
		return fmt.Errorf("retained messages take %d MB, and %d MB are allowed: remove some by retaining empty ones", n>>20, b.stored.maxRetained>>20)
	}
	return nil
}
