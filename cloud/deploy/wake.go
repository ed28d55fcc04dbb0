package deploy

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/corelink"
)

// waker has cores that are connected to this server ask for what waits: by MQTT, and
// through the long polls that they have open. It loses nothing that matters: who waits
// reads the database after every wake and once a second.
type waker struct {
	publisher Publisher
	now       func() time.Time
	logger    *slog.Logger

	mu      sync.Mutex
	waiting map[coreKey]map[chan struct{}]struct{}
}

type coreKey struct {
	partition fescue.Partition
	thing     string
}

func newWaker(p Publisher, now func() time.Time, logger *slog.Logger) *waker {
	return &waker{publisher: p, now: now, logger: logger, waiting: make(map[coreKey]map[chan struct{}]struct{})}
}

// wake notifies a core that is connected to this server that something has become of
// its deployment. Other servers are notified by the store.
func (w *waker) wake(ctx context.Context, d fescue.Deployment) {
	w.wakeWith(ctx, d.Partition, d.CoreThing, fmt.Appendf(nil, `{"version":%d,"timestamp":%d,"state":{"deploymentId":%q,"groupId":%q}}`,
		d.Epoch, w.now().Unix(), d.ID, d.GroupID))
}

// Wake has a core that is connected to this server ask soon for what is new.
func (e *Engine) Wake(ctx context.Context, p fescue.Partition, thing string) {
	e.waker.wakeWith(ctx, p, thing, []byte("{}"))
}

// wakeWith has a core that is connected to this server ask for what waits: through its
// long poll and by MQTT.
func (w *waker) wakeWith(ctx context.Context, p fescue.Partition, thing string, payload []byte) {
	w.notify(p, thing)
	if err := w.publisher.Publish(ctx, p, corelink.WakeTopic(thing), payload, 0, false); err != nil {
		w.logger.Warn("core not woken by MQTT; its next poll finds what waits", "core", thing, "error", err)
	}
}

// wait registers for notifications; leave must be called.
func (w *waker) wait(p fescue.Partition, thing string) (woken <-chan struct{}, leave func()) {
	key, ch := coreKey{p, thing}, make(chan struct{}, 1)
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
