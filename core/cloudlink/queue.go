package cloudlink

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/fescue-edge/fescue/core/store"
)

// Message is on its way to the cloud, or from it.
type Message = store.Message

// Spool keeps messages on the disk, as store.Queue does.
type Spool interface {
	// Exists reports whether there may be messages of an earlier start.
	Exists() (bool, error)
	Apply(ctx context.Context, c store.Change) (store.Queued, error)
	Read(ctx context.Context, after uint64, bytes int64) ([]store.Numbered, error)
}

// Errors that Push gives to taken.
var (
	// ErrEnded means that the queue takes no more messages: the core is stopping.
	ErrEnded = errors.New("the queue for the cloud has ended")
	// ErrSlowDisk means that more is published than the disk takes.
	ErrSlowDisk = errors.New("the disk is too slow for what is published to the cloud")
)

const (
	// batchMessages and batchBytes bound what is written to the disk at once.
	batchMessages = 1000
	batchBytes    = 1 << 20
	// ahead is how many bytes of messages that are on the disk are kept in memory,
	// so that they need not be read again.
	ahead = 256 << 10
	// maxFlights is how many messages may be in flight (AWS IoT Core takes 100 from a
	// connection), and maxFlightBytes how large they may be if there is more than one:
	// they give way to none, so they must not fill a small queue.
	maxFlights     = 64
	maxFlightBytes = 64 << 10
	// settledBatch is how many acknowledged messages, and settledPause for how long,
	// wait to be removed from the disk with others. After a kill they are sent again.
	settledBatch = 64
	settledPause = 200 * time.Millisecond
	// spoolRetry is how often a disk is tried that fails.
	spoolRetry = 5 * time.Second
)

// Queue holds messages for the cloud in the order of their arrival, within a number of
// bytes, in memory or on the disk. When it is full the oldest give way, but never those
// in flight. Make one with NewQueue. One goroutine at a time calls Take, Settle and Ground;
// the other methods may be called from any.
//
// In flight are the oldest, whatever their topics: a connection keeps their order, and the
// cloud acknowledges none over one that it has not taken (MQTT 3.1.1, 4.6). So when a
// connection ends, what it has not acknowledged is all that it may lack, and is sent again
// in order: some come twice, but each for the first time after those before it.
//
// What is on the disk is older than what is in memory alone, always. On the disk, what
// is pushed is written by Run, all that came meanwhile at once, and can be taken when
// it is there. In memory, what an earlier start or deployment left on the disk goes
// first. When the disk fails, what need not be on it stays in memory, and is sent.
type Queue struct {
	spool  Spool // nil is none
	logger *slog.Logger
	// ready has an element when there may be something to take, work when there may
	// be something to write.
	ready, work chan struct{}

	mu sync.Mutex
	// onDisk says where what is pushed goes; limit bounds the bytes, once it is set.
	onDisk bool
	limit  int64
	bound  bool
	// known says that what is on the disk is known, failing that the disk was of no
	// use when it was last tried, until retry.
	known, failing bool
	retry          time.Time
	ended          bool

	// file is what is on the disk, with what is settled and not yet removed there.
	// front are the oldest of it as far as they are in memory, up to the number
	// read; what has higher numbers is yet to be read.
	file    store.Queued
	front   []*entry
	read    uint64
	settled []reference
	since   time.Time // of the first of settled

	// tail is what is in memory alone.
	tail      []*entry
	tailBytes int64
	// flying are in flight, suspects were when the cloud ended the connection: each goes
	// alone until it is known which of them it was.
	flying, suspects []*entry
	serial           uint64
	dropped          uint64
}

// entry is a message of the queue.
type entry struct {
	Message
	// serial is like no other's since the start; number is that on the disk, 0 if it
	// is not there.
	serial, number uint64
	// strict says that it is of no use if it cannot be put on the disk; taken has
	// not been called if it is not nil.
	strict bool
	taken  func(error)
	// free says that it may be sent though it is in memory alone, writing that it is
	// on its way to the disk, done that it was sent meanwhile, or gave way.
	free, writing, done bool
	// flying says that it is in flight. The cloud has ended the connection at it so many
	// times, the first at since.
	flying bool
	closes int
	since  time.Time
}

// reference is a message on the disk.
type reference struct {
	number uint64
	size   int64
}

// NewQueue makes a queue in memory, of DefaultMaxBytes. What an earlier start left in
// the spool, which may be nil, goes first.
func NewQueue(spool Spool, logger *slog.Logger) *Queue {
	q := &Queue{
		spool: spool, logger: logger, limit: DefaultMaxBytes,
		ready: make(chan struct{}, 1), work: make(chan struct{}, 1),
	}
	there := false
	if spool != nil {
		var err error
		if there, err = spool.Exists(); err != nil {
			q.fail(err)
		}
	}
	q.known = !there
	signal(q.work)
	return q
}

// Set says whether what is pushed from now on goes to the disk, and how large the
// queue may be, in bytes. Nothing is lost by a change from one to the other.
func (q *Queue) Set(onDisk bool, limit int64) {
	q.mu.Lock()
	q.onDisk, q.limit, q.bound = onDisk && q.spool != nil, limit, true
	after := q.shrink()
	q.mu.Unlock()
	after()
	signal(q.work)
}

// Push adds a message without waiting. taken is called once, from any goroutine, maybe
// before Push returns: with nil when the message is in the queue, on the disk if it goes
// there; with why it is not, otherwise. If the disk fails, a strict message is dropped;
// another one is in memory then.
func (q *Queue) Push(m Message, strict bool, taken func(error)) {
	q.mu.Lock()
	if q.ended {
		q.mu.Unlock()
		taken(ErrEnded)
		return
	}
	q.serial++
	e := &entry{Message: m, serial: q.serial, strict: strict}
	q.tail = append(q.tail, e)
	q.tailBytes += m.Size()
	onDisk := q.onDisk
	if onDisk {
		e.taken = taken
	} else {
		e.free = true
	}
	after := q.shrink()
	q.mu.Unlock()
	after()
	if onDisk {
		signal(q.work)
		return
	}
	taken(nil)
	signal(q.ready)
}

// Take marks the oldest message that is not in flight as being so and gives it, with a
// number that no other message has had since the start; false when there is none that may
// be sent now.
func (q *Queue) Take() (m Message, number uint64, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.choose()
	if e == nil {
		return Message{}, 0, false
	}
	e.flying = true
	q.flying = append(q.flying, e)
	return e.Message, e.serial, true
}

// choose gives the message to send, nil if there is none; mu is held.
func (q *Queue) choose() *entry {
	if !q.known && !q.failing || len(q.flying) >= maxFlights {
		return nil
	}
	q.suspects = slices.DeleteFunc(q.suspects, func(e *entry) bool { return e.done })
	if len(q.suspects) > 0 {
		if len(q.flying) > 0 {
			return nil
		}
		return q.suspects[0]
	}
	e, all := q.candidate(q.front)
	if e == nil && all && q.read < q.file.Newest {
		if !q.load() {
			return nil
		}
		e, all = q.candidate(q.front)
	}
	if e != nil || !all || q.read < q.file.Newest {
		return e
	}
	e, _ = q.candidate(q.tail)
	return e
}

// candidate is the first of a list that is not in flight, if it may be beside those that
// are; mu is held. all says that the whole list is in flight.
func (q *Queue) candidate(list []*entry) (e *entry, all bool) {
	i := slices.IndexFunc(list, func(e *entry) bool { return !e.flying })
	if i < 0 {
		return nil, true
	}
	bytes := list[i].Size()
	for _, e := range q.flying {
		bytes += e.Size()
	}
	if list[i].number == 0 && !list[i].free || len(q.flying) > 0 && bytes > maxFlightBytes {
		return nil, false
	}
	return list[i], true
}

// load takes the oldest messages from the disk into memory, and reports whether that
// went well; mu is held. What has been written and not noted yet stays where it is:
// written takes it over. A disk that fails is left alone until it is tried again.
func (q *Queue) load() bool {
	if q.failing && time.Now().Before(q.retry) {
		return false
	}
	list, err := q.spool.Read(context.Background(), q.read, ahead)
	if err != nil {
		q.fail(err)
		signal(q.work) // it is tried again
		return false
	}
	for _, each := range list {
		if each.Number > q.file.Newest {
			break
		}
		q.serial++
		q.front = append(q.front, &entry{Message: each.Message, serial: q.serial, number: each.Number})
		q.read = each.Number
	}
	if len(q.front) == 0 {
		// They gave way, or the file was damaged: write will know.
		q.read, q.known = q.file.Newest, false
		signal(q.work)
		return false
	}
	return true
}

// Settle ends the flight of a message that is done with.
func (q *Queue) Settle(number uint64) {
	q.mu.Lock()
	if i := slices.IndexFunc(q.flying, func(e *entry) bool { return e.serial == number }); i >= 0 {
		e := q.flying[i]
		q.flying, e.flying = slices.Delete(q.flying, i, i+1), false
		q.remove(e)
	}
	after := q.shrink()
	q.mu.Unlock()
	after()
	signal(q.ready)
}

// Ground ends all flights; the messages stay. If the cloud has ended the connection at
// them they go alone the next time, and one that was alone is given up when that has
// happened too often, over such a time.
func (q *Queue) Ground(blamed bool, insist time.Duration) (given *Message, attempts int) {
	q.mu.Lock()
	grounded := q.flying
	q.flying = nil
	for _, e := range grounded {
		e.flying = false
	}
	if blamed && len(grounded) == 1 {
		e := grounded[0]
		if e.closes++; e.closes == 1 {
			e.since = time.Now()
		}
		if attempts = e.closes; attempts >= maxClosesInFlight && time.Since(e.since) >= insist {
			given = &e.Message
			q.remove(e)
		}
	}
	if blamed && len(q.suspects) == 0 {
		q.suspects = grounded
	}
	after := q.shrink()
	q.mu.Unlock()
	after()
	signal(q.ready)
	return given, attempts
}

// remove takes out a message that is done with; mu is held.
func (q *Queue) remove(e *entry) {
	e.done = true
	if e.number == 0 {
		if i := slices.Index(q.tail, e); i >= 0 {
			q.drop(i)
		}
		return
	}
	if i := slices.Index(q.front, e); i >= 0 {
		q.front = slices.Delete(q.front, i, i+1)
	}
	q.settle(e)
}

// settle has a message removed from the disk, with others; mu is held.
func (q *Queue) settle(e *entry) {
	if len(q.settled) == 0 {
		q.since = time.Now()
	}
	q.settled = append(q.settled, reference{e.number, e.Size()})
	signal(q.work)
}

// drop takes a message out of the tail; mu is held.
func (q *Queue) drop(i int) {
	q.tailBytes -= q.tail[i].Size()
	if i == 0 {
		q.tail[0] = nil
		q.tail = q.tail[1:]
	} else {
		q.tail = slices.Delete(q.tail, i, i+1)
	}
}

// Waiting are how many messages there are and how large they are together, and how
// many gave way since the start.
func (q *Queue) Waiting() (messages int, bytes int64, dropped uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	messages, bytes = q.stored()
	return messages + len(q.tail), bytes + q.tailBytes, q.dropped
}

// stored is how much is on the disk; mu is held.
func (q *Queue) stored() (messages int, bytes int64) {
	messages, bytes = q.file.Messages-len(q.settled), q.file.Bytes
	for _, r := range q.settled {
		bytes -= r.size
	}
	return messages, bytes
}

// inMemory is how many are in memory alone.
func (q *Queue) inMemory() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.tail)
}

// shrink has the oldest in memory give way until the rest fits, and what is on the disk
// by write; mu is held. What it returns is to be called without mu.
func (q *Queue) shrink() func() {
	if q.over() {
		signal(q.work)
	}
	most := q.limit
	switch {
	case q.onDisk && q.failing:
		most = min(most, DefaultMaxBytes)
	case q.onDisk:
		most = DefaultMaxBytes // a disk that is slow must not fill the memory
	}
	var refused []func(error)
	gone := 0
	for i := 0; q.tailBytes > most && i < len(q.tail); {
		e := q.tail[i]
		if e.flying || e.writing {
			i++
			continue
		}
		if e.taken != nil {
			refused = append(refused, e.taken)
			e.taken = nil
		}
		e.done = true
		q.drop(i)
		gone++
	}
	if gone == 0 {
		return func() {}
	}
	q.dropped += uint64(gone)
	all := q.dropped
	return func() {
		for _, taken := range refused {
			taken(ErrSlowDisk)
		}
		q.warnFull(gone, all)
	}
}

// over reports whether messages on the disk are to give way; mu is held.
func (q *Queue) over() bool {
	n, bytes := q.stored()
	for _, e := range q.flying {
		if e.number != 0 {
			n-- // it gives way to none
		}
	}
	return q.bound && n > 0 && bytes+q.tailBytes > q.limit
}

func (q *Queue) warnFull(gone int, all uint64) {
	q.logger.Warn("The queue to the cloud is full; the oldest messages were dropped.",
		slog.Int("messages", gone), slog.Uint64("droppedMessageCount", all))
}

// fail notes that the disk is of no use for now; mu is held.
func (q *Queue) fail(err error) {
	if !q.failing {
		q.logger.Error("Messages for the cloud cannot be kept on the disk; those that need not be are kept in memory.", slog.String("errorString", err.Error()))
	}
	q.failing, q.retry = true, time.Now().Add(spoolRetry)
}
