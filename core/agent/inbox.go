package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/backoff"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/trust"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/periodic"
)

// inbox is where a bundle is handed over, as the agent has it: the files of handover.go.
// What is done with the deployment the Agent decides.
type inbox struct {
	layout
	disk   disk.FS
	keys   *trust.Keys
	logger *slog.Logger
	retry  backoff.Policy
	now    func() time.Time
	// unwritten is the end of a bundle that could not be written down yet.
	unwritten *Handover

	mu sync.Mutex
	// interrupt ends a long poll.
	interrupt context.CancelFunc
	// working says that what was handed over is being taken.
	working bool
	setback
}

// setback is a bundle that could not be read or removed when it was tried last.
type setback struct {
	// changed is when its folder was, until when it is let be.
	changed, until time.Time
	failures       int
	text           string
}

// errDamaged means that what was handed over can never be read.
var errDamaged = errors.New("the bundle that was handed over is damaged")

// stuck is an error of the disk at a bundle, which may be over later.
type stuck struct{ cause error }

func (s *stuck) Error() string { return s.cause.Error() }
func (s *stuck) Unwrap() error { return s.cause }

// has reports whether a deployment is the one that was handed over, also after a
// start in the middle of it.
func (i *inbox) has(deploymentID string) bool {
	list, _, _, err := i.read()
	return err == nil && list.DeploymentID == deploymentID
}

// read reads the documents of what was handed over. The error is errDamaged where
// it is not whole, which no later attempt cures.
func (i *inbox) read() (list bundle.Carried, envelope []byte, keys corelink.SigningKeys, err error) {
	read := func(name string) (data []byte) {
		if err != nil {
			return nil
		}
		data, err = disk.ReadFile(i.disk, filepath.Join(i.carried(), name), maxEnvelopeFile)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %w", errDamaged, err)
		}
		return data
	}
	decode := func(name string, into any) {
		text := read(name)
		if err != nil {
			return
		}
		if failed := json.Unmarshal(text, into); failed != nil {
			err = fmt.Errorf("%w: %s: %w", errDamaged, name, failed)
		}
	}
	decode(carriedListFile, &list)
	envelope = read(bundle.CarriedManifest)
	decode(bundle.CarriedKeys, &keys)
	return list, envelope, keys, err
}

// verify verifies the manifest as one that is offered, and follows the signing
// keys by what came with it. A core that trusts no key yet takes none from a file.
func (i *inbox) verify(list bundle.Carried, envelope []byte, keys corelink.SigningKeys, thingARN string, seen int64) (bundle.Manifest, error) {
	offer := corelink.Offer{GroupID: list.GroupID, DeploymentID: list.DeploymentID, Phase: fescue.Offered, Envelope: envelope}
	m, err := i.keys.Verify(offer, thingARN, seen)
	if errors.Is(err, bundle.ErrUnknownKey) {
		learned, failed := i.keys.Follow(keys)
		if failed != nil {
			return m, failed
		}
		if learned {
			m, err = i.keys.Verify(offer, thingARN, seen)
		}
	}
	if errors.Is(err, trust.ErrNoKey) {
		err = fmt.Errorf("%w, and none is taken from a bundle: put the control plane's public key into %s, or connect the core once", err, i.keys.File)
	}
	return m, err
}

// end writes down how it ended, and removes it.
func (i *inbox) end(h Handover) error {
	i.unwritten = &h
	if err := i.write(h); err != nil {
		return &stuck{fmt.Errorf("write down how it ended: %w", err)}
	}
	i.unwritten = nil
	return i.remove()
}

// remove removes what was handed over, at one instant: a half of it would be
// taken for one that is damaged.
func (i *inbox) remove() error {
	err := i.disk.RemoveAll(i.doneCarried())
	if err == nil {
		err = i.disk.Rename(i.carried(), i.doneCarried())
	}
	if err == nil {
		err = i.disk.SyncDir(i.root)
	}
	if err != nil {
		return &stuck{err}
	}
	if err := i.disk.RemoveAll(i.doneCarried()); err != nil {
		i.logger.Warn("A bundle that is done with stays on the disk.", slog.String("folder", i.doneCarried()), slog.String("errorString", err.Error()))
	}
	return nil
}

// report writes down what is done now; nothing depends on that.
func (i *inbox) report(list bundle.Carried, activity string) {
	if err := i.write(Handover{DeploymentID: list.DeploymentID, Activity: activity}); err != nil {
		i.logger.Warn("How far a bundle is cannot be written down.", slog.String("errorString", err.Error()))
	}
}

func (i *inbox) write(h Handover) error {
	data, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return disk.ReplaceFile(i.disk, i.handover(), data, 0o600)
}

// waits reports whether there is something to be taken now, and when its folder changed. mu is
// held.
func (i *inbox) waits() (changed time.Time, yes bool) {
	info, err := i.disk.Lstat(i.carried())
	if err != nil {
		return changed, false
	}
	changed = info.ModTime()
	return changed, !i.working && (i.failures == 0 || !changed.Equal(i.changed) || !i.now().Before(i.until))
}

// begin is waits for the one who takes it then; finish must be called after that.
func (i *inbox) begin() (changed time.Time, yes bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	changed, i.working = i.waits()
	return changed, i.working
}

// finish ends what begin began. After a setback, nil for none, the bundle is left alone for
// a while.
func (i *inbox) finish(changed time.Time, cause *stuck) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.working = false
	if cause == nil {
		i.setback = setback{}
		return
	}
	news := cause.Error() != i.text
	i.failures++
	pause := i.retry.Pause(i.failures)
	i.changed, i.until, i.text = changed, i.now().Add(pause), cause.Error()
	if news {
		i.logger.Error("A bundle cannot be taken now; the core goes on without it and tries again. Make its folder the core's own and readable, or remove it.",
			slog.String("folder", i.carried()), slog.String("errorString", i.text), slog.Duration("after", pause))
	}
}

// polling is a context for a poll; done must be called.
func (i *inbox) polling(ctx context.Context) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancel(ctx)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.interrupt = cancel
	return ctx, func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.interrupt = nil
		cancel()
	}
}

// watch looks for what is handed over, until ctx ends, and has the agent take it.
func (i *inbox) watch(ctx context.Context, every time.Duration, wake chan<- struct{}) {
	periodic.Every(ctx, every, func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		if _, yes := i.waits(); !yes {
			return
		}
		if i.interrupt != nil {
			i.interrupt()
		}
		select {
		case wake <- struct{}{}:
		default:
		}
	})
}
