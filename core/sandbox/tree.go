package sandbox

import (
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tree follows processes where there are no control groups. The core is made the
// parent of every orphan among its descendants. Whose an orphan is, its session
// says, or the mark in its environment. One that has neither goes with the last
// process that can have been its ancestor.
type tree struct {
	id     string
	ended  chan os.Signal
	reaper sync.WaitGroup
}

func newTree(id string) (tracker, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("become the parent of orphans: %w", err)
	}
	t := &tree{id: id, ended: make(chan os.Signal, 1)}
	signal.Notify(t.ended, syscall.SIGCHLD)
	t.reaper.Go(func() {
		for range t.ended {
			// A list of processes that cannot be read is read again at the next end.
			_ = reap()
		}
	})
	return t, nil
}

// place implements tracker: descent is all that is needed.
func (t *tree) place(string, *syscall.SysProcAttr) (func() error, error) {
	return func() error { return nil }, nil
}

// kill implements tracker.
func (t *tree) kill(id string, ended int) ([]victim, error) {
	children.mu.Lock()
	defer children.mu.Unlock()
	list, err := processes()
	if err != nil {
		return nil, err
	}
	some := make(map[int]bool)
	for pid, s := range list {
		if pid != ended && (s.session == ended || orphan(list, pid) && t.owns(list, pid, id, ended)) {
			some[pid] = true
		}
	}
	withDescendants(list, some)
	return killAll(list, some)
}

// owns says whether an orphan came of a process that has ended. children.mu is
// held.
func (t *tree) owns(list map[int]stat, pid int, id string, ended int) bool {
	owner := mark(pid)
	for range 3 {
		if owner != "" {
			return owner == t.id+"/"+id
		}
		// It may be between two programs, when it has no environment for a moment.
		time.Sleep(time.Millisecond)
		owner = mark(pid)
	}
	return lastAncestor(list, pid, ended)
}

// orphan says whether a process came to this program as its parent died: all that
// sandboxes start has left the program's own session. children.mu is held.
func orphan(list map[int]stat, pid int) bool {
	self := os.Getpid()
	return list[pid].parent == self && !children.pids[pid] && list[pid].session != list[self].session
}

// lastAncestor says whether of all processes that an orphan can descend from only
// the given one is left: those that are older than it. children.mu is held.
func lastAncestor(list map[int]stat, pid, ended int) bool {
	if list[ended].start > list[pid].start {
		return false
	}
	for child := range children.pids {
		if s, there := list[child]; child != ended && there && s.start <= list[pid].start {
			return false
		}
	}
	return true
}

// reap takes the orphans that have ended off the kernel's list.
func reap() error {
	children.mu.Lock()
	defer children.mu.Unlock()
	list, err := processes()
	if err != nil {
		return err
	}
	for pid, s := range list {
		if !s.alive() && orphan(list, pid) {
			// Nobody wants to know how it ended.
			_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
		}
	}
	return nil
}

// release implements tracker: what was killed is reaped as it ends.
func (t *tree) release(string) error { return nil }

// close implements tracker.
func (t *tree) close() error {
	signal.Stop(t.ended)
	close(t.ended)
	t.reaper.Wait()
	return nil
}
