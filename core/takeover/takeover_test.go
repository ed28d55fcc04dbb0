package takeover_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/core/takeover"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/testkit/crashfs"
)

const (
	root       = "/greengrass"
	deployment = root + "/ggc/deployment"
	units      = "/etc/systemd/system"
	legacy     = "greengrass.service"
	own        = "fescue-core.service"
	v1         = "the group of AWS's core"
)

var errPower = errors.New("the power is gone")

// gateway is a machine with a disk, and as much of systemd as the two units need.
type gateway struct {
	t    testing.TB
	disk *crashfs.Disk
	// running are the units that run; gone after a power cut.
	running map[string]bool
	// sick has Fescue's core never come to the end of its deployment, broken not start.
	sick, broken bool
	said         []string
}

func newGateway(t testing.TB) *gateway {
	t.Helper()
	g := &gateway{t: t, disk: crashfs.New(), running: make(map[string]bool)}
	g.write(units+"/"+legacy, "[Service]\nType=forking\nExecStart=/greengrass/ggc/core/greengrassd start\n")
	g.write(units+"/multi-user.target.wants/"+legacy, "enabled")
	g.write("/usr/lib/systemd/system/"+own, "[Service]\nExecStart=/usr/bin/fescue-core\n")
	g.write(deployment+"/group/group.json", v1)
	g.write(deployment+"/lambda/arn:1/handler.py", "the code of AWS's core")
	g.write(deployment+"/lambda/arn:gone/handler.py", "of no deployment of Fescue's")
	for _, folder := range []string{"/", "/etc", "/etc/systemd", units, units + "/multi-user.target.wants", root, root + "/ggc", deployment, deployment + "/group", deployment + "/lambda",
		deployment + "/lambda/arn:1", deployment + "/lambda/arn:gone"} {
		g.must(g.disk.SyncDir(folder))
	}
	g.must(g.start(legacy))
	return g
}

func (g *gateway) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g *gateway) write(name, text string) {
	g.t.Helper()
	g.must(g.disk.MkdirAll(path.Dir(name), 0o755))
	g.must(disk.ReplaceFile(g.disk, name, []byte(text), 0o644))
}

func (g *gateway) read(name string) string {
	data, err := disk.ReadFile(g.disk, name, 1<<20)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// there reports whether a name leads to something.
func (g *gateway) there(name string) bool {
	_, err := g.disk.Lstat(name)
	return err == nil
}

// enabled reports whether a unit is to start with the machine.
func (g *gateway) enabled(unit string) bool {
	return g.there(units + "/multi-user.target.wants/" + unit)
}

// opens reports whether the condition of a unit's drop-in holds.
func (g *gateway) opens(unit string) bool {
	for line := range strings.Lines(g.read(units + "/" + unit + ".d/fescue-takeover.conf")) {
		if condition, ok := strings.CutPrefix(strings.TrimSpace(line), "ConditionPathExists="); ok {
			file, not := strings.CutPrefix(condition, "!")
			if g.there(file) == not {
				return false
			}
		}
	}
	return true
}

// start starts a unit as systemd does: one whose condition does not hold is no error.
func (g *gateway) start(unit string) error {
	if !g.opens(unit) || g.running[unit] {
		return nil
	}
	for other := range g.running {
		g.t.Errorf("%s starts beside %s", unit, other)
	}
	if unit == legacy {
		if got := g.read(deployment + "/group/group.json"); got != v1 {
			g.t.Errorf("AWS's core starts on a folder of which the group is %q", got)
		}
		for _, arn := range []string{"arn:1", "arn:gone"} {
			if info, err := g.disk.Lstat(deployment + "/lambda/" + arn); err != nil || !info.IsDir() {
				g.t.Errorf("AWS's core starts on a folder in which %s is %v, %v", arn, info, err)
			}
		}
	}
	if unit == own && g.broken {
		return errors.New("it does not start")
	}
	g.running[unit] = true
	if unit == own {
		return g.deploy()
	}
	return nil
}

// deploy does to the folder what the first deployment does, as package agent has it.
func (g *gateway) deploy() error {
	before, group, code := deployment+"/before-fescue", deployment+"/group/group.json", deployment+"/lambda/arn:1"
	move := func(from, to string) error {
		if g.there(to) {
			return g.disk.RemoveAll(from)
		}
		return errors.Join(disk.MakeFolderOn(g.disk, path.Dir(to), 0o700), g.disk.Rename(from, to), g.disk.SyncDir(path.Dir(to)))
	}
	if info, err := g.disk.Lstat(code); err == nil && info.IsDir() {
		if err := move(code, before+"/lambda/arn:1"); err != nil {
			return err
		}
	}
	if !g.there(code) {
		if err := errors.Join(g.disk.Symlink("../.store/hash", code), g.disk.SyncDir(path.Dir(code))); err != nil {
			return err
		}
	}
	if g.read(group) == v1 && !g.there(before+"/group/group.json") {
		if err := move(group, before+"/group/group.json"); err != nil {
			return err
		}
	}
	return disk.ReplaceFile(g.disk, group, []byte("the group of Fescue's core"), 0o600)
}

// systemctl is systemd's, as far as it is used.
func (g *gateway) systemctl(_ context.Context, args ...string) error {
	if g.disk.Failed() {
		return errPower
	}
	switch unit := args[len(args)-1]; args[0] {
	case "daemon-reload":
		return nil
	case "enable":
		if g.enabled(unit) {
			return nil
		}
		return g.disk.Symlink("/usr/lib/systemd/system/"+unit, units+"/multi-user.target.wants/"+unit)
	case "stop":
		delete(g.running, unit)
		return nil
	case "start":
		return g.start(unit)
	case "is-active":
		if !g.running[unit] {
			return errors.New(unit + " is not active")
		}
		return nil
	}
	return fmt.Errorf("systemctl %v is not known", args)
}

func (g *gateway) takeover() *takeover.Takeover {
	return &takeover.Takeover{
		Root: root, Deployment: deployment, Units: units, Legacy: legacy, Core: own, Disk: g.disk, Patience: time.Minute,
		Environment: map[string]string{"FESCUE_CORE_ROOT": root, "FESCUE_CA": `/etc/100% "sure"`},
		Systemctl:   g.systemctl,
		Settled: func() (bool, error) {
			if g.sick {
				return false, errors.New("the first deployment failed")
			}
			return true, nil
		},
		Say: func(text string) { g.said = append(g.said, text) },
	}
}

// boot is what happens when the power is back: the units that are enabled start.
func (g *gateway) boot() {
	clear(g.running)
	for _, unit := range []string{legacy, own} {
		if g.enabled(unit) {
			g.must(g.start(unit))
		}
	}
}

// runs wants one core to run, and says which.
func (g *gateway) runs() string {
	g.t.Helper()
	if len(g.running) != 1 {
		g.t.Errorf("running: %v", g.running)
	}
	for unit := range g.running {
		return unit
	}
	return ""
}

func TestTakeAndBack(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for range 2 {
		for range 2 { // the second time nothing changes
			if _, err := g.takeover().Take(t.Context()); err != nil || g.runs() != own {
				t.Fatalf("%v, running %v", err, g.running)
			}
		}
		if taken, err := g.takeover().Taken(); err != nil || !taken {
			t.Errorf("taken %v, %v", taken, err)
		}
		if text := g.read(units + "/" + own + ".d/fescue-takeover.conf"); !strings.Contains(text, `Environment="FESCUE_CA=/etc/100%% \"sure\""`) {
			t.Errorf("the unit's environment: %s", text)
		}
		for range 2 {
			g.must(g.takeover().Back(t.Context()))
			if g.runs() != legacy {
				t.Errorf("running %v", g.running)
			}
		}
	}
	if want := []string{"stopping " + legacy, "starting " + own}; !slices.Equal(g.said[:2], want) {
		t.Errorf("said %q", g.said)
	}
}

// TestTakeThatFails: AWS's core runs again.
func TestTakeThatFails(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*gateway, *takeover.Takeover){
		"a deployment that fails":    func(g *gateway, _ *takeover.Takeover) { g.sick = true },
		"a core that does not start": func(g *gateway, _ *takeover.Takeover) { g.broken = true },
		"a core that ends again": func(g *gateway, to *takeover.Takeover) {
			to.Settled = func() (bool, error) { delete(g.running, own); return true, nil }
		},
		"a deployment that never ends": func(_ *gateway, to *takeover.Takeover) {
			to.Patience, to.Settled = time.Millisecond, func() (bool, error) { return false, nil }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t)
			to := g.takeover()
			spoil(g, to)
			_, err := to.Take(t.Context())
			if err == nil || !strings.Contains(err.Error(), legacy+" runs again, as before") || g.runs() != legacy {
				t.Errorf("%v, running %v", err, g.running)
			}
		})
	}
	t.Run("code that is there twice", func(t *testing.T) {
		t.Parallel()
		g := newGateway(t)
		if _, err := g.takeover().Take(t.Context()); err != nil {
			t.Fatal(err)
		}
		g.must(g.disk.Remove(deployment + "/lambda/arn:1"))
		g.write(deployment+"/lambda/arn:1/own.py", "somebody's")
		if err := g.takeover().Back(t.Context()); err == nil || !strings.Contains(err.Error(), "is there twice") {
			t.Errorf("%v", err)
		}
		g.boot()
		if g.read(deployment+"/lambda/arn:1/own.py") == "" || g.runs() != own {
			t.Errorf("running %v", g.running)
		}
	})
}

// TestPowerCut lets the power fail at every write, flush, rename and removal of a takeover
// and of the way back, loses what was not flushed, and boots: one core starts, on a folder
// that is its own; the command, run again, comes to its end.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	take := func(to *takeover.Takeover) error {
		_, err := to.Take(t.Context())
		return err
	}
	back := func(to *takeover.Takeover) error { return to.Back(t.Context()) }
	for _, c := range []struct {
		name  string
		taken bool
		do    func(*takeover.Takeover) error
		after string
	}{{"takeover", false, take, own}, {"back", true, back, legacy}} {
		for fate, keep := range map[string]func(*rand.Rand) func() bool{
			"all is lost":  func(*rand.Rand) func() bool { return func() bool { return false } },
			"all is kept":  func(*rand.Rand) func() bool { return func() bool { return true } },
			"half is lost": func(r *rand.Rand) func() bool { return func() bool { return r.IntN(2) == 0 } },
		} {
			t.Run(c.name+", "+fate, func(t *testing.T) {
				t.Parallel()
				steps := 0
				for n := 0; ; n++ {
					g := newGateway(t)
					if c.taken {
						g.must(take(g.takeover()))
					}
					g.disk.FailAfter(n, func() {})
					c.do(g.takeover())
					if !g.disk.Failed() {
						break
					}
					steps++
					g.disk.Restore(keep(rand.New(rand.NewPCG(7, uint64(n)))))
					g.boot()
					if g.runs(); t.Failed() {
						t.Fatalf("after step %d", n)
					}
					if err := c.do(g.takeover()); err != nil || g.runs() != c.after {
						t.Fatalf("after step %d, again: %v, running %v", n, err, g.running)
					}
				}
				if steps < 8 {
					t.Errorf("only %d steps", steps)
				}
			})
		}
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"the unit of AWS's example": {map[string]string{units + "/greengrass.service": "[Service]\nExecStart=/greengrass/ggc/core/greengrassd start\n"}, "greengrass.service"},
		"under another name":        {map[string]string{units + "/a.service": "[Service]\nExecStart=/bin/true\n", units + "/ggc.service": "[Service]\n  ExecStart=-/opt/gg/ggc/core/greengrassd start\n"}, "ggc.service"},
		"a script":                  {map[string]string{"/etc/init.d/greengrass": "#!/bin/sh\n/greengrass/ggc/core/greengrassd $1\n"}, "greengrass.service"},
		"a script with a suffix":    {map[string]string{"/etc/init.d/gg.sh": "greengrassd start"}, "gg.service"},
		"nothing":                   {map[string]string{units + "/x.service": "[Unit]\nDescription=no greengrassd\n", units + "/y.conf": "ExecStart=greengrassd\n", "/etc/init.d/x": "# greengrassd\n"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := &gateway{t: t, disk: crashfs.New()}
			for file, text := range c.files {
				g.write(file, text)
			}
			got, err := takeover.Find(g.disk, []string{units, "/nowhere"}, []string{"/etc/init.d"})
			if got != c.want || errors.Is(err, takeover.ErrNoUnit) != (c.want == "") {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}
