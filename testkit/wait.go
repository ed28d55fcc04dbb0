// Package testkit is what the tests of every package share: waiting for what another
// goroutine or process does. It knows nothing of Fescue, so that the lowest package can
// use it; what tests of some packages share lies in its subfolders, and what drives the
// built programs in package test.
package testkit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// Patience is how long a test waits for something that should happen at once, on a
// machine that may be busy. Only a test that fails waits that long.
const Patience = slowness * 60 * time.Second

// Pauses between two looks: short at first, as most of what tests wait for comes at
// once, then such that looking costs little.
const (
	firstPause = time.Millisecond
	lastPause  = 20 * time.Millisecond
)

var errNotYet = errors.New("not yet")

// Eventually waits until f returns nil; its last error fails the test.
func Eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	if err := Within(context.Background(), Patience, f); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// Within waits until f returns nil. It returns f's last error when the time is up or ctx
// has ended.
func Within(ctx context.Context, limit time.Duration, f func() error) error {
	deadline := time.Now().Add(limit)
	for pause := firstPause; ; pause = min(pause*3/2, lastPause) {
		err := f()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %s: %w", limit, err)
		}
		time.Sleep(pause)
	}
}

// Until waits for a condition that has nothing to say while it does not hold.
func Until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	Eventually(t, what, func() error {
		if condition() {
			return nil
		}
		return errNotYet
	})
}

// Receive waits for what a channel brings; of a closed one that is nothing.
func Receive[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	timeout := time.NewTimer(Patience)
	defer timeout.Stop()
	select {
	case v := <-c:
		return v
	case <-timeout.C:
		t.Fatalf("%s: not within %s", what, Patience)
		panic("unreachable")
	}
}

// Monitor is a lock on what a test shares with the code that it tests, for whose
// changes the test can wait. The zero Monitor is ready.
type Monitor struct {
	sync.Mutex
	changed chan struct{}
}

// Change calls f with the lock held and wakes whoever waits.
func (m *Monitor) Change(f func()) {
	m.Lock()
	defer m.Unlock()
	f()
	if m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
}

// Changed is closed by the next Change. The lock must be held.
func (m *Monitor) Changed() <-chan struct{} {
	if m.changed == nil {
		m.changed = make(chan struct{})
	}
	return m.changed
}

// Await waits until a condition holds, which is looked at after each Change, and from
// time to time as it may look at other things too. A test that waits in vain fails with
// what state returns. Both are called with the lock held.
func (m *Monitor) Await(t testing.TB, what string, condition func() bool, state func() string) {
	t.Helper()
	timeout := time.NewTimer(Patience)
	defer timeout.Stop()
	tick := time.NewTicker(lastPause)
	defer tick.Stop()
	for {
		m.Lock()
		ok, changed := condition(), m.Changed()
		m.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-timeout.C:
			m.Lock()
			defer m.Unlock()
			t.Fatalf("%s: not within %s; %s", what, Patience, state())
		}
	}
}
