package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// plain is a process that sees the machine as the core does.
type plain struct {
	sandbox *Sandbox
	id      string
	cmd     *exec.Cmd
	out     *output
}

// markName is the variable by which a process is known to have come of another,
// as long as it keeps it: its value is the sandbox's name, "/" and the Spec's ID.
const markName = "FESCUE_PROCESS"

func (s *Sandbox) startPlain(ctx context.Context, spec Spec) (Process, error) {
	p := &plain{sandbox: s, id: spec.ID, cmd: exec.Command(string(spec.Program), spec.Args...)}
	p.cmd.Dir = string(spec.Dir)
	p.cmd.Env = append(slices.Clone(spec.Env), markName+"="+s.id+"/"+spec.ID)
	// Its own session keeps the process apart from the core's own children, and
	// what leaves its group without leaving its session is found by it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if c := spec.Credential; c != nil {
		p.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: c.UID, Gid: c.GID, Groups: c.Groups}
	}
	out, err := openOutput(spec.Output, spec.Credential)
	if err != nil {
		return nil, err
	}
	p.cmd.ExtraFiles = out.writers
	if len(out.writers) > 0 {
		p.cmd.Stdout, p.cmd.ExtraFiles = out.writers[0], out.writers[1:]
	}
	if len(out.writers) > 1 {
		p.cmd.Stderr, p.cmd.ExtraFiles = out.writers[1], out.writers[2:]
	}
	err = s.spawner.start(ctx, func() error { return s.fork(p.cmd, spec.ID) })
	out.started()
	if err != nil {
		out.close()
		return nil, fmt.Errorf("start %s: %w", spec.Program, explain(spec, err))
	}
	p.out = out
	out.read()
	return p, nil
}

// fork starts a command on the spawner's thread.
func (s *Sandbox) fork(cmd *exec.Cmd, id string) error {
	placed, err := s.tracker.place(id, cmd.SysProcAttr)
	if err != nil {
		return fmt.Errorf("follow what it starts: %w", err)
	}
	err = children.start(cmd)
	if err := errors.Join(err, placed()); err != nil {
		// A process that could not be placed is not left running.
		if cmd.Process != nil {
			_ = cmd.Process.Kill()
			_ = children.wait(cmd)
		}
		return errors.Join(err, s.tracker.release(id))
	}
	return nil
}

// PID implements Process.
func (p *plain) PID() int { return p.cmd.Process.Pid }

// Signal implements Process.
func (p *plain) Signal(signal syscall.Signal) error {
	if err := syscall.Kill(-p.PID(), signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %v to process group %d: %w", signal, p.PID(), err)
	}
	return nil
}

// drainTime is how long the rest of a dead process's output may take to come.
const drainTime = time.Second

// EndTime bounds what Wait may take beyond the end of the process itself.
const EndTime = 2*killTime + drainTime

// Wait implements Process.
func (p *plain) Wait() End {
	// What came of the process is ended while it is still a zombie: its number,
	// which is theirs as a group and a session, cannot have been given to others.
	awaitEnd(p.PID())
	p.endRest()
	// The error only repeats the state.
	_ = children.wait(p.cmd)
	if err := p.sandbox.tracker.release(p.id); err != nil {
		p.sandbox.logger.Debug("The place of a process that ended stays until the core starts again.",
			slog.Int("pid", p.PID()), slog.String("errorString", err.Error()))
	}
	p.out.drain()
	return End{Status: p.cmd.ProcessState.Sys().(syscall.WaitStatus)}
}

// awaitEnd waits until a child is a zombie, and leaves it one.
func awaitEnd(pid int) {
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// endRest ends all that came of the process.
func (p *plain) endRest() {
	// Nothing can be done about a group that cannot be killed, and a zombie
	// alone is no error to the kernel.
	_ = p.Signal(syscall.SIGKILL)
	left, err := untilGone(func() ([]victim, error) { return p.sandbox.tracker.kill(p.id, p.PID()) })
	if err != nil || len(left) > 0 {
		p.sandbox.logger.Error("Processes that a function left behind do not end, even when killed.",
			slog.Int("pid", p.PID()), slog.Any("left", left), slog.Any("errorString", err))
	}
}
