package agent_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
)

// slowly makes the peer serve the first bytes of a download and then nothing more
// until release is closed.
func slowly(release <-chan struct{}) func(http.ResponseWriter, *http.Request, []byte) bool {
	return func(w http.ResponseWriter, r *http.Request, content []byte) bool {
		if r.Header.Get("Range") != "" {
			return false
		}
		w.Header().Set("Content-Length", "1000000")
		w.Write(content[:min(len(content), 16)])
		w.(http.Flusher).Flush()
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return true
	}
}

func TestProgressAndCancel(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T) (*peer, *gateway, func()) {
		t.Helper()
		p := newPeer(t)
		g := newGateway(t, p)
		g.times.Progress = 5 * time.Millisecond
		_, stop := g.run()
		p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
		return p, g, stop
	}
	cancelled := func(t *testing.T, p *peer, g *gateway, d *offered) {
		t.Helper()
		end := p.expect(d, fescue.Failure)
		if end.ErrorDetails[0].DetailedErrorCode != string(fescue.DeploymentCancelled) || !strings.Contains(end.ErrorMessage, "was cancelled by an operator") {
			t.Errorf("%q %v", end.ErrorMessage, end.ErrorDetails)
		}
		g.awaitPlan(functionARN("hello", 1))
		p.expect(p.offer(simple(t, 9, 1).build(p)), fescue.Success)
	}

	t.Run("says what it does and how far it is", func(t *testing.T) {
		t.Parallel()
		p, _, _ := start(t)
		release := make(chan struct{})
		defer close(release)
		p.mu.Change(func() { p.serve = slowly(release) })
		m := simple(t, 2, 2).build(p)
		d := p.offer(m)
		p.await("progress", func() bool {
			n := len(d.progress)
			return n > 0 && d.progress[n-1].Fetched == 16
		})
		p.mu.Lock()
		defer p.mu.Unlock()
		last := d.progress[len(d.progress)-1]
		want := documentOf(m).Size + packagesOf(m)[0].Size
		if last.Epoch != 2 || last.ToFetch != want || !strings.HasPrefix(last.Activity, "downloading ") {
			t.Errorf("%+v, want %d bytes to fetch", last, want)
		}
	})
	t.Run("reports the bytes with the report on staging", func(t *testing.T) {
		t.Parallel()
		p, _, _ := start(t)
		m := simple(t, 2, 2).build(p)
		d := p.offer(m)
		p.expect(d, fescue.Success)
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, r := range d.reports {
			if want := documentOf(m).Size + packagesOf(m)[0].Size; r.Event == fescue.EventStaged && r.Fetched != want {
				t.Errorf("fetched %d, want %d", r.Fetched, want)
			}
		}
	})
	t.Run("a cancel in the middle of a download", func(t *testing.T) {
		t.Parallel()
		p, g, _ := start(t)
		release := make(chan struct{})
		defer close(release)
		p.mu.Change(func() { p.serve = slowly(release) })
		d := p.offer(simple(t, 2, 2).build(p))
		p.await("progress", func() bool { return len(d.progress) > 0 })
		p.cancel(d)
		p.ended(d)
		p.mu.Change(func() { p.serve = nil })
		cancelled(t, p, g, d)
	})
	t.Run("a cancel while the functions get healthy", func(t *testing.T) {
		t.Parallel()
		p, g, _ := start(t)
		g.mu.Change(func() { g.waiting = make(chan struct{}) })
		d := p.offer(simple(t, 2, 2).build(p))
		g.awaitPlan(functionARN("hello", 2))
		p.cancel(d)
		p.ended(d)
		g.mu.Change(func() { g.waiting = nil })
		cancelled(t, p, g, d)
	})
	t.Run("a cancel that comes with the answer to a report", func(t *testing.T) {
		t.Parallel()
		p, g, stop := start(t)
		stop()
		d := p.offer(simple(t, 2, 2).build(p))
		p.mu.Change(func() { d.Phase, d.CancelRequestedAt = fescue.Claimed, time.Now() })
		g.run()
		cancelled(t, p, g, d)
	})
	t.Run("a cancel while the core was off after the switch", func(t *testing.T) {
		t.Parallel()
		p, g, stop := start(t)
		g.mu.Change(func() { g.waiting = make(chan struct{}) })
		d := p.offer(simple(t, 2, 2).build(p))
		p.await("the switch", func() bool { return d.Phase == fescue.Switched })
		g.awaitPlan(functionARN("hello", 2))
		stop()
		p.cancel(d)
		g.times.Progress = time.Hour // the question at the start has to do
		g.run()
		p.ended(d)
		g.mu.Change(func() { g.waiting = nil })
		cancelled(t, p, g, d)
	})
}

// A reset that the cloud had ended before it learned that the core was done with it leaves
// what ran before.
func TestResetThatTheCloudHadEnded(t *testing.T) {
	t.Parallel()
	for _, off := range []bool{false, true} {
		t.Run(fmt.Sprintf("started again %t", off), func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			g := newGateway(t, p)
			_, stop := g.run()
			first := p.offer(simple(t, 1, 1).build(p))
			p.expect(first, fescue.Success)
			gate := make(chan struct{})
			g.mu.Change(func() { g.waiting = gate })
			d := p.offer(release{epoch: 2, kind: fescue.ResetDeployment}.build(p))
			g.awaitPlan()
			p.mu.Change(func() { p.down = true })
			close(gate)
			g.await("the reset", func() bool { return g.resets == 1 })
			if off {
				stop()
				g.run()
			}
			p.end(d)
			p.mu.Change(func() { p.down = false })
			p.await("the report", func() bool { n := len(d.reports); return n > 0 && d.reports[n-1].Event == fescue.EventWentBack })
			g.awaitPlan(functionARN("hello", 1))
			p.mu.Lock()
			defer p.mu.Unlock()
			if note := d.reports[len(d.reports)-1].Note; note != "the core runs deployment "+first.ID || d.Status != fescue.Failure {
				t.Errorf("note %q, status %s", note, d.Status)
			}
		})
	}
}

// A core whose deployment the cloud ended goes back and says so.
func TestSaysThatItWentBack(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"while it downloads", "while the functions get healthy", "while it was off"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			g := newGateway(t, p)
			g.times.Progress = 5 * time.Millisecond
			_, stop := g.run()
			first := p.offer(simple(t, 1, 1).build(p))
			p.expect(first, fescue.Success)
			release := make(chan struct{})
			defer close(release)
			g.mu.Change(func() { g.waiting = release })
			if name == "while it downloads" {
				p.mu.Change(func() { p.serve = slowly(release) })
			}
			d := p.offer(simple(t, 2, 2).build(p))
			switch name {
			case "while it downloads":
				p.await("progress", func() bool { return len(d.progress) > 0 })
			case "while it was off":
				g.awaitPlan(functionARN("hello", 2))
				stop()
			default:
				g.awaitPlan(functionARN("hello", 2))
			}
			p.end(d)
			if name == "while it was off" {
				g.run()
			}
			p.await("the report", func() bool { n := len(d.reports); return n > 0 && d.reports[n-1].Event == fescue.EventWentBack })
			g.awaitPlan(functionARN("hello", 1))
			p.mu.Lock()
			defer p.mu.Unlock()
			if note := d.reports[len(d.reports)-1].Note; note != "the core runs deployment "+first.ID || d.Status != fescue.Failure {
				t.Errorf("note %q, status %s", note, d.Status)
			}
		})
	}
}
