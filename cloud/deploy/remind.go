package deploy

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/fescue-edge/fescue"
)

// A wake may be lost: with the connection to the broker behind the front, in a full queue
// towards a core that does not read, or because it never went out. A core that can be woken
// asks of itself only now and then, so what changes for a core that is connected to this server
// is remembered until the core asks, and it is woken again until then. That holds whoever
// changed it. A core that is connected to no server asks when it connects.

// Rest is for how long at least a core that can be woken need not ask.
const Rest = 30 * time.Minute

// Timing of reminders. The first is the engine's to know: most cores ask within a moment.
const (
	// remindAfter is the default of the pause before the first reminder, remindMost the
	// longest; they double.
	remindAfter = 5 * time.Second
	remindMost  = 5 * time.Minute
	// remindLooks is how often is looked in the first pause for those that are due.
	remindLooks = 5
	// remindSpread is for how many first pauses all are woken when it is not known for whom
	// something changed.
	remindSpread = 24
	// siteReminders is how often a core is reminded of what its asking leaves no trace of, a
	// forced reset among it: it may have asked another server.
	siteReminders = 5
)

// reminder is due for a core that has not asked since something changed for it.
type reminder struct {
	at    time.Time
	pause time.Duration
	// sites is how often the core is still to be woken although no deployment and no check
	// waits.
	sites int
	// news is how often something changed, and woken how often the core was since.
	news, woken int
}

// reminders are kept by core. after is the first pause.
type reminders struct {
	after time.Duration

	mu  sync.Mutex
	due map[coreKey]*reminder
}

// add has a core be reminded after a while, or before.
func (r *reminders) add(key coreKey, after time.Duration, sites int) {
	at := time.Now().Add(after)
	r.mu.Lock()
	defer r.mu.Unlock()
	have := r.due[key]
	if have == nil {
		have = &reminder{at: at}
		r.due[key] = have
	}
	if at.Before(have.at) {
		have.at = at
	}
	have.pause, have.sites, have.woken = r.after, max(have.sites, sites), 0
	have.news++
}

// heeded is called when a core asks.
func (r *reminders) heeded(key coreKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.due, key)
}

// settled ends a core's reminders unless something has changed since they were taken.
func (r *reminders) settled(key coreKey, taken reminder) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if have := r.due[key]; have != nil && have.news == taken.news {
		delete(r.due, key)
	}
}

// take lists the reminders that are due, and has them come again later.
func (r *reminders) take() map[coreKey]reminder {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make(map[coreKey]reminder)
	for key, each := range r.due {
		if now.Before(each.at) {
			continue
		}
		list[key] = *each
		each.sites = max(each.sites-1, 0)
		each.woken++
		each.pause = min(2*each.pause, remindMost)
		each.at = now.Add(each.pause)
	}
	return list
}

// Changed is called for a core for which something waits that did not, or not any more. It
// was woken if a server knew of that.
func (e *Engine) Changed(p fescue.Partition, thing string) {
	e.waker.notify(p, thing)
	if e.presence.Here(p, thing) {
		e.reminders.add(coreKey{p, thing}, e.reminders.after, 0)
	}
}

// SiteChanged is called for a core that is to ask although nothing waits for it.
func (e *Engine) SiteChanged(ctx context.Context, p fescue.Partition, thing string) {
	if !e.presence.Here(p, thing) {
		return
	}
	e.reminders.add(coreKey{p, thing}, e.reminders.after, siteReminders)
	e.waker.wakeWith(ctx, p, thing, []byte("{}"))
}

// AllChanged is called when Changed and SiteChanged were not, for nobody knows which cores.
func (e *Engine) AllChanged() {
	e.LookAll()
	e.presence.EachHere(func(p fescue.Partition, thing string) {
		e.reminders.add(coreKey{p, thing}, rand.N(remindSpread*e.reminders.after), 1)
	})
}

// remind wakes the cores that are due.
func (e *Engine) remind(ctx context.Context) {
	for key, due := range e.reminders.take() {
		if !e.presence.Here(key.partition, key.thing) {
			e.reminders.settled(key, due) // it asks when it comes back
			continue
		}
		waits, err := e.waits(ctx, key, due.woken)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			e.logger.Warn("what waits for a core could not be read; it is tried again", "core", key.thing, "error", err)
		case waits || due.sites > 0:
			e.logger.Debug("core woken again", "core", key.thing)
			e.waker.wakeWith(ctx, key.partition, key.thing, []byte("{}"))
		default:
			e.reminders.settled(key, due)
		}
	}
}

// waits reports whether there is something for a core to take, that was woken so often for it.
func (e *Engine) waits(ctx context.Context, key coreKey, woken int) (bool, error) {
	offered, reset, err := e.offered(ctx, key)
	if offered || reset && woken < siteReminders || err != nil {
		return err == nil, err
	}
	check, err := e.waitingCheck(ctx, key.partition, key.thing)
	return check != nil, err
}

// offered reports whether a deployment waits for a core, or a forced reset that may: what a core
// makes of one is not known, and those before the core's newest deployment are done.
func (e *Engine) offered(ctx context.Context, key coreKey) (deployment, reset bool, err error) {
	for after := int64(0); ; {
		d, _, err := e.tracker.offers.Waiting(ctx, key.partition, key.thing, after)
		switch {
		case errors.Is(err, fescue.ErrNotFound):
			return false, false, nil
		case err != nil || !d.Status.Final():
			return err == nil && d.Phase == fescue.Offered, false, err
		}
		newest, err := e.tracker.offers.Epoch(ctx, key.partition, key.thing)
		if err != nil || newest == d.Epoch {
			return false, err == nil, err
		}
		after = d.Epoch
	}
}
