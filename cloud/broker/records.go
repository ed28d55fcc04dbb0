package broker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fescue-edge/fescue/periodic"
)

const (
	// writeEvery is how often the records of sessions are written that have changed. After
	// a crash a client gets again what it acknowledged since.
	writeEvery = time.Second

	// checkpointAgain is how long a checkpoint stands before it is written again, and
	// checkpointLasts for how long it is kept.
	checkpointAgain = time.Hour
	checkpointLasts = 30 * 24 * time.Hour

	// maxOpenings bounds how often a record is read and written again that somebody else
	// writes, too.
	maxOpenings = 5
)

// record is what is kept of a persistent session.
type record struct {
	Holder string `json:"holder,omitempty"`
	// Seen is when the client was last here, in milliseconds since 1970.
	Seen int64 `json:"seen"`
	// Owner is the opening that the session has at a server, run/opening; empty while the
	// client is away.
	Owner string `json:"owner,omitempty"`
	// Opened is the stamp of that opening.
	Opened int64 `json:"opened,omitempty"`
	// Handed is the last message of the stream that was handed out, or is not for the
	// session; those in Unacked were and are to be again. While Live, the
	// checkpoint of the owner's run says it, if that is further.
	Handed  uint64   `json:"handed"`
	Live    bool     `json:"live,omitempty"`
	Unacked []uint64 `json:"unacked,omitempty"`
	// Retained are the topics of retained messages that were handed out, or are to be; Given has the
	// places in their stream of those that were.
	Retained []string          `json:"retained,omitempty"`
	Given    map[string]uint64 `json:"given,omitempty"`
	Filters  map[string]grant  `json:"filters,omitempty"`
}

// Kept is what others may know of a persistent session.
type Kept struct {
	Holder  string
	Seen    time.Time
	Filters []string
}

// record is the session's, where all messages up to done have been offered to it. mu is
// held.
func (s *Session) record(done uint64) record {
	r := record{Holder: s.holder, Seen: s.b.o.Now().UnixMilli(), Handed: s.at, Filters: maps.Clone(s.filters)}
	retained := func(topic string, handed uint64) {
		r.Retained = append(r.Retained, topic)
		if handed == 0 {
			return
		}
		if r.Given == nil {
			r.Given = map[string]uint64{}
		}
		r.Given[topic] = max(r.Given[topic], handed)
	}
	for _, h := range s.unacked {
		if h.retained == "" {
			r.Unacked = append(r.Unacked, h.seq)
		} else {
			retained(h.retained, h.seq)
		}
	}
	for _, m := range s.retained {
		retained(m.Topic, 0)
	}
	for _, o := range s.anew {
		retained(o.topic, o.handed)
	}
	slices.Sort(r.Retained)
	r.Retained = slices.Compact(r.Retained)
	r.Unacked = append(r.Unacked, s.again...)
	slices.Sort(r.Unacked)
	if !s.closed {
		r.Owner, r.Opened, r.Live = s.owner, s.opened, !s.behind
	}
	if r.Live {
		r.Handed = max(r.Handed, done)
	}
	return r
}

// message is the session's record as it is published, and whether it is the last one here.
func (s *Session) message(done uint64) (m *nats.Msg, last bool, err error) {
	s.mu.Lock()
	r := s.record(done)
	last = s.closed
	s.mu.Unlock()
	text, err := json.Marshal(r)
	return &nats.Msg{Subject: sessionPrefix + s.key, Data: text}, last, err
}

// write writes the record of a persistent session. ErrTaken says that it is another's
// now.
func (s *Session) write(ctx context.Context) error {
	if !s.lasting {
		return nil
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	m, last, err := s.message(s.b.done.Load())
	if err != nil {
		return err
	}
	for failures := 1; ; failures++ {
		ack, err := s.b.put(ctx, m, s.revision)
		if err == nil {
			s.written(ack.Sequence, last)
			return nil
		}
		if err = s.settle(ctx, err); err != nil || failures == maxOpenings {
			return fmt.Errorf("record the session: %w", cmp.Or(err, errContended))
		}
		periodic.Sleep(ctx, resend.Pause(failures))
	}
}

// errContended means that somebody else writes a record, too.
var errContended = errors.New("others write its record, too")

// written notes that the record is written, for the last time here if it says so. writing
// is held.
func (s *Session) written(revision uint64, last bool) {
	s.revision = revision
	if last {
		s.finish()
	}
}

// finish notes that nothing is left to do for a session that was closed.
func (s *Session) finish() {
	b := s.b
	s.finished.Do(func() {
		b.unwritten.Lock()
		delete(b.unwritten.sessions, s)
		b.unwritten.Unlock()
		b.mu.Lock()
		if b.closing[s.key] == s {
			delete(b.closing, s.key)
		}
		b.mu.Unlock()
		close(s.ended)
	})
}

// settle deals with a record that was not written: where it was, and only the answer was
// lost, or an earlier one's was, nil says to write it again. writing is held.
func (s *Session) settle(ctx context.Context, failure error) error {
	if !wrongSequence(failure) {
		return failure
	}
	r, revision, err := s.b.read(ctx, s.key)
	if err != nil {
		return err
	}
	if r == nil || r.Owner != s.owner {
		s.client.End(ErrTaken)
		if s.isClosed() {
			s.finish()
		}
		return ErrTaken
	}
	s.revision = revision
	return nil
}

func wrongSequence(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// read is the record of a session with its revision; nil when there is none, whose
// revision is that of its removal.
func (b *Broker) read(ctx context.Context, key string) (*record, uint64, error) {
	m, ok, err := last(ctx, b.filing, sessionPrefix+key)
	if err != nil {
		return nil, 0, fmt.Errorf("read the record of a session: %w", err)
	}
	if !ok {
		return nil, 0, nil
	}
	return parseRecord(m.Data), m.Sequence, nil
}

// parseRecord is nil for the removal of a record, and for what is none.
func parseRecord(text []byte) *record {
	r := &record{}
	if len(text) == 0 || json.Unmarshal(text, r) != nil {
		return nil
	}
	return r
}

// resume takes a persistent session over from its record, or makes the record.
func (s *Session) resume(ctx context.Context) (present bool, err error) {
	s.owner = s.b.run + "/" + uuid.NewString()
	asked := false
	for failures := 1; failures <= maxOpenings; failures++ {
		r, revision, err := s.b.read(ctx, s.key)
		if err != nil {
			return false, err
		}
		s.revision = revision
		if s.claimed = r != nil && r.Owner == s.owner; s.claimed {
			return present, nil // it was written, and the answer was lost
		}
		if err := s.precedes(r); err != nil {
			return false, err
		}
		if r != nil && !asked {
			asked = true
			if s.b.askToPart(ctx, r.Owner, s.key) {
				continue
			}
		}
		if present = r != nil; present {
			if err := s.continueFrom(ctx, r); err != nil {
				return false, err
			}
		}
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		s.claimed = true // even if nobody answers
		if err = s.claim(ctx); !wrongSequence(err) {
			return present, err
		}
		periodic.Sleep(ctx, resend.Pause(failures))
	}
	return false, fmt.Errorf("%w: %w", ErrTaken, errContended)
}

// precedes fails with ErrTaken when the client has connected elsewhere since, as far as clocks tell. Where
// those differ the next attempt is the later one.
func (s *Session) precedes(r *record) error {
	if r == nil || r.Owner == "" || s.b.others == nil {
		return nil
	}
	if s.b.heard(r.Opened); r.Opened > s.opened {
		return fmt.Errorf("%w: that was opened later", ErrTaken)
	}
	return nil
}

// claim writes the record for the first time.
func (s *Session) claim(ctx context.Context) error {
	m, _, err := s.message(0)
	if err != nil {
		return err
	}
	ack, err := s.b.put(ctx, m, s.revision)
	if err != nil {
		return fmt.Errorf("record the session: %w", err)
	}
	s.revision = ack.Sequence
	return nil
}

// continueFrom takes in what a record says.
func (s *Session) continueFrom(ctx context.Context, r *record) error {
	s.behind, s.at, s.again, s.anew = true, r.Handed, r.Unacked, nil
	for _, topic := range r.Retained {
		s.anew = append(s.anew, owed{topic, r.Given[topic]})
	}
	if s.filters = r.Filters; s.filters == nil {
		s.filters = map[string]grant{}
	}
	if run, _, _ := strings.Cut(r.Owner, "/"); r.Live {
		m, ok, err := last(ctx, s.b.filing, checkpointPrefix+run)
		if err != nil {
			return fmt.Errorf("read a checkpoint of a server: %w", err)
		}
		if ok {
			if n, err := strconv.ParseUint(string(m.Data), 10, 64); err == nil {
				s.at = max(s.at, n)
			}
		}
	}
	return nil
}

// discard removes the record in the place of which a session that is not persistent comes, if there is one.
func (b *Broker) discard(ctx context.Context, s *Session) (present bool, err error) {
	asked := false
	for range maxOpenings {
		r, revision, err := b.read(ctx, s.key)
		if err != nil || r == nil {
			return false, err
		}
		if err := s.precedes(r); err != nil {
			return false, err
		}
		if !asked {
			asked = true
			if b.askToPart(ctx, r.Owner, s.key) {
				continue
			}
		}
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		if err := b.removeRecord(ctx, s.key, revision); !wrongSequence(err) {
			return true, err
		}
	}
	return false, fmt.Errorf("%w: %w", ErrTaken, errContended)
}

// removeRecord puts the removal of a record in its place.
func (b *Broker) removeRecord(ctx context.Context, key string, revision uint64) error {
	m := &nats.Msg{Subject: sessionPrefix + key, Header: nats.Header{jetstream.MsgTTLHeader: {removedLasts.String()}}}
	if _, err := b.put(ctx, m, revision); err != nil {
		return fmt.Errorf("remove the record of a session: %w", err)
	}
	return nil
}

// Expire removes a persistent session whose client was not seen since a time. It reports
// whether it did, and whether there is none now.
func (b *Broker) Expire(ctx context.Context, key string, since time.Time) (removed, none bool, err error) {
	r, revision, err := b.read(ctx, key)
	if err != nil || r == nil || !time.UnixMilli(r.Seen).Before(since) || b.lives(ctx, r.Owner) {
		return false, err == nil && r == nil, err
	}
	if err := b.removeRecord(ctx, key, revision); err != nil {
		if wrongSequence(err) {
			return false, false, nil // the client is back
		}
		return false, false, err
	}
	return true, true, nil
}

// Watch calls fn with what is kept of each persistent session, and again when that changes,
// with nil when the session is no more. It returns when that has begun.
func (b *Broker) Watch(ctx context.Context, fn func(key string, k *Kept)) error {
	if _, err := b.api.Stream(ctx, sessionsStream); err != nil {
		return fmt.Errorf("read the records of sessions: %w", err)
	}
	watching := func() {
		for failures := 1; ctx.Err() == nil && b.ctx.Err() == nil; failures++ {
			err := b.consume(ctx, sessionsStream, jetstream.ConsumerConfig{
				FilterSubject: sessionPrefix + ">", DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
			}, false, func(m jetstream.Msg, _ *jetstream.MsgMetadata) error {
				failures = 1
				var k *Kept
				if r := parseRecord(m.Data()); r != nil {
					k = &Kept{Holder: r.Holder, Seen: time.UnixMilli(r.Seen), Filters: slices.Collect(maps.Keys(r.Filters))}
				}
				fn(strings.TrimPrefix(m.Subject(), sessionPrefix), k)
				return nil
			})
			b.o.Logger.Debug("message broker: reading the records anew", "error", err)
			periodic.Sleep(b.ctx, rereads.Pause(failures))
		}
	}
	if !b.goRun(watching) {
		return ErrLost
	}
	return nil
}

// holdBackAll sets records and checkpoints back that are ahead of the messages: a power cut
// took messages away that were not on the disk, and numbers come a second time.
func (b *Broker) holdBackAll(ctx context.Context) error {
	end, err := b.lastMessage(ctx)
	if err != nil {
		return err
	}
	ahead, err := b.recordsAhead(ctx, end)
	if err != nil || len(ahead) == 0 {
		return err
	}
	// Others that use the stream may have gone on meanwhile.
	if end, err = b.lastMessage(ctx); err != nil {
		return err
	}
	return b.setBack(ctx, ahead, end)
}

// holdBackTo sets records and checkpoints back that are ahead of a place.
func (b *Broker) holdBackTo(ctx context.Context, end uint64) error {
	ahead, err := b.recordsAhead(ctx, end)
	if err != nil {
		return err
	}
	return b.setBack(ctx, ahead, end)
}

// writtenRecord is a record of a session, or a checkpoint, as it is in the stream.
type writtenRecord struct {
	subject  string
	text     []byte
	revision uint64
}

// recordsAhead are records and checkpoints that are ahead of a place.
func (b *Broker) recordsAhead(ctx context.Context, end uint64) (ahead []writtenRecord, err error) {
	err = b.eachLast(ctx, sessionsStream, "fescue.>", func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
		if r := parseRecord(m.Data()); r != nil && strings.HasPrefix(m.Subject(), sessionPrefix) {
			b.heard(r.Opened)
		}
		if _, is := heldBack(m.Subject(), m.Data(), end); is {
			ahead = append(ahead, writtenRecord{m.Subject(), m.Data(), meta.Sequence.Stream})
		}
		return nil
	})
	return ahead, err
}

// setBack writes records and checkpoints as they are for a stream that ends at a place, but
// those that others have written meanwhile.
func (b *Broker) setBack(ctx context.Context, ahead []writtenRecord, end uint64) error {
	for _, w := range ahead {
		text, is := heldBack(w.subject, w.text, end)
		if !is {
			continue
		}
		m := &nats.Msg{Subject: w.subject, Data: text}
		if strings.HasPrefix(w.subject, checkpointPrefix) {
			m.Header = nats.Header{jetstream.MsgTTLHeader: {checkpointLasts.String()}}
		}
		if _, err := b.put(ctx, m, w.revision); err != nil && !wrongSequence(err) {
			return err
		}
	}
	return nil
}

// lastMessage is the end of the stream of messages.
func (b *Broker) lastMessage(ctx context.Context) (uint64, error) {
	s, err := b.api.Stream(ctx, messagesStream)
	if err != nil {
		return 0, err
	}
	return s.CachedInfo().State.LastSeq, nil
}

// heldBack is a record or a checkpoint as it is for a stream that ends at a place, and
// whether that differs.
func heldBack(subject string, text []byte, end uint64) ([]byte, bool) {
	if strings.HasPrefix(subject, checkpointPrefix) {
		n, err := strconv.ParseUint(string(text), 10, 64)
		return strconv.AppendUint(nil, end, 10), err == nil && n > end
	}
	r := parseRecord(text)
	if r == nil || !r.holdBack(end) {
		return nil, false
	}
	text, err := json.Marshal(r)
	return text, err == nil
}

// holdBack makes the record one of a stream that ends at a place, and reports whether it
// was not.
func (r *record) holdBack(end uint64) (changed bool) {
	if r.Handed > end {
		r.Handed, changed = end, true
	}
	if kept := slices.DeleteFunc(slices.Clone(r.Unacked), func(seq uint64) bool { return seq > end }); len(kept) < len(r.Unacked) {
		r.Unacked, changed = kept, true
	}
	for filter, g := range r.Filters {
		if g.Since > end {
			r.Filters[filter], changed = grant{QoS: g.QoS, Since: end}, true
		}
	}
	return changed
}

// keepRecords writes the records that have changed, and how far this server is.
func (b *Broker) keepRecords() {
	var marked uint64
	var at time.Time
	periodic.Every(b.ctx, writeEvery, func() {
		done := b.done.Load()
		if err := b.writeChanged(); err != nil {
			if b.ctx.Err() == nil {
				b.o.Logger.Warn("message broker: cannot record sessions, trying again", "error", err)
			}
			return
		}
		// Records first: the checkpoint says of all live sessions that they have had, and
		// have acknowledged but what their records say, what came up to it.
		if done == marked && time.Since(at) < checkpointAgain {
			return
		}
		ctx, cancel := context.WithTimeout(b.ctx, callTime)
		defer cancel()
		m := &nats.Msg{Subject: checkpointPrefix + b.run, Data: strconv.AppendUint(nil, done, 10), Header: nats.Header{jetstream.MsgTTLHeader: {checkpointLasts.String()}}}
		if _, err := b.api.PublishMsg(ctx, m); err == nil {
			marked, at = done, time.Now()
		}
	})
}

// writeChanged writes the records that have changed, all at the same time.
func (b *Broker) writeChanged() error {
	b.unwritten.Lock()
	list := slices.Collect(maps.Keys(b.unwritten.sessions))
	clear(b.unwritten.sessions)
	b.unwritten.Unlock()
	ctx, cancel := context.WithTimeout(b.ctx, callTime)
	defer cancel()
	var failed error
	for some := range slices.Chunk(list, maxUnstored) {
		futures, lasts := make([]jetstream.PubAckFuture, len(some)), make([]bool, len(some))
		for i, s := range some {
			s.writing.Lock()
			var m *nats.Msg
			var err error
			if m, lasts[i], err = s.message(b.done.Load()); err == nil {
				futures[i], err = b.api.PublishMsgAsync(m, jetstream.WithExpectLastSequencePerSubject(s.revision))
			}
			if err != nil {
				failed = b.unwrittenStill(s, err)
			}
		}
		for i, s := range some {
			if futures[i] != nil {
				select {
				case ack := <-futures[i].Ok():
					s.written(ack.Sequence, lasts[i])
				case err := <-futures[i].Err():
					if err = s.settle(ctx, err); !errors.Is(err, ErrTaken) {
						failed = b.unwrittenStill(s, err)
					}
				case <-ctx.Done():
					failed = b.unwrittenStill(s, ctx.Err())
				}
			}
			s.writing.Unlock()
		}
	}
	return failed
}

func (s *Session) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// unwrittenStill has a record written once more, which was not for a cause.
func (b *Broker) unwrittenStill(s *Session, cause error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed()
	if cause == nil {
		cause = errors.New("its record was not as expected")
	}
	return cause
}
