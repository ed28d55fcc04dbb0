package mqttfront

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/fescue-edge/fescue/cloud/broker"
	"github.com/fescue-edge/fescue/cloud/deploy"
)

// book knows of each session whose it is and how many subscriptions it has: of those
// of connected clients, and of persistent ones whose clients are away. It keeps to
// the quotas.
type book struct {
	quotas deploy.Quotas
	// perSession is how many filters a session may have.
	perSession int

	mu       sync.Mutex
	sessions map[string]*entry // by key
	used     map[owner]usage
}

// entry is one session.
type entry struct {
	// certificate is the id of a certificate or an access key, for a temporary one of the
	// key or the core's certificate that it is from.
	certificate, partition string
	// lasting is true for persistent sessions, seen is when the client of one was
	// last here.
	lasting bool
	seen    time.Time
	// gone is set while the client is here and its session has no record: another server has
	// removed it.
	gone bool
	// filters are the subscriptions, by hash: most filters are longer, and there are
	// many.
	filters map[uint64]struct{}
}

func newBook(q deploy.Quotas, perSession int) *book {
	return &book{quotas: q, perSession: perSession, sessions: map[string]*entry{}, used: map[owner]usage{}}
}

// owners are who an entry counts for.
func (e *entry) owners() []owner {
	list := []owner{{partition: e.partition}}
	if e.certificate != "" {
		list = append(list, owner{certificate: e.certificate})
	}
	return list
}

// count adds to what an entry's owners have. mu is held.
func (b *book) count(e *entry, sessions, filters int) {
	for _, o := range e.owners() {
		u := b.used[o]
		u.sessions += sessions
		u.filters += filters
		if u == (usage{}) {
			delete(b.used, o)
			continue
		}
		b.used[o] = u
	}
}

// room is ErrQuota when owners may not have more. mu is held.
func (b *book) room(e *entry, sessions, filters int) error {
	for _, o := range e.owners() {
		ofSessions, ofFilters := o.quotas()
		for _, each := range []struct {
			quota      deploy.QuotaFact
			have, more int
		}{{ofSessions, b.used[o].sessions, sessions}, {ofFilters, b.used[o].filters, filters}} {
			if most := b.quotas.Most(each.quota); each.more > 0 && most > 0 && each.have+each.more > most {
				return fmt.Errorf("%w: there are %d %s, and %s allows no more", ErrQuota, each.have, each.quota.Counts, each.quota.Quota)
			}
		}
	}
	return nil
}

// open notes that a client is here with a certificate. A clean session begins without
// subscriptions. The error is ErrQuota.
func (b *book) open(key, certificate string, lasting bool, now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.sessions[key]
	if e == nil {
		e = &entry{certificate: certificate, partition: broker.Space(key), filters: map[uint64]struct{}{}}
		if err := b.room(e, 1, 0); err != nil {
			return err
		}
		b.sessions[key] = e
		b.count(e, 1, 0)
	}
	if e.certificate != certificate { // another certificate took the client id over
		b.count(e, -1, -len(e.filters))
		e.certificate = certificate
		b.count(e, 1, len(e.filters))
	}
	if !lasting {
		b.empty(e)
	}
	e.lasting, e.seen, e.gone = lasting, now, false
	return nil
}

// fresh notes that a session has no subscriptions.
func (b *book) fresh(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.sessions[key]; e != nil {
		b.empty(e)
	}
}

// empty takes an entry's subscriptions away. mu is held.
func (b *book) empty(e *entry) {
	b.count(e, 0, -len(e.filters))
	clear(e.filters)
}

// close notes that a session is no more.
func (b *book) close(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.sessions[key]; e != nil {
		b.drop(key, e)
	}
}

// add notes a subscription. The error is ErrQuota.
func (b *book) add(key, filter string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, id := b.sessions[key], hashOf(filter)
	if e == nil {
		return fmt.Errorf("%w: the session has ended", ErrQuota)
	}
	if _, ok := e.filters[id]; ok {
		return nil
	}
	if b.perSession > 0 && len(e.filters) >= b.perSession {
		return fmt.Errorf("%w: a session has %d subscriptions at most", ErrQuota, b.perSession)
	}
	if err := b.room(e, 0, 1); err != nil {
		return err
	}
	e.filters[id] = struct{}{}
	b.count(e, 0, 1)
	return nil
}

// remove notes that a subscription has ended.
func (b *book) remove(key, filter string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, id := b.sessions[key], hashOf(filter)
	if e == nil {
		return
	}
	if _, ok := e.filters[id]; ok {
		delete(e.filters, id)
		b.count(e, 0, -1)
	}
}

// lose notes that the record of a persistent session is no more: the session is forgotten, or
// will be when its client has left.
func (b *book) lose(key string, here bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.sessions[key]
	switch {
	case e == nil || !e.lasting:
	case here:
		e.gone = true
	default:
		b.drop(key, e)
	}
}

// leave notes that the client of a persistent session has left at a time.
func (b *book) leave(key string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.sessions[key]
	switch {
	case e == nil:
	case e.gone:
		b.drop(key, e)
	default:
		e.seen = now
	}
}

// drop takes a session out. mu is held.
func (b *book) drop(key string, e *entry) {
	b.count(e, -1, -len(e.filters))
	delete(b.sessions, key)
}

// touch notes that the client of a persistent session is or was here at a time.
func (b *book) touch(key string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.sessions[key]; e != nil {
		e.seen = now
	}
}

// lasts reports whether there is such a persistent session, and when its client was
// last seen.
func (b *book) lasts(key string) (seen time.Time, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.sessions[key]
	if e == nil || !e.lasting {
		return time.Time{}, false
	}
	return e.seen, true
}

// older are the persistent sessions whose clients were last seen before a time.
func (b *book) older(than time.Time) (keys []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, e := range b.sessions {
		if e.lasting && e.seen.Before(than) {
			keys = append(keys, key)
		}
	}
	return keys
}

// learn takes in what is kept of a session. What is known of one whose client is here is
// newer.
func (b *book) learn(key string, k *broker.Kept, here bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.sessions[key]
	if e != nil && here {
		e.gone = false
		if k.Seen.After(e.seen) {
			e.seen = k.Seen
		}
		return
	}
	if e != nil {
		b.count(e, -1, -len(e.filters))
	}
	e = &entry{certificate: k.Holder, partition: broker.Space(key), lasting: true, seen: k.Seen, filters: map[uint64]struct{}{}}
	for _, filter := range k.Filters {
		e.filters[hashOf(filter)] = struct{}{}
	}
	b.sessions[key] = e
	b.count(e, 1, len(e.filters))
}

func hashOf(filter string) uint64 {
	sum := sha256.Sum256([]byte(filter))
	return binary.BigEndian.Uint64(sum[:])
}
