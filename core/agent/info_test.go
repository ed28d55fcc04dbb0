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

// TestInfo: the control plane gets what the core is before the core's first
// deployment, and again when that changes; what waits does not wait for it.
func TestInfo(t *testing.T) {
	t.Parallel()
	t.Run("is reported once, and again when it changes", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		g := newGateway(t, p)
		var kernel atomic.Value
		kernel.Store("6.1")
		g.info = func(context.Context) fescue.CoreInfo {
			return fescue.CoreInfo{Version: "1.9", Kernel: kernel.Load().(string)}
		}
		a, _ := g.run()
		p.await("it is reported", func() bool { return p.infos == 1 })
		want := fescue.CoreInfo{Version: "1.9", Kernel: "6.1", Formats: bundle.Formats(), Unserved: fescue.UnservedNames()}
		if diff := cmp.Diff(want, p.info); diff != "" {
			t.Error(diff)
		}
		p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
		p.await("the next poll", func() bool { return p.deployments[0].polls > 0 })
		if p.infos != 1 {
			t.Errorf("reported %d times", p.infos)
		}
		kernel.Store("6.2")
		p.mu.Change(func() {}) // ends the poll that waits
		p.expect(p.offer(simple(t, 2, 2).build(p)), fescue.Success)
		p.await("the change is reported", func() bool { return p.infos == 2 && p.info.Kernel == "6.2" })
		a.Wake()
	})
	t.Run("what the machine lacks for containers", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		g := newGateway(t, p)
		lacking(g)
		g.run()
		p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
		p.await("it is reported", func() bool { return p.infos == 1 })
		if diff := cmp.Diff(g.lacks, p.info.Missing); diff != "" || p.info.Serves(fescue.FeatureContainers) {
			t.Errorf("%s %v", diff, p.info.Unserved)
		}
	})
	t.Run("a control plane that refuses it", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		p.deaf = 1
		g := newGateway(t, p)
		g.times.Poll = 5 * time.Millisecond
		g.run()
		p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
		p.await("it is reported in the end", func() bool { return p.infos == 1 })
	})
	t.Run("a control plane from before there was this", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		p.first = true
		g := newGateway(t, p)
		g.run()
		p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
		if p.infos != 0 {
			t.Error("it got what it did not ask for")
		}
	})
}

// turning is telemetry that can be switched.
type turning struct{ now atomic.Value }

func (s *turning) Switch() fescue.Telemetry { return s.now.Load().(fescue.Telemetry) }

func (s *turning) Set(wanted fescue.Telemetry) bool {
	return wanted.Valid() && s.now.Swap(wanted).(fescue.Telemetry) != wanted
}

// TestTelemetrySwitch: a core takes at once what the control plane wants, and reports it.
func TestTelemetrySwitch(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	g := newGateway(t, p)
	s := new(turning)
	s.now.Store(fescue.TelemetryOn)
	g.telemetry = s
	g.run()
	p.await("what it does before it learns anything", func() bool { return p.says == fescue.TelemetryOn })
	for _, wanted := range []fescue.Telemetry{fescue.TelemetryOff, fescue.TelemetryOn} {
		p.mu.Change(func() { p.telemetry = wanted })
		p.await("it does what it is to", func() bool { return p.says == wanted })
		if s.Switch() != wanted {
			t.Errorf("it says %s and does %s", wanted, s.Switch())
		}
	}
	p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
}
