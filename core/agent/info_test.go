package agent_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
)

// TestInfo: the control plane hears what the core is before the core's first
// deployment, and again when that changes; what waits does not wait for it.
func TestInfo(t *testing.T) {
	t.Parallel()
	t.Run("is told once, and again when it changes", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		g := newGateway(t, p)
		var kernel atomic.Value
		kernel.Store("6.1")
		g.info = func(context.Context) fescue.CoreInfo {
			return fescue.CoreInfo{Version: "1.9", Kernel: kernel.Load().(string)}
		}
		a, _ := g.run()
		p.await("it is told", func() bool { return p.heard == 1 })
		want := fescue.CoreInfo{Version: "1.9", Kernel: "6.1", Formats: bundle.Formats(), Unserved: fescue.UnservedNames()}
		if diff := cmp.Diff(want, p.info); diff != "" {
			t.Error(diff)
		}
		p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
		p.await("the next poll", func() bool { return p.deployments[0].polls > 0 })
		if p.heard != 1 {
			t.Errorf("told %d times", p.heard)
		}
		kernel.Store("6.2")
		p.mu.Change(func() {}) // ends the poll that waits
		p.expect(p.offer(simple(t, 2, 2).build(p)), fescue.Success)
		p.await("the change is told", func() bool { return p.heard == 2 && p.info.Kernel == "6.2" })
		a.Wake()
	})
	t.Run("what the machine lacks for containers", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		g := newGateway(t, p)
		lacking(g)
		g.run()
		p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
		p.await("it is told", func() bool { return p.heard == 1 })
		if diff := cmp.Diff(g.lacks, p.info.Missing); diff != "" || p.info.Serves(fescue.FeatureContainers) {
			t.Errorf("%s %v", diff, p.info.Unserved)
		}
	})
	t.Run("a control plane that will not hear it", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		p.deaf = 1
		g := newGateway(t, p)
		g.times.Poll = 5 * time.Millisecond
		g.run()
		p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
		p.await("it is told in the end", func() bool { return p.heard == 1 })
	})
	t.Run("a control plane from before there was this", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		p.first = true
		g := newGateway(t, p)
		g.run()
		p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
		if p.heard != 0 {
			t.Error("it was told what it did not ask for")
		}
	})
}
