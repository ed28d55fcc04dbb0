//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/testkit"
)

// play is one run: the server, its operator, the cores.
type play struct {
	options
	log     io.Writer
	servers *servers
	site    *site
	cores   []registered
	crews   []*crew
	report  *report
	*roll
}

// run does all that the options ask for.
func run(ctx context.Context, o options, log io.Writer) (_ *report, err error) {
	folder, err := os.MkdirTemp(o.Dir, "fescue-fleet-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	p := &play{options: o, log: log, report: &report{Cores: o.Cores, WithoutMQTT: int(o.WithoutMQTT * float64(o.Cores))}, roll: newRoll()}
	if err := p.begin(ctx, folder); err != nil {
		return nil, err
	}
	if o.Endpoint == "" {
		defer p.servers.end()
	}
	defer func() { err = errors.Join(err, p.endCrews()) }()
	for _, act := range []struct {
		wanted bool
		do     func(context.Context) error
	}{
		{true, p.connect},
		{o.Idle > 0, p.idle},
		{o.Messages, p.messages},
		{o.Deployments, p.deploy},
		{o.Bulk, p.bulk},
		{o.Storm, p.storm},
		{o.Restart, p.restart},
		{o.Breakdown, p.breakdown},
		{o.Soak > 0, p.soak},
	} {
		if !act.wanted {
			continue
		}
		if err := act.do(ctx); err != nil {
			return nil, fmt.Errorf("%w; what cores met: %s", err, p.trouble())
		}
	}
	return p.report, nil
}

func (p *play) say(format string, args ...any) { fmt.Fprintf(p.log, format+"\n", args...) }

// begin has a server with everything registered.
func (p *play) begin(ctx context.Context, folder string) error {
	if p.Endpoint == "" {
		if p.Program == "" {
			p.say("building the server")
			var err error
			if p.Program, err = build(ctx, folder); err != nil {
				return err
			}
		}
		var err error
		if p.servers, err = startServers(ctx, p.Program, folder, p.Servers, append([]string{"--bulk-rate", "10000"}, p.Flags...)); err != nil {
			return err
		}
		p.site, err = newSite(ctx, ownKey(p.servers.operated().API))
		if err != nil {
			return err
		}
	} else {
		cfg, err := environmentKey(ctx, p.Endpoint)
		if err != nil {
			return err
		}
		p.servers = &servers{list: []*server{{API: p.Endpoint, Ops: p.Ops}}}
		if p.site, err = newSite(ctx, cfg); err != nil {
			return err
		}
	}
	p.say("registering %d cores", p.Cores)
	var err error
	if p.cores, err = p.site.register(ctx, fmt.Sprintf("fleet-%s", fescue.NewID()[:8]), p.Cores); err != nil {
		return fmt.Errorf("register cores: %w", err)
	}
	for i := range p.cores {
		c := &p.cores[i]
		c.Fails, c.NoMQTT = chosen(i, p.Fail), chosen(i, p.WithoutMQTT)
		if chosen(i+1, p.Slow) {
			c.Takes = p.SlowFor
		}
		if p.sends() {
			c.Neighbour = p.cores[(i+1)%len(p.cores)].Thing
		}
	}
	if p.Endpoint == "" {
		// What registering left in memory is not the waiting cores'.
		p.servers.stop()
		return p.servers.run(ctx)
	}
	return nil
}

// chosen spreads a part of all numbers evenly.
func chosen(i int, part float64) bool {
	return int(float64(i+1)*part) > int(float64(i)*part)
}

// crewSize is how many cores a process has at most: each has two descriptors at times.
const crewSize = 4000

// connect has all cores come, a few of each process at a time.
func (p *play) connect(ctx context.Context) error {
	before, err := p.use(ctx)
	if err != nil {
		return err
	}
	p.before = before
	var lines []line
	for _, s := range p.servers.list {
		at, err := p.site.line(ctx, s)
		if err != nil {
			return err
		}
		lines = append(lines, at)
	}
	p.say("connecting")
	began := time.Now()
	crews := max(p.Processes, (p.Cores+crewSize-1)/crewSize)
	for part := range slices.Chunk(p.cores, (p.Cores+crews-1)/crews) {
		c, err := startCrew(ctx, p.heard)
		if err != nil {
			return err
		}
		p.crews = append(p.crews, c)
		s := &start{Lines: lines, Pace: p.pace, Entries: p.Entries}
		for _, r := range part {
			s.Cores = append(s.Cores, r.identity)
		}
		if err := c.orders.Encode(order{Start: s}); err != nil {
			return err
		}
	}
	if err := p.await(ctx, "all cores wait", func() int { return p.Cores - len(p.ready) }); err != nil {
		return err
	}
	if p.sends() {
		if err := p.await(ctx, "messages are kept for all cores", func() int { return p.Cores - len(p.receiving) }); err != nil {
			return err
		}
	}
	took := p.take(func() []time.Duration { return slices.Clone(p.connects) })
	return p.did(ctx, "connect", p.Cores, began, before, measure("connect", took))
}

// idle measures what the cores cost while nothing happens.
func (p *play) idle(ctx context.Context) error {
	p.say("idle for %s", p.Idle)
	if err := p.order(order{Rest: true}); err != nil {
		return err
	}
	// The server notices that requests' connections are gone, and frees what it got to
	// connect all, in the first half.
	var from, to usage
	for _, u := range []*usage{&from, &to} {
		if err := rest(ctx, p.Idle/2); err != nil {
			return err
		}
		var err error
		if *u, err = p.use(ctx); err != nil {
			return err
		}
	}
	p.report.Idle = costs(p.before, to, p.Cores)
	p.report.Idle.Seconds = to.At.Sub(from.At).Seconds()
	p.report.Idle.CPU = (to.CPU - from.CPU) / p.report.Idle.Seconds
	return nil
}

// deploy deploys each group by a call of its own, and cuts some cores' lines meanwhile.
func (p *play) deploy(ctx context.Context) error {
	p.say("deploying to %d cores", p.Cores)
	before, err := p.use(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	ids, created, err := p.createDeployments(ctx, nil)
	if err != nil {
		return err
	}
	if err := p.awaitEnds(ctx, ids); err != nil {
		return err
	}
	var wakes, ends []time.Duration
	p.take(func() []time.Duration {
		for i, id := range ids {
			if !chosen(i, p.Cut) && p.cores[i].Takes == 0 {
				wakes, ends = append(wakes, p.offered[id].Sub(created[i])), append(ends, p.ended[id].Sub(created[i]))
			}
		}
		return nil
	})
	if err := p.did(ctx, "deploy", p.Cores, began, before, measure("offered", wakes), measure("ended", ends)); err != nil {
		return err
	}
	return p.check(ctx, ids)
}

// createDeployments deploys each group by a call of its own, and cuts some cores' lines
// meanwhile. It returns the deployments by core, and when each was called for. before, if
// not nil, is called before each call.
func (p *play) createDeployments(ctx context.Context, before func(i int) error) (ids []string, called []time.Time, err error) {
	p.clearDeployments()
	ids, called = make([]string, p.Cores), make([]time.Time, p.Cores)
	return ids, called, each(ctx, p.Cores, func(ctx context.Context, i int) (err error) {
		if before != nil {
			if err := before(i); err != nil {
				return err
			}
		}
		called[i] = time.Now()
		if ids[i], err = p.site.deploy(ctx, p.cores[i].group); err != nil {
			return err
		}
		if chosen(i, p.Cut) {
			return p.order(order{Cut: []int{i}})
		}
		return nil
	})
}

// bulk deploys all groups by one bulk deployment.
func (p *play) bulk(ctx context.Context) error {
	p.say("deploying to %d cores by a bulk deployment", p.Cores)
	before, err := p.use(ctx)
	if err != nil {
		return err
	}
	p.clearDeployments()
	began := time.Now()
	id, err := p.site.startBulk(ctx, "fleet-"+fescue.NewID()[:8], p.cores)
	if err != nil {
		return err
	}
	if err := testkit.Within(ctx, p.Patience, func() error {
		n, all, err := p.site.bulkStarted(ctx, id)
		if err == nil && !all {
			err = fmt.Errorf("%d of %d records are processed", n, p.Cores)
		}
		return err
	}); err != nil {
		return err
	}
	if err := p.did(ctx, "bulk: started", p.Cores, began, before); err != nil {
		return err
	}
	if err := p.await(ctx, "all deployments have ended", func() int { return p.Cores - len(p.ended) }); err != nil {
		return err
	}
	var ends []time.Duration
	p.take(func() []time.Duration {
		for _, at := range p.ended {
			ends = append(ends, at.Sub(began))
		}
		return nil
	})
	if err := p.did(ctx, "bulk: ended", p.Cores, began, before, measure("ended", ends)); err != nil {
		return err
	}
	made, err := p.site.bulkDeployments(ctx, id)
	if err != nil {
		return err
	}
	ids := make([]string, p.Cores)
	for i, c := range p.cores {
		ids[i] = made[c.id]
	}
	return p.check(ctx, ids)
}

// storm kills the server, starts it again, and has all cores come back by themselves.
func (p *play) storm(ctx context.Context) error {
	p.say("killing the server and starting it again")
	return p.comeBack(ctx, "storm", p.servers.kill)
}

// restart is storm with a server that may end in peace.
func (p *play) restart(ctx context.Context) error {
	p.say("stopping the server and starting it again")
	return p.comeBack(ctx, "restart", p.servers.stop)
}

// comeBack ends the server, starts it again, and waits for all cores.
func (p *play) comeBack(ctx context.Context, name string, end func()) error {
	before, err := p.use(ctx)
	if err != nil {
		return err
	}
	before = usage{CoresCPU: before.CoresCPU} // the server will be another
	end()
	// Who was sent away early may have come back already: nobody could, once it has ended.
	p.clearConnected()
	ended := time.Now()
	if err := p.servers.run(ctx); err != nil {
		return err
	}
	listening := time.Now()
	withMQTT := p.Cores - p.report.WithoutMQTT
	if err := p.await(ctx, "all cores are back", func() int { return withMQTT - len(p.back) }); err != nil {
		return err
	}
	took := p.take(func() (list []time.Duration) {
		for _, at := range p.back {
			list = append(list, at.Sub(listening))
		}
		return list
	})
	return p.did(ctx, name, p.Cores, ended, before, measure("back", took))
}

// use is what the servers use, and those who play the cores.
func (p *play) use(ctx context.Context) (usage, error) {
	u, err := p.servers.use(ctx)
	if err != nil {
		return u, err
	}
	for _, c := range p.crews {
		used, err := c.processorTime()
		if err != nil {
			return u, err
		}
		u.CoresCPU += used.Seconds()
	}
	return u, nil
}

// did notes a step.
func (p *play) did(ctx context.Context, name string, n int, began time.Time, before usage, l ...latency) error {
	took := time.Since(began)
	after, err := p.use(ctx)
	if err != nil {
		return err
	}
	p.report.Steps = append(p.report.Steps, step{
		Name: name, Count: n, Seconds: took.Seconds(), CPU: (after.CPU - before.CPU) * 1e3 / float64(n), CoresCPU: (after.CoresCPU - before.CoresCPU) * 1e3 / float64(n),
		MemoryMB: after.Memory / (1 << 20), Descriptors: after.Descriptors, Latencies: l,
	})
	p.say("%s: %d in %.1f s", name, n, took.Seconds())
	return nil
}

// check asks for the end of each deployment, which the core's part decides.
func (p *play) check(ctx context.Context, ids []string) error {
	return each(ctx, p.Cores, func(ctx context.Context, i int) error {
		if ids[i] == "" {
			p.broke("core %s has no deployment", p.cores[i].Thing)
			return nil
		}
		status, message, err := p.site.status(ctx, p.cores[i].group, ids[i])
		if err != nil {
			return err
		}
		want, because := fescue.Success, ""
		if p.cores[i].Fails {
			want, because = fescue.Failure, failureText
		}
		if status != string(want) || message != because {
			p.broke("deployment %s to core %s is %s (%q), not %s", ids[i], p.cores[i].Thing, status, message, want)
		}
		return nil
	})
}

func (p *play) broke(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report.Broken = append(p.report.Broken, fmt.Sprintf(format, args...))
}

// order gives the same order to all crews.
func (p *play) order(o order) error {
	p.ordering.Lock()
	defer p.ordering.Unlock()
	for _, c := range p.crews {
		if err := c.orders.Encode(o); err != nil {
			return fmt.Errorf("order a crew: %w", err)
		}
	}
	return nil
}

func (p *play) endCrews() (err error) {
	for _, c := range p.crews {
		err = errors.Join(err, c.end())
	}
	return err
}

// awaitEnds waits until the cores have ended these deployments, and says what has become
// of one that they do not end.
func (p *play) awaitEnds(ctx context.Context, ids []string) error {
	left := func() []int {
		return slices.Collect(func(yield func(int) bool) {
			for i, id := range ids {
				if p.ended[id].IsZero() && !yield(i) {
					return
				}
			}
		})
	}
	err := p.await(ctx, "all deployments have ended", func() int { return len(left()) })
	if err == nil || ctx.Err() != nil {
		return err
	}
	p.mu.Lock()
	first := left()[0]
	p.mu.Unlock()
	status, message, asked := p.site.status(ctx, p.cores[first].group, ids[first])
	return errors.Join(fmt.Errorf("%w; deployment %s to core %s is %s %q", err, ids[first], p.cores[first].Thing, status, message), asked)
}

// await waits until a count of what is left, taken with the lock held, is 0.
func (p *play) await(ctx context.Context, what string, left func() int) error {
	return testkit.Within(ctx, p.Patience, func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if n := left(); n > 0 {
			return fmt.Errorf("until %s, %d are left", what, n)
		}
		return nil
	})
}

// roll is what is known of the cores by their events.
type roll struct {
	ordering sync.Mutex
	before   usage

	mu       sync.Mutex
	ready    map[int]bool
	connects []time.Duration
	// back is when cores' sessions came up last since it was cleared; offered and ended are
	// by deployment.
	back           map[int]time.Time
	offered, ended map[string]time.Time
	troubles       map[string]int
	// receiving are the cores that the cloud keeps messages for; arrived counts how often
	// each core got the message of the round.
	receiving map[int]bool
	round     int
	arrived   map[int]int
	arrivals  []time.Duration
}

func newRoll() *roll {
	r := &roll{ready: make(map[int]bool), troubles: make(map[string]int), receiving: make(map[int]bool)}
	r.clearConnected()
	r.clearDeployments()
	return r
}

func (r *roll) clearConnected() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.back = make(map[int]time.Time)
}

func (r *roll) clearDeployments() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.offered, r.ended = make(map[string]time.Time), make(map[string]time.Time)
}

// take reads with the lock held.
func (r *roll) take(read func() []time.Duration) []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return read()
}

// heard notes an event.
func (r *roll) heard(e event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Error != "" {
		r.troubles[e.What+": "+e.Error]++
	}
	switch e.What {
	case connected:
		r.connects, r.back[e.Core] = append(r.connects, e.Took), e.At
	case ready:
		r.ready[e.Core] = true
	case offered:
		if r.offered[e.Deployment].IsZero() {
			r.offered[e.Deployment] = e.At
		}
	case ended:
		r.ended[e.Deployment] = e.At
	case receiving:
		r.receiving[e.Core] = true
	case arrived:
		if e.Message == r.round {
			if r.arrived[e.Core]++; r.arrived[e.Core] == 1 {
				r.arrivals = append(r.arrivals, e.Took)
			}
		}
	}
}

// trouble is what cores met, the most frequent first.
func (r *roll) trouble() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	kinds := slices.SortedFunc(maps.Keys(r.troubles), func(a, b string) int { return r.troubles[b] - r.troubles[a] })
	text := ""
	for _, k := range kinds[:min(len(kinds), 5)] {
		text += fmt.Sprintf("\n  %d × %s", r.troubles[k], k)
	}
	if text == "" {
		return "nothing"
	}
	return text
}
