package broker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/periodic"
)

const (
	// willsEvery is how often it is looked for wills of servers that are no more.
	willsEvery = 2 * time.Second
	// heardTime is how long another server may take to answer then.
	heardTime = time.Second
	// deadAfter is for how long a server has to be silent until others send its wills, and
	// deadFailures how often it has to be asked meanwhile; apartAfter is for how long one has
	// to be out of the others' reach until it ends the sessions that have wills itself.
	deadAfter    = 30 * time.Second
	deadFailures = 5
	apartAfter   = 15 * time.Second
	// sending is how many wills of servers that are no more are published at a time.
	sending = 16
)

// Will is what is to be published when a client goes without saying so.
type Will struct {
	Partition fescue.Partition
	ClientID  string
	Message   *mqtt.Publish
	// ID is what to publish it under: where that was done and nobody was told, it is stored once.
	ID string
	// Note is what whoever publishes it has to know.
	Note json.RawMessage
}

// willRecord is what is kept of a will while its client is connected.
type willRecord struct {
	// Owner is the opening of the client's session, run/opening, or who is about to publish the
	// will, run/attempt.
	Owner string `json:"owner"`
	// ID is the first owner, once there is another.
	ID        string           `json:"id,omitempty"`
	Partition fescue.Partition `json:"partition"`
	ClientID  string           `json:"client"`
	Topic     string           `json:"topic"`
	Payload   []byte           `json:"payload,omitempty"`
	QoS       byte             `json:"qos,omitempty"`
	Retain    bool             `json:"retain,omitempty"`
	Note      json.RawMessage  `json:"note,omitempty"`
}

// wills is what is known of all wills that are kept.
type wills struct {
	mu sync.Mutex
	// kept are their owners and revisions by the keys of the sessions.
	kept map[string]keptWill
	// whole is set while all that are there are among kept.
	whole bool
	// open are the owners whose clients are connected here, or whose wills are being published.
	open map[string]struct{}
	// settled are those whose removal is due: the keys by the owners.
	settled map[string]string
	// silent is since when servers do not answer.
	silent map[string]silence
}

// silence is since when a server does not answer, and how often it did not.
type silence struct {
	since    time.Time
	failures int
}

// keptWill is whose a will is, its record's revision, and whether the will needs room in the stream of
// messages.
type keptWill struct {
	owner    string
	revision uint64
	stored   bool
}

func (r *willRecord) kept(revision uint64) keptWill { return keptWill{r.Owner, revision, r.QoS > 0} }

func (w *wills) learn(key string, k keptWill) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.kept[key].revision > k.revision {
		return // known already
	}
	w.put(key, k)
}

// put notes whose a will is; nobody's where it is no more. mu is held.
func (w *wills) put(key string, k keptWill) {
	if k.owner == "" {
		delete(w.kept, key)
		return
	}
	w.kept[key] = k
}

// correct is put where something else was known, and that only.
func (w *wills) correct(key string, was, k keptWill) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.kept[key] == was {
		w.put(key, k)
	}
}

func (w *wills) of(key string) (k keptWill, known, whole bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k, known = w.kept[key]
	return k, known, w.whole
}

// begin notes an owner whose will nobody is to send.
func (w *wills) begin(owner string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[owner] = struct{}{}
}

// lacks notes that there may be wills that are not known.
func (w *wills) lacks() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.whole = false
}

// has notes that all wills that are there are known.
func (w *wills) has() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.whole = true
}

// leaveWill keeps a session's will, in the place of the one that an earlier connection of
// the client has left; without one that goes, too: the client is back.
func (b *Broker) leaveWill(ctx context.Context, s *Session, o Opening) error {
	former, known, whole := b.wills.of(s.key)
	if !whole {
		r, revision, err := b.readWill(ctx, s.key)
		if err != nil {
			return fmt.Errorf("look for the client's last will: %w", err)
		}
		if former, known = (keptWill{revision: revision}), r != nil; known {
			former = r.kept(revision)
		}
	}
	if o.Will == nil {
		if known {
			b.removeWill(ctx, s.key, former)
		}
		return nil
	}
	m := o.Will.Message
	r := &willRecord{
		Owner: b.run + "/" + uuid.NewString(), Partition: o.Partition, ClientID: o.ClientID,
		Topic: m.Topic, Payload: m.Payload, QoS: m.QoS, Retain: m.Retain, Note: o.Will.Note,
	}
	b.wills.begin(r.Owner)
	revision, err := b.putWill(ctx, s.key, r, former.revision, true)
	if err != nil {
		// It may be there all the same.
		if known && leavesWill(ctx) {
			b.closeWill(r.Owner)
		} else {
			b.settle(s.key, r.Owner)
		}
		return fmt.Errorf("keep the client's will: %w", err)
	}
	k := r.kept(revision)
	s.will, s.heir = &k, known
	b.wills.learn(s.key, k)
	return nil
}

// leavesWill reports whether an opening that has failed leaves its will to be sent, where that came in the
// place of one that was due. A later connection of the client has its own, or needs none.
func leavesWill(ctx context.Context) bool { return !errors.Is(context.Cause(ctx), ErrTaken) }

// putWill stores the record of a will in the place of the one with a revision, or of any, and returns
// its own revision. The error is of a wrong sequence where another one is there.
func (b *Broker) putWill(ctx context.Context, key string, r *willRecord, revision uint64, any bool) (uint64, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return 0, err
	}
	for failures := 1; ; failures++ {
		ack, err := b.put(ctx, &nats.Msg{Subject: willPrefix + key, Data: text}, revision)
		if err == nil {
			return ack.Sequence, nil
		}
		if !wrongSequence(err) || failures == maxOpenings {
			return 0, err
		}
		there, at, failed := b.readWill(ctx, key)
		switch {
		case failed != nil:
			return 0, failed
		case there != nil && there.Owner == r.Owner: // it was stored, and the answer was lost
			return at, nil
		case !any:
			return 0, err
		}
		revision = at
	}
}

// settle has a will removed soon; until then nobody sends it.
func (b *Broker) settle(key, owner string) {
	b.wills.mu.Lock()
	defer b.wills.mu.Unlock()
	b.wills.settled[owner] = key
}

// closeWill notes that the client of an owner is not connected here.
func (b *Broker) closeWill(owner string) {
	b.wills.mu.Lock()
	defer b.wills.mu.Unlock()
	delete(b.wills.open, owner)
}

// readWill is the record of a will with its revision; nil for none.
func (b *Broker) readWill(ctx context.Context, key string) (*willRecord, uint64, error) {
	m, ok, err := last(ctx, b.testaments, willPrefix+key)
	if err != nil || !ok {
		return nil, 0, err
	}
	r := &willRecord{}
	if len(m.Data) == 0 || json.Unmarshal(m.Data, r) != nil {
		return nil, m.Sequence, nil
	}
	return r, m.Sequence, nil
}

// removeWill removes a will, now or as soon as that can be done: it was published, or need not
// be.
func (b *Broker) removeWill(ctx context.Context, key string, k keptWill) {
	m := &nats.Msg{Subject: willPrefix + key, Header: nats.Header{jetstream.MsgTTLHeader: {removedLasts.String()}}}
	ack, err := b.put(ctx, m, k.revision)
	if err != nil && !wrongSequence(err) {
		b.settle(key, k.owner)
		return // it stays open, so that it is not sent
	}
	b.wills.mu.Lock()
	defer b.wills.mu.Unlock()
	if err == nil && b.wills.kept[key].revision < ack.Sequence {
		delete(b.wills.kept, key)
	}
	delete(b.wills.open, k.owner)
	delete(b.wills.settled, k.owner)
}

// removeSettled removes a will that is due to be, if it is there still.
func (b *Broker) removeSettled(ctx context.Context, key, owner string) {
	r, revision, err := b.readWill(ctx, key)
	switch {
	case err != nil:
		return
	case r != nil && r.Owner == owner:
		b.removeWill(ctx, key, r.kept(revision))
		return
	}
	b.wills.mu.Lock()
	defer b.wills.mu.Unlock()
	delete(b.wills.open, owner)
	delete(b.wills.settled, owner)
}

// SendWill has the session's will published, before the session is closed: by the function and under
// the id that it is given, once the will is this server's to publish, which is not called where another one has done it or the
// client is back. What could not be done, as the error says, is as by Wills.
func (s *Session) SendWill(ctx context.Context, publish func(ctx context.Context, id string) error) error {
	if s.will == nil || s.settled.Swap(true) {
		return nil
	}
	defer s.b.closeWill(s.will.owner)
	return s.b.sendWill(ctx, s.key, *s.will, func(ctx context.Context, w Will) error { return publish(ctx, w.ID) })
}

// Wills has wills published whose clients were connected to a server that is no more: when
// it has been silent for half a minute, or at once where there can be no other. publish is called by one
// server for each, and again, by this one or another, when it fails. Wills returns when that has begun.
func (b *Broker) Wills(publish func(ctx context.Context, w Will) error) error {
	if !b.goRun(b.followWills) || !b.goRun(func() { b.sendWills(publish) }) || b.others != nil && !b.goRun(b.watchContact) {
		return ErrLost
	}
	return nil
}

// followWills keeps what is known of wills.
func (b *Broker) followWills() {
	for failures := 1; b.ctx.Err() == nil; failures++ {
		if s, err := b.api.Stream(b.ctx, willsStream); err == nil && s.CachedInfo().State.Msgs == 0 {
			b.wills.has()
		}
		err := b.consume(b.ctx, willsStream, jetstream.ConsumerConfig{FilterSubject: willPrefix + ">", DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy}, false, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
			failures = 1
			r := willRecord{}
			if len(m.Data()) > 0 {
				_ = json.Unmarshal(m.Data(), &r)
			}
			b.wills.learn(strings.TrimPrefix(m.Subject(), willPrefix), r.kept(meta.Sequence.Stream))
			if meta.NumPending == 0 {
				b.wills.has()
			}
			return nil
		})
		b.wills.lacks()
		b.o.Logger.Debug("message broker: reading the wills anew", "error", err)
		periodic.Sleep(b.ctx, rereads.Pause(failures))
	}
}

// hears asks a server whether it is there.
func (b *Broker) hears(ctx context.Context, run string) error {
	ctx, cancel := context.WithTimeout(ctx, heardTime)
	defer cancel()
	_, err := b.conn.RequestWithContext(ctx, partPrefix+run, nil) // no session has this key
	return err
}

// hearsLeader asks the node that leads for a will that nobody has. What it is asked of the stream
// itself nats-server leaves until there is nothing else to do (2.15, jetstream_api.go), which is
// not for long while many clients come back.
func (b *Broker) hearsLeader(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	_, err := b.testaments.GetLastMsgForSubject(ctx, willPrefix+"nobody") // a key has its partition
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	return err
}

// inContact reports whether others reach this server, and it the node that leads: what it asks
// itself takes the way that their questions do, and no longer than they wait.
func (b *Broker) inContact() bool {
	both, ctx := errgroup.WithContext(b.ctx)
	both.Go(func() error { return b.hears(ctx, b.run) })
	both.Go(func() error { return b.hearsLeader(ctx, answerTime) })
	return both.Wait() == nil
}

// contact is when a server was in contact last.
type contact struct {
	mu sync.Mutex
	at time.Time
}

// learn takes in the answer to what was asked at a time: it says nothing of any later one.
func (c *contact) learn(asked time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if asked.After(c.at) {
		c.at = asked
	}
}

// lost reports whether it is too long ago at a time.
func (c *contact) lost(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return now.Sub(c.at) >= apartAfter
}

// watchContact ends the sessions with wills before others take this server for dead. While they
// do not reach it that goes for each session that is opened; while it does not reach the node that
// leads, not for one whose will that node has stored meanwhile.
func (b *Broker) watchContact() {
	reached, reaches := &contact{at: time.Now()}, &contact{at: time.Now()}
	var asking sync.WaitGroup
	defer asking.Wait()
	periodic.AtOnce(b.ctx, willsEvery, func() {
		now := time.Now()
		switch { // or this process stood still
		case reached.lost(now):
			b.leaveWills(now)
		case reaches.lost(now):
			b.leaveWills(now.Add(-apartAfter))
		}
		asking.Go(func() {
			if b.hears(b.ctx, b.run) == nil {
				reached.learn(now)
			}
		})
		asking.Go(func() {
			if b.hearsLeader(b.ctx, apartAfter) == nil {
				reaches.learn(now)
			}
		})
	})
}

// sendWills looks for wills that nobody else will publish.
func (b *Broker) sendWills(publish func(ctx context.Context, w Will) error) {
	periodic.AtOnce(b.ctx, willsEvery, func() {
		b.wills.mu.Lock()
		settled, orphans := maps.Clone(b.wills.settled), map[string]map[string]keptWill{}
		for key, k := range b.wills.kept {
			if _, open := b.wills.open[k.owner]; !open {
				run, _, _ := strings.Cut(k.owner, "/")
				if orphans[run] == nil {
					orphans[run] = map[string]keptWill{}
				}
				orphans[run][key] = k
			}
		}
		b.wills.mu.Unlock()
		ctx, cancel := context.WithTimeout(b.ctx, callTime)
		defer cancel()
		var work errgroup.Group
		work.SetLimit(sending)
		for owner, key := range settled {
			work.Go(func() error { b.removeSettled(ctx, key, owner); return nil })
		}
		for run := range b.dead(slices.Collect(maps.Keys(orphans))) {
			for key, k := range orphans[run] {
				if k.stored && b.crowded(space(Space(key))) {
					continue // it would be refused, and keep those of others waiting
				}
				work.Go(func() error {
					if err := b.sendWill(ctx, key, k, publish); err != nil && b.ctx.Err() == nil && b.said.now("wills") {
						b.o.Logger.Warn("message broker: cannot publish the will of a client whose server is gone, trying again", "client", key, "error", err)
					}
					return nil
				})
			}
		}
		_ = work.Wait()
	})
}

// dead are those of some servers that are no more, and whose wills are others' to publish.
func (b *Broker) dead(runs []string) map[string]bool {
	gone, silent := map[string]bool{}, map[string]silence{}
	for _, run := range runs {
		if b.others == nil || run == b.run {
			gone[run] = true
			continue
		}
		if b.hears(b.ctx, run) == nil {
			continue
		}
		s := b.wills.silent[run]
		if s.failures == 0 {
			s.since = time.Now()
		}
		s.failures++
		silent[run] = s
		gone[run] = s.failures >= deadFailures && time.Since(s.since) >= deadAfter
	}
	// Who hears nothing, not even itself, knows nothing of others. One that was not asked
	// may have answered.
	if len(silent) > 0 && !b.inContact() {
		silent, gone = nil, map[string]bool{b.run: gone[b.run]}
	}
	b.wills.silent = silent
	maps.DeleteFunc(gone, func(_ string, is bool) bool { return !is })
	return gone
}

// sendWill has a will published that a client has left, unless another server does or the client is
// back: who puts itself in the owner's place may.
func (b *Broker) sendWill(ctx context.Context, key string, k keptWill, publish func(ctx context.Context, w Will) error) error {
	r, revision, err := b.readWill(ctx, key)
	if err != nil {
		return err
	}
	switch {
	case r == nil:
		b.wills.correct(key, k, keptWill{})
		return nil
	case r.Owner != k.owner || revision != k.revision:
		b.wills.correct(key, k, r.kept(revision))
		return nil
	}
	if r.QoS > 0 && b.Crowded(r.Partition) {
		return fescue.ErrCrowded
	}
	r.ID, r.Owner = cmp.Or(r.ID, r.Owner), b.run+"/"+uuid.NewString()
	b.wills.begin(r.Owner)
	if revision, err = b.putWill(ctx, key, r, revision, false); err == nil {
		if err = publish(ctx, Will{r.Partition, r.ClientID, &mqtt.Publish{Topic: r.Topic, Payload: r.Payload, QoS: r.QoS, Retain: r.Retain}, r.ID, r.Note}); err == nil {
			b.removeWill(ctx, key, r.kept(revision))
			return nil
		}
	}
	b.closeWill(r.Owner)
	if wrongSequence(err) {
		return nil
	}
	return err
}

// ErrApart ends the session of a client with a will: other servers take this one for dead,
// and publish it.
var ErrApart = errors.New("nats-server was out of reach for so long that other servers publish the client's will")

// leaveWills ends the sessions that have wills and were opened before a time, and leaves these to
// who gets to them.
func (b *Broker) leaveWills(before time.Time) {
	b.mu.Lock()
	var list []*Session
	for _, s := range b.sessions {
		if s.will != nil && s.here.Before(before) {
			list = append(list, s)
		}
	}
	b.mu.Unlock()
	for _, s := range list {
		s.client.End(ErrApart)
	}
}
