package lifecycle

import (
	"fmt"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core/invoke"
)

// shares divide the room of the work queue, so that neither one function nor one
// caller fills it for all others. Each bound grows and shrinks with what is
// free:
//
//   - a function may have as much waiting as is free;
//   - so may a caller, but for the cloud, which speaks for many;
//   - what one caller has waiting with one function may be as much as is still
//     free for that function.
//
// So one caller of one function gets a third of all, one function or one caller
// a half, and with more of them each gets less. Beside that each function has a
// little to itself, however many others never work off what they have.
type shares struct {
	// room is what there is for all, own what each function has beside it.
	room, own usage
	used      usage
	by        map[share]usage
}

// usage is an amount of work: items that wait, and bytes of payloads that wait
// or are being worked on.
type usage struct {
	items int
	bytes int64
}

// What each function has to itself where the whole is not smaller.
const (
	ownItems = 8
	ownBytes = 128 << 10
)

func (u usage) plus(v usage) usage  { return usage{u.items + v.items, u.bytes + v.bytes} }
func (u usage) minus(v usage) usage { return usage{u.items - v.items, u.bytes - v.bytes} }

// share is whose part is counted: of a function, of a caller, or of both
// together.
type share struct{ function, caller string }

func (u usage) below(v usage) bool { return u.items < v.items && u.bytes < v.bytes }

// queueFactor is how many times as many items the whole queue holds as one
// caller may have waiting with one function.
const queueFactor = 3

func newShares(items int, bytes int64) *shares {
	return &shares{
		room: usage{items * queueFactor, bytes},
		own:  usage{min(items, ownItems), min(bytes/queueFactor, ownBytes)},
		by:   make(map[share]usage),
	}
}

// check says whether one more item of some size can be queued.
func (s *shares) check(function, caller string, size int64) error {
	if size > s.room.bytes {
		return fmt.Errorf("%w: %d bytes, all queues together hold %d", invoke.ErrTooLarge, size, s.room.bytes)
	}
	free := s.room.minus(s.used)
	ofFunction, ofCaller, ofBoth := s.by[share{function: function}], s.by[share{caller: caller}], s.by[share{function, caller}]
	switch {
	case ofFunction.items < s.own.items && ofFunction.bytes+size <= s.own.bytes:
		return nil
	case free.items < 1 || free.bytes < size:
		return fmt.Errorf("%w: it holds %d items with %d bytes; raise runtime.maxWorkItemCount or publish more slowly",
			invoke.ErrQueueFull, s.used.items, s.used.bytes)
	case !ofFunction.below(free):
		return fullShare(function, ofFunction)
	case caller != fescue.CloudEndpoint && !ofCaller.below(free):
		return fullShare(caller, ofCaller)
	case !ofBoth.below(free.minus(ofFunction)):
		return fullShare(caller+" in the queue of "+function, ofBoth)
	}
	return nil
}

func fullShare(whose string, used usage) error {
	return fmt.Errorf("%w: the share of %s holds %d items with %d bytes; publish more slowly, or raise runtime.maxWorkItemCount",
		invoke.ErrQueueFull, whose, used.items, used.bytes)
}

// add counts work that comes, or that goes when it is negative.
func (s *shares) add(function, caller string, more usage) {
	s.used = s.used.plus(more)
	for _, whose := range []share{{function: function}, {caller: caller}, {function, caller}} {
		if now := s.by[whose].plus(more); now == (usage{}) {
			delete(s.by, whose)
		} else {
			s.by[whose] = now
		}
	}
}
