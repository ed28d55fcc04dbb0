// Package systemd tells systemd how a service that it started is: ready, alive, about to
// stop. Where systemd did not start the process, or does not want to know, it does
// nothing. It knows nothing of what serves.
package systemd

import (
	"context"
	"log/slog"
	"sync"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/fescue-edge/fescue/periodic"
)

// Service is what systemd is told of.
type Service struct {
	// Ready is closed when what the service is for is served; nil is at once.
	Ready <-chan struct{}
	// Alive returns nil while the service works, in whatever state the world around it
	// is: what a restart cannot mend is no reason for one. Where the unit has a
	// watchdog, systemd ends a process that is not alive for WatchdogSec. It is asked
	// three times in that time, and its context ends before it is asked again.
	Alive  func(context.Context) error
	Logger *slog.Logger
}

// Run runs a service until run returns, and tells systemd meanwhile how it is.
func (s Service) Run(ctx context.Context, run func(context.Context) error) error {
	told, end := context.WithCancel(ctx)
	var telling sync.WaitGroup
	telling.Go(func() { s.tell(told) })
	defer telling.Wait()
	defer end()
	return run(ctx)
}

// tell tells systemd of the service until ctx ends, which is when it stops.
func (s Service) tell(ctx context.Context) {
	if s.Ready != nil {
		select {
		case <-s.Ready:
		case <-ctx.Done():
			return
		}
	}
	if !s.notify(daemon.SdNotifyReady) {
		return
	}
	defer s.notify(daemon.SdNotifyStopping)
	bound, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		s.Logger.Warn("There is no watchdog.", "error", err)
	}
	if bound <= 0 {
		<-ctx.Done()
		return
	}
	every := bound / 3
	periodic.Every(ctx, every, func() {
		asked, done := context.WithTimeout(ctx, every)
		defer done()
		if err := s.Alive(asked); err == nil {
			s.notify(daemon.SdNotifyWatchdog)
		} else if ctx.Err() == nil {
			s.Logger.Warn("No sign of life for systemd's watchdog.", "error", err, "watchdog", bound)
		}
	})
}

// notify reports whether systemd was told.
func (s Service) notify(state string) bool {
	told, err := daemon.SdNotify(false, state)
	if err != nil {
		s.Logger.Warn("Systemd cannot be told how this service is.", "state", state, "error", err)
	}
	return told
}

// Answers asks something that may hang for ever, such as whoever holds a lock. Its error
// says that there was no answer before ctx ended.
func Answers(ctx context.Context, ask func()) error {
	answered := make(chan struct{})
	go func() {
		ask()
		close(answered)
	}()
	select {
	case <-answered:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
