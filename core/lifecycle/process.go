package lifecycle

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// spawner starts processes from one thread that lives as long as it does. The
// kernel's "kill me when my parent dies" means the thread, and Go ends threads
// as it likes.
type spawner struct {
	requests chan spawnRequest
	done     chan struct{}
	close    func()
}

type spawnRequest struct {
	cmd    *exec.Cmd
	result chan error
}

func newSpawner() *spawner {
	s := &spawner{requests: make(chan spawnRequest), done: make(chan struct{})}
	s.close = sync.OnceFunc(func() { close(s.requests) })
	go func() {
		defer close(s.done)
		runtime.LockOSThread()
		// Unlocked at the end, so that the thread goes on: if a process could
		// not be ended it should not be torn down in the middle of a core that
		// merely stops.
		defer runtime.UnlockOSThread()
		for request := range s.requests {
			request.result <- request.cmd.Start()
		}
	}()
	return s
}

func (s *spawner) start(cmd *exec.Cmd) error {
	result := make(chan error, 1)
	s.requests <- spawnRequest{cmd, result}
	return <-result
}

// stop waits for the thread; no start may follow or be under way.
func (s *spawner) stop() {
	s.close()
	<-s.done
}

// process is a running function: a process group and its log pipes.
type process struct {
	cmd   *exec.Cmd
	pid   int
	pipes []*os.File
	lines sync.WaitGroup
}

// startProcess runs a command in a process group of its own. sink gets each
// line of output with the index of its pipe in logFDs.
func (s *Supervisor) startProcess(f *Function, c command, token string, sink func(pipe int, line string)) (*process, error) {
	cmd := exec.Command(c.path, c.args...)
	cmd.Dir = f.Dir
	cmd.Env = s.environment(f, token, c.python)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if f.Credential != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{
			Uid: f.Credential.UID, Gid: f.Credential.GID, Groups: f.Credential.Groups,
		}
	}
	p := &process{cmd: cmd}
	var writers []*os.File
	closeAll := func(files []*os.File) {
		for _, file := range files {
			file.Close()
		}
	}
	for range logFDs {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(p.pipes)
			closeAll(writers)
			return nil, fmt.Errorf("make log pipes: %w", err)
		}
		p.pipes = append(p.pipes, r)
		writers = append(writers, w)
	}
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = writers[0], writers[1], writers[2:]
	err := s.spawner.start(cmd)
	closeAll(writers)
	if err != nil {
		closeAll(p.pipes)
		return nil, fmt.Errorf("start %s: %w", c.path, err)
	}
	p.pid = cmd.Process.Pid
	for i, pipe := range p.pipes {
		p.lines.Go(func() { readLines(pipe, func(line string) { sink(i, line) }) })
	}
	return p, nil
}

// signal sends a signal to the process and its children. A group that is gone
// already is not an error.
func (p *process) signal(signal syscall.Signal) error {
	if err := syscall.Kill(-p.pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %v to process group %d: %w", signal, p.pid, err)
	}
	return nil
}

// drainTime is how long the rest of a dead process's output may take to come.
// Only something that left the process group could still write after it.
const drainTime = time.Second

// wait returns when the process has ended, its group is killed and its output
// read.
func (p *process) wait() *os.ProcessState {
	// The children are killed while the process is still a zombie: its number,
	// which is theirs as a group, cannot have been given to others yet.
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_PID, p.pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	// Nothing can be done about a group that cannot be killed, and a zombie
	// alone is no error to the kernel.
	_ = p.signal(syscall.SIGKILL)
	// The error only repeats the state.
	_ = p.cmd.Wait()
	deadline := time.Now().Add(drainTime)
	for _, pipe := range p.pipes {
		_ = pipe.SetReadDeadline(deadline)
	}
	p.lines.Wait()
	for _, pipe := range p.pipes {
		pipe.Close()
	}
	return p.cmd.ProcessState
}

// describe says how a process ended, for logs and errors.
func describe(state *os.ProcessState) string {
	status, ok := state.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return fmt.Sprintf("killed by signal %d (%v)", int(status.Signal()), status.Signal())
	}
	return fmt.Sprintf("exited with status %d", state.ExitCode())
}
