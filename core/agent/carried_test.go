package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/agent"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/testkit"
)

// carry is a bundle of a manifest, which is offered, too.
func (p *peer) carry(m bundle.Manifest) (*offered, []byte) {
	p.t.Helper()
	d := p.offer(m)
	list := bundle.Carried{GroupID: m.GroupID, DeploymentID: m.DeploymentID, CoreThingArn: m.CoreThingArn}
	for _, a := range m.Downloads() {
		list.Artifacts = append(list.Artifacts, bundle.CarriedPiece{SHA256: a.SHA256, Size: a.Size})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	keys, err := json.Marshal(corelink.SigningKeys{Chain: p.chain})
	if err != nil {
		p.t.Fatal(err)
	}
	var out bytes.Buffer
	err = bundle.Carry(&out, list, d.envelope, keys, nil, func(hash string) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(p.content[hash])), nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return d, out.Bytes()
}

// handOver gives a bundle to the gateway's agent, which may run.
func (g *gateway) handOver(file []byte) error {
	var on disk.FS = disk.Local{}
	if g.disk != nil {
		on = g.disk
	}
	_, err := agent.HandOver(context.Background(), on, g.path(), bytes.NewReader(file), func(int64, int64) {})
	return err
}

// handedOver waits until the agent is done with a bundle.
func (g *gateway) handedOver(id string) (h agent.Handover) {
	g.t.Helper()
	var on disk.FS = disk.Local{}
	if g.disk != nil {
		on = g.disk
	}
	testkit.Eventually(g.t, "the end of the bundle", func() error {
		var err error
		if h, err = agent.ReadHandover(on, g.path()); err == nil && (!h.Done || h.DeploymentID != id) {
			err = fmt.Errorf("%+v\n%s", h, g.log)
		}
		return err
	})
	return h
}

func (p *peer) line(there bool) { p.mu.Change(func() { p.down = !there }) }

// newOfflineGateway has deployed once, and has lost its line.
func newOfflineGateway(t *testing.T) (*peer, *gateway) {
	t.Helper()
	p := newPeer(t)
	g := newGateway(t, p)
	g.times.Handover = 10 * time.Millisecond
	g.run()
	p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
	g.awaitPlan(functionARN("hello", 1))
	p.line(false)
	return p, g
}

// TestBundle: what comes as a file is judged as what comes over the line, and reported
// when there is one.
func TestBundle(t *testing.T) {
	t.Parallel()
	t.Run("without a line, and another", func(t *testing.T) {
		t.Parallel()
		p, g := newOfflineGateway(t)
		second, file := p.carry(simple(t, 2, 2).build(p))
		if err := g.handOver(file); err != nil {
			t.Fatal(err)
		}
		if h := g.handedOver(second.ID); h.Message != "" {
			t.Fatalf("%+v", h)
		}
		g.awaitPlan(functionARN("hello", 2))
		p.mu.Change(func() { second.Status, second.Phase = fescue.Failure, "" }) // superseded
		third, file := p.carry(simple(t, 3, 3).build(p))
		if err := g.handOver(file); err != nil {
			t.Fatal(err)
		}
		if h := g.handedOver(third.ID); h.Message != "" {
			t.Fatalf("%+v", h)
		}
		g.awaitPlan(functionARN("hello", 3))
		p.mu.Lock()
		if third.Phase != fescue.Offered {
			t.Errorf("without a line it is %s %s", third.Status, third.Phase)
		}
		p.mu.Unlock()
		p.line(true)
		p.expect(third, fescue.Success)
		if notes := p.notesOf(third.ID); !strings.Contains(notes, "it came as a bundle") {
			t.Errorf("its notes are %q", notes)
		}
		p.expect(p.offer(simple(t, 4, 4).build(p)), fescue.Success)
		g.awaitPlan(functionARN("hello", 4))
	})
	t.Run("with a line", func(t *testing.T) {
		t.Parallel()
		p, g := newOfflineGateway(t)
		d, file := p.carry(simple(t, 2, 2).build(p))
		if err := g.handOver(file); err != nil {
			t.Fatal(err)
		}
		p.line(true)
		p.expect(d, fescue.Success)
		g.awaitPlan(functionARN("hello", 2))
	})
	t.Run("one that is not healthy", func(t *testing.T) {
		t.Parallel()
		p, g := newOfflineGateway(t)
		g.mu.Change(func() { g.sick[functionARN("hello", 2)] = "exit status 1" })
		d, file := p.carry(simple(t, 2, 2).build(p))
		if err := g.handOver(file); err != nil {
			t.Fatal(err)
		}
		h := g.handedOver(d.ID)
		if !strings.Contains(h.Message, "exit status 1") || len(h.Details) != 1 || h.Details[0].DetailedErrorCode != string(fescue.FunctionUnhealthy) {
			t.Errorf("%+v", h)
		}
		g.awaitPlan(functionARN("hello", 1))
		p.line(true)
		if end := p.expect(d, fescue.Failure); end.ErrorMessage != h.Message {
			t.Errorf("reported is %q, said was %q", end.ErrorMessage, h.Message)
		}
	})
	t.Run("by a key that followed the trusted one", func(t *testing.T) {
		t.Parallel()
		p, g := newOfflineGateway(t)
		p.rotate(false)
		d, file := p.carry(simple(t, 2, 2).build(p))
		if err := g.handOver(file); err != nil {
			t.Fatal(err)
		}
		if h := g.handedOver(d.ID); h.Message != "" {
			t.Errorf("%+v", h)
		}
	})
	t.Run("refusals", func(t *testing.T) {
		t.Parallel()
		p, g := newOfflineGateway(t)
		_, second := p.carry(simple(t, 2, 2).build(p))
		m := simple(t, 3, 3).build(p)
		third, file := p.carry(m)
		if err := g.handOver(file); err != nil {
			t.Fatal(err)
		}
		if h := g.handedOver(third.ID); h.Message != "" {
			t.Fatalf("%+v", h)
		}
		other := simple(t, 4, 4).build(p)
		other.CoreThingArn = "arn:aws:iot:us-east-1:123456789012:thing/Other_Core"
		_, foreign := p.carry(other)
		stranger := newPeer(t)
		_, strange := stranger.carry(simple(t, 5, 5).build(stranger))
		replay := simple(t, 3, 3).build(p)
		_, again := p.carry(replay)
		for name, tc := range map[string]struct {
			file []byte
			code fescue.FailureCode
		}{
			"a downgrade": {second, fescue.ManifestEpoch}, "a replay": {again, fescue.ManifestReplay},
			"another core's": {foreign, fescue.ManifestOtherCore}, "another control plane's": {strange, fescue.ManifestKeyUnknown},
		} {
			if err := g.handOver(tc.file); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			list, err := bundle.ReadCarried(bytes.NewReader(tc.file), func(bundle.Carried) error { return nil }, func(string, int64, io.Reader) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			if h := g.handedOver(list.DeploymentID); len(h.Details) != 1 || h.Details[0].DetailedErrorCode != string(tc.code) {
				t.Errorf("%s: %+v, want %s", name, h, tc.code)
			}
		}
		if err := g.handOver(file); err != nil {
			t.Fatal(err)
		}
		if h := g.handedOver(third.ID); h.Message != "" {
			t.Errorf("what runs already: %+v", h)
		}
		half := file[:len(file)/2]
		if err := g.handOver(half); !errors.Is(err, bundle.ErrCarried) {
			t.Errorf("half a file: %v", err)
		}
		for _, name := range []string{".bundle", ".bundle.new"} {
			if _, err := os.Lstat(g.path(name)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is left: %v", name, err)
			}
		}
		g.awaitPlan(functionARN("hello", 3))
	})
	t.Run("on a core that trusts no key", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		p.down = true
		g := newGateway(t, p)
		g.times.Handover = 10 * time.Millisecond
		d, file := p.carry(simple(t, 1, 1).build(p))
		if err := g.handOver(file); err != nil {
			t.Fatal(err)
		}
		g.run()
		if h := g.handedOver(d.ID); !strings.Contains(h.Message, "none is taken from a bundle") {
			t.Errorf("%+v", h)
		}
		g.trust(p.publicKey)
		if err := g.handOver(file); err != nil {
			t.Fatal(err)
		}
		testkit.Until(t, "it is not deployed", func() bool {
			h, err := agent.ReadHandover(disk.Local{}, g.path())
			return err == nil && h.Done && h.Message == ""
		})
		g.awaitPlan(functionARN("hello", 1))
	})
}

// faultyDisk fails at what was handed over.
type faultyDisk struct {
	disk.FS
	folder string
	fault  atomic.Pointer[error]
	// reads says that it fails when files are read, else when they are removed or renamed.
	reads bool
}

func (d *faultyDisk) fails(name string, reading bool) error {
	if fault := d.fault.Load(); fault != nil && reading == d.reads && (name == d.folder || filepath.Dir(name) == d.folder) {
		return &os.PathError{Op: "test", Path: name, Err: *fault}
	}
	return nil
}

func (d *faultyDisk) OpenFile(name string, flag int, perm os.FileMode) (disk.File, error) {
	if err := d.fails(name, true); err != nil {
		return nil, err
	}
	return d.FS.OpenFile(name, flag, perm)
}

func (d *faultyDisk) RemoveAll(name string) error {
	if err := d.fails(name, false); err != nil {
		return err
	}
	return d.FS.RemoveAll(name)
}

func (d *faultyDisk) Rename(from, to string) error {
	if err := d.fails(from, false); err != nil {
		return err
	}
	return d.FS.Rename(from, to)
}

// TestBundleOnFaultyDisk: a bundle that cannot be read or removed stops nothing else, and
// comes to its true end when the disk is well again.
func TestBundleOnFaultyDisk(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault error
		reads bool
	}{
		"another's": {syscall.EACCES, true}, "an error of the disk": {syscall.EIO, true}, "too many files": {syscall.EMFILE, true},
		"it stays": {syscall.EACCES, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			g := newGateway(t, p)
			on := &faultyDisk{FS: disk.Local{}, folder: g.path(".bundle"), reads: tc.reads}
			g.disk, g.times.Handover = on, 5*time.Millisecond
			g.run()
			p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
			g.awaitPlan(functionARN("hello", 1))
			p.line(false)
			on.fault.Store(&tc.fault)
			later, file := p.carry(simple(t, 3, 3).build(p))
			if err := g.handOver(file); err != nil {
				t.Fatal(err)
			}
			next := later
			if tc.reads {
				testkit.Until(t, "nothing is logged", func() bool { return strings.Contains(g.log.String(), "A bundle cannot be taken now") })
				p.mu.Change(func() { p.deployments = slices.DeleteFunc(p.deployments, func(d *offered) bool { return d == later }) })
				next = p.offer(simple(t, 2, 2).build(p))
			}
			p.line(true)
			p.expect(next, fescue.Success)
			if !tc.reads {
				if h := g.handedOver(later.ID); h.Message != "" {
					t.Errorf("%+v", h)
				}
				p.expect(p.offer(simple(t, 4, 4).build(p)), fescue.Success)
			}
			if n := strings.Count(g.log.String(), "A bundle cannot be taken now"); n != 1 {
				t.Errorf("it is logged %d times", n)
			}
			if _, err := os.Stat(on.folder); err != nil {
				t.Error(err)
			}
			p.line(false) // it would say of the one that it no longer offers that it has ended
			on.fault.Store(nil)
			if h := g.handedOver(later.ID); h.Message != "" {
				t.Errorf("%+v", h)
			}
			testkit.Until(t, "the bundle stays", func() bool { _, err := os.Stat(on.folder); return errors.Is(err, os.ErrNotExist) })
		})
	}
}

// TestBundleBesideDeployment: a deployment that is under way comes to its own end before
// a bundle is taken, be that of the same or of a later one.
func TestBundleBesideDeployment(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ same, sick bool }{
		"a later one": {false, false}, "a later one, the first fails": {false, true},
		"the same": {true, false}, "the same, which fails": {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			g := newGateway(t, p)
			g.times.Handover = 5 * time.Millisecond
			if tc.sick {
				g.sick[functionARN("hello", 2)] = "exit status 1"
			}
			g.run()
			p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
			staging, goOn := make(chan struct{}), make(chan struct{})
			var once sync.Once
			p.mu.Change(func() {
				p.serve = func(http.ResponseWriter, *http.Request, []byte) bool {
					once.Do(func() { close(staging) })
					<-goOn
					return false
				}
			})
			cloud, same := p.carry(simple(t, 2, 2).build(p))
			<-staging
			carried, file := cloud, same
			if !tc.same {
				carried, file = p.carry(simple(t, 3, 3).build(p))
			}
			if err := g.handOver(file); err != nil {
				t.Fatal(err)
			}
			close(goOn)
			end, last := fescue.Success, functionARN("hello", 3)
			if tc.sick {
				end = fescue.Failure
			}
			p.expect(cloud, end)
			h := g.handedOver(carried.ID)
			if failed := tc.same && tc.sick; failed != strings.Contains(h.Message, "exit status 1") || !failed && h.Message != "" {
				t.Errorf("%+v", h)
			}
			if tc.same {
				last = functionARN("hello", 2)
				if tc.sick {
					last = functionARN("hello", 1)
				}
			} else {
				p.expect(carried, fescue.Success)
			}
			g.awaitPlan(last)
		})
	}
}

// TestRefusedEnd: an end that the control plane does not take keeps the core from
// nothing, be it the last or an older one.
func TestRefusedEnd(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusBadRequest, http.StatusUnprocessableEntity} {
		for _, tc := range []struct {
			name    string
			refused int64
			sick    bool
			runs    int
		}{
			{"an older one", 2, false, 3},
			{"the last", 3, false, 3},
			{"the last, which failed", 3, true, 2},
		} {
			t.Run(fmt.Sprint(tc.name, ", ", http.StatusText(status)), func(t *testing.T) {
				t.Parallel()
				p, g := newOfflineGateway(t)
				if tc.sick {
					g.mu.Change(func() { g.sick[functionARN("hello", 3)] = "exit status 1" })
				}
				for n := 2; n <= 3; n++ {
					d, file := p.carry(simple(t, int64(n), n).build(p))
					if err := g.handOver(file); err != nil {
						t.Fatal(err)
					}
					if h := g.handedOver(d.ID); (h.Message != "") != (tc.sick && n == 3) {
						t.Fatalf("%+v", h)
					}
				}
				p.mu.Change(func() {
					p.refuse = func(r corelink.StatusReport) int {
						if r.Epoch == tc.refused {
							return status
						}
						return 0
					}
				})
				p.line(true)
				testkit.Until(t, "nothing is refused", func() bool { return strings.Contains(g.log.String(), "that is not reported again") })
				g.awaitPlan(functionARN("hello", tc.runs))
				p.expect(p.offer(simple(t, 4, 4).build(p)), fescue.Success)
				if n := strings.Count(g.log.String(), "that is not reported again"); n != 1 {
					t.Errorf("it is logged %d times", n)
				}
			})
		}
	}
}

// TestForbiddenEnd: an end that the core has no right to report is reported when it has.
func TestForbiddenEnd(t *testing.T) {
	t.Parallel()
	p, g := newOfflineGateway(t)
	d, file := p.carry(simple(t, 2, 2).build(p))
	if err := g.handOver(file); err != nil {
		t.Fatal(err)
	}
	forbidden := 0
	p.mu.Change(func() {
		p.refuse = func(r corelink.StatusReport) int {
			if r.Epoch == 2 && forbidden < 3 {
				forbidden++
				return http.StatusForbidden
			}
			return 0
		}
	})
	p.line(true)
	p.expect(d, fescue.Success)
	p.expect(p.offer(simple(t, 3, 3).build(p)), fescue.Success)
	p.mu.Change(func() {
		if forbidden != 3 {
			t.Errorf("refused %d times", forbidden)
		}
	})
	if strings.Contains(g.log.String(), "that is not reported again") {
		t.Error("the end was given up")
	}
}

// TestPowerCutOfBundle lets the power fail at every operation by which a bundle is
// handed over, applied and removed, without a line: then the old or the new deployment runs, as a
// whole, and what was handed over comes to its end after the next start.
func TestPowerCutOfBundle(t *testing.T) {
	t.Parallel()
	for _, sick := range []bool{false, true} {
		t.Run(fmt.Sprint("sick: ", sick), func(t *testing.T) {
			t.Parallel()
			stride := 1
			if testing.Short() {
				stride = 5
			}
			for step, cut := 0, true; cut && !t.Failed(); step += stride {
				p := newPeer(t)
				g, on := volatileGateway(t, p)
				g.times.Handover = 5 * time.Millisecond
				_, stop := g.run()
				p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
				stop()
				p.line(false)
				d, file := p.carry(simple(t, 2, 2).build(p))
				if sick {
					g.sick[functionARN("hello", 2)] = "exit status 1"
				}
				ctx, cancel := context.WithCancel(context.Background())
				on.FailAfter(step, cancel)
				handed := g.handOver(file) == nil
				if handed {
					ended := make(chan error, 1)
					go func() { ended <- g.agent().Run(ctx) }()
					testkit.Until(t, "neither the end nor the cut", func() bool {
						h, err := agent.ReadHandover(on, g.path())
						if on.Failed() || err != nil || !h.Done {
							return on.Failed()
						}
						for _, name := range []string{".bundle", ".bundle.done"} {
							if there, err := disk.Exists(on, g.path(name)); err != nil || there {
								return on.Failed()
							}
						}
						return true
					})
					cancel()
					<-ended
				}
				cancel()
				cut = on.Failed()
				on.Restore(func() bool { return step%2 == 0 })
				g.forget()
				_, stop = g.run()
				want := functionARN("hello", 2)
				if sick {
					want = functionARN("hello", 1)
				}
				if handed {
					if h := g.handedOver(d.ID); (h.Message != "") != sick {
						t.Errorf("step %d: %+v", step, h)
					}
					g.awaitPlan(want)
				} else if g.awaitReady(); !slices.Equal(running(g.last()), []string{functionARN("hello", 1)}) && !slices.Equal(running(g.last()), []string{want}) {
					t.Errorf("step %d: %v runs", step, running(g.last()))
				}
				g.whole(t)
				if handed {
					testkit.Until(t, "something of the bundle stays", func() bool {
						for _, name := range []string{".bundle", ".bundle.done"} {
							if there, err := disk.Exists(on, g.path(name)); err != nil || there {
								return false
							}
						}
						return true
					})
					// What was written down before the cut is still true after it.
					if h := g.handedOver(d.ID); (h.Message != "") != sick {
						t.Errorf("step %d, in the end: %+v", step, h)
					}
				}
				stop()
			}
		})
	}
}

// awaitReady waits until something was made to run.
func (g *gateway) awaitReady() {
	g.t.Helper()
	g.await("a first plan", func() bool { return len(g.plans) > 0 })
}
