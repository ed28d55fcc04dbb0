package sandbox

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// killTime is how long what came of a process may take to end when it is killed.
// What hangs in the kernel does not end.
const killTime = 5 * time.Second

// victim is a process that was killed. Its number may be given to another once it
// is gone, but not with the same start.
type victim struct {
	pid   int
	start uint64
}

func (v victim) alive() bool {
	s, err := readStat(v.pid)
	return err == nil && s.start == v.start && s.alive()
}

// killAll kills those of some processes that live, but never this program, and
// gives them.
func killAll(list map[int]stat, some map[int]bool) ([]victim, error) {
	var killed []victim
	for pid := range some {
		if pid <= 1 || pid == os.Getpid() || !list[pid].alive() {
			continue
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err == nil {
			killed = append(killed, victim{pid, list[pid].start})
		} else if !errors.Is(err, syscall.ESRCH) {
			return killed, fmt.Errorf("kill process %d: %w", pid, err)
		}
	}
	return killed, nil
}

// untilGone repeats a round of killing until it finds nothing and all that it found
// before is gone, for at most killTime. It gives the numbers of what is left.
func untilGone(kill func() ([]victim, error)) (left []int, err error) {
	var killed []victim
	err = poll(func() (bool, error) {
		more, err := kill()
		killed = slices.DeleteFunc(append(killed, more...), func(v victim) bool { return !v.alive() })
		return len(more) == 0 && len(killed) == 0, err
	})
	for _, v := range killed {
		left = append(left, v.pid)
	}
	slices.Sort(left)
	return slices.Compact(left), err
}

// poll asks with growing pauses until the answer is yes, for at most killTime.
func poll(done func() (bool, error)) error {
	deadline := time.Now().Add(killTime)
	pause := time.Millisecond
	for {
		if yes, err := done(); yes || err != nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(pause)
		pause = min(2*pause, 50*time.Millisecond)
	}
}

// clean ends what carries the sandbox's name from an earlier run.
func (s *Sandbox) clean() error {
	said := make(map[victim]bool)
	left, err := untilGone(func() ([]victim, error) {
		list, err := processes()
		if err != nil {
			return nil, err
		}
		some := make(map[int]bool)
		for pid := range list {
			if strings.HasPrefix(mark(pid), s.id+"/") || inCgroupOf(pid, s.id) {
				some[pid] = true
			}
		}
		withDescendants(list, some)
		killed, err := killAll(list, some)
		for _, v := range killed {
			if !said[v] {
				said[v] = true
				s.logger.Warn("Ended a process that an earlier run left behind.", slog.Int("pid", v.pid))
			}
		}
		return killed, err
	})
	if err == nil && len(left) > 0 {
		s.logger.Error("Processes of an earlier run do not end, even when killed.", slog.Any("pids", left))
	}
	return err
}
