package sandbox

import (
	"context"
	"errors"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// spawner starts processes from one thread that lives as long as it does. The
// kernel's "kill me when my parent dies" means the thread, and Go ends threads
// as it likes.
type spawner struct {
	requests chan func()
	done     chan struct{}
	close    func()
}

func newSpawner() *spawner {
	s := &spawner{requests: make(chan func()), done: make(chan struct{})}
	s.close = sync.OnceFunc(func() { close(s.requests) })
	go func() {
		defer close(s.done)
		runtime.LockOSThread()
		// Unlocked at the end, so that the thread goes on: if a process could
		// not be ended it should not be torn down in the middle of a core that
		// merely stops.
		defer runtime.UnlockOSThread()
		for request := range s.requests {
			request()
		}
	}()
	return s
}

// start runs fork on the thread.
func (s *spawner) start(ctx context.Context, fork func() error) error {
	result := make(chan error, 1)
	select {
	case s.requests <- func() { result <- fork() }:
		return <-result
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// stop waits for the thread; no start may follow or be under way.
func (s *spawner) stop() {
	s.close()
	<-s.done
}

// children are the processes that this program started through sandboxes and has
// not waited for. It is one list for the program, as the kernel's is: an orphan
// that comes to the program as its child must be distinguished from all of them,
// whichever sandbox each belongs to.
var children = childList{pids: make(map[int]bool)}

type childList struct {
	mu   sync.Mutex
	pids map[int]bool
}

// start starts a command that inherits nothing but what it is given.
func (l *childList) start(cmd *exec.Cmd) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := closeOnExec(); err != nil {
		return err
	}
	err := cmd.Start()
	if err == nil {
		l.pids[cmd.Process.Pid] = true
	}
	return err
}

// wait waits for a command that has ended or is about to.
func (l *childList) wait(cmd *exec.Cmd) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer delete(l.pids, cmd.Process.Pid)
	return cmd.Wait()
}

// closeOnExec keeps every open descriptor of this program from the programs that
// it starts. Go's own are so from the beginning; those that the program was
// started with are not.
func closeOnExec() error {
	const first = 3
	err := unix.CloseRange(first, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	if !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EPERM) {
		return err
	}
	// Before Linux 5.11, or where a filter does not know the call.
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd >= first {
			// The descriptor of the listing itself is gone already.
			_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC)
		}
	}
	return nil
}
