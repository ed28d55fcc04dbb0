// Package shadows is GGShadowService and GGShadowSyncManager: the shadows that a core
// keeps for its client devices and itself, and what keeps those in step with the cloud
// for which the group says so. What an update makes of a document, and what two
// documents become where they meet, is package shadow's.
//
// The package must not know how documents are kept, how the cloud is asked, or MQTT:
// these are behind Store, Cloud and Publish.
package shadows

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/fescue-edge/fescue/shadow"
)

// Record is what is kept of one shadow.
type Record struct {
	Document shadow.Document
	// Synced is zero for one that is not kept in step with the cloud.
	Synced shadow.Synced
}

// Zero reports whether there is nothing to keep.
func (r Record) Zero() bool { return r.Document.Version == 0 && r.Synced.Zero() }

// Kept is a record with whose it is.
type Kept struct {
	ID     shadow.ID
	Record Record
}

// Store keeps records. What has been written survives a power cut.
type Store interface {
	// Shadow reads a record, the zero one of a shadow that never was.
	Shadow(ctx context.Context, id shadow.ID) (Record, error)
	// PutShadows writes records together, each as a whole. One more than there may be is
	// refused with ErrTooMany or ErrTooManyNamed, in the order of the records, and the
	// others are written. Deleted ones that are not in step do not count; as many of them
	// are kept, the last.
	PutShadows(ctx context.Context, list []Kept, most Bounds) (refused []error, err error)
	// SyncedShadows lists those of things that exist or have been in step. A record that
	// cannot be read has an error. each does not use the Store.
	SyncedShadows(ctx context.Context, things []string, each func(id shadow.ID, r Record, err error)) error
	// UnsyncShadows forgets what was in step, but for some things.
	UnsyncShadows(ctx context.Context, but []string) error
	// ForgetShadows removes what is left of documents that were deleted before a
	// time and were not in step.
	ForgetShadows(ctx context.Context, before time.Time) error
	// ClearShadows removes everything.
	ClearShadows(ctx context.Context) error
}

// Bounds are how many shadows there may be: in all, and named ones of one thing.
type Bounds struct{ All, Named int }

// MaxShadows are those of a core: each of the 2,500 client devices that a group may have
// gets ten, and none can use up more than a small part.
var MaxShadows = Bounds{All: 25000, Named: 100}

// The answers to an update that would make one more.
var (
	ErrTooMany      = &shadow.Error{Code: 429, Message: "This core has too many shadows; delete some"}
	ErrTooManyNamed = &shadow.Error{Code: 429, Message: "The thing has too many named shadows on this core; delete some"}
)

// Options are what a Service is made of. All members are required.
type Options struct {
	Store Store
	// Publish sends a message of the service, as the table says. It does not wait.
	Publish func(m shadow.Message)
	Now     func() time.Time
	Logger  *slog.Logger
}

// Service is the shadow service. Its methods may be called at the same time.
// Their errors are *shadow.Error where the request is to blame.
type Service struct {
	Options
	requests queue

	// mu lets one change at a time be made and published, so that messages leave in
	// the order of versions.
	mu sync.Mutex
	// changed is called after a change that a request made; nil is not.
	changed func(id shadow.ID)
}

// New makes the service.
func New(o Options) *Service {
	return &Service{Options: o, requests: queue{by: make(map[string]usage), more: make(chan struct{}, 1)}}
}

// Get is the document as a get answers it.
func (s *Service) Get(ctx context.Context, id shadow.ID, clientToken string) ([]byte, error) {
	if err := id.Validate(); err != nil {
		return nil, err
	}
	r, err := s.Store.Shadow(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("get shadow of thing %s: %w", id.Thing, err)
	}
	if !r.Document.Exists() {
		return nil, shadow.ErrNotFound(id)
	}
	return r.Document.Got(s.Now(), clientToken), nil
}

// Update changes the document, publishes what came of it (delta, documents,
// accepted) and returns the accepted message.
func (s *Service) Update(ctx context.Context, id shadow.ID, u shadow.Update) ([]byte, error) {
	return s.request(ctx, id, func(r *Record, at time.Time) (answer, error) {
		return s.update(id, r, u, at, shadow.CoreLimits)
	})
}

// Delete removes the document, publishes that, and returns the accepted message.
func (s *Service) Delete(ctx context.Context, id shadow.ID, request shadow.Request) ([]byte, error) {
	accepted, err := s.request(ctx, id, func(r *Record, at time.Time) (answer, error) {
		return s.delete(id, r, request, at)
	})
	if err != nil {
		return nil, err
	}
	if err := s.Store.ForgetShadows(ctx, s.Now().Add(-shadow.VersionsKept)); err != nil {
		s.Logger.Warn("What is left of long deleted shadows stays; the next deletion tries again.", slog.String("errorString", err.Error()))
	}
	return accepted, nil
}

// answer is what a change is answered with and published as.
type answer struct {
	accepted []byte
	messages []shadow.Message
}

func (s *Service) update(id shadow.ID, r *Record, u shadow.Update, at time.Time, limits shadow.Limits) (a answer, err error) {
	before := r.Document
	if r.Document, err = before.Apply(u, at, limits); err != nil {
		return a, err
	}
	a.messages, a.accepted = id.Updated(before, r.Document, u, at)
	return a, nil
}

func (s *Service) delete(id shadow.ID, r *Record, request shadow.Request, at time.Time) (a answer, err error) {
	if r.Document, err = r.Document.Delete(id, request, at); err != nil {
		return a, err
	}
	a.accepted = r.Document.DeletedMessage(at, request.ClientToken)
	a.messages = []shadow.Message{{Topic: id.Topic("delete/accepted"), Payload: a.accepted}}
	return a, nil
}

// request changes a record for a request.
func (s *Service) request(ctx context.Context, id shadow.ID, f func(r *Record, at time.Time) (answer, error)) ([]byte, error) {
	if err := id.Validate(); err != nil {
		return nil, err
	}
	c := &change{id: id, f: f}
	s.change(ctx, c)
	if c.err == nil && s.changed != nil {
		s.changed(id)
	}
	return c.answer.accepted, c.err
}

// change is what is to become of one record, and what came of it.
type change struct {
	id shadow.ID
	// f changes the record. errNothing leaves it as it is, and is no failure.
	f      func(r *Record, at time.Time) (answer, error)
	answer answer
	err    error
}

var errNothing = errors.New("nothing is to be changed")

// change makes changes of different records, writes them together, and publishes what they
// say.
func (s *Service) change(ctx context.Context, list ...*change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var made []*change
	var puts []Kept
	at := s.Now().UTC()
	for _, c := range list {
		r, err := s.Store.Shadow(ctx, c.id)
		if err != nil {
			c.err = fmt.Errorf("read shadow of thing %s: %w", c.id.Thing, err)
			continue
		}
		switch c.answer, c.err = c.f(&r, at); {
		case errors.Is(c.err, errNothing):
			c.err = nil
		case c.err == nil:
			made, puts = append(made, c), append(puts, Kept{c.id, r})
		}
	}
	if len(puts) == 0 {
		return
	}
	refused, err := s.Store.PutShadows(ctx, puts, MaxShadows)
	for i, c := range made {
		switch {
		case err != nil:
			c.err = fmt.Errorf("write shadow of thing %s: %w", c.id.Thing, err)
		case refused[i] != nil:
			c.err = refused[i]
		}
		if c.err != nil {
			c.answer = answer{}
			continue
		}
		for _, m := range c.answer.messages {
			s.Publish(m)
		}
	}
}

// Clear removes all shadows.
func (s *Service) Clear(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Store.ClearShadows(ctx)
}

// serve carries out a request that came with a payload. What fails by no fault of the
// request is logged, and refused as the original did.
func (s *Service) serve(ctx context.Context, id shadow.ID, op shadow.Operation, payload []byte) (accepted []byte, refused []byte) {
	token, accepted, err := shadow.Service{
		Get:    func(r shadow.Request) ([]byte, error) { return s.Get(ctx, id, r.ClientToken) },
		Update: func(u shadow.Update) ([]byte, error) { return s.Update(ctx, id, u) },
		Delete: func(r shadow.Request) ([]byte, error) { return s.Delete(ctx, id, r) },
	}.Serve(op, payload, shadow.CoreLimits)
	if err == nil {
		return accepted, nil
	}
	var refusal *shadow.Error
	if !errors.As(err, &refusal) {
		s.Logger.Error("A request to the shadow service failed.", slog.String("topic", id.Topic(string(op))), slog.String("errorString", err.Error()))
		refusal = shadow.ErrInternal
	}
	return nil, refusal.Answer(s.Now(), token)
}
