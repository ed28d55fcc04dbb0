// Package shadows is the device shadow service: it keeps documents, changes them
// one version after another, and publishes what becomes of each request. What an
// update makes of a document is package shadow's; how documents are kept, and who
// may ask, it does not know. A shadow's thing need not be registered.
package shadows

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/keyed"
	"github.com/fescue-edge/fescue/shadow"
)

// Store keeps documents.
type Store interface {
	// Shadows reads documents with their revisions, in the order of their ids. One that
	// never was is the zero document with revision 0.
	Shadows(ctx context.Context, p fescue.Partition, ids []shadow.ID) ([]Kept, error)
	// PutShadows writes documents together, each over the revision that it was read with.
	// Of one for which that is not the present one nothing is written; its error, in the
	// order of the documents, wraps fescue.ErrConflict.
	PutShadows(ctx context.Context, p fescue.Partition, list []Kept) (moved []error, err error)
	// ShadowNames lists the names of a thing's named shadows that exist.
	ShadowNames(ctx context.Context, p fescue.Partition, thing string, page fescue.Page) ([]string, error)
	// ShadowsOf reads the documents of a thing that exist, by name.
	ShadowsOf(ctx context.Context, p fescue.Partition, thing string) (map[string]shadow.Document, error)
	// ForgetShadows removes what is left of documents that were deleted before a
	// time.
	ForgetShadows(ctx context.Context, before time.Time) error
}

// Kept is a document as it is kept.
type Kept struct {
	ID       shadow.ID
	Document shadow.Document
	// Revision rises with every write, deletions included; 0 is of one that never was.
	Revision int64
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
	d, err := s.find(ctx, p, id)
	if err != nil {
		return nil, err
	}
	return d.Got(s.Now(), clientToken), nil
}

func (s *Service) find(ctx context.Context, p fescue.Partition, id shadow.ID) (shadow.Document, error) {
	kept, err := s.Store.Shadows(ctx, p, []shadow.ID{id})
	if err != nil {
		return shadow.Document{}, fmt.Errorf("get shadow of thing %s: %w", id.Thing, err)
	}
	d := kept[0].Document
	if !d.Exists() {
		return d, d.Missing(id, s.Now())
	}
	return d, nil
}

// Update changes the document, publishes what came of it (delta, documents,
// accepted) and returns the accepted message.
func (s *Service) Update(ctx context.Context, p fescue.Partition, id shadow.ID, u shadow.Update) ([]byte, error) {
	c := update(id, u)
	s.change(ctx, p, c)
	return c.accepted, c.err
}

// Delete removes the document, publishes that, and returns the accepted message.
func (s *Service) Delete(ctx context.Context, p fescue.Partition, id shadow.ID, r shadow.Request) ([]byte, error) {
	c := deletion(id, r)
	s.change(ctx, p, c)
	return c.accepted, c.err
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
