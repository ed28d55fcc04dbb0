//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/fescue-edge/fescue/core"
	"github.com/fescue-edge/fescue/core/takeover"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/doctor"
	"github.com/fescue-edge/fescue/recovery"
)

type takeoverCommand struct {
	Root     string        `arg:"" optional:"" default:"/greengrass" type:"path" help:"The core's folder, as AWS's core left it."`
	IoTHost  string        `name:"iot-host" env:"FESCUE_IOT_HOST" placeholder:"HOST[:PORT]" help:"MQTT host of the server, in place of config.json's iotHost."`
	GGHost   string        `name:"gg-host" env:"FESCUE_GG_HOST" placeholder:"HOST[:PORT]" help:"HTTPS host of the server, in place of config.json's ggHost."`
	CA       string        `name:"ca" env:"FESCUE_CA" type:"path" placeholder:"FILE" help:"PEM file of the server's authority, in place of config.json's."`
	Legacy   string        `placeholder:"UNIT" help:"The unit that starts greengrassd. Default: the one that does among systemd's units and the scripts in /etc/init.d."`
	Patience time.Duration `default:"10m" help:"How long the first deployment may take, before AWS's core is started again."`
	Check    bool          `help:"Look only."`
	Back     bool          `help:"Stop Fescue's core and start AWS's again, on the folder as that left it."`
	JSON     bool          `name:"json" help:"Print what was found as JSON."`
}

// Help implements kong.HelpProvider.
func (takeoverCommand) Help() string {
	return `Puts this core in the place of AWS's on a gateway under systemd. It looks first: at this
machine and its folder (as fescue-core doctor does), at the group in it, at the units, and
whether a deployment waits on the server. If nothing is marked fail, it stops AWS's core,
starts fescue-core.service, and waits until the deployment has succeeded. If it does not,
AWS's core is started again.

AWS's core stays where it is, and its unit enabled: a file of the folder, ggc/fescue-runs,
says which of the two starts. After a power cut one of them does; run the command again then.

Examples:
  fescue-core takeover /greengrass --check --iot-host gg.example.com --gg-host gg.example.com --ca /etc/fescue/ca.pem
  fescue-core takeover /greengrass --iot-host gg.example.com --gg-host gg.example.com --ca /etc/fescue/ca.pem
  fescue-core takeover /greengrass --back`
}

// coreUnit is the unit of the package.
const coreUnit = "fescue-core.service"

// Where units of systemd and scripts of its forerunner lie, the operator's first.
var (
	unitFolders   = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}
	scriptFolders = []string{"/etc/init.d"}
)

func (c *takeoverCommand) options() core.Options {
	return place{Root: c.Root, IoTHost: c.IoTHost, GGHost: c.GGHost, CA: c.CA}.options()
}

// Run looks, and then switches.
func (c *takeoverCommand) Run(ctx context.Context) error {
	t := &takeover.Takeover{
		Root: c.Root, Units: unitFolders[0], Legacy: c.Legacy, Core: coreUnit, Disk: disk.Local{}, Patience: c.Patience, Systemctl: systemctl,
		Environment: map[string]string{"FESCUE_CORE_ROOT": c.Root},
		Say:         func(text string) { fmt.Fprintln(os.Stderr, text) },
	}
	for name, value := range map[string]string{"FESCUE_IOT_HOST": c.IoTHost, "FESCUE_GG_HOST": c.GGHost, "FESCUE_CA": c.CA} {
		if value != "" {
			t.Environment[name] = value
		}
	}
	standing, folder, err := core.Stands(c.options())
	if err != nil {
		return err
	}
	t.Deployment = folder
	var findErr error
	if t.Legacy == "" {
		t.Legacy, findErr = takeover.Find(t.Disk, unitFolders, scriptFolders)
	}
	if c.Back {
		if findErr != nil {
			return findErr
		}
		if err := t.Back(ctx); err != nil {
			return err
		}
		fmt.Printf("%s runs, and %s does not\n", t.Legacy, t.Core)
		return nil
	}
	found, err := c.examine(ctx, t, findErr)
	if err != nil {
		return err
	}
	show := found.Print
	if c.JSON {
		show = func(out io.Writer) error { return printJSON(out, found) }
	}
	if err := show(os.Stdout); err != nil {
		return err
	}
	if !found.Well() {
		return errors.New("nothing was switched: see what is marked fail")
	}
	if c.Check {
		return nil
	}
	failure := "see the deployment on the server"
	t.Settled = func() (bool, error) {
		now, _, err := core.Stands(c.options())
		if now.Failure != "" {
			failure = now.Failure
		}
		switch {
		case err != nil || now.Unreported:
			return false, err
		case now.Accepted == 0 && now.Epoch > standing.Epoch:
			return false, errors.New("the first deployment failed: " + failure)
		}
		return now.Accepted > 0, nil
	}
	down, err := t.Take(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%s runs in place of %s, connected, with its functions; from the one's stop to the other's success it took %s. To go back: fescue-core takeover %s --back\n",
		t.Core, t.Legacy, down.Round(time.Millisecond), c.Root)
	return nil
}

// systemctl runs it, and has its words in the error.
func systemctl(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// examine looks whether a takeover can go well.
func (c *takeoverCommand) examine(ctx context.Context, t *takeover.Takeover, findErr error) (*doctor.Report, error) {
	taken, err := t.Taken()
	if err != nil {
		return nil, err
	}
	found := &core.Examine(ctx, c.options()).Report
	if os.Geteuid() != 0 {
		found.Add("rights", doctor.Bad, fmt.Sprintf("UID %d", os.Geteuid()), "run this as root: it changes units of systemd")
	}
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		found.Add("systemd", doctor.Bad, "it does not run on this machine", "stop greengrassd, and start fescue-core on the folder, with whatever starts programs here")
	} else {
		c.units(ctx, found, t, findErr, taken)
	}
	c.group(found)
	standing, _, err := core.Stands(c.options())
	if err != nil {
		return nil, err
	}
	if deployment, err := core.Waits(ctx, c.options()); err == nil {
		found.Add("deployment", doctor.Good, deployment+" waits for this core", "")
	} else if standing.Accepted > 0 {
		found.Add("deployment", doctor.Good, "one succeeded here before", "")
	} else {
		found.Add("deployment", doctor.Bad, err.Error(), "on the server: fescue recover a copy of this folder, then aws greengrass create-deployment; else nothing would run here after the switch")
	}
	return found, nil
}

// units looks at what starts the two cores.
func (c *takeoverCommand) units(ctx context.Context, found *doctor.Report, t *takeover.Takeover, findErr error, taken bool) {
	const legacy, own = "AWS's core", "Fescue's core"
	active := func(unit string) bool { return systemctl(ctx, "is-active", "--quiet", unit) == nil }
	switch {
	case findErr != nil:
		found.Add(legacy, doctor.Bad, findErr.Error(), "name the unit that does with --legacy; without one, stop greengrassd and enable "+t.Core)
	case taken:
		found.Add(legacy, doctor.Good, t.Legacy+", which does not start since Fescue's core took over", "")
	case !active(t.Legacy):
		says, health := t.Legacy+" does not run", doctor.Poor
		remedy := "systemctl start " + t.Legacy + ", to see that there is a way back"
		if pid := daemon(); pid != "" {
			says, health = says+", and greengrassd does, as process "+pid, doctor.Bad
			remedy = "stop it (" + filepath.Join(c.Root, "ggc/core/greengrassd") + " stop), and start it by its unit: else both cores would run"
		}
		found.Add(legacy, health, says, remedy)
	default:
		found.Add(legacy, doctor.Good, t.Legacy+" runs", "")
	}
	switch {
	case systemctl(ctx, "cat", t.Core) != nil:
		found.Add(own, doctor.Bad, "there is no unit "+t.Core, "install the package fescue-core")
	case !taken && active(t.Core):
		found.Add(own, doctor.Bad, t.Core+" runs already, on whatever folder its settings name", "systemctl disable --now "+t.Core)
	default:
		found.Add(own, doctor.Good, t.Core+" is there", "")
	}
}

// daemon is the process of greengrassd by its file, empty where it is gone.
func daemon() string {
	text, err := os.ReadFile("/var/run/greengrassd.pid")
	pid := strings.TrimSpace(string(text))
	if err != nil || pid == "" {
		return ""
	}
	if line, err := os.ReadFile("/proc/" + pid + "/cmdline"); err != nil || !strings.Contains(string(line), "greengrass") {
		return ""
	}
	return pid
}

// group looks at the group that AWS's core left, and what this version cannot run of it.
func (c *takeoverCommand) group(found *doctor.Report) {
	const subject = "group"
	_, folder, err := core.Stands(c.options())
	if err != nil {
		return // config.json's finding says why
	}
	if _, err := os.Stat(filepath.Join(folder, "group", "group.json")); errors.Is(err, fs.ErrNotExist) {
		found.Add(subject, doctor.Poor, "there is no group.json in "+folder, "nothing says what ran here: see that the group on the server is the right one")
		return
	}
	_, report, err := recovery.Read(recovery.Folder{Root: os.DirFS(c.Root), Deployment: os.DirFS(folder)}, recovery.Options{})
	if err != nil {
		found.Add(subject, doctor.Poor, err.Error(), "nothing says what ran here: see that the group on the server is the right one")
		return
	}
	for _, d := range report.CannotRun {
		found.Add(subject, doctor.Bad, d.DetailedErrorCode+": "+d.DetailedErrorMessage, "change that on the server, or have it run elsewhere; the deployment would fail")
	}
	for _, d := range report.NoEffect {
		found.Add(subject, doctor.Poor, d.DetailedErrorCode+": "+d.DetailedErrorMessage, "it has no effect here")
	}
	if len(report.CannotRun) == 0 {
		found.Add(subject, doctor.Good, "this version runs all of it", "")
	}
}
