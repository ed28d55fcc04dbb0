package broker

import (
	"math"
	"slices"
	"sort"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"
)

// tally is how much of the stream of messages each partition has. It follows what is read
// of the stream; what is removed by others it learns when the stream begins later, so it
// may count what is gone, always as the oldest of its partition, and never too little. A part
// counts until all of it is gone; no message is added to one of which some is, so that of a
// partition that is quiet nothing counts for longer than twice as long as messages are kept.
type tally struct {
	// most is what all may have, partition what one may; 0 for no bound of its own.
	most, partition int64
	// grain is how large a part of a partition's messages is counted as one.
	grain int64

	mu     sync.Mutex
	spaces map[space]*account
	total  int64
	// whole is set when what was there at the start, so many bytes, has been counted.
	whole bool
	stock int64
	// flying is what is on its way to the stream from here, or there and not counted yet,
	// flyingAll all of it; landed is the latter, and read the last message that was counted.
	flying    map[space]int64
	flyingAll int64
	landed    []flight
	read      uint64
	// less is closed when there is less of something, for those that wait for it.
	less    chan struct{}
	waiting int
}

// account is what one partition has, or one session is to get: parts that follow each other.
type account struct {
	parts []part
	bytes int64
	// full is set when the next message begins a part, however small the newest is.
	full bool
}

// part is some messages that follow each other in the stream, with others between.
type part struct {
	first, last uint64
	messages    int64
	bytes       int64
}

// flight is what is in the stream and not counted yet.
type flight struct {
	seq  uint64
	in   space
	size int64
}

func newTally(most, partition int64) *tally {
	return &tally{most: most, partition: partition, grain: max(most/1024, 1), spaces: map[space]*account{}, flying: map[space]int64{}, less: make(chan struct{})}
}

// add counts a message, which is later than all before.
func (a *account) add(seq uint64, size, grain int64) {
	a.bytes += size
	if n := len(a.parts); n > 0 && a.parts[n-1].bytes < grain && !a.full {
		p := &a.parts[n-1]
		p.last, p.messages, p.bytes = seq, p.messages+1, p.bytes+size
		return
	}
	a.parts, a.full = append(a.parts, part{seq, seq, 1, size}), false
}

// beyond is up to where messages have to go until no more than most bytes are left, and how
// many they are. The newest part stays, whose last messages have only just come: that may be a
// grain too much.
func (a *account) beyond(most int64) (upTo uint64, messages int64) {
	left := a.bytes
	for _, p := range a.parts[:max(len(a.parts)-1, 0)] {
		if left <= most {
			break
		}
		left -= p.bytes
		upTo, messages = p.last, messages+p.messages
	}
	return upTo, messages
}

// drop forgets the parts that end at a place or before.
func (a *account) drop(upTo uint64) (bytes int64) {
	n := 0
	for n < len(a.parts) && a.parts[n].last <= upTo {
		bytes += a.parts[n].bytes
		n++
	}
	a.bytes -= bytes
	a.parts = slices.Delete(a.parts, 0, n)
	return bytes
}

// count adds a message of a partition. It reports whether somebody has too much now.
func (t *tally) count(in space, seq uint64, size int64) (tooMuch bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.spaces[in]
	if a == nil {
		a = &account{}
		t.spaces[in] = a
	}
	a.add(seq, size, t.grain)
	t.total += size
	t.read = seq
	for len(t.landed) > 0 && t.landed[0].seq <= seq {
		t.grounded(t.landed[0].in, t.landed[0].size)
		t.landed = t.landed[1:]
	}
	return t.whole && t.over(a)
}

// mark is where the largest partition begins to give way, so much below the bound at which
// the stream drops the oldest messages of anybody.
func (t *tally) mark() int64 { return t.most / 8 * 7 }

// over reports whether a partition has more than it may, or all have and it is not alone. mu is
// held.
func (t *tally) over(a *account) bool {
	return t.partition > 0 && a.bytes > t.partition || t.total > t.mark() && len(t.spaces) > 1
}

// begin takes in what was there at the start.
func (t *tally) begin(with map[space]*account) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for in, old := range with {
		if a := t.spaces[in]; a != nil {
			old.parts, old.bytes = append(old.parts, a.parts...), old.bytes+a.bytes
			t.total -= a.bytes
		}
		t.spaces[in] = old
		t.total += old.bytes
	}
	t.whole = true
	t.tell()
}

// from forgets what lies before the stream's first message.
func (t *tally) from(first uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if first == 0 {
		return
	}
	for in, a := range t.spaces {
		t.drop(in, first-1)
		if n := len(a.parts); n > 0 && a.parts[n-1].first < first {
			a.full = true
		}
	}
}

// until forgets what lies behind the stream's last message.
func (t *tally) until(last uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.read = last
	for in, a := range t.spaces {
		for n := len(a.parts); n > 0 && a.parts[n-1].first > last; n-- {
			a.bytes -= a.parts[n-1].bytes
			t.total -= a.parts[n-1].bytes
			a.parts = a.parts[:n-1]
		}
		if len(a.parts) == 0 {
			delete(t.spaces, in)
		}
	}
	t.tell()
}

// drop forgets what a partition has up to a place. mu is held.
func (t *tally) drop(in space, upTo uint64) {
	a := t.spaces[in]
	if a == nil || len(a.parts) == 0 || a.parts[0].last > upTo {
		return
	}
	t.total -= a.drop(upTo)
	if len(a.parts) == 0 {
		delete(t.spaces, in)
	}
	t.tell()
}

// tell wakes those that wait. mu is held.
func (t *tally) tell() {
	if t.waiting > 0 {
		close(t.less)
		t.less, t.waiting = make(chan struct{}), 0
	}
}

// send counts what a partition sends to the stream; land says where it is there, or with 0
// that it never will be.
func (t *tally) send(in space, size int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fly(in, size)
}

// fly is send. mu is held.
func (t *tally) fly(in space, size int64) {
	t.flying[in] += size
	t.flyingAll += size
}

func (t *tally) land(in space, seq uint64, size int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if seq > t.read {
		t.landed = append(t.landed, flight{seq, in, size})
		return
	}
	t.grounded(in, size)
}

// grounded takes away what flew. mu is held.
func (t *tally) grounded(in space, size int64) {
	if t.flying[in] -= size; t.flying[in] == 0 {
		delete(t.flying, in)
	}
	t.flyingAll -= size
	t.tell()
}

// remove forgets what was removed of a partition.
func (t *tally) remove(in space, upTo uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(in, upTo)
}

// tight is the partition that has to give way now, from where and up to where; ok is false
// when none has to. Up to alone there are no messages of others.
func (t *tally) tight() (in space, from, upTo, alone uint64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.whole {
		return "", 0, 0, 0, false
	}
	var largest *account
	var second int64
	for name, a := range t.spaces {
		if t.partition > 0 && a.bytes > t.partition {
			upTo, _ = a.beyond(t.partition / 16 * 15)
		}
		switch {
		case upTo > 0:
			in, largest = name, a
		case largest == nil || a.bytes > largest.bytes:
			if largest != nil {
				second = largest.bytes
			}
			in, largest = name, a
		default:
			second = max(second, a.bytes)
		}
		if upTo > 0 {
			break
		}
	}
	if upTo == 0 && t.total > t.mark() && len(t.spaces) > 1 {
		// No further than to the next one, which then gives way in turn.
		upTo, _ = largest.beyond(max(largest.bytes-(t.total-t.most/16*13), min(second, largest.bytes-t.grain)))
	}
	if upTo == 0 {
		return "", 0, 0, 0, false
	}
	alone = upTo
	for name, a := range t.spaces {
		if name != in && len(a.parts) > 0 {
			alone = min(alone, a.parts[0].first-1)
		}
	}
	return in, largest.parts[0].first, upTo, alone, true
}

// counted reports whether what was there at the start has been.
func (t *tally) counted() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.whole
}

// after is how much a partition has behind a place, at most.
func (t *tally) after(in space, seq uint64) (bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.spaces[in]
	switch {
	case a == nil && t.whole:
		return 0
	case !t.whole && (a == nil || len(a.parts) == 0 || seq < a.parts[0].first):
		return math.MaxInt64
	}
	first := sort.Search(len(a.parts), func(i int) bool { return a.parts[i].last > seq })
	for _, p := range a.parts[first:] {
		bytes += p.bytes
	}
	return bytes
}

// reserve counts what a partition is about to send to the stream, as send does, unless the
// partition has to give way before it may have more. Then it gives a channel that is closed when
// there is less of something.
func (t *tally) reserve(in space, size int64) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.crowded(in) {
		t.waiting++
		return t.less
	}
	t.fly(in, size)
	return nil
}

// refuses reports whether a partition is known to have to give way before it may have more.
func (t *tally) refuses(in space) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.whole && t.crowded(in)
}

// crowded reports whether a partition has to give way. mu is held.
func (t *tally) crowded(in space) bool {
	if !t.whole { // nobody knows who has too much
		return t.stock+t.total+t.flyingAll > t.most/16*15
	}
	has, all, others := t.flying[in], t.total+t.flyingAll, len(t.spaces)
	if a := t.spaces[in]; a != nil {
		has += a.bytes
		others--
	}
	return t.partition > 0 && has > t.partition+t.partition/8+2*t.grain || all > t.most/16*15 && others > 0 && has > all/int64(others+1)
}

// storedSize is what a message takes in nats-server's store (fileStoreMsgSizeRaw of
// nats-server 2.15): for one that came without its payload, that says how large it is.
func storedSize(subject string, header nats.Header, payload int) int64 {
	if n, err := strconv.Atoi(header.Get(nats.MsgSize)); err == nil {
		payload = n
	}
	size := int64(30 + len(subject) + payload)
	lines := 0
	for name, values := range header {
		if name != nats.MsgSize {
			for _, v := range values {
				lines += len(name) + len(v) + 4
			}
		}
	}
	if lines > 0 {
		size += int64(4 + 12 + lines)
	}
	return size
}
