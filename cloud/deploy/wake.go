package deploy

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/corelink"
)

// waker has cores that are connected to this server ask for what waits: by MQTT, and
// through the long polls that they have open. It loses nothing that matters: who waits
// reads the database after every wake, after what is told to have changed, and once a
// second while nothing is told, and who is woken by MQTT is woken until it asks.
type waker struct {
	publisher Publisher
	reminders *reminders
	now       func() time.Time
	logger    *slog.Logger

	mu      sync.Mutex
	waiting map[coreKey]map[chan struct{}]struct{}
}

type coreKey struct {
	partition fescue.Partition
	thing     string
}

func newWaker(p Publisher, remind time.Duration, now func() time.Time, logger *slog.Logger) *waker {
	return &waker{
		publisher: p, reminders: &reminders{after: remind, due: make(map[coreKey]*reminder)}, now: now, logger: logger, waiting: make(map[coreKey]map[chan struct{}]struct{}),
	}
}

// wake notifies a core that is connected to this server that something has become of
// its deployment. Other servers are notified by the store.
func (w *waker) wake(ctx context.Context, d fescue.Deployment) {
	w.wakeWith(ctx, d.Partition, d.CoreThing, fmt.Appendf(nil, `{"version":%d,"timestamp":%d,"state":{"deploymentId":%q,"groupId":%q}}`,
		d.Epoch, w.now().Unix(), d.ID, d.GroupID))
}

// wakeWith has a core that is connected to this server ask for what waits: through its
// long poll and by MQTT.
func (w *waker) wakeWith(ctx context.Context, p fescue.Partition, thing string, payload []byte) {
	w.notify(p, thing)
	if err := w.publisher.Publish(ctx, p, corelink.WakeTopic(thing), payload, 0, false); err != nil {
		w.logger.Warn("core not woken by MQTT; it is tried again", "core", thing, "error", err)
	}
}

// wait registers a core that asks for notifications; leave must be called.
func (w *waker) wait(p fescue.Partition, thing string) (woken <-chan struct{}, leave func()) {
	key, ch := coreKey{p, thing}, make(chan struct{}, 1)
	w.reminders.heeded(key)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting[key] == nil {
		w.waiting[key] = make(map[chan struct{}]struct{})
	}
	w.waiting[key][ch] = struct{}{}
	return ch, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.waiting[key], ch)
		if len(w.waiting[key]) == 0 {
			delete(w.waiting, key)
		}
	}
}

// Look has a core's long poll here, if it has one, look at the database and ask whether it
// may go on.
func (e *Engine) Look(p fescue.Partition, thing string) { e.waker.notify(p, thing) }

// LookAll is Look for every core.
func (e *Engine) LookAll() {
	e.waker.mu.Lock()
	waiting := slices.Collect(maps.Keys(e.waker.waiting))
	e.waker.mu.Unlock()
	for _, key := range waiting {
		e.waker.notify(key.partition, key.thing)
	}
}

func (w *waker) notify(p fescue.Partition, thing string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for ch := range w.waiting[coreKey{p, thing}] {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}
