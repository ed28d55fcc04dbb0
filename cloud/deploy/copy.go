package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fescue-edge/fescue"
)

// toCopy is a model that is to be copied to the artifacts before a deployment can be
// offered: of a resource, from an s3:// URI, of so many bytes.
type toCopy struct {
	resource, uri string
	size          int64
}

const (
	// maxCopying bounds the deployments of one server whose models are copied. Others
	// wait, without a goroutine or a renewal, for a place or the end of their lease.
	maxCopying = 16
	// copyTick is how often a copy says how far it is, which renews the lease of its
	// deployment and finds out that it was cancelled.
	copyTick = time.Second
)

// toBuild is a deployment that is leased, whose models are to be copied.
type toBuild struct {
	deployment fescue.Deployment
	held       held
	list       []toCopy
}

// places are those of deployments whose models are copied, and the deployments that
// wait for one, first come first. The zero value has all free.
type places struct {
	mu      sync.Mutex
	taken   int
	waiting []toBuild
}

// take takes a place, if one is free.
func (p *places) take() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.takeFree()
}

// takeFree is take for one who holds mu.
func (p *places) takeFree() bool {
	if p.taken == maxCopying {
		return false
	}
	p.taken++
	return true
}

// takeOrWait takes a place, or has a deployment wait for one: in its old place in the
// line if it has one, and with the lease that it has now. Both in one step: a place that
// is given back between them would be nobody's while somebody waits.
func (p *places) takeOrWait(t toBuild) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.takeFree() {
		return true
	}
	if i := slices.IndexFunc(p.waiting, func(w toBuild) bool { return w.deployment.ID == t.deployment.ID }); i >= 0 {
		p.waiting[i] = t
		return false
	}
	p.waiting = append(p.waiting, t)
	return false
}

// next gives the place of a deployment to the one that waits for it, or back.
func (p *places) next() (t toBuild, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) == 0 {
		p.taken--
		return t, false
	}
	t, p.waiting = p.waiting[0], p.waiting[1:]
	return t, true
}

// copyBeside copies the models of a deployment, whose lease ends at until, beside what
// else is built, and builds it then.
func (b *builder) copyBeside(ctx context.Context, d fescue.Deployment, until time.Time, list []toCopy, copying *sync.WaitGroup) {
	t := toBuild{d, held{until: until}, list}
	if !b.copies.take() {
		waits := fescue.Progress{Activity: "waiting for the models of other deployments to be copied", At: b.now().UTC()}
		if err := b.renew(ctx, d, &t.held, waits); err != nil {
			if !errors.Is(err, fescue.ErrConflict) {
				b.logUnbuilt(ctx, d, err)
			}
			return
		}
		if !b.copies.takeOrWait(t) {
			return
		}
	}
	copying.Go(func() {
		for ok := true; ok; t, ok = b.copies.next() {
			// One that waited may have been cancelled, or taken up by another server.
			switch err := b.renew(ctx, t.deployment, &t.held, fescue.Progress{}); {
			case err == nil:
				b.logUnbuilt(ctx, t.deployment, b.copyAndBuild(ctx, t.deployment, t.held, t.list))
			case !errors.Is(err, fescue.ErrConflict):
				b.logUnbuilt(ctx, t.deployment, err)
			}
		}
	})
}

// held is the lease of a deployment that this server builds.
type held struct {
	// until is when it ends.
	until time.Time
	// perhaps are other ends that it may have, by renewals that failed and may have
	// been written all the same.
	perhaps []time.Time
}

// renew prolongs a lease by its term from now. The error is that of KeepBuilding.
func (b *builder) renew(ctx context.Context, d fescue.Deployment, h *held, progress fescue.Progress) error {
	return b.keep(ctx, d, h, b.now().Add(lease), progress)
}

// keep has a lease end at until.
func (b *builder) keep(ctx context.Context, d fescue.Deployment, h *held, until time.Time, progress fescue.Progress) error {
	err := b.deployments.KeepBuilding(ctx, d, h.until, until, progress)
	for i := len(h.perhaps) - 1; i >= 0 && errors.Is(err, fescue.ErrConflict); i-- {
		err = b.deployments.KeepBuilding(ctx, d, h.perhaps[i], until, progress)
	}
	switch {
	case err == nil:
		*h = held{until: until}
	case !errors.Is(err, fescue.ErrConflict):
		h.perhaps = append(h.perhaps, until)
	}
	return err
}

// errNotOurs ends the work on a deployment that has been cancelled, or that another
// server has taken up.
var errNotOurs = errors.New("the deployment is not built here any more")

// copied is what became of a model that was to be copied: there, or refused.
type copied struct {
	Model
	refusal error
}

// copyAndBuild copies models and builds. The lease is given back when ctx ends, so that
// the next builder need not wait.
func (b *builder) copyAndBuild(ctx context.Context, d fescue.Deployment, h held, list []toCopy) error {
	b.logger.Info("models are copied for a deployment", "deployment", d.ID, "group", d.GroupID, "models", len(list))
	var done map[string]copied
	err := b.holding(ctx, d, &h, func(ctx context.Context, at func(fescue.Progress)) (err error) {
		done, err = b.copyAll(ctx, d, list, at)
		return err
	})
	switch {
	case errors.Is(err, errNotOurs):
		b.logger.Info("models are not copied any more: the deployment was cancelled, or is built elsewhere", "deployment", d.ID, "group", d.GroupID)
		return nil
	case err == nil:
		_, err = b.build(ctx, d, done)
	case ctx.Err() == nil:
		err = b.settle(ctx, d, err, "")
	}
	if ctx.Err() != nil {
		giving, cancel := goodbye(ctx)
		defer cancel()
		b.giveBack(giving, d, h)
	}
	return err
}

// copyAll copies models one after the other, and says how far it is.
func (b *builder) copyAll(ctx context.Context, d fescue.Deployment, list []toCopy, at func(fescue.Progress)) (map[string]copied, error) {
	var all, before int64
	for _, c := range list {
		all += c.size
	}
	done := make(map[string]copied)
	for _, c := range list {
		progress := fescue.Progress{Activity: fmt.Sprintf("copying the model of resource %s from %s", c.resource, c.uri), ToFetch: all}
		note := func(n int64) {
			progress := progress
			progress.Fetched, progress.At = before+n, b.now().UTC()
			at(progress)
		}
		note(0)
		m, err := b.models.Copy(ctx, d.Partition, c.uri, note)
		if refusal := (*fescue.Refusal)(nil); err != nil && !errors.As(err, &refusal) {
			return nil, fmt.Errorf("model of resource %s: %w", c.resource, err)
		}
		done[c.uri] = copied{m, err}
		before += c.size
	}
	return done, nil
}

// holding works on a deployment that is leased, and renews the lease meanwhile, with
// what work says of its progress. The error is errNotOurs when the lease was lost, which
// ends the context of work.
func (b *builder) holding(ctx context.Context, d fescue.Deployment, h *held, work func(ctx context.Context, at func(fescue.Progress)) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var last atomic.Pointer[fescue.Progress]
	last.Store(new(fescue.Progress))
	var renewing sync.WaitGroup
	stop := make(chan struct{})
	renewing.Go(func() {
		tick := time.NewTicker(copyTick)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-stop:
				return
			case <-ctx.Done():
				return
			}
			switch err := b.renew(ctx, d, h, *last.Load()); {
			case err == nil:
			case errors.Is(err, fescue.ErrConflict), b.now().After(h.until):
				cancel(errNotOurs)
			case ctx.Err() == nil:
				b.logger.Error("lease of a deployment not renewed; it is tried again", "deployment", d.ID, "error", err)
			}
		}
	})
	err := b.guarded(d, func() error { return work(ctx, func(p fescue.Progress) { last.Store(&p) }) })
	close(stop)
	renewing.Wait()
	if errors.Is(context.Cause(ctx), errNotOurs) {
		err = errNotOurs
	}
	cancel(nil)
	return err
}

// goodbye is in what time leases are given back, also when ctx has ended.
func goodbye(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
}

// giveBack ends the lease of a deployment that this server cannot go on with.
func (b *builder) giveBack(ctx context.Context, d fescue.Deployment, h held) {
	if err := b.keep(ctx, d, &h, b.now().Add(-time.Second), fescue.Progress{}); err != nil && !errors.Is(err, fescue.ErrConflict) {
		b.logger.Warn("lease of a deployment not given back; it ends by itself", "deployment", d.ID, "within", lease, "error", err)
	}
}
