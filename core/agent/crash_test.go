package agent_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core/agent"
)

// errPower is what every operation gives after the power has failed.
var errPower = errors.New("the power has failed")

// mains is a disk whose power fails at the nth operation that changes something:
// from then on nothing reaches it any more.
type mains struct {
	disk agent.Disk
	cut  context.CancelFunc

	mu   sync.Mutex
	left int
	off  bool
}

// spend counts an operation.
func (m *mains) spend() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left--; m.left < 0 && !m.off {
		m.off = true
		m.cut()
	}
	if m.off {
		return errPower
	}
	return nil
}

func (m *mains) failed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.off
}

func (m *mains) OpenFile(name string, flag int, perm fs.FileMode) (agent.File, error) {
	if flag&(os.O_WRONLY|os.O_RDWR|os.O_CREATE|os.O_TRUNC) != 0 {
		if err := m.spend(); err != nil {
			return nil, err
		}
	}
	f, err := m.disk.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &mainsFile{f, m}, nil
}

type mainsFile struct {
	agent.File
	m *mains
}

// Write leaves half of what was to be written when the power fails.
func (f *mainsFile) Write(p []byte) (int, error) {
	if err := f.m.spend(); err != nil {
		n, _ := f.File.Write(p[:len(p)/2])
		return n, err
	}
	return f.File.Write(p)
}

func (f *mainsFile) Sync() error {
	if err := f.m.spend(); err != nil {
		return err
	}
	return f.File.Sync()
}

func (m *mains) MkdirAll(name string, perm fs.FileMode) error {
	return m.do(func() error { return m.disk.MkdirAll(name, perm) })
}
func (m *mains) Chmod(name string, perm fs.FileMode) error {
	return m.do(func() error { return m.disk.Chmod(name, perm) })
}
func (m *mains) Rename(from, to string) error {
	return m.do(func() error { return m.disk.Rename(from, to) })
}
func (m *mains) Remove(name string) error {
	return m.do(func() error { return m.disk.Remove(name) })
}

// RemoveAll is not one step: it is done file by file.
func (m *mains) RemoveAll(name string) error {
	entries, err := os.ReadDir(name)
	if err == nil {
		for _, e := range entries {
			if err := m.RemoveAll(filepath.Join(name, e.Name())); err != nil {
				return err
			}
		}
	}
	return m.do(func() error { return m.disk.RemoveAll(name) })
}
func (m *mains) Symlink(target, name string) error {
	return m.do(func() error { return m.disk.Symlink(target, name) })
}
func (m *mains) SyncDir(name string) error {
	return m.do(func() error { return m.disk.SyncDir(name) })
}
func (m *mains) Readlink(name string) (string, error)       { return m.disk.Readlink(name) }
func (m *mains) Lstat(name string) (fs.FileInfo, error)     { return m.disk.Lstat(name) }
func (m *mains) ReadDir(name string) ([]fs.DirEntry, error) { return m.disk.ReadDir(name) }

func (m *mains) do(f func() error) error {
	if err := m.spend(); err != nil {
		return err
	}
	return f()
}

// TestPowerCut lets the power fail at every single step of a deployment, then
// starts the core without the cloud, where it must run the old or the new
// deployment as a whole, and then with it, where it must come to the end.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		next   func(t testing.TB) release
		sick   bool
		status fescue.DeploymentStatus
		// after is what runs in the end.
		after []string
	}{
		{"while a deployment succeeds", func(t testing.TB) release { return simple(t, 2, 2) }, false, fescue.Success, []string{functionARN("hello", 2)}},
		{"while a deployment fails and is rolled back", func(t testing.TB) release { return simple(t, 2, 2) }, true, fescue.Failure, []string{functionARN("hello", 1)}},
		{"while the core is reset", func(testing.TB) release { return release{epoch: 2, kind: fescue.ResetDeployment} }, false, fescue.Success, []string{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			stride := 1
			if testing.Short() {
				stride = 7
			}
			for step := 0; ; step += stride {
				if t.Failed() || !powerCut(t, step, tc.next(t), tc.sick, tc.status, tc.after) {
					t.Logf("%d steps", step)
					if step < 20 {
						t.Error("the power has hardly failed at all")
					}
					return
				}
			}
		})
	}
}

// powerCut is one run; it is false when the deployment ended before the power
// failed.
func powerCut(t *testing.T, step int, next release, sick bool, status fescue.DeploymentStatus, after []string) (failed bool) {
	t.Helper()
	ok := t.Run(fmt.Sprint("step ", step), func(t *testing.T) {
		p := newPeer(t)
		g := newGateway(t, p)
		_, stop := g.run()
		p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
		stop()
		if sick {
			g.sick[functionARN("hello", 2)] = "exit status 1"
		}

		d := p.offer(next.build(p))
		ctx, cancel := context.WithCancel(context.Background())
		power := &mains{left: step, cut: func() {
			cancel()
			p.change(func() {})
		}}
		g.disk = power
		_, stop = g.runUntil(ctx)
		// When the end is reported, what the agent clears up counts too.
		p.await("the end or the power cut", func() bool {
			return power.failed() || d.polls > 0
		})
		cancel()
		stop()
		failed = power.failed()
		g.disk = nil

		// Without the cloud.
		p.change(func() { p.down = true })
		g.mu.Lock()
		g.plans = nil
		g.mu.Unlock()
		a, stop := g.run()
		<-a.Ready()
		g.whole(t)
		if len(g.last().Functions) == 0 && next.kind == "" {
			t.Error("neither the old nor the new deployment runs")
		}
		stop()

		// With it.
		p.change(func() { p.down = false })
		g.run()
		p.expect(d, status)
		g.awaitPlan(after...)
		g.whole(t)
		// And the core is not stuck.
		g.change(func() { clear(g.sick) })
		p.expect(p.offer(simple(t, 9, 9).build(p)), fescue.Success)
		g.awaitPlan(functionARN("hello", 9))
	})
	return failed && ok
}

// whole checks that what was last made to run is one deployment, complete.
func (g *gateway) whole(t *testing.T) {
	t.Helper()
	plan := g.last()
	for _, f := range plan.Functions {
		got, err := os.ReadFile(filepath.Join(f.Dir, "app.py"))
		if want := "VERSION = " + f.Version + "\n"; err != nil || string(got) != want {
			t.Errorf("function %s has code %q, %v", f.ARN, got, err)
		}
		if _, err := os.Stat(filepath.Join(f.Dir, "lib", "tool.sh")); err != nil {
			t.Errorf("function %s is not complete: %v", f.ARN, err)
		}
	}
	if got := running(plan); !slices.Equal(got, g.names("lambda")) && !(len(got) == 0 && len(g.names("lambda")) == 0) {
		t.Errorf("functions %v run, links are %v", got, g.names("lambda"))
	}
}
