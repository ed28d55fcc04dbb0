package mqttfront

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/fescue-edge/fescue/mqtt"
)

const (
	// seenTopics hold, retained, when the client of each persistent session was
	// last seen, in milliseconds since 1970. The record lies with the sessions, on
	// the broker, so that any server, or this one after a crash, finds it. The
	// first level cannot be a partition's.
	seenTopics = "~seen/"

	// longestTick is the most between two looks at the records.
	longestTick = time.Minute

	// shortestLesson is the least between two times of learning all records.
	shortestLesson = time.Second
)

// expiry removes persistent sessions whose clients stay away, with the messages
// that wait for them: the broker would keep both for ever.
type expiry struct{ front *Front }

// note records that a client is here, and its subscriptions; it returns when the
// broker has stored it.
func (e *expiry) note(ctx context.Context, key string) error {
	e.front.book.touch(key, e.front.o.Now())
	if err := e.front.speaker.publish(ctx, e.record(key, 1)); err != nil {
		return fmt.Errorf("record the session: %w", err)
	}
	return nil
}

// parted records that a client was here until now. When that fails, the time of
// the last tick stands.
func (e *expiry) parted(key string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	e.front.book.touch(key, e.front.o.Now())
	if err := e.front.speaker.publish(ctx, e.record(key, 0)); err != nil {
		e.front.o.Logger.Debug("MQTT: cannot record when a client left", "client", key, "error", err)
	}
}

// forget drops the record of a session that no longer exists.
func (e *expiry) forget(key string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	// An empty retained message removes the one before.
	err := e.front.speaker.publish(ctx, mqtt.Publish{Topic: seenTopics + key, Retain: true})
	if err != nil {
		e.front.o.Logger.Debug("MQTT: cannot remove the record of a session", "client", key, "error", err)
	}
}

func (e *expiry) record(key string, qos byte) mqtt.Publish {
	return mqtt.Publish{Topic: seenTopics + key, Payload: e.front.book.write(key), QoS: qos, Retain: true}
}

// learn takes a record in, from this server or another one.
func (e *expiry) learn(m *mqtt.Publish) {
	key, ok := strings.CutPrefix(m.Topic, seenTopics)
	if !ok {
		return
	}
	if len(m.Payload) > 0 {
		e.front.book.read(key, m.Payload)
		return
	}
	f := e.front
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, lasts := f.book.lasts(key); lasts && f.sessions[key] == nil {
		f.book.close(key)
	}
}

// run learns the records and looks through them until ctx ends. It learns them
// again and again, because a broker that has just started may not know its
// retained messages yet when it takes the subscription.
func (e *expiry) run(ctx context.Context) {
	every := max(min(e.front.o.SessionExpiry/4, longestTick), time.Millisecond)
	look, relearn := time.NewTicker(every), time.NewTicker(max(every, shortestLesson))
	defer look.Stop()
	defer relearn.Stop()
	for ctx.Err() == nil {
		lesson, end := context.WithCancel(ctx)
		var learning sync.WaitGroup
		learning.Go(func() {
			records := &listener{front: e.front, role: "expiry", filter: seenTopics + "+", patient: true, fn: e.learn}
			records.run(lesson, nil, nil)
		})
		for learnt := false; !learnt && ctx.Err() == nil; {
			select {
			case <-ctx.Done():
			case <-relearn.C:
				learnt = true
			case <-look.C:
				e.look(ctx)
			}
		}
		end()
		learning.Wait()
	}
}

// look renews the records of connected clients and removes the sessions of those
// away for too long.
func (e *expiry) look(ctx context.Context) {
	now := e.front.o.Now()
	// Connected clients are renewed at half of the expiry, so that other servers see
	// them in time.
	for _, key := range e.front.book.older(now.Add(-e.front.o.SessionExpiry / 2)) {
		if ctx.Err() != nil {
			return
		}
		if err := e.lookAt(ctx, key, now); err != nil && ctx.Err() == nil {
			e.front.o.Logger.Warn("MQTT: cannot renew or remove a persistent session", "client", key, "error", err)
		}
	}
}

func (e *expiry) lookAt(ctx context.Context, key string, now time.Time) error {
	f := e.front
	// While it is removed, the session is held as by a device, so that a client
	// that comes back now waits and then starts afresh.
	holder := &device{front: f, end: func(error) {}, done: make(chan struct{}), key: key}
	f.mu.Lock()
	d := f.sessions[key]
	seen, lasts := f.book.lasts(key)
	expired := lasts && now.Sub(seen) > f.o.SessionExpiry
	if d == nil && expired {
		f.sessions[key] = holder
	}
	f.mu.Unlock()
	switch {
	case d != nil:
		return e.note(ctx, key)
	case !expired:
		return nil
	}
	defer close(holder.done)
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.sessions[key] == holder {
			delete(f.sessions, key)
		}
	}()
	// A clean session in the place of the old one removes that, and itself.
	link, _, err := f.openUpstream(ctx, &mqtt.Connect{ClientID: key, CleanSession: true})
	if err != nil {
		return err
	}
	defer link.Close()
	link.Disconnect(partingTime)
	for err == nil {
		_, err = link.Read()
	}
	f.counters.expired.Add(1)
	f.book.close(key)
	e.forget(key)
	return nil
}
