package sandbox

import (
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOnOwnThread: many at a time, so that some goroutine of theirs comes to lie on the
// main thread.
func TestOnOwnThread(t *testing.T) {
	const callers, calls = 8, 50
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for range calls {
				tid := 0
				onOwnThread(func() { tid = unix.Gettid() })
				if tid == 0 || tid == unix.Getpid() {
					t.Errorf("it ran on thread %d of process %d", tid, unix.Getpid())
					return
				}
			}
		})
	}
	all.Wait()
}
