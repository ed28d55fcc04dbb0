package cloudlink

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/fescue-edge/fescue/core/store"
)

// run writes to the disk what is to be there, until ctx ends, then the rest. Without a
// spool there is nothing to do.
func (q *Queue) run(ctx context.Context) {
	defer q.end()
	if q.spool == nil {
		<-ctx.Done()
		return
	}
	pause := time.NewTimer(0)
	defer pause.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-q.work:
		case <-pause.C:
		}
		for q.write(false) {
		}
		pause.Reset(q.next())
	}
	for q.write(true) {
	}
}

// end refuses what comes from now on, and what has not been written.
func (q *Queue) end() {
	q.mu.Lock()
	q.ended = true
	left := q.tail
	q.mu.Unlock()
	for _, e := range left {
		q.resolve(e, ErrEnded)
	}
}

// resolve calls an entry's taken, once.
func (q *Queue) resolve(e *entry, err error) {
	q.mu.Lock()
	taken := e.taken
	e.taken = nil
	q.mu.Unlock()
	if taken != nil {
		taken(err)
	}
}

// next is how long nothing need be written, if nothing comes.
func (q *Queue) next() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.failing:
		return max(time.Until(q.retry), time.Millisecond)
	case len(q.settled) > 0:
		return max(time.Until(q.since.Add(settledPause)), time.Millisecond)
	}
	return time.Hour
}

// write does one transaction, if there is something to do, and reports whether there
// may be more. At the end everything is due.
func (q *Queue) write(end bool) (more bool) {
	q.mu.Lock()
	batch, change, due := q.plan(end)
	q.mu.Unlock()
	if !due {
		return false
	}
	now, err := q.spool.Apply(context.Background(), change)
	q.mu.Lock()
	if err != nil {
		q.fail(err)
		q.notWritten(batch)
	} else {
		q.written(batch, change, now)
	}
	dropped := q.dropped
	q.mu.Unlock()
	for _, e := range batch {
		if e.strict {
			q.resolve(e, err)
		} else {
			q.resolve(e, nil) // it is in memory
		}
	}
	if now.GaveWay > 0 {
		q.warnFull(now.GaveWay, dropped)
	}
	signal(q.ready)
	return err == nil
}

// unbounded is the room while no limit is known: what an earlier start left does not
// give way before the deployment says how much it may be.
const unbounded = math.MaxInt64

// plan is what is to be written now; mu is held. Without a use for it no file is made.
// A disk that failed is tried, with nothing to write too: there may be something to read.
func (q *Queue) plan(end bool) (batch []*entry, c store.Change, due bool) {
	try := !q.failing || end || !time.Now().Before(q.retry)
	c.Room = unbounded
	if q.bound {
		c.Room = q.limit - q.tailBytes
	}
	size := int64(0)
	for _, e := range q.tail[:min(q.wanted(try), batchMessages)] {
		if size += e.Size(); size > batchBytes && len(batch) > 0 {
			break
		}
		e.writing = true
		batch = append(batch, e)
		c.Add = append(c.Add, e.Message)
		if q.bound {
			c.Room += e.Size()
		}
	}
	for _, e := range q.flying {
		if e.number != 0 {
			c.Flying = append(c.Flying, e.number)
		}
	}
	for _, r := range q.settled {
		c.Done = append(c.Done, r.number)
	}
	removing := len(c.Done) >= settledBatch || len(c.Done) > 0 && (end || time.Since(q.since) >= settledPause)
	return batch, c, len(batch) > 0 || try && ((q.failing || !q.known) && !end || removing || q.over())
}

// wanted is how many of the tail are to go to the disk; mu is held. While the disk
// fails, only those that wait for it are reason to try.
func (q *Queue) wanted(try bool) int {
	if q.onDisk && try {
		return len(q.tail)
	}
	for i, e := range slices.Backward(q.tail) {
		if e.taken != nil {
			return i + 1
		}
	}
	return 0
}

// notWritten leaves in memory what need not be on the disk; mu is held.
func (q *Queue) notWritten(batch []*entry) {
	for _, e := range batch {
		e.writing = false
		if i := slices.Index(q.tail, e); i >= 0 && e.strict && e.taken != nil {
			q.drop(i)
		}
		e.free = true
	}
}

// written notes what is on the disk now; mu is held.
func (q *Queue) written(batch []*entry, c store.Change, now store.Queued) {
	if q.failing {
		q.failing = false
		q.logger.Info("Messages for the cloud are kept on the disk again.")
	}
	var lost []*entry
	if now.Anew {
		// What was in memory of the file that is gone can still be sent.
		lost, q.front, q.settled, q.file, q.read, q.known = q.front, nil, nil, store.Queued{}, 0, true
	} else {
		q.settled = slices.Delete(q.settled, 0, len(c.Done))
	}
	// As long as all that is on the disk is in memory, what is added stays there, too.
	complete := q.known && q.read >= q.file.Newest
	q.file, q.known, q.since = now, true, time.Now()
	held := int64(0)
	for _, e := range q.front {
		held += e.Size()
	}
	for i, e := range batch {
		e.writing, e.number = false, now.First+uint64(i)
		if e.done {
			q.settle(e)
			continue
		}
		q.drop(0)
		if held += e.Size(); complete && held <= ahead {
			q.front, q.read = append(q.front, e), e.number
		} else {
			complete = false
		}
	}
	if now.GaveWay > 0 {
		q.dropped += uint64(now.GaveWay)
		q.read = max(q.read, now.Until)
		q.front = slices.DeleteFunc(q.front, func(e *entry) bool {
			gone := e.number <= now.Until && !e.flying
			e.done = e.done || gone
			return gone
		})
	}
	for _, e := range lost {
		e.number, e.free = 0, true
		q.tailBytes += e.Size()
	}
	q.tail = append(lost, q.tail...)
}
