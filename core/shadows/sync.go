package shadows

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fescue-edge/fescue/backoff"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/shadow"
)

// Cloud is the cloud's shadow service. What it refuses is a *corelink.StatusError;
// any other error means that it was not reached, or that nobody knows.
type Cloud interface {
	// Shadow reads a document, the zero one if there is none.
	Shadow(ctx context.Context, id shadow.ID) (shadow.Document, error)
	// UpdateShadow applies an update and returns the document's version.
	UpdateShadow(ctx context.Context, id shadow.ID, u shadow.Update) (version int64, err error)
	// DeleteShadow removes the document if it has the version; that there is none is
	// no error.
	DeleteShadow(ctx context.Context, id shadow.ID, version int64) error
	// ShadowNames lists a thing's named shadows.
	ShadowNames(ctx context.Context, thing string) ([]string, error)
	// ShadowMarks has the marks of all documents of at most corelink.MaxShadowThings
	// things, by thing and name. Things may be missing; they are to be looked at.
	ShadowMarks(ctx context.Context, things []string) (map[string]map[string]shadow.Mark, error)
}

// SyncOptions are what a Syncer stands on. All members but Reached are required.
type SyncOptions struct {
	Service *Service
	Cloud   Cloud
	// Reach waits until the cloud can be connected to, for a while; it is asked while
	// the line is down. It costs no more than opening a connection.
	Reach func(ctx context.Context) error
	// Reached is called when a line that was down is back.
	Reached func()
	// Notified reports whether the cloud tells of changes at this moment. Without that
	// all shadows are looked at now and then.
	Notified func() bool
	Logger   *slog.Logger
	// Times are for tests; the zero Times are those of service.
	Times Times
}

// Times are how long a Syncer waits.
type Times struct {
	// Probe is the pause between attempts to reach the cloud: 1 s. What comes back
	// with the line is to be in step within 5 s.
	Probe time.Duration
	// Retry are the pauses before a shadow that was refused is tried again: 1 s to
	// 5 min.
	Retry backoff.Policy
	// Look is how often all shadows are looked at while the cloud tells nothing: 1 min.
	Look time.Duration
}

// Syncer is GGShadowSyncManager: it keeps shadows in step with the cloud's.
type Syncer struct {
	SyncOptions

	mu     sync.Mutex
	things []string // sorted
	// all says that all shadows are to be looked at, due that some are; looked is when
	// all were.
	all    bool
	looked time.Time
	due    map[shadow.ID]bool
	// failing are those that the cloud or the core refused.
	failing map[shadow.ID]*trouble
	// wake has an element when there is something to do.
	wake chan struct{}
}

// trouble is why a shadow is not in step.
type trouble struct {
	failures int
	cause    string
	again    time.Time
}

// maxMeetings bounds how often a shadow is looked at anew because it changed.
const maxMeetings = 20

// NewSyncer makes a Syncer of no things.
func NewSyncer(o SyncOptions) *Syncer {
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&o.Times.Probe, time.Second},
		{&o.Times.Retry.First, time.Second},
		{&o.Times.Retry.Most, 5 * time.Minute},
		{&o.Times.Look, time.Minute},
	} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	s := &Syncer{SyncOptions: o, due: make(map[shadow.ID]bool), failing: make(map[shadow.ID]*trouble), wake: make(chan struct{}, 1)}
	o.Service.changed = s.Changed
	return s
}

// Set makes these the things whose shadows are kept in step. What was in step of
// others is forgotten: should they come back, they meet as for the first time.
func (s *Syncer) Set(ctx context.Context, things []string) error {
	s.mu.Lock()
	s.things = slices.Compact(slices.Sorted(slices.Values(things)))
	clear(s.due)
	clear(s.failing)
	s.all = true
	s.mu.Unlock()
	signal(s.wake)
	s.Service.mu.Lock()
	defer s.Service.mu.Unlock()
	return s.Service.Store.UnsyncShadows(ctx, things)
}

// Changed has a shadow looked at that the core changed.
func (s *Syncer) Changed(id shadow.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keeps(id) {
		s.due[id] = true
		signal(s.wake)
	}
}

// keeps reports whether a shadow is to be kept in step; the caller holds mu.
func (s *Syncer) keeps(id shadow.ID) bool {
	_, found := slices.BinarySearch(s.things, id.Thing)
	return found
}

// Heard takes an answer of the cloud's shadow service, to whomever it was, and has the
// shadow looked at unless it is the one that is known.
func (s *Syncer) Heard(ctx context.Context, topic string, payload []byte) {
	id, op, ok := shadow.ParseAccepted(topic)
	if !ok || op == shadow.OpGet {
		return
	}
	if op == shadow.OpUpdate {
		said, err := shadow.ParseGot(payload)
		r, readErr := s.Service.Store.Shadow(ctx, id)
		if err == nil && readErr == nil && said.Version == r.Synced.CloudVersion {
			return
		}
	}
	s.Changed(id)
}

// Line takes that the connection over which the cloud tells of changes came or went.
// All shadows are looked at.
func (s *Syncer) Line() {
	s.mu.Lock()
	s.all = true
	clear(s.failing)
	s.mu.Unlock()
	signal(s.wake)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run keeps shadows in step until ctx ends.
func (s *Syncer) Run(ctx context.Context) {
	down := false
	for ctx.Err() == nil {
		down = down && s.any()
		if down && s.Reach(ctx) != nil {
			pause(ctx, s.Times.Probe, nil)
			continue
		}
		err := s.round(ctx)
		switch {
		case ctx.Err() != nil:
		case err == nil && down:
			down = false
			s.Logger.Info("Shadows are in step with the cloud again.")
			if s.Reached != nil {
				s.Reached()
			}
			fallthrough
		case err == nil:
			pause(ctx, s.next(), s.wake)
		case down:
			pause(ctx, s.Times.Probe, nil)
		default:
			down = true
			s.Logger.Warn("The cloud cannot be reached to keep shadows in step; what changes meanwhile is merged later.", slog.String("errorString", err.Error()))
		}
	}
}

// any reports whether there is something to keep in step.
func (s *Syncer) any() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.things) > 0
}

// pause waits; early ends it.
func pause(ctx context.Context, d time.Duration, early <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-early:
	}
}

// next is how long nothing has to be done unless something happens.
func (s *Syncer) next() time.Duration {
	notified := s.Notified()
	s.mu.Lock()
	defer s.mu.Unlock()
	wait := 24 * time.Hour
	for _, t := range s.failing {
		wait = min(wait, time.Until(t.again))
	}
	if len(s.things) > 0 && !notified {
		wait = min(wait, time.Until(s.looked.Add(s.Times.Look)))
	}
	return wait
}

// round sees to everything that is due. Its error means that the cloud was not
// reached: what was not done stays due.
func (s *Syncer) round(ctx context.Context) error {
	ids, err := s.list(ctx)
	if err != nil {
		return err
	}
	return each(ctx, ids, func(ctx context.Context, id shadow.ID) error {
		err := s.sync(ctx, id)
		if err != nil {
			s.Changed(id)
		}
		return err
	})
}

// each calls f for some of a list at a time, until one fails; those that follow are
// called with a context that has ended.
func each[T any](ctx context.Context, list []T, f func(context.Context, T) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(corelink.ShadowsAtATime)
	for _, one := range list {
		g.Go(func() error { return f(ctx, one) })
	}
	return g.Wait()
}

// list takes what is due.
func (s *Syncer) list(ctx context.Context) ([]shadow.ID, error) {
	notified := s.Notified()
	s.mu.Lock()
	now, due := time.Now(), s.due
	all, things := s.all || !notified && now.Sub(s.looked) >= s.Times.Look, s.things
	if s.all, s.due = false, make(map[shadow.ID]bool); all {
		s.looked = now
	}
	for id, t := range s.failing {
		if now.Before(t.again) {
			delete(due, id) // its time comes
		} else {
			due[id] = true
		}
	}
	s.mu.Unlock()
	ids := slices.Collect(maps.Keys(due))
	if !all {
		return ids, nil
	}
	var mu sync.Mutex
	var unknown []string
	err := each(ctx, slices.Collect(slices.Chunk(things, corelink.MaxShadowThings)), func(ctx context.Context, things []string) error {
		found, rest, err := s.compare(ctx, things)
		mu.Lock()
		defer mu.Unlock()
		ids, unknown = append(ids, found...), append(unknown, rest...)
		return err
	})
	if err == nil {
		err = each(ctx, unknown, func(ctx context.Context, thing string) error {
			found, err := s.find(ctx, thing)
			mu.Lock()
			defer mu.Unlock()
			ids = append(ids, found...)
			return err
		})
	}
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all = true
		for _, id := range ids {
			s.due[id] = true
		}
		return nil, err
	}
	slices.SortFunc(ids, func(a, b shadow.ID) int { return cmp.Or(cmp.Compare(a.Thing, b.Thing), cmp.Compare(a.Name, b.Name)) })
	return slices.Compact(ids), nil
}

// compare lists the shadows of things that may not be in step, and the things of which the
// cloud does not say that.
func (s *Syncer) compare(ctx context.Context, things []string) (found []shadow.ID, unknown []string, err error) {
	marks, err := s.Cloud.ShadowMarks(ctx, things)
	if _, refused := corelink.Refused(err); err != nil && !refused { // one from before refuses
		return nil, nil, err
	}
	for _, thing := range things {
		of, known := marks[thing]
		if !known {
			unknown = append(unknown, thing)
			continue
		}
		ids := s.own(ctx, thing)
		for name := range of {
			ids = append(ids, shadow.ID{Thing: thing, Name: name})
		}
		for _, id := range ids {
			r, err := s.Service.Store.Shadow(ctx, id)
			if err != nil || !r.Synced.InStep(r.Document, of[id.Name]) {
				found = append(found, id)
			}
		}
	}
	return found, unknown, nil
}

// own lists the shadows of a thing that the core has, or had in step.
func (s *Syncer) own(ctx context.Context, thing string) []shadow.ID {
	own, err := s.Service.Store.SyncedShadows(ctx, thing)
	if err != nil {
		s.Logger.Error("The core's shadows cannot be read to keep them in step.", slog.String("errorString", err.Error()))
	}
	return own
}

// find lists the shadows that a thing has on either side.
func (s *Syncer) find(ctx context.Context, thing string) ([]shadow.ID, error) {
	found := append(s.own(ctx, thing), shadow.ID{Thing: thing})
	names, err := s.Cloud.ShadowNames(ctx, thing)
	var refused *corelink.StatusError
	if errors.As(err, &refused) {
		// A policy from before there were named shadows, or such a control plane: they
		// are looked at when they change.
		s.Logger.Debug("The cloud does not list named shadows.", slog.String("thing", thing), slog.String("errorString", err.Error()))
		return found, nil
	}
	for _, name := range names {
		found = append(found, shadow.ID{Thing: thing, Name: name})
	}
	return found, err
}

// sync brings one shadow in step. Its error means that the cloud was not reached; what
// is refused is noted and tried again later.
func (s *Syncer) sync(ctx context.Context, id shadow.ID) error {
	err := s.Meet(ctx, id)
	if err == nil || errors.Is(err, errNotKept) {
		s.mu.Lock()
		delete(s.failing, id)
		s.mu.Unlock()
		return nil
	}
	var refused *corelink.StatusError
	var refusal *shadow.Error
	var local *localError
	if !errors.As(err, &refused) && !errors.As(err, &refusal) && !errors.As(err, &local) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.failing[id]
	if t == nil {
		t = new(trouble)
		s.failing[id] = t
	}
	t.failures++
	t.again = time.Now().Add(s.Times.Retry.Pause(t.failures))
	if cause := err.Error(); t.cause != cause {
		t.cause = cause
		s.Logger.Error("A shadow cannot be kept in step with the cloud; it is tried again.",
			slog.String("thing", id.Thing), slog.String("shadow", id.Name), slog.String("errorString", cause), slog.String("remedy", remedy(refused, refusal, local)))
	}
	return nil
}

// remedy is what to do about a refusal.
func remedy(refused *corelink.StatusError, refusal *shadow.Error, local *localError) string {
	switch {
	case local != nil:
		return "look at the core's disk"
	case refusal == ErrTooMany || refusal == ErrTooManyNamed:
		return "delete shadows that nobody needs"
	case refusal != nil || refused.HTTPStatus == http.StatusRequestEntityTooLarge:
		return "together the two documents are larger than a shadow may be: remove something from one"
	case refused.HTTPStatus == http.StatusForbidden || refused.HTTPStatus == http.StatusUnauthorized:
		return "allow iot:GetThingShadow, iot:UpdateThingShadow and iot:DeleteThingShadow for the thing in the policy of the core's certificate"
	}
	return "see what the control plane's log says"
}

// localError is a failure of this core's own.
type localError struct{ error }

func (e *localError) Unwrap() error { return e.error }

var (
	// errMoved means that a document changed after it was looked at.
	errMoved = errors.New("the shadow changes all the time")
	// errNotKept means that the shadow is not to be kept in step any more.
	errNotKept = errors.New("the shadow is not kept in step")
)

// Meet brings one shadow in step, now. Its error is what the store or the cloud said.
func (s *Syncer) Meet(ctx context.Context, id shadow.ID) error {
	for range maxMeetings {
		again, err := s.once(ctx, id)
		if err != nil || !again {
			return err
		}
	}
	return &localError{errMoved}
}

// once looks at both sides and does what makes them say the same. again is true when
// one of them changed meanwhile.
func (s *Syncer) once(ctx context.Context, id shadow.ID) (again bool, err error) {
	cloud, err := s.Cloud.Shadow(ctx, id)
	if err != nil {
		return false, err
	}
	r, err := s.Service.Store.Shadow(ctx, id)
	if err != nil {
		return false, &localError{err}
	}
	m := r.Synced.Meet(r.Document, cloud)
	local, err := s.step(ctx, id, r, m)
	switch {
	case errors.Is(err, errMoved):
		return true, nil
	case err != nil || m.Cloud.None():
		return false, err
	}
	var done shadow.Synced
	if m.Cloud.Remove {
		err = s.Cloud.DeleteShadow(ctx, id, m.Cloud.Update.Version)
	} else {
		done = m.Done
		done.LocalVersion = local
		done.CloudVersion, err = s.Cloud.UpdateShadow(ctx, id, m.Cloud.Update)
	}
	var refused *corelink.StatusError
	if errors.As(err, &refused) && (refused.HTTPStatus == http.StatusConflict ||
		refused.HTTPStatus == http.StatusBadRequest && refused.Message == shadow.ErrVersion.Message && m.Cloud.Update.Version > 1) {
		return true, nil // it changed, or went
	}
	if err != nil {
		return false, err
	}
	err = s.change(ctx, id, func(r *Record, _ time.Time) (answer, error) {
		r.Synced = done
		return answer{}, nil
	})
	// What was to be made may have been there already, with the same version.
	return m.Cloud.Put && !cloud.Exists(), err
}

// step does the core's part of a meeting, for the record that was looked at, and gives
// the version of the core's document that is in step.
func (s *Syncer) step(ctx context.Context, id shadow.ID, was Record, m shadow.Meeting) (version int64, err error) {
	synced := m.Synced
	if m.Cloud.None() {
		synced = m.Done
	}
	if m.Local.None() && sameSynced(was.Synced, synced) {
		return synced.LocalVersion, nil
	}
	err = s.change(ctx, id, func(r *Record, at time.Time) (a answer, err error) {
		if r.Document.Version != was.Document.Version || r.Document.Exists() != was.Document.Exists() {
			return a, errMoved
		}
		switch u := m.Local.Update; {
		case m.Local.Remove:
			a, err = s.Service.delete(id, r, u.Request, at)
		case m.Local.Put:
			// A deeper one than devices may make is the cloud's business.
			a, err = s.Service.update(id, r, u, at, shadow.CloudLimits)
			synced.LocalVersion = r.Document.Version
		}
		r.Synced, version = synced, synced.LocalVersion
		return a, err
	})
	return version, err
}

func sameSynced(a, b shadow.Synced) bool {
	return a.LocalVersion == b.LocalVersion && a.CloudVersion == b.CloudVersion && a.Local.Equal(b.Local) && a.Cloud.Equal(b.Cloud)
}

// change is Service.change for what is kept in step, and still is. What fails by no
// fault of the documents is a localError.
func (s *Syncer) change(ctx context.Context, id shadow.ID, f func(r *Record, at time.Time) (answer, error)) error {
	_, err := s.Service.change(ctx, id, func(r *Record, at time.Time) (answer, error) {
		s.mu.Lock()
		kept := s.keeps(id)
		s.mu.Unlock()
		if !kept {
			return answer{}, errNotKept
		}
		return f(r, at)
	})
	var refusal *shadow.Error
	if err != nil && !errors.Is(err, errMoved) && !errors.Is(err, errNotKept) && !errors.As(err, &refusal) {
		err = &localError{fmt.Errorf("keep shadow in step: %w", err)}
	}
	return err
}
