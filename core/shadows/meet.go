package shadows

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/shadow"
)

// meeting is a shadow that is being brought in step.
type meeting struct {
	id    shadow.ID
	cloud shadow.Document
	// todo is what makes both sides say the same; local is the version of the core's
	// document once its part is done.
	todo  shadow.Meeting
	local int64
	// again says that one of the sides changed meanwhile.
	again bool
	err   error
}

// Meet brings shadows in step, now. The errors, in the order of the shadows, are what the
// store or the cloud said.
func (s *Syncer) Meet(ctx context.Context, ids ...shadow.ID) []error {
	all := make([]*meeting, len(ids))
	for i, id := range ids {
		all[i] = &meeting{id: id}
	}
	open := all
	for range maxMeetings {
		s.once(ctx, open)
		if open = those(open, func(m *meeting) bool { return m.err == nil && m.again }); len(open) == 0 {
			break
		}
	}
	for _, m := range open {
		m.err = &localError{errMoved}
	}
	errs := make([]error, len(all))
	for i, m := range all {
		errs[i] = m.err
	}
	return errs
}

// those are the meetings of which something holds.
func those(list []*meeting, holds func(*meeting) bool) (some []*meeting) {
	for _, m := range list {
		if holds(m) {
			some = append(some, m)
		}
	}
	return some
}

func goesOn(m *meeting) bool { return m.err == nil }

// once looks at both sides and does what makes them say the same: what it asks of the
// cloud goes with one request for all, as does what it writes on the core.
func (s *Syncer) once(ctx context.Context, open []*meeting) {
	for i, a := range s.ask(ctx, open, func(m *meeting) corelink.ShadowCall {
		return corelink.ShadowCall{ID: m.id, Operation: shadow.OpGet}
	}) {
		open[i].cloud, open[i].err = a.Document, a.Err
	}
	open = those(open, goesOn)
	s.change(ctx, open, s.onCore)
	open = those(open, func(m *meeting) bool { return m.err == nil && !m.todo.Cloud.None() })
	done := make(map[*meeting]shadow.Synced, len(open))
	for i, a := range s.ask(ctx, open, (*meeting).inCloud) {
		m := open[i]
		var refused *corelink.StatusError
		switch {
		case errors.As(a.Err, &refused) && (refused.HTTPStatus == http.StatusConflict ||
			refused.HTTPStatus == http.StatusBadRequest && refused.Message == shadow.ErrVersion.Message && m.todo.Cloud.Update.Version > 1):
			m.again = true // it changed, or went
		case a.Err != nil:
			m.err = a.Err
		case m.todo.Cloud.Remove:
			done[m] = shadow.Synced{}
		default:
			synced := m.todo.Done
			synced.LocalVersion, synced.CloudVersion = m.local, a.Document.Version
			done[m] = synced
		}
	}
	open = those(open, func(m *meeting) bool { return m.err == nil && !m.again })
	s.change(ctx, open, func(m *meeting, r *Record, _ time.Time) (answer, error) {
		r.Synced = done[m]
		// What was to be made may have been there already, with the same version.
		m.again = m.todo.Cloud.Put && !m.cloud.Exists()
		return answer{}, nil
	})
}

// onCore decides what is to be done, and does the core's part of it.
func (s *Syncer) onCore(m *meeting, r *Record, at time.Time) (a answer, err error) {
	m.todo, m.again = r.Synced.Meet(r.Document, m.cloud), false
	synced := m.todo.Synced
	if m.todo.Cloud.None() {
		synced = m.todo.Done
	}
	if m.local = synced.LocalVersion; m.todo.Local.None() && sameSynced(r.Synced, synced) {
		return a, errNothing
	}
	switch u := m.todo.Local.Update; {
	case m.todo.Local.Remove:
		a, err = s.Service.delete(m.id, r, u.Request, at)
	case m.todo.Local.Put:
		// A deeper one than devices may make is the cloud's business.
		a, err = s.Service.update(m.id, r, u, at, shadow.CloudLimits)
		synced.LocalVersion = r.Document.Version
	}
	r.Synced, m.local = synced, synced.LocalVersion
	return a, err
}

// inCloud is the cloud's part of it.
func (m *meeting) inCloud() corelink.ShadowCall {
	c := corelink.ShadowCall{ID: m.id, Operation: shadow.OpUpdate, Update: m.todo.Cloud.Update}
	if m.todo.Cloud.Remove {
		c.Operation = shadow.OpDelete
	}
	return c
}

func sameSynced(a, b shadow.Synced) bool {
	return a.LocalVersion == b.LocalVersion && a.CloudVersion == b.CloudVersion && a.Local.Equal(b.Local) && a.Cloud.Equal(b.Cloud)
}

// change is Service.change for what is kept in step, and still is. What fails by no fault
// of the documents is a localError.
func (s *Syncer) change(ctx context.Context, open []*meeting, f func(*meeting, *Record, time.Time) (answer, error)) {
	changes := make([]*change, len(open))
	for i, m := range open {
		changes[i] = &change{id: m.id, f: func(r *Record, at time.Time) (answer, error) {
			s.mu.Lock()
			kept := s.keeps(m.id)
			s.mu.Unlock()
			if !kept {
				return answer{}, errNotKept
			}
			return f(m, r, at)
		}}
	}
	s.Service.change(ctx, changes...)
	for i, m := range open {
		var refusal *shadow.Error
		if m.err = changes[i].err; m.err != nil && !errors.Is(m.err, errNotKept) && !errors.As(m.err, &refusal) {
			m.err = &localError{fmt.Errorf("keep shadow in step: %w", m.err)}
		}
	}
}

// ask has the cloud carry out a call for each meeting: many with one request, or one by one
// where it does not know such requests. Once it is not reached nothing more is asked.
func (s *Syncer) ask(ctx context.Context, open []*meeting, of func(*meeting) corelink.ShadowCall) []corelink.ShadowAnswer {
	answers := make([]corelink.ShadowAnswer, 0, len(open))
	calls := make([]corelink.ShadowCall, len(open))
	for i, m := range open {
		calls[i] = of(m)
	}
	for len(calls) > 0 {
		some, err := s.askSome(ctx, calls)
		if err != nil {
			return append(answers, slices.Repeat([]corelink.ShadowAnswer{{Err: err}}, len(calls))...)
		}
		answers, calls = append(answers, some...), calls[len(some):]
	}
	return answers
}

// askSome has the cloud carry out calls from the first on.
func (s *Syncer) askSome(ctx context.Context, calls []corelink.ShadowCall) (answers []corelink.ShadowAnswer, err error) {
	s.mu.Lock()
	calls = calls[:min(len(calls), s.together)]
	s.mu.Unlock()
	began := time.Now()
	if len(calls) > 1 {
		answers, err = s.Cloud.ShadowBatch(ctx, calls)
		if _, refused := corelink.Refused(err); !refused {
			s.pace(len(calls), time.Since(began), err)
			return answers, err
		}
	}
	answers = make([]corelink.ShadowAnswer, len(calls))
	at := make([]int, len(calls))
	for i := range at {
		at[i] = i
	}
	// What goes wrong stands in the answers.
	_ = each(ctx, at, corelink.ShadowsAtATime/corelink.ShadowBatchesAtATime, func(ctx context.Context, i int) error {
		answers[i] = s.askOne(ctx, calls[i])
		var refused *corelink.StatusError
		if err := answers[i].Err; !errors.As(err, &refused) {
			return err // nothing was reached
		}
		return nil
	})
	if len(calls) == 1 {
		s.pace(1, time.Since(began), answers[0].Err)
	}
	return answers, nil
}

// pace takes what came of so many calls together. Where the answer did not come in time half
// as many go together from then on; where it was there in a quarter of it, twice as many.
func (s *Syncer) pace(n int, took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		s.together = min(s.together, max(1, n/2))
	case err == nil && n >= s.together && took < s.Times.Call/4:
		s.together = min(corelink.MaxShadowBatch, 2*s.together)
	}
}

func (s *Syncer) askOne(ctx context.Context, c corelink.ShadowCall) (a corelink.ShadowAnswer) {
	switch c.Operation {
	case shadow.OpUpdate:
		a.Document.Version, a.Err = s.Cloud.UpdateShadow(ctx, c.ID, c.Update)
	case shadow.OpDelete:
		a.Err = s.Cloud.DeleteShadow(ctx, c.ID, c.Update.Version)
	default:
		a.Document, a.Err = s.Cloud.Shadow(ctx, c.ID)
	}
	return a
}
