// Package takeover puts Fescue's core in the place of AWS's on a gateway under systemd, and
// back. Both stay installed, and both units enabled: whether a file is there says which of
// them starts, so that one does, and never both, whenever the power fails. The package knows
// units and files, and nothing of what a core does.
package takeover

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fescue-edge/fescue/disk"
)

// Takeover is a gateway whose core changes.
type Takeover struct {
	// Root is the core's folder, Deployment its deployment folder, both as absolute paths.
	Root, Deployment string
	// Units is where an operator's units lie: /etc/systemd/system.
	Units string
	// Legacy is the unit of AWS's core, which Find finds; Core is that of Fescue's.
	Legacy, Core string
	// Environment is what Core's unit is to know beside its own settings.
	Environment map[string]string
	Disk        disk.FS
	// Systemctl runs systemctl.
	Systemctl func(ctx context.Context, args ...string) error
	// Settled reports whether a deployment runs and the control plane knows that. An error
	// is that none will.
	Settled func() (bool, error)
	// Patience is how long Core has for that.
	Patience time.Duration
	// Say tells an operator what is being done.
	Say func(text string)
}

// settlePause is between two looks whether the core has settled.
const settlePause = 50 * time.Millisecond

// maxUnit bounds files of units and scripts, in bytes.
const maxUnit = 1 << 20

// ErrNoUnit means that nothing starts AWS's core.
var ErrNoUnit = errors.New("no unit of systemd and no script in /etc/init.d starts greengrassd")

// Find finds the unit that starts AWS's core among folders of units and of init scripts,
// of which systemd makes units by their names.
func Find(on disk.FS, units, scripts []string) (string, error) {
	for _, folder := range slices.Concat(units, scripts) {
		entries, err := on.ReadDir(folder)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		for _, e := range entries {
			script := slices.Contains(scripts, folder)
			if !script && !strings.HasSuffix(e.Name(), ".service") || e.IsDir() {
				continue
			}
			text, err := disk.ReadFile(on, filepath.Join(folder, e.Name()), maxUnit)
			if err != nil || !starts(string(text), script) {
				continue // a link that leads nowhere, a file that is no unit
			}
			if script {
				return strings.TrimSuffix(e.Name(), ".sh") + ".service", nil
			}
			return e.Name(), nil
		}
	}
	return "", ErrNoUnit
}

// starts reports whether a unit or a script starts greengrassd.
func starts(text string, script bool) bool {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if (script && !strings.HasPrefix(line, "#") || strings.HasPrefix(line, "ExecStart=")) && strings.Contains(line, "greengrassd") {
			return true
		}
	}
	return false
}

// marker is there while Fescue's core is the one that starts.
func (t *Takeover) marker() string { return filepath.Join(t.Root, "ggc", "fescue-runs") }

// Taken reports whether Fescue's core is the one that starts.
func (t *Takeover) Taken() (bool, error) { return disk.Exists(t.Disk, t.marker()) }

// Take stops AWS's core, starts Fescue's, and waits until its functions run; down is how
// long they did not. If that fails, or takes too long, AWS's core runs again. It can be
// called again after it was cut short.
func (t *Takeover) Take(ctx context.Context) (down time.Duration, err error) {
	if err := t.gates(ctx); err != nil {
		return 0, fmt.Errorf("nothing was switched: %w", err)
	}
	began := time.Now()
	if err := t.switchOver(ctx); err != nil {
		// The way back is gone also when the caller has had enough.
		back := t.Back(context.WithoutCancel(ctx))
		if back == nil {
			return 0, fmt.Errorf("%w; %s runs again, as before", err, t.Legacy)
		}
		return 0, errors.Join(err, fmt.Errorf("and %s does not run again: %w", t.Legacy, back))
	}
	return time.Since(began), nil
}

// gates has the marker decide which unit starts. Until it is there nothing changes.
func (t *Takeover) gates(ctx context.Context) error {
	condition := strings.ReplaceAll(t.marker(), "%", "%%")
	core := "[Unit]\nConditionPathExists=" + condition + "\n\n[Service]\n"
	for _, name := range slices.Sorted(maps.Keys(t.Environment)) {
		core += "Environment=" + quote(name+"="+t.Environment[name]) + "\n"
	}
	// Of two that could start, the one that ran before is held back by nothing yet.
	for _, gate := range []struct{ unit, text string }{{t.Legacy, "[Unit]\nConditionPathExists=!" + condition + "\n"}, {t.Core, core}} {
		file := filepath.Join(t.Units, gate.unit+".d", "fescue-takeover.conf")
		if err := disk.MakeFolderOn(t.Disk, filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := disk.ReplaceFile(t.Disk, file, []byte("# Of fescue-core takeover.\n"+gate.text), 0o644); err != nil {
			return err
		}
	}
	if err := t.Systemctl(ctx, "daemon-reload"); err != nil {
		return err
	}
	if err := t.Systemctl(ctx, "enable", t.Core); err != nil {
		return err
	}
	// systemctl flushes nothing.
	wants := filepath.Join(t.Units, "multi-user.target.wants")
	if err := t.Disk.SyncDir(wants); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return t.Disk.SyncDir(t.Units)
}

// quote is one word of systemd's.
func quote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`).Replace(text) + `"`
}

func (t *Takeover) switchOver(ctx context.Context) error {
	if err := disk.ReplaceFile(t.Disk, t.marker(), []byte(t.Core+" runs in place of "+t.Legacy+"; fescue-core takeover --back brings that back.\n"), 0o644); err != nil {
		return err
	}
	t.Say("stopping " + t.Legacy)
	if err := t.Systemctl(ctx, "stop", t.Legacy); err != nil {
		return err
	}
	t.Say("starting " + t.Core)
	if err := t.Systemctl(ctx, "start", t.Core); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, t.Patience)
	defer cancel()
	for {
		settled, err := t.Settled()
		if err != nil {
			return err
		}
		if settled {
			// What has ended again has settled nothing.
			return t.Systemctl(ctx, "is-active", "--quiet", t.Core)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no deployment has come to its end in %s: %w", t.Patience, context.Cause(ctx))
		case <-time.After(settlePause):
		}
	}
}

// Back stops Fescue's core, brings the folder to what AWS's core left, and starts that. It
// can be called again after it was cut short, and where nothing was taken over.
func (t *Takeover) Back(ctx context.Context) error {
	t.Say("stopping " + t.Core)
	if err := t.Systemctl(ctx, "stop", t.Core); err != nil {
		return err
	}
	if err := t.restore(); err != nil {
		return fmt.Errorf("%s stays: %w", t.Core, err)
	}
	if err := disk.RemoveIfThere(t.Disk, t.marker()); err != nil {
		return err
	}
	if err := t.Disk.SyncDir(filepath.Dir(t.marker())); err != nil {
		return err
	}
	t.Say("starting " + t.Legacy)
	return t.Systemctl(ctx, "start", t.Legacy)
}

// restore puts back what the deployments of Fescue's core put away, which keeps no second
// copy of code.
func (t *Takeover) restore() error {
	before := filepath.Join(t.Deployment, "before-fescue")
	codes := filepath.Join(before, "lambda")
	entries, err := t.Disk.ReadDir(codes)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		to := filepath.Join(t.Deployment, "lambda", e.Name())
		info, err := t.Disk.Lstat(to)
		if err == nil && info.Mode()&fs.ModeSymlink == 0 {
			return fmt.Errorf("%s is there twice, in %s too: remove the one that is not AWS's", to, codes)
		}
		if err == nil {
			err = t.Disk.Remove(to)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := t.Disk.Rename(filepath.Join(codes, e.Name()), to); err != nil {
			return err
		}
	}
	if len(entries) > 0 {
		if err := errors.Join(t.Disk.SyncDir(filepath.Join(t.Deployment, "lambda")), t.Disk.SyncDir(codes)); err != nil {
			return err
		}
	}
	// The copy stays: a later takeover's deployment is not the first, and keeps none.
	const maxDocument = 64 << 20
	group, err := disk.ReadFile(t.Disk, filepath.Join(before, "group", "group.json"), maxDocument)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return disk.ReplaceFile(t.Disk, filepath.Join(t.Deployment, "group", "group.json"), group, 0o600)
}
