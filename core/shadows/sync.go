package shadows

import (
	"cmp"
	"context"
	"errors"
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
	// ShadowBatch makes as many calls as go with one request, from the first on: one at
	// least. Where it is refused as a whole nothing was done; they are to be made one by
	// one. No shadow is in two of them.
	ShadowBatch(ctx context.Context, calls []corelink.ShadowCall) ([]corelink.ShadowAnswer, error)
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
	// Call is how long a request to the cloud may take: 5 s.
	Call time.Duration
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
	// due is with the highest version that the cloud was heard to have; 0 is one that is to
	// be looked at whatever the cloud says.
	due map[shadow.ID]int64
	// failing are those that the cloud or the core refused.
	failing map[shadow.ID]*trouble
	// together is how many shadows are asked for with one request: less where the line is so
	// slow that the answer does not come in time.
	together int
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
		{&o.Times.Call, 5 * time.Second},
		{&o.Times.Retry.First, time.Second},
		{&o.Times.Retry.Most, 5 * time.Minute},
		{&o.Times.Look, time.Minute},
	} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	s := &Syncer{
		SyncOptions: o, due: make(map[shadow.ID]int64), failing: make(map[shadow.ID]*trouble), wake: make(chan struct{}, 1),
		together: corelink.MaxShadowBatch,
	}
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
func (s *Syncer) Changed(id shadow.ID) { s.look(id, 0) }

// look has a shadow looked at, which the cloud was heard to have with a version; 0 for
// none.
func (s *Syncer) look(id shadow.ID, version int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.keeps(id) {
		return
	}
	was, due := s.due[id]
	switch {
	case due && was == 0:
		version = 0
	case due && version > 0:
		version = max(was, version)
	}
	s.due[id] = version
	signal(s.wake)
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
	var version int64
	if op == shadow.OpUpdate {
		if said, err := shadow.ParseGot(payload); err == nil {
			if version = said.Version; s.knows(ctx, id, version) {
				return
			}
		}
	}
	s.look(id, version)
}

// knows reports whether the cloud's document of the version is the one that is in step.
func (s *Syncer) knows(ctx context.Context, id shadow.ID, version int64) bool {
	r, err := s.Service.Store.Shadow(ctx, id)
	return err == nil && version > 0 && version == r.Synced.CloudVersion
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
	some := slices.Collect(slices.Chunk(ids, corelink.MaxShadowBatch))
	return each(ctx, some, corelink.ShadowBatchesAtATime, func(ctx context.Context, ids []shadow.ID) (unreached error) {
		for i, err := range s.Meet(ctx, ids...) {
			if err := s.settled(ids[i], err); err != nil {
				s.Changed(ids[i])
				if unreached == nil || errors.Is(unreached, context.Canceled) {
					unreached = err
				}
			}
		}
		return unreached
	})
}

// each calls f for so many of a list at a time, until one fails; those that follow are
// called with a context that has ended.
func each[T any](ctx context.Context, list []T, atATime int, f func(context.Context, T) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atATime)
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
	if s.all, s.due = false, make(map[shadow.ID]int64); all {
		s.looked = now
	}
	for id, t := range s.failing {
		if now.Before(t.again) {
			delete(due, id) // its time comes
		} else {
			due[id] = 0
		}
	}
	s.mu.Unlock()
	// What was heard while it was brought in step may have been of just that.
	maps.DeleteFunc(due, func(id shadow.ID, version int64) bool { return s.knows(ctx, id, version) })
	ids := slices.Collect(maps.Keys(due))
	if !all {
		return ids, nil
	}
	var mu sync.Mutex
	var unknown []string
	err := each(ctx, slices.Collect(slices.Chunk(things, corelink.MaxShadowThings)), corelink.ShadowsAtATime, func(ctx context.Context, things []string) error {
		found, rest, err := s.compare(ctx, things)
		mu.Lock()
		defer mu.Unlock()
		ids, unknown = append(ids, found...), append(unknown, rest...)
		return err
	})
	if err == nil {
		err = each(ctx, unknown, corelink.ShadowsAtATime, func(ctx context.Context, thing string) error {
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
			s.due[id] = 0
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
	var known []string
	for _, thing := range things {
		if marks[thing] == nil {
			unknown = append(unknown, thing)
			continue
		}
		known = append(known, thing)
		for name := range marks[thing] {
			found = append(found, shadow.ID{Thing: thing, Name: name})
		}
	}
	inStep := make(map[shadow.ID]bool)
	s.own(ctx, known, func(id shadow.ID, r Record, err error) {
		if inStep[id] = err == nil && r.Synced.InStep(r.Document, marks[id.Thing][id.Name]); !inStep[id] {
			found = append(found, id)
		}
	})
	return slices.DeleteFunc(found, func(id shadow.ID) bool { return inStep[id] }), unknown, nil
}

// own has each of the shadows of things that the core has, or had in step.
func (s *Syncer) own(ctx context.Context, things []string, each func(shadow.ID, Record, error)) {
	if err := s.Service.Store.SyncedShadows(ctx, things, each); err != nil {
		s.Logger.Error("The core's shadows cannot be read to keep them in step.", slog.String("errorString", err.Error()))
	}
}

// find lists the shadows that a thing has on either side.
func (s *Syncer) find(ctx context.Context, thing string) ([]shadow.ID, error) {
	found := []shadow.ID{{Thing: thing}}
	s.own(ctx, []string{thing}, func(id shadow.ID, _ Record, _ error) { found = append(found, id) })
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

// settled takes what came of bringing a shadow in step. Its error means that the cloud was
// not reached; what is refused is noted and tried again later.
func (s *Syncer) settled(id shadow.ID, err error) error {
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
