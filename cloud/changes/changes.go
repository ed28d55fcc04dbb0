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

// The kinds, which the database's triggers write, but for Presence.
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
	// Deployment is that a deployment of a group was made or went on, by the group's id.
	Deployment Kind = "deployment"
	// Presence is that cores came or went. It has no subject, and is written once for all
	// that one server noted together.
	Presence Kind = "presence"
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

// Cursor is a place in what has changed.
type Cursor struct {
	At int64
	// Seen is what was found beyond At already, in the database's own words.
	Seen string
	// Of is where At means something: a database that was started anew, or whose place
	// another one took, may have gone back, and count what was counted already.
	Of string
}

// Page is what a look found.
type Page struct {
	Changes []Change
	// Next is where the next look begins. It may find some of Changes again.
	Next Cursor
	// Lost says that Changes may not be all that there were, or that something which was
	// found may be undone.
	Lost bool
}

// Store keeps changes for a while, in the order in which looks find them.
type Store interface {
	// Since looks for what changed since a look whose Page.Next was from; a first look
	// is from Start.
	Since(ctx context.Context, from Cursor) (Page, error)
	// Prune removes what changed before a time. Whoever had not seen it finds Lost.
	Prune(ctx context.Context, before time.Time) error
	// Await returns when there may be something new, and why: because this server changed
	// something, another one told of something, or both; neither when ctx has ended.
	Await(ctx context.Context) (own, told bool)
	// Tell hints to the other servers that there is something new. A hint may be lost.
	Tell(ctx context.Context) error
}

// Start is where a first look begins: it finds nothing but where the next does.
var Start = Cursor{At: 1<<63 - 1}

// Timing.
const (
	// interval is such that what a change is for takes effect within a second, also where
	// hints do not come.
	interval = 500 * time.Millisecond
	// rest is what lies between two looks at least, and so between two hints of a server;
	// and leisure times as long as a look took. After one that found Lost it is interval.
	rest    = 20 * time.Millisecond
	leisure = 4
	// fresh is how old a look may be for Current.
	fresh = 3 * time.Second
	// kept is how long changes are kept, pruning how often older ones are removed.
	kept    = 10 * time.Minute
	pruning = time.Minute
)

// Options are what a Feed is made of. All but Interval are required.
type Options struct {
	Store Store
	// Interval is the longest pause between two looks; default 500 ms.
	Interval time.Duration
	Now      func() time.Time
	Logger   *slog.Logger
}

// Feed tells of changes. Follow before Run.
type Feed struct {
	Options
	followers []follower

	next   Cursor
	seen   map[int64]bool // what the last look found
	looked atomic.Pointer[time.Time]
	cut    bool
	pause  time.Duration // after the last look
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
func (f *Feed) Current() bool { return f.Within(fresh) }

// Within reports whether what changed until so long ago has been told.
func (f *Feed) Within(d time.Duration) bool {
	at := f.looked.Load()
	return at != nil && time.Since(*at) < d
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
	var own, told, kept bool
	for ctx.Err() == nil {
		news := f.look(ctx)
		// Whoever gave a hint has told all of what there was. A change of this server that
		// was found by the way is told by the look that is for it.
		hinted := told && !own
		if news && !hinted || own && kept {
			if err := f.Store.Tell(ctx); err != nil && ctx.Err() == nil {
				f.Logger.Debug("other servers are not told of a change; they look for themselves", "error", err)
			}
		}
		kept = news && hinted
		own, told = f.wait(ctx)
	}
}

// wait is until the next look, and says what that is for, as Store.Await.
func (f *Feed) wait(ctx context.Context) (own, told bool) {
	select {
	case <-ctx.Done():
		return false, false
	case <-time.After(f.pause):
	}
	waiting, done := context.WithTimeout(ctx, f.Interval-f.pause)
	defer done()
	return f.Store.Await(waiting)
}

// look tells followers what is new, and reports whether there was something.
func (f *Feed) look(ctx context.Context) (found bool) {
	at := time.Now()
	page, err := f.Store.Since(ctx, f.next)
	f.pause = min(max(rest, leisure*time.Since(at)), f.Interval)
	switch {
	case ctx.Err() != nil:
		return false
	case err != nil && !f.cut:
		f.cut = true
		f.Logger.Warn("changes cannot be read; rights of who is connected are read one by one until they can", "error", err)
		return false
	case err != nil:
		return false
	case f.cut:
		f.cut = false
		f.Logger.Info("changes are read again")
	}
	if page.Lost {
		f.pause = f.Interval
		f.Logger.Info("changes may have been missed; what is kept of the database is read again")
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
	return len(news) > 0
}
