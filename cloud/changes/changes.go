// Package changes reports what has changed in the database, whoever changed it: this
// server, another one on the same database, or a program that writes the file beside it.
// Who keeps something in memory, or waits for something, is told what to read again, and
// so needs to read nothing over and over to be right.
//
// The package knows kinds and names, and neither what they mean nor how they are kept.
package changes

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/periodic"
)

// Kind is what sort of thing has changed.
type Kind string

// The kinds, which the database's triggers write.
const (
	// Certificate is a certificate's status or validity, its things or its policies.
	Certificate Kind = "certificate"
	// Policy is which version of an IoT policy acts.
	Policy Kind = "policy"
	// Core is what waits for a core, by thing.
	Core Kind = "core"
	// Site is what a core learns by asking although nothing waits for it, by thing.
	Site Kind = "site"
	// Key is an access key, or a temporary one that did not end by itself, by id. The
	// change's partition has no Region.
	Key Kind = "key"
	// Role is what an IAM role of an account gives, by the name of the role or of a
	// policy. The change's partition has no Region.
	Role Kind = "role"
)

// Change names something that is not what it was.
type Change struct {
	// Seq tells changes apart.
	Seq       int64
	Kind      Kind
	Partition fescue.Partition
	// Subject is its id or its name in the partition.
	Subject string
}

// Page is what a look found.
type Page struct {
	Changes []Change
	// Next is where the next look begins. It may find some of Changes again.
	Next int64
	// Lost says that Changes are not all that there were.
	Lost bool
}

// Store keeps changes for a while, in the order in which looks find them.
type Store interface {
	// Since looks for what changed since a look whose Page.Next was from; a first look
	// is from Start.
	Since(ctx context.Context, from int64) (Page, error)
	// Prune removes what changed before a time. Whoever had not seen it finds Lost.
	Prune(ctx context.Context, before time.Time) error
}

// Start is where a first look begins: it finds nothing but where the next does.
const Start = 1<<63 - 1

// Timing.
const (
	// interval is such that what a change is for takes effect within a second.
	interval = 500 * time.Millisecond
	// fresh is how old a look may be for Current.
	fresh = 3 * time.Second
	// kept is how long changes are kept, pruning how often older ones are removed.
	kept    = 10 * time.Minute
	pruning = time.Minute
)

// Options are what a Feed is made of. All but Interval are required.
type Options struct {
	Store Store
	// Interval is the pause between two looks; default 500 ms.
	Interval time.Duration
	Now      func() time.Time
	Logger   *slog.Logger
}

// Feed tells of changes. Follow before Run.
type Feed struct {
	Options
	followers []follower

	next   int64
	seen   map[int64]bool // what the last look found
	looked atomic.Pointer[time.Time]
	cut    bool
}

// follower is who wants to be told.
type follower struct {
	kind    Kind
	changed func(ctx context.Context, list []Change)
	all     func(ctx context.Context)
}

// New makes a feed and looks where it begins: what is read after that, and read again
// when it is told to have changed, is right.
func New(ctx context.Context, o Options) (*Feed, error) {
	if o.Interval <= 0 {
		o.Interval = interval
	}
	page, err := o.Store.Since(ctx, Start)
	if err != nil {
		return nil, err
	}
	return &Feed{Options: o, next: page.Next}, nil
}

// Follow has changed called with what changed of a kind, and all when anything of it may
// have. Calls come one after the other, from Run's goroutine, and hold up the next look.
func (f *Feed) Follow(kind Kind, changed func(ctx context.Context, list []Change), all func(ctx context.Context)) {
	f.followers = append(f.followers, follower{kind, changed, all})
}

// Current reports whether changes come: those of a moment ago have been told. While they
// do not, followers have to look for themselves.
func (f *Feed) Current() bool {
	at := f.looked.Load()
	return at != nil && time.Since(*at) < fresh
}

// Run looks again and again until ctx ends.
func (f *Feed) Run(ctx context.Context) {
	var tidying sync.WaitGroup
	defer tidying.Wait()
	tidying.Go(func() {
		periodic.AtOnce(ctx, pruning, func() {
			if err := f.Store.Prune(ctx, f.Now().Add(-kept)); err != nil && ctx.Err() == nil {
				f.Logger.Warn("old changes not removed; it is tried again", "error", err)
			}
		})
	})
	periodic.AtOnce(ctx, f.Interval, func() { f.look(ctx) })
}

// look tells followers what is new.
func (f *Feed) look(ctx context.Context) {
	at := time.Now()
	page, err := f.Store.Since(ctx, f.next)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil && !f.cut:
		f.cut = true
		f.Logger.Warn("changes cannot be read; rights of who is connected are read one by one until they can", "error", err)
		return
	case err != nil:
		return
	case f.cut:
		f.cut = false
		f.Logger.Info("changes are read again")
	}
	news, seen := make(map[Kind][]Change), make(map[int64]bool, len(page.Changes))
	for _, c := range page.Changes {
		if seen[c.Seq] = true; !f.seen[c.Seq] {
			news[c.Kind] = append(news[c.Kind], c)
		}
	}
	for _, to := range f.followers {
		if page.Lost {
			to.all(ctx)
		} else if len(news[to.kind]) > 0 {
			to.changed(ctx, news[to.kind])
		}
	}
	f.next, f.seen = page.Next, seen
	f.looked.Store(&at)
}
