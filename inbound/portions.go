package inbound

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Portions divides something that there is so much of among holders, such as keys,
// certificates and addresses, none of which may have more than its part. The zero
// value is ready; it must not be copied.
type Portions struct {
	mu      sync.Mutex
	all     int64
	of      map[string]int64
	waiting map[string]int
	// freed is closed when something was given back.
	freed chan struct{}
}

// Take takes n, if holder then has no more than forOne and all have no more than
// forAll.
func (p *Portions) Take(holder string, n, forOne, forAll int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.takeLocked(holder, n, forOne, forAll)
}

func (p *Portions) takeLocked(holder string, n, forOne, forAll int64) bool {
	if p.of[holder]+n > forOne || p.all+n > forAll {
		return false
	}
	if p.of == nil {
		p.of, p.waiting, p.freed = make(map[string]int64), make(map[string]int), make(chan struct{})
	}
	p.all += n
	p.of[holder] += n
	return true
}

// Give gives back what was taken.
func (p *Portions) Give(holder string, n int64) {
	if n == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all -= n
	if p.of[holder] -= n; p.of[holder] == 0 {
		delete(p.of, holder)
	}
	if len(p.waiting) > 0 {
		close(p.freed)
		p.freed = make(chan struct{})
	}
}

// portionWait is how long something is waited for.
const portionWait = 50 * time.Second

// ErrNoPortion means that all is taken that may be.
var ErrNoPortion = errors.New("no portion is free")

// Wait is Take that waits for a while, with at most so many others of the holder.
// Its error is the context's, or ErrNoPortion.
func (p *Portions) Wait(ctx context.Context, holder string, n, forOne, forAll int64, waiters int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.takeLocked(holder, n, forOne, forAll) {
		return nil
	}
	if p.waiting[holder] >= waiters {
		return ErrNoPortion
	}
	p.waiting[holder]++
	defer func() {
		if p.waiting[holder]--; p.waiting[holder] == 0 {
			delete(p.waiting, holder)
		}
	}()
	timeout := time.NewTimer(portionWait)
	defer timeout.Stop()
	for {
		freed := p.freed
		p.mu.Unlock()
		var err error
		select {
		case <-freed:
		case <-timeout.C:
			err = ErrNoPortion
		case <-ctx.Done():
			err = ctx.Err()
		}
		p.mu.Lock()
		if err != nil {
			return err
		}
		if p.takeLocked(holder, n, forOne, forAll) {
			return nil
		}
	}
}
