package shadows

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/shadow"
)

// change is what is to become of one document, and what came of it.
type change struct {
	id shadow.ID
	// apply is the document after the change.
	apply func(d shadow.Document, at time.Time) (shadow.Document, error)
	// says is what is published of the change, and the answer to it.
	says func(before, after shadow.Document, at time.Time) (all []shadow.Message, accepted []byte)
	// deletes says that what is left of long deleted documents may be removed.
	deletes bool

	before, after shadow.Document
	at            time.Time
	accepted      []byte
	err           error
	// unlock lets others change the document.
	unlock func()
}

// publishedAtOnce is of how many documents that are changed together the messages go out
// at a time.
const publishedAtOnce = 8

func update(id shadow.ID, u shadow.Update) *change {
	return &change{
		id: id,
		apply: func(d shadow.Document, at time.Time) (shadow.Document, error) {
			return d.Apply(u, at, shadow.CloudLimits)
		},
		says: func(before, after shadow.Document, at time.Time) ([]shadow.Message, []byte) {
			return id.Updated(before, after, u, at)
		},
	}
}

func deletion(id shadow.ID, r shadow.Request) *change {
	return &change{
		id: id, deletes: true,
		apply: func(d shadow.Document, at time.Time) (shadow.Document, error) { return d.Delete(id, r, at) },
		says: func(_, after shadow.Document, at time.Time) ([]shadow.Message, []byte) {
			accepted := after.DeletedMessage(at, r.ClientToken)
			return []shadow.Message{{Topic: id.Topic("delete/accepted"), Payload: accepted}}, accepted
		},
	}
}

// change makes changes of different documents, in one transaction, and publishes what came
// of each. Each has its own error.
func (s *Service) change(ctx context.Context, p fescue.Partition, list ...*change) {
	// Whoever needs several locks takes them in the same order, so that no two wait for
	// each other; databases have locks, too.
	slices.SortFunc(list, func(a, b *change) int {
		return cmp.Or(cmp.Compare(a.id.Thing, b.id.Thing), cmp.Compare(a.id.Name, b.id.Name))
	})
	var open []*change
	var publishing errgroup.Group
	publishing.SetLimit(publishedAtOnce)
	for _, c := range list {
		if c.err = c.id.Validate(); c.err == nil {
			open = append(open, c)
			c.unlock = sync.OnceFunc(s.locks.Lock(key{p, c.id}))
			defer c.unlock()
		}
	}
	s.write(ctx, p, open)
	var deleted time.Time
	for _, c := range open {
		if c.err != nil {
			continue
		}
		if c.deletes {
			deleted = c.at
		}
		publishing.Go(func() error {
			defer c.unlock()
			var messages []shadow.Message
			messages, c.accepted = c.says(c.before, c.after, c.at)
			for _, m := range messages {
				s.publish(ctx, p, m)
			}
			return nil
		})
	}
	publishing.Wait()
	if deleted.IsZero() {
		return
	}
	if err := s.Store.ForgetShadows(ctx, deleted.Add(-shadow.VersionsKept)); err != nil {
		s.Logger.Warn("what is left of long deleted shadows stays; the next deletion tries again", "error", err)
	}
}

// write works changes out and writes them; those before which another server made one are
// worked out anew.
func (s *Service) write(ctx context.Context, p fescue.Partition, open []*change) {
	for attempt := 1; len(open) > 0; attempt++ {
		written, puts := s.apply(ctx, p, open)
		if len(puts) == 0 {
			return
		}
		moved, err := s.Store.PutShadows(ctx, p, puts)
		open = nil
		for i, c := range written {
			switch {
			case err != nil:
				c.err = fmt.Errorf("write shadow of thing %s: %w", c.id.Thing, err)
			case moved[i] == nil:
			case errors.Is(moved[i], fescue.ErrConflict) && attempt < writeAttempts:
				open = append(open, c)
			default:
				c.err = fmt.Errorf("write shadow of thing %s: %w", c.id.Thing, moved[i])
			}
		}
	}
}

// apply is what is to be written for changes, as far as they are not refused.
func (s *Service) apply(ctx context.Context, p fescue.Partition, open []*change) (written []*change, puts []Kept) {
	ids := make([]shadow.ID, len(open))
	for i, c := range open {
		ids[i] = c.id
	}
	kept, err := s.Store.Shadows(ctx, p, ids)
	at := s.Now().UTC()
	made := make(map[string]int) // named shadows, by thing
	for i, c := range open {
		if err != nil {
			c.err = fmt.Errorf("read shadow of thing %s: %w", c.id.Thing, err)
			continue
		}
		c.before, c.at = kept[i].Document, at
		c.after, c.err = c.apply(c.before, at)
		if c.err == nil && c.id.Name != "" && c.after.Exists() && !c.before.Exists() {
			made[c.id.Thing]++
			c.err = s.room(ctx, p, c.id.Thing, made[c.id.Thing])
		}
		if c.err == nil {
			written = append(written, c)
			puts = append(puts, Kept{c.id, c.after, kept[i].Revision})
		}
	}
	return written, puts
}

// room refuses so many named shadows more than a thing has, if they are too many.
func (s *Service) room(ctx context.Context, p fescue.Partition, thing string, more int) error {
	names, err := s.Store.ShadowNames(ctx, p, thing, fescue.Page{Limit: MaxNamed})
	if err == nil && len(names)+more > MaxNamed {
		err = ErrTooManyNamed
	}
	return err
}

// Entry is one request of several that are carried out together, each for another shadow,
// and what came of it.
type Entry struct {
	ID        shadow.ID
	Operation shadow.Operation
	// Update is what an update says, Request what a delete does.
	Update  shadow.Update
	Request shadow.Request

	// Document is what was read, or what the change left.
	Document shadow.Document
	// Err is what Get, Update or Delete would have returned.
	Err error
}

// Together carries requests out: those that read with one query, those that change in one
// transaction. What is refused or published of each is as if it had come alone.
func (s *Service) Together(ctx context.Context, p fescue.Partition, entries []*Entry) {
	var reads []*Entry
	var changes []*change
	of := make(map[*change]*Entry)
	for _, e := range entries {
		switch e.Operation {
		case shadow.OpUpdate, shadow.OpDelete:
			c := update(e.ID, e.Update)
			if e.Operation == shadow.OpDelete {
				c = deletion(e.ID, e.Request)
			}
			changes, of[c] = append(changes, c), e
		default:
			if e.Err = e.ID.Validate(); e.Err == nil {
				reads = append(reads, e)
			}
		}
	}
	s.read(ctx, p, reads)
	s.change(ctx, p, changes...)
	for c, e := range of {
		e.Document, e.Err = c.after, c.err
	}
}

func (s *Service) read(ctx context.Context, p fescue.Partition, reads []*Entry) {
	if len(reads) == 0 {
		return
	}
	ids := make([]shadow.ID, len(reads))
	for i, e := range reads {
		ids[i] = e.ID
	}
	kept, err := s.Store.Shadows(ctx, p, ids)
	for i, e := range reads {
		if err != nil {
			e.Err = fmt.Errorf("get shadow of thing %s: %w", e.ID.Thing, err)
		} else if e.Document = kept[i].Document; !e.Document.Exists() {
			e.Err = e.Document.Missing(e.ID, s.Now())
		}
	}
}
