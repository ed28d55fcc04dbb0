// Package shadows is the device shadow service: it keeps documents, changes them
// one version after another, and publishes what becomes of each request. What an
// update makes of a document is package shadow's; how documents are kept, and who
// may ask, it does not know. A shadow's thing need not be registered.
package shadows

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/keyed"
	"github.com/fescue-edge/fescue/shadow"
)

// Store keeps documents.
type Store interface {
	// Shadow reads a document with its revision. One that never was is the zero
	// document with revision 0.
	Shadow(ctx context.Context, p fescue.Partition, id shadow.ID) (d shadow.Document, revision int64, err error)
	// PutShadow writes a document over a revision, 0 standing for none; when
	// that is not the present one the error wraps fescue.ErrConflict.
	PutShadow(ctx context.Context, p fescue.Partition, id shadow.ID, d shadow.Document, over int64) error
	// ShadowNames lists the names of a thing's named shadows that exist.
	ShadowNames(ctx context.Context, p fescue.Partition, thing string, page fescue.Page) ([]string, error)
	// ShadowsOf reads the documents of a thing that exist, by name.
	ShadowsOf(ctx context.Context, p fescue.Partition, thing string) (map[string]shadow.Document, error)
	// ForgetShadows removes what is left of documents that were deleted before a
	// time.
	ForgetShadows(ctx context.Context, before time.Time) error
}

// Publisher sends an MQTT message to all subscribers of a topic in a partition.
type Publisher interface {
	Publish(ctx context.Context, p fescue.Partition, topic string, payload []byte, qos byte, retain bool) error
}

// Options are what a Service is made of. All members are required.
type Options struct {
	Store     Store
	Publisher Publisher
	Now       func() time.Time
	Logger    *slog.Logger
}

// Service is the shadow service. Its methods may be called at the same time.
// Their errors are *shadow.Error where the request is to blame.
type Service struct {
	Options
	// locks lets one request at a time change a shadow and publish what came of
	// it, so that messages leave this server in the order of versions.
	locks keyed.Mutex[key]
}

type key struct {
	partition fescue.Partition
	id        shadow.ID
}

// New makes the service.
func New(o Options) *Service {
	return &Service{Options: o}
}

// MaxNamed is how many named shadows a thing may have, twice as many as on a core: the policies of
// devices let them choose the names. A few more may come where several are made at the
// same moment.
const MaxNamed = 200

// ErrTooManyNamed is the answer to an update that would make one more.
var ErrTooManyNamed = &shadow.Error{Code: 429, Message: "The thing has too many named shadows; delete some"}

// writeAttempts bounds how often a change is worked out anew because another
// server made one first. On this server requests for one shadow come one after the other.
const writeAttempts = 20

// publishTimeout bounds the sending of one message.
const publishTimeout = 5 * time.Second

// Get is the document as a get answers it. For one that was deleted, as long as that is
// known, the error is a *shadow.DeletedError.
func (s *Service) Get(ctx context.Context, p fescue.Partition, id shadow.ID, clientToken string) ([]byte, error) {
	if err := id.Validate(); err != nil {
		return nil, err
	}
	d, _, err := s.Store.Shadow(ctx, p, id)
	if err != nil {
		return nil, fmt.Errorf("get shadow of thing %s: %w", id.Thing, err)
	}
	if !d.Exists() {
		return nil, d.Missing(id, s.Now())
	}
	return d.Got(s.Now(), clientToken), nil
}

// Update changes the document, publishes what came of it (delta, documents,
// accepted) and returns the accepted message.
func (s *Service) Update(ctx context.Context, p fescue.Partition, id shadow.ID, u shadow.Update) ([]byte, error) {
	if err := id.Validate(); err != nil {
		return nil, err
	}
	defer s.locks.Lock(key{p, id})()
	before, after, at, err := s.change(ctx, p, id, func(d shadow.Document, at time.Time) (shadow.Document, error) {
		after, err := d.Apply(u, at, shadow.CloudLimits)
		if err == nil && after.Exists() && !d.Exists() {
			err = s.room(ctx, p, id)
		}
		return after, err
	})
	if err != nil {
		return nil, err
	}
	messages, accepted := id.Updated(before, after, u, at)
	for _, m := range messages {
		s.publish(ctx, p, m)
	}
	return accepted, nil
}

// room refuses a named shadow that would be one too many of its thing.
func (s *Service) room(ctx context.Context, p fescue.Partition, id shadow.ID) error {
	if id.Name == "" {
		return nil
	}
	names, err := s.Store.ShadowNames(ctx, p, id.Thing, fescue.Page{Limit: MaxNamed})
	if err == nil && len(names) >= MaxNamed {
		err = ErrTooManyNamed
	}
	return err
}

// Delete removes the document, publishes that, and returns the accepted message.
func (s *Service) Delete(ctx context.Context, p fescue.Partition, id shadow.ID, r shadow.Request) ([]byte, error) {
	if err := id.Validate(); err != nil {
		return nil, err
	}
	defer s.locks.Lock(key{p, id})()
	_, after, at, err := s.change(ctx, p, id, func(d shadow.Document, at time.Time) (shadow.Document, error) {
		return d.Delete(id, r, at)
	})
	if err != nil {
		return nil, err
	}
	accepted := after.DeletedMessage(at, r.ClientToken)
	s.publish(ctx, p, shadow.Message{Topic: id.Topic("delete/accepted"), Payload: accepted})
	if err := s.Store.ForgetShadows(ctx, at.Add(-shadow.VersionsKept)); err != nil {
		s.Logger.Warn("what is left of long deleted shadows stays; the next deletion tries again", "error", err)
	}
	return accepted, nil
}

// change replaces the document by what f makes of it.
func (s *Service) change(ctx context.Context, p fescue.Partition, id shadow.ID, f func(shadow.Document, time.Time) (shadow.Document, error)) (before, after shadow.Document, at time.Time, err error) {
	for attempt := 1; ; attempt++ {
		var revision int64
		if before, revision, err = s.Store.Shadow(ctx, p, id); err != nil {
			return before, after, at, fmt.Errorf("read shadow of thing %s: %w", id.Thing, err)
		}
		at = s.Now().UTC()
		if after, err = f(before, at); err != nil {
			return before, after, at, err
		}
		err = s.Store.PutShadow(ctx, p, id, after, revision)
		if err == nil {
			return before, after, at, nil
		}
		if !errors.Is(err, fescue.ErrConflict) || attempt == writeAttempts {
			return before, after, at, fmt.Errorf("write shadow of thing %s: %w", id.Thing, err)
		}
	}
}

// Marks are those of the documents that a thing has, by name.
func (s *Service) Marks(ctx context.Context, p fescue.Partition, thing string) (map[string]shadow.Mark, error) {
	if err := (shadow.ID{Thing: thing}).Validate(); err != nil {
		return nil, err
	}
	documents, err := s.Store.ShadowsOf(ctx, p, thing)
	if err != nil {
		return nil, fmt.Errorf("read shadows of thing %s: %w", thing, err)
	}
	marks := make(map[string]shadow.Mark, len(documents))
	for name, d := range documents {
		marks[name] = d.Mark()
	}
	return marks, nil
}

// Names lists the named shadows of a thing, and the name after which to go on
// when there are more.
func (s *Service) Names(ctx context.Context, p fescue.Partition, thing string, page fescue.Page) (names []string, next string, err error) {
	if err := (shadow.ID{Thing: thing}).Validate(); err != nil {
		return nil, "", err
	}
	limit := page.Limit
	page.Limit++
	if names, err = s.Store.ShadowNames(ctx, p, thing, page); err != nil {
		return nil, "", fmt.Errorf("list shadows of thing %s: %w", thing, err)
	}
	if len(names) > limit {
		return names[:limit], names[limit-1], nil
	}
	return names, "", nil
}
