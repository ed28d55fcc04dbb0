package agent_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/testkit/crashfs"
)

// fates say what a power cut leaves of what was not synchronised.
var fates = []struct {
	name string
	// twice lets the power fail in the middle of the recovery too.
	twice bool
	// stride is the distance between the steps at which the power fails.
	stride int
	keep   func(r *rand.Rand) func() bool
}{
	{"all is lost", false, 1, func(*rand.Rand) func() bool { return func() bool { return false } }},
	{"all is kept", false, 3, func(*rand.Rand) func() bool { return func() bool { return true } }},
	{"half is lost", false, 1, func(r *rand.Rand) func() bool { return func() bool { return r.IntN(2) == 0 } }},
	{"most is lost twice", true, 3, func(r *rand.Rand) func() bool { return func() bool { return r.IntN(5) == 0 } }},
}

// outage is what is going on while the power fails.
type outage struct {
	name string
	// first says that nothing was deployed before.
	first bool
	next  func(t testing.TB) release
	sick  bool
	// status is the deployment's end, after what runs then.
	status fescue.DeploymentStatus
	after  []string
	// rotated says that a key signs it which the core has still to learn of.
	rotated bool
}

// TestPowerCut lets the power fail at every single write, synchronisation, rename
// and removal of a deployment, loses what was not synchronised, and starts the
// core without the cloud, where it must run the old or the new deployment as a
// whole, and then with it, where it must come to the end.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	for _, o := range []outage{
		{"first deployment", true, func(t testing.TB) release { return simple(t, 2, 2) }, false, fescue.Success, []string{functionARN("hello", 2)}, false},
		{"first deployment that fails", true, func(t testing.TB) release { return simple(t, 2, 2) }, true, fescue.Failure, []string{}, false},
		{"deployment", false, func(t testing.TB) release { return simple(t, 2, 2) }, false, fescue.Success, []string{functionARN("hello", 2)}, false},
		{"deployment by a new key", false, func(t testing.TB) release { return simple(t, 2, 2) }, false, fescue.Success, []string{functionARN("hello", 2)}, true},
		{"deployment with secrets", false, func(t testing.TB) release { return secretive(t, 2, 2, "pump") }, false, fescue.Success, []string{functionARN("hello", 2)}, false},
		{"rollback", false, func(t testing.TB) release { return simple(t, 2, 2) }, true, fescue.Failure, []string{functionARN("hello", 1)}, false},
		{"reset", false, func(testing.TB) release { return release{epoch: 2, kind: fescue.ResetDeployment} }, false, fescue.Success, []string{}, false},
	} {
		for seed, fate := range fates {
			t.Run(o.name+", "+fate.name, func(t *testing.T) {
				t.Parallel()
				stride := fate.stride
				if testing.Short() {
					stride = 7
				}
				step := 0
				for more := true; more && !t.Failed(); step += stride {
					r := rand.New(rand.NewPCG(uint64(seed), uint64(step)))
					again := -1
					if fate.twice {
						again = r.IntN(60)
					}
					more = o.cut(t, step, again, fate.keep(r))
				}
				t.Logf("%d steps", step)
				if step < 20 && !t.Failed() {
					t.Error("the power has hardly failed at all")
				}
			})
		}
	}
}

// identity are the files that make the core the one it is.
var identity = map[string]string{"config/config.json": `{"coreThing":{}}`, "certs/core.cert.pem": "certificate", "certs/core.private.key": "key"}

// volatileGateway is a gateway on a disk that forgets. Its folders, config.json
// and certificates were there before the core software.
func volatileGateway(t *testing.T, p *peer) (*gateway, *crashfs.Disk) {
	t.Helper()
	g := newGateway(t, p)
	disk := crashfs.New()
	g.root, g.disk = "/greengrass", disk
	g.secretKey = keyFile(t)
	p.secrets = []bundle.Secret{secret("pump", "AWSCURRENT x", "blue y")}
	for _, folder := range []string{"certs", "config", "ggc"} {
		if err := disk.MkdirAll(filepath.Join(g.root, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range identity {
		f, err := disk.OpenFile(filepath.Join(g.root, name), os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	disk.Restore(func() bool { return true })
	return g, disk
}

// cut is one run, with a second power cut unless again is negative; it is false when the deployment ended before the power failed.
func (o outage) cut(t *testing.T, step, again int, keep func() bool) (failed bool) {
	t.Helper()
	t.Run(fmt.Sprint("step ", step), func(t *testing.T) {
		p := newPeer(t)
		g, disk := volatileGateway(t, p)
		if !o.first {
			_, stop := g.run()
			p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
			stop()
		}
		if o.rotated {
			p.rotate(false)
		}
		next := o.next(t)
		if o.sick {
			g.sick[functionARN("hello", 2)] = "exit status 1"
		}
		d := p.offer(next.build(p))
		failed = g.untilCut(disk, step, d)
		p.mu.Lock()
		reported := d.Status
		p.mu.Unlock()
		disk.Restore(keep)
		g.sameIdentity(t)
		if again >= 0 {
			// And in the middle of the recovery once more.
			g.untilCut(disk, again, d)
			disk.Restore(keep)
			g.sameIdentity(t)
		}

		// Without the cloud.
		p.mu.Change(func() { p.down = true })
		g.forget()
		a, stop := g.run()
		<-a.Ready()
		g.whole(t)
		runs := running(g.last())
		if reported == fescue.Success && !slices.Equal(runs, o.after) {
			t.Errorf("Success was reported, but %v runs after the power cut", runs)
		}
		if len(runs) == 0 && !o.first && next.kind == "" {
			t.Error("neither the old nor the new deployment runs")
		}
		stop()

		// With it.
		p.mu.Change(func() { p.down = false })
		g.run()
		p.expect(d, o.status)
		g.awaitPlan(o.after...)
		g.whole(t)
		// And the core is not stuck.
		g.mu.Change(func() { clear(g.sick) })
		p.expect(p.offer(simple(t, 9, 9).build(p)), fescue.Success)
		g.awaitPlan(functionARN("hello", 9))
		g.sameIdentity(t)
	})
	return failed
}

// untilCut runs an agent until the power fails after some steps, or until the
// deployment has ended and its end is dealt with; it is false then.
func (g *gateway) untilCut(disk *crashfs.Disk, steps int, d *offered) bool {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	disk.FailAfter(steps, cancel)
	a, p := g.agent(), d.peer
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	for {
		p.mu.Lock()
		// When the end is reported, what the agent clears up counts too.
		polled, changed := d.polls > 0, p.mu.Changed()
		p.mu.Unlock()
		if polled {
			cancel()
		}
		select {
		case <-changed:
		case <-ended: // a power cut is no error that could be returned
			return disk.Failed()
		}
	}
}

// forget clears the record of what was made to run: the machine was off.
func (g *gateway) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.plans = nil
}

// sameIdentity checks the files that no deployment may touch.
func (g *gateway) sameIdentity(t *testing.T) {
	t.Helper()
	for name, want := range identity {
		if got := g.content(filepath.Join(g.root, name)); got != want {
			t.Errorf("%s holds %q", name, got)
		}
	}
}

// content reads a file of the gateway's disk; it is empty when there is none.
func (g *gateway) content(name string) string {
	f, err := g.disk.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return ""
	}
	data := make([]byte, 1<<16)
	n, _ := f.ReadAt(data, 0)
	return string(data[:n])
}

// whole checks that what was last made to run is one deployment, complete.
func (g *gateway) whole(t *testing.T) {
	t.Helper()
	plan := g.last()
	for _, f := range plan.Functions {
		if got, want := g.content(filepath.Join(string(f.Code), "app.py")), "VERSION = "+f.Version+"\n"; got != want {
			t.Errorf("function %s has code %q", f.ARN, got)
		}
		if info, err := g.disk.Lstat(filepath.Join(string(f.Code), "lib", "tool.sh")); err != nil || info.Size() == 0 || info.Mode().Perm() != 0o755 {
			t.Errorf("function %s is not complete: %v", f.ARN, err)
		}
	}
	links := []string{}
	entries, _ := g.disk.ReadDir(g.path("lambda"))
	for _, e := range entries {
		links = append(links, e.Name())
	}
	if got := running(plan); !slices.Equal(got, links) {
		t.Errorf("functions %v run, links are %v", got, links)
	}
}
