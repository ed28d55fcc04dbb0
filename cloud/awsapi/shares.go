package awsapi

import (
	"context"
	"errors"
	"sync"
	"time"
)

// shares divides something that there is so much of among holders, none of which
// may have more than its part. The zero value is ready.
type shares struct {
	mu      sync.Mutex
	all     int64
	of      map[string]int64
	waiting map[string]int
	// freed is closed when something was given back.
	freed chan struct{}
}

// take takes n, if holder then has no more than forOne and all have no more than
// forAll.
func (s *shares) take(holder string, n, forOne, forAll int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.takeLocked(holder, n, forOne, forAll)
}

func (s *shares) takeLocked(holder string, n, forOne, forAll int64) bool {
	if s.of[holder]+n > forOne || s.all+n > forAll {
		return false
	}
	if s.of == nil {
		s.of, s.waiting, s.freed = make(map[string]int64), make(map[string]int), make(chan struct{})
	}
	s.all += n
	s.of[holder] += n
	return true
}

// give gives back what was taken.
func (s *shares) give(holder string, n int64) {
	if n == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all -= n
	if s.of[holder] -= n; s.of[holder] == 0 {
		delete(s.of, holder)
	}
	close(s.freed)
	s.freed = make(chan struct{})
}

// shareWait is how long something is waited for.
const shareWait = 50 * time.Second

var errNoShare = errors.New("no share is free")

// wait is take that waits, with at most so many others of the holder.
func (s *shares) wait(ctx context.Context, holder string, n, forOne, forAll int64, waiters int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.takeLocked(holder, n, forOne, forAll) {
		return nil
	}
	if s.waiting[holder] >= waiters {
		return errNoShare
	}
	s.waiting[holder]++
	defer func() {
		if s.waiting[holder]--; s.waiting[holder] == 0 {
			delete(s.waiting, holder)
		}
	}()
	patience := time.NewTimer(shareWait)
	defer patience.Stop()
	for {
		freed := s.freed
		s.mu.Unlock()
		var err error
		select {
		case <-freed:
		case <-patience.C:
			err = errNoShare
		case <-ctx.Done():
			err = ctx.Err()
		}
		s.mu.Lock()
		if err != nil {
			return err
		}
		if s.takeLocked(holder, n, forOne, forAll) {
			return nil
		}
	}
}

// reservation is room on the disk for what is still to be written there.
type reservation struct {
	mu  sync.Mutex
	sum int64
}

// check asks space whether there is room for bytes beside all that is reserved; nil
// knows no bound.
func (r *reservation) check(n int64, space func(int64) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.checkLocked(n, space)
}

func (r *reservation) checkLocked(n int64, space func(int64) error) error {
	if space == nil {
		return nil
	}
	return space(r.sum + n)
}

// reserve reserves bytes, if there is room for them.
func (r *reservation) reserve(n int64, space func(int64) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.checkLocked(n, space)
	if err == nil {
		r.sum += n
	}
	return err
}

// release gives back what was reserved.
func (r *reservation) release(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sum -= n
}
