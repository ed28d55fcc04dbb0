package core

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fescue-edge/fescue/core/agent"
	"github.com/fescue-edge/fescue/core/config"
	"github.com/fescue-edge/fescue/disk"
)

// Applied is what became of a bundle.
type Applied struct {
	agent.Handover
	// Started says that no core ran, so that one was started for the bundle, which has
	// stopped again.
	Started bool `json:"started"`
}

// ErrApplying means that another process hands a bundle to this core.
var ErrApplying = errors.New("another bundle is being applied")

const (
	// lookEvery is how often Apply looks how far the core is.
	lookEvery = 200 * time.Millisecond
	// startEvery is how often it looks whether the core still runs that has the bundle.
	startEvery = 2 * time.Second
)

// Apply brings a deployment onto the core from a file of fescue bundle, by the same path
// as one that comes over the line: it hands the file to the core that runs, or runs one
// until the deployment has ended. say is called with what is done. That the deployment
// failed is no error: Applied says so. Errors that wrap bundle.ErrCarried are of the file.
// It must run as the user of the core, and writes nothing if it does not.
func Apply(ctx context.Context, o Options, file io.Reader, say func(text string)) (Applied, error) {
	c, err := New(o)
	if err != nil {
		return Applied{}, err
	}
	if err := asCoreUser(c.config, os.Geteuid()); err != nil {
		return Applied{}, err
	}
	folder := c.config.DeploymentFolder()
	lock, err := lockApply(c.config)
	if err != nil {
		return Applied{}, err
	}
	defer lock.Close()
	shown := int64(-1)
	list, err := agent.HandOver(ctx, disk.Local{}, folder, file, func(done, all int64) {
		if tenth := done * 10 / max(all, 1); tenth != shown {
			shown = tenth
			say(fmt.Sprintf("read %d of %d kB", done>>10, all>>10))
		}
	})
	if err != nil {
		return Applied{}, err
	}
	say(fmt.Sprintf("deployment %s of group %s is handed to the core", list.DeploymentID, list.GroupID))

	running, stop := context.WithCancel(ctx)
	defer stop()
	var own chan error
	var next time.Time
	result := Applied{}
	start := func() {
		ended := make(chan error, 1)
		go func() { ended <- c.Run(running) }()
		own, result.Started = ended, true
	}
	start()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for activity := ""; ; {
		h, err := agent.ReadHandover(disk.Local{}, folder)
		// The core may be unable to read which deployment it is.
		if err == nil && (h.DeploymentID == list.DeploymentID || h.DeploymentID == "" && h.Done) {
			if h.Activity != activity && h.Activity != "" {
				activity = h.Activity
				say(activity)
			}
			if result.Handover = h; h.Done {
				break
			}
		}
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case failed := <-own:
			if own = nil; !errors.Is(failed, ErrRunning) {
				return result, errors.Join(errors.New("the core ended before the deployment did; the bundle waits for its next start"), failed)
			}
			if next.IsZero() {
				say("a core runs, which takes it")
			}
			result.Started, next = false, time.Now().Add(startEvery)
			err = nil
		case <-tick.C:
			if err = nil; own == nil && time.Now().After(next) {
				start() // the one that had the bundle may have ended
			}
		}
		if err != nil {
			stop()
			if own != nil {
				<-own
			}
			return result, fmt.Errorf("the bundle stays with the core, which goes on with it: %w", err)
		}
	}
	stop()
	if own != nil {
		if err := <-own; errors.Is(err, ErrRunning) {
			result.Started = false
		} else if err != nil {
			return result, err
		}
	}
	return result, nil
}

// asCoreUser refuses to work as somebody else than the core, which could not read what is
// handed to it, nor start again with its lock another's. Whose the core is says its lock,
// and before the first start its folder: one of the original may be another's.
func asCoreUser(cfg *config.Config, uid int) error {
	for _, path := range []string{filepath.Join(cfg.Variable(), "core.lock"), cfg.Variable(), cfg.Root} {
		var info unix.Stat_t
		err := unix.Stat(path, &info)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return fmt.Errorf("find the core's user by %s: %w", path, err)
		}
		if int(info.Uid) == uid {
			return nil
		}
		name, argument := accountOf(int(info.Uid))
		mine, _ := accountOf(uid)
		return fmt.Errorf("%s belongs to %s, so the core runs as that user, and this is %s; run it so: sudo -u %s fescue-core apply …", path, name, mine, argument)
	}
	return nil
}

// accountOf is a user for people, and as an argument of sudo -u.
func accountOf(uid int) (name, argument string) {
	number := strconv.Itoa(uid)
	if account, err := user.LookupId(number); err == nil {
		return fmt.Sprintf("%s (uid %d)", account.Username, uid), account.Username
	}
	return "uid " + number, "'#" + number + "'"
}

// clearApply removes what a power cut left of a bundle that was being handed over, if
// no process hands one over now.
func (c *Core) clearApply() error {
	lock, err := lockApply(c.config)
	if errors.Is(err, ErrApplying) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(agent.ClearHandOver(disk.Local{}, c.config.DeploymentFolder()), lock.Close())
}

// lockApply has one process at a time hand over bundles. The lock goes with the
// process.
func lockApply(cfg *config.Config) (*os.File, error) {
	path := filepath.Join(cfg.Variable(), "apply.lock")
	f, err := openLock(path)
	if err != nil {
		return nil, err
	}
	err = tryLock(f)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrApplying
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s", err, path), f.Close())
	}
	return f, nil
}
