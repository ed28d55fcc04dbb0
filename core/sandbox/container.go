package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// containers are what a sandbox keeps for its containers.
type containers struct {
	init string
	// folder holds a folder for each container.
	folder HostPath
	limits *limits
	// shown are folders of the machine that are mounts of their own and needed.
	shown []HostPath
	tmpfs bool
}

// openContainers makes the sandbox one that starts containers, and removes what an
// earlier run left of its own; its processes have ended. It gives all that is missing
// otherwise.
func (s *Sandbox) openContainers(o Options) (*containers, []string) {
	folder := filepath.Join(o.Folder, "containers")
	if o.Folder != "" {
		if err := os.RemoveAll(folder); err != nil {
			s.logger.Error("What an earlier run left of its containers cannot be removed.", slog.String("errorString", err.Error()))
		}
	}
	var missing []string
	addMissing := func(what string, values ...any) {
		missing = append(missing, strings.ReplaceAll(fmt.Sprintf(what, values...), "\n", "; "))
	}
	if o.Init == "" || o.Folder == "" {
		addMissing("this program starts processes without containers only")
		return nil, missing
	}
	if os.Geteuid() != 0 {
		addMissing("the core does not run as root; run it as root")
		return nil, missing
	}
	if abis[runtime.GOARCH] == nil {
		addMissing("containers are not made on %s; use amd64, arm64 or arm", runtime.GOARCH)
	}
	for _, system := range []struct{ name, option string }{{"overlay", "CONFIG_OVERLAY_FS"}, {"mqueue", "CONFIG_POSIX_MQUEUE"}} {
		// Asking for it has the kernel load its module, from Linux 5.2 on.
		if fd, err := unix.Fsopen(system.name, unix.FSOPEN_CLOEXEC); err == nil {
			unix.Close(fd)
		}
		if !knowsFileSystem(system.name) {
			addMissing("the kernel has no file system %s; load the module with modprobe %s, or use a kernel with %s", system.name, system.name, system.option)
		}
	}
	if unix.Prctl(unix.PR_GET_SECCOMP, 0, 0, 0, 0) != nil {
		addMissing("the kernel filters no system calls; use one with CONFIG_SECCOMP_FILTER")
	}
	limits, err := newLimits(s.id)
	if err != nil {
		addMissing("%v", err)
	}
	if len(missing) > 0 {
		if limits != nil {
			_ = limits.close()
		}
		return nil, missing
	}
	c := &containers{init: o.Init, folder: HostPath(folder), limits: limits, shown: shownFolders(), tmpfs: o.OverlayTmpfs}
	if o.BlockDevices {
		more, err := blockDeviceFolders()
		if err != nil {
			addMissing("what is mounted on this machine cannot be read: %v", err)
			return nil, append(missing, c.closeAll()...)
		}
		c.shown = withFolders(c.shown, more)
	}
	s.containers = c
	if err := s.tryContainer(); err != nil {
		addMissing("a container that was tried failed: %v", err)
		return nil, append(missing, c.closeAll()...)
	}
	return c, nil
}

func (c *containers) closeAll() []string {
	if err := c.close(); err != nil {
		return []string{err.Error()}
	}
	return nil
}

// close removes what is left when all containers have ended.
func (c *containers) close() error {
	return errors.Join(os.RemoveAll(string(c.folder)), c.limits.close())
}

func knowsFileSystem(name string) bool {
	text, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return false
	}
	return slices.Contains(strings.Fields(string(text)), name)
}

// shownFolders are those of systemFolders that are mounts, and the one that the list
// of name servers lies in where that is a link to one of /run.
func shownFolders() []HostPath {
	var list []HostPath
	for _, path := range systemFolders {
		var own, above unix.Stat_t
		if unix.Lstat(path, &own) == nil && own.Mode&unix.S_IFMT == unix.S_IFDIR && unix.Stat(filepath.Dir(path), &above) == nil && own.Dev != above.Dev {
			list = append(list, HostPath(path))
		}
	}
	if path, err := filepath.EvalSymlinks("/etc/resolv.conf"); err == nil && strings.HasPrefix(path, "/run/") {
		list = append(list, HostPath(filepath.Dir(path)))
	}
	return list
}

// blockDeviceFolders are where the file systems of block devices are mounted, but for the
// root, and for what containers have of their own.
func blockDeviceFolders() (list []HostPath, err error) {
	mounts, err := mountsBelow("/")
	for _, m := range mounts {
		info, err := os.Lstat(m.path)
		if err != nil || !info.IsDir() || m.path == "/" || !strings.HasPrefix(m.source, "/dev/") ||
			slices.ContainsFunc(emptied, func(own string) bool { _, ok := below(m.path, own); return ok }) {
			continue
		}
		list = append(list, HostPath(m.path))
	}
	return list, err
}

// withFolders adds folders to a list, each once, one in another after it.
func withFolders(list, more []HostPath) []HostPath {
	list = slices.Concat(list, more)
	slices.Sort(list)
	return slices.Compact(list)
}

// contained is a process in a container.
type contained struct {
	sandbox *Sandbox
	id      string
	cmd     *exec.Cmd
	out     *output
	folder  HostPath
	// reports is what its first process says.
	reports *json.Decoder
	pipe    *os.File
	// unwatch ends the watch over its memory.
	unwatch func()
}

// startTime bounds the start of a container on a busy machine.
const startTime = time.Minute

func (s *Sandbox) startContained(ctx context.Context, spec Spec) (Process, error) {
	if s.containers == nil {
		return nil, fmt.Errorf("start %s: no containers on this machine: %s", spec.Program, strings.Join(s.missing, "; "))
	}
	p, err := s.contain(ctx, spec, false)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Program, explainContained(spec, err))
	}
	return p, nil
}

// explainContained puts what can be seen of the cause in the place of the kernel's
// error where the container itself came up.
func explainContained(spec Spec, err error) error {
	var kernel syscall.Errno
	if errors.As(err, &kernel) {
		return explain(spec, err)
	}
	return err
}

// tryContainer makes a container in which nothing is started.
func (s *Sandbox) tryContainer() error {
	p, err := s.contain(context.Background(), Spec{ID: "try", Container: &Container{Memory: 16 << 20, Sysfs: true}}, true)
	if err != nil {
		return err
	}
	p.Wait()
	return nil
}

func (s *Sandbox) contain(ctx context.Context, spec Spec, try bool) (_ *contained, err error) {
	c := s.containers
	p := &contained{sandbox: s, id: spec.ID, folder: c.folder.Join(spec.ID), unwatch: func() {}}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.remove())
		}
	}()
	o := order{
		Root: rootPlan{
			Folder: p.folder, Mounts: outsideIn(spec.Container.Mounts), Devices: spec.Container.Devices, Hidden: spec.Container.Hidden, Shown: c.shown,
			Sysfs: spec.Container.Sysfs, Memory: spec.Container.Memory, Tmpfs: c.tmpfs,
		},
		Back: c.limits.back(), Try: try,
		Program: spec.Program, Dir: spec.Dir, Args: spec.Args, Env: spec.Env, Credential: spec.Credential, Outputs: len(spec.Output),
	}
	if err := o.Root.layOut(); err != nil {
		return nil, fmt.Errorf("make the container's folder: %w", err)
	}
	if o.Joining, err = c.limits.make(spec.ID, spec.Container); err != nil {
		return nil, fmt.Errorf("make the container's control groups: %w", err)
	}
	orders, reports, err := p.prepare(spec)
	if err != nil {
		return nil, err
	}
	err = s.spawner.start(ctx, func() error { return children.start(p.cmd) })
	p.out.started()
	reports.Close()
	p.cmd.ExtraFiles[0].Close()
	if err == nil {
		p.unwatch, err = c.limits.watch(spec.ID, func() { _ = p.Signal(syscall.SIGKILL) })
		if err == nil {
			err = p.command(orders, o)
		}
		if err != nil {
			_ = p.cmd.Process.Kill()
			_ = children.wait(p.cmd)
		}
	}
	orders.Close()
	if err != nil {
		p.pipe.Close()
		p.out.close()
		p.unwatch()
		return nil, err
	}
	p.out.read()
	return p, nil
}

// prepare makes the command of the first process, with the ends of pipes for what it
// is to do, which is the core's, and for what it says, which is its own.
func (p *contained) prepare(spec Spec) (orders, reports *os.File, err error) {
	orderIn, orders, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	p.pipe, reports, err = os.Pipe()
	if err == nil {
		p.out, err = openOutput(spec.Output, spec.Credential)
	}
	if err != nil {
		for _, f := range []*os.File{orderIn, orders, p.pipe, reports} {
			if f != nil {
				f.Close()
			}
		}
		return nil, nil, err
	}
	p.reports = json.NewDecoder(p.pipe)
	p.cmd = exec.Command(p.sandbox.containers.init)
	p.cmd.Args = []string{initName}
	p.cmd.Dir = "/"
	// The first process is small: it waits.
	p.cmd.Env = []string{"GOMAXPROCS=2", markName + "=" + p.sandbox.id + "/" + p.id}
	p.cmd.ExtraFiles = append([]*os.File{orderIn, reports}, p.out.writers...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid: true, Pdeathsig: syscall.SIGKILL,
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
	}
	return orders, reports, nil
}

// command sends the first process what to do and waits until it has started the
// function.
func (p *contained) command(orders io.Writer, o order) error {
	if err := p.pipe.SetReadDeadline(time.Now().Add(startTime)); err != nil {
		return err
	}
	if err := json.NewEncoder(orders).Encode(o); err != nil {
		return fmt.Errorf("send the container what to start: %w", err)
	}
	var r report
	if err := p.reports.Decode(&r); err != nil {
		return fmt.Errorf("the container's first process said nothing: %w", err)
	}
	if r.Errno != 0 {
		return fmt.Errorf("%s: %w", strings.TrimSuffix(r.Error, ": "+r.Errno.Error()), r.Errno)
	}
	if r.Error != "" {
		return errors.New(r.Error)
	}
	return p.pipe.SetReadDeadline(time.Time{})
}

// PID implements Process: the number of the first process in the container.
func (p *contained) PID() int { return p.cmd.Process.Pid }

// Signal implements Process. The first process passes it on, but for the one that ends
// all in the container.
func (p *contained) Signal(signal syscall.Signal) error {
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %v to the container of process %d: %w", signal, p.PID(), err)
	}
	return nil
}

// Wait implements Process. The kernel ends everything in the container before its
// first process is gone.
func (p *contained) Wait() End {
	awaitEnd(p.PID())
	p.unwatch()
	// The error only repeats the state.
	_ = children.wait(p.cmd)
	end := End{Status: p.cmd.ProcessState.Sys().(syscall.WaitStatus), OutOfMemory: p.sandbox.containers.limits.kills(p.id) > 0}
	_ = p.pipe.SetReadDeadline(time.Now().Add(drainTime))
	var r report
	if p.reports.Decode(&r) == nil && r.Status != nil {
		end.Status = syscall.WaitStatus(*r.Status)
	}
	p.pipe.Close()
	p.out.drain()
	if err := p.remove(); err != nil {
		p.sandbox.logger.Warn("Something of a container that ended stays until the core starts again.",
			slog.Int("pid", p.PID()), slog.String("errorString", err.Error()))
	}
	return end
}

// remove removes what the container had.
func (p *contained) remove() error {
	err := os.RemoveAll(string(p.folder))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, p.sandbox.containers.limits.remove(p.id))
}
