package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// maxProcesses bounds the processes and threads of a container.
const maxProcesses = 1024

// limits make the control groups that bound what containers use: memory, processes
// and devices. Each container has a group by its ID, in each hierarchy where a
// controller is.
type limits struct {
	// folders are the sandbox's groups by controller; in version 2 all are one.
	folders map[string]string
	unified bool
	// own is the group in version 2 below which those of containers are, leaf the one
	// that the core went into for it, if it had to, home the one that the core is in.
	own, leaf, home string
	// devices is the program in version 2 that lets containers use the standard ones.
	devices *ebpf.Program
}

// Controllers of version 1, each in the hierarchy where it is; version 2 has the
// first two, and a program for devices.
var controllers = []string{"memory", "pids", "devices"}

// newLimits finds the hierarchies, removes the groups of an earlier run and makes
// those of the sandbox. It names all that is missing.
func newLimits(id string) (*limits, error) {
	l := &limits{folders: make(map[string]string)}
	var causes error
	for _, controller := range controllers {
		h, err := findHierarchy("cgroup", controller)
		if err == nil {
			var own string
			if own, err = h.own(); err == nil {
				l.folders[controller] = limitsFolder(own, id)
				removeLeft(h.mount, id)
			}
		}
		causes = errors.Join(causes, err)
	}
	if len(l.folders) < len(controllers) {
		if unified, err := newUnifiedLimits(id); err == nil {
			l, causes = unified, nil
		} else {
			causes = errors.Join(causes, err)
		}
	}
	if causes != nil {
		return nil, fmt.Errorf("no control groups with the controllers memory and pids: %w; "+
			"on a kernel with them (CONFIG_MEMCG, CONFIG_CGROUP_PIDS; on a Raspberry Pi add cgroup_enable=memory to cmdline.txt), mount them, and with systemd give the core's unit Delegate=yes", causes)
	}
	for _, folder := range l.all() {
		if err := removeGroups(folder); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// removeLeft removes the groups that an earlier run of the sandbox left in a
// hierarchy: the core may have been started in another group then. Its processes have
// ended; what cannot be removed bounds nothing.
func removeLeft(mount, id string) {
	_ = filepath.WalkDir(mount, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == leafPrefix+id {
			_ = os.Remove(path)
			return fs.SkipDir
		}
		if err != nil || !d.IsDir() || d.Name() != cgroupPrefix+id {
			return nil
		}
		_ = removeGroups(filepath.Join(path, "containers"))
		_ = os.Remove(path)
		return fs.SkipDir
	})
}

// limitsFolder is below the sandbox's group, which the tracker may have, too.
func limitsFolder(own, id string) string { return filepath.Join(own, cgroupPrefix+id, "containers") }

// leafPrefix begins the name of the group that the core moves to in version 2, where
// only groups without processes have groups with controllers below them.
const leafPrefix = "fescue-core-"

func newUnifiedLimits(id string) (*limits, error) {
	h, err := unifiedHierarchy()
	if err != nil {
		return nil, err
	}
	own, err := h.own()
	if err != nil {
		return nil, err
	}
	home, err := h.current()
	if err != nil {
		return nil, err
	}
	removeLeft(h.mount, id)
	return unifiedLimits(own, home, id)
}

// unifiedLimits are those below a folder of version 2.
func unifiedLimits(own, home, id string) (*limits, error) {
	text, err := os.ReadFile(filepath.Join(own, "cgroup.controllers"))
	if err != nil {
		return nil, err
	}
	for _, controller := range []string{"memory", "pids"} {
		if !slices.Contains(strings.Fields(string(text)), controller) {
			return nil, fmt.Errorf("%s does not have the controller %s", own, controller)
		}
	}
	l := &limits{unified: true, own: own, home: home, folders: make(map[string]string)}
	for _, controller := range []string{"memory", "pids"} {
		l.folders[controller] = limitsFolder(own, id)
	}
	err = writeGroup(own, "cgroup.subtree_control", "+memory +pids")
	if errors.Is(err, unix.EBUSY) {
		err = l.leave(id)
	}
	if err == nil {
		l.devices, err = loadDevices(standardDevices())
	}
	if err != nil {
		return nil, errors.Join(err, l.comeBack())
	}
	return l, nil
}

// leave moves the core from its group to a leaf below it.
func (l *limits) leave(id string) error {
	l.leaf = filepath.Join(l.own, leafPrefix+id)
	if err := os.Mkdir(l.leaf, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := writeGroup(l.leaf, "cgroup.procs", "0"); err != nil {
		return err
	}
	err := writeGroup(l.own, "cgroup.subtree_control", "+memory +pids")
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("processes besides the core are in its control group %s; start it as a service of its own, or with systemd-run --scope --property=Delegate=yes", l.own)
	}
	if err != nil {
		return fmt.Errorf("let groups below %s have limits: %w", l.own, err)
	}
	return nil
}

// comeBack moves the core from its leaf to where it was, unless there are others that
// need the groups there to have limits.
func (l *limits) comeBack() error {
	if l.leaf == "" {
		return nil
	}
	err := writeGroup(l.own, "cgroup.subtree_control", "-memory -pids")
	if errors.Is(err, unix.EBUSY) {
		return nil
	}
	return errors.Join(err, writeGroup(l.home, "cgroup.procs", "0"), removeGroup(l.leaf))
}

// back is the file in version 2 that takes a process from a container's group to the
// core's, empty in version 1.
func (l *limits) back() string {
	if !l.unified {
		return ""
	}
	return filepath.Join(cmp.Or(l.leaf, l.home), "cgroup.procs")
}

// all are the folders, each once.
func (l *limits) all() []string {
	var list []string
	for _, folder := range l.folders {
		if !slices.Contains(list, folder) {
			list = append(list, folder)
		}
	}
	slices.Sort(list)
	return list
}

// make makes the groups of a container. joining are the files that what writes 0 to
// them goes into the groups by.
func (l *limits) make(id string, c *Container) (joining []string, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, l.remove(id))
		}
	}()
	for _, folder := range l.all() {
		// The administrator's tools may remove a group in which nothing is.
		if err := os.MkdirAll(filepath.Join(folder, id), 0o755); err != nil {
			return nil, err
		}
		if l.unified {
			for _, folder := range []string{filepath.Dir(folder), folder} {
				if err := writeGroup(folder, "cgroup.subtree_control", "+memory +pids"); err != nil {
					return nil, err
				}
			}
		}
		// Version 1 moves the thread that starts the process, version 2 knows whole
		// processes only.
		file := "tasks"
		if l.unified {
			file = "cgroup.procs"
		}
		joining = append(joining, filepath.Join(folder, id, file))
	}
	size := strconv.FormatInt(c.Memory, 10)
	set := func(controller, file, value string) {
		if err == nil {
			err = writeGroup(filepath.Join(l.folders[controller], id), file, value)
		}
	}
	set("pids", "pids.max", strconv.Itoa(maxProcesses))
	if l.unified {
		set("memory", "memory.max", size)
		// A kernel without swap has no file to bound it by.
		if set("memory", "memory.swap.max", "0"); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		set("memory", "memory.oom.group", "1")
		if err == nil {
			err = l.keepDevices(id, c.Devices)
		}
		return joining, err
	}
	set("memory", "memory.limit_in_bytes", size)
	if set("memory", "memory.memsw.limit_in_bytes", size); errors.Is(err, fs.ErrNotExist) {
		err = nil
		set("memory", "memory.swappiness", "0")
	}
	set("devices", "devices.deny", "a")
	for _, rule := range rulesWith(c.Devices) {
		set("devices", "devices.allow", rule.String())
	}
	return joining, err
}

// kills is how many processes of a container the kernel has killed for memory.
func (l *limits) kills(id string) int {
	file := "memory.oom_control"
	if l.unified {
		file = "memory.events"
	}
	text, err := os.ReadFile(filepath.Join(l.folders["memory"], id, file))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); ok {
			n, _ := strconv.Atoi(value)
			return n
		}
	}
	return 0
}

// watch calls out once when the kernel has killed something of a container for
// memory, until stop. In version 2 the kernel kills all of the container, and there is
// nothing to do.
func (l *limits) watch(id string, out func()) (stop func(), err error) {
	if l.unified {
		return func() {}, nil
	}
	folder := filepath.Join(l.folders["memory"], id)
	control, err := os.Open(filepath.Join(folder, "memory.oom_control"))
	if err != nil {
		return nil, err
	}
	defer control.Close()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	events := os.NewFile(uintptr(fd), "events of "+folder)
	if err := writeGroup(folder, "cgroup.event_control", fmt.Sprintf("%d %d", fd, control.Fd())); err != nil {
		events.Close()
		return nil, err
	}
	var watching sync.WaitGroup
	var stopped atomic.Bool
	watching.Go(func() {
		count := make([]byte, 8)
		for {
			if _, err := events.Read(count); err != nil {
				return
			}
			// It is notified before the victim is chosen. One that found memory after
			// all goes on, and so does this.
			_ = poll(func() (bool, error) { return l.kills(id) > 0 || stopped.Load(), nil })
			if l.kills(id) > 0 {
				out()
				return
			}
		}
	})
	return func() {
		stopped.Store(true)
		events.Close()
		watching.Wait()
	}, nil
}

// remove removes the groups of a container whose processes have ended.
func (l *limits) remove(id string) error {
	var causes error
	for _, folder := range l.all() {
		causes = errors.Join(causes, removeGroup(filepath.Join(folder, id)))
	}
	return causes
}

// close removes the sandbox's groups.
func (l *limits) close() error {
	var causes error
	for _, folder := range l.all() {
		causes = errors.Join(causes, removeGroups(folder))
		// Where the tracker has the group, too, it is the tracker's to remove.
		_ = os.Remove(filepath.Dir(folder))
	}
	if l.devices != nil {
		causes = errors.Join(causes, l.devices.Close())
	}
	return errors.Join(causes, l.comeBack())
}

func writeGroup(folder, file, value string) error {
	// The files are the kernel's: none is made.
	f, err := os.OpenFile(filepath.Join(folder, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// removeGroups removes a group and those below it.
func removeGroups(folder string) error {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.IsDir() {
			if err := removeGroup(filepath.Join(folder, entry.Name())); err != nil {
				return err
			}
		}
	}
	return removeGroup(folder)
}
