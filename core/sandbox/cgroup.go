package sandbox

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// cgroupPrefix begins the name of the group of a sandbox, below that of the core.
// Below it each process has a group by its ID.
const cgroupPrefix = "fescue-"

// cgroups follows processes by control groups: all that came of a process is in its
// group, and only root gets out.
type cgroups struct {
	// own is the folder of the group that the core itself is in, all that of the
	// sandbox's, below it.
	own, all string
	// unified says that the hierarchy is of version 2.
	unified bool
}

// hierarchy is a mounted tree of control groups.
type hierarchy struct {
	// mount is where, root what of the tree is seen there.
	mount, root string
	// controller names it in /proc/PID/cgroup; empty for version 2.
	controller string
}

// newCgroups makes the sandbox's group, and removes the empty ones of an earlier
// run.
func newCgroups(id string, find func() (hierarchy, error)) (tracker, error) {
	h, err := find()
	if err != nil {
		return nil, err
	}
	own, err := h.own()
	if err != nil {
		return nil, err
	}
	c := &cgroups{own: own, all: filepath.Join(own, cgroupPrefix+id), unified: h.controller == ""}
	if err := c.usable(); err != nil {
		// What was made in trying may not be removable either.
		_ = c.close()
		return nil, err
	}
	return c, nil
}

func (c *cgroups) usable() error {
	if err := os.Mkdir(c.all, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	entries, err := os.ReadDir(c.all)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.IsDir() {
			// What hangs in the kernel keeps its group.
			_ = os.Remove(filepath.Join(c.all, entry.Name()))
		}
	}
	return c.try()
}

// try starts a program that is not there: if that is all that is wrong, others can
// be started in groups.
func (c *cgroups) try() error {
	const id = "try"
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command(filepath.Join(c.all, "nothing"))
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	placed, err := c.place(id, cmd.SysProcAttr)
	if err != nil {
		return err
	}
	if err = cmd.Start(); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, placed(), c.release(id))
}

// place implements tracker. In version 2 the kernel starts the process in its
// group; in version 1 the thread that starts it goes there and comes back.
func (c *cgroups) place(id string, attr *syscall.SysProcAttr) (func() error, error) {
	folder := filepath.Join(c.all, id)
	// The administrator's tools may remove a group in which nothing is.
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	if c.unified {
		group, err := os.Open(folder)
		if err != nil {
			return nil, err
		}
		attr.UseCgroupFD, attr.CgroupFD = true, int(group.Fd())
		return group.Close, nil
	}
	if err := moveThread(folder); err != nil {
		return nil, err
	}
	return func() error { return moveThread(c.own) }, nil
}

func moveThread(folder string) error {
	return os.WriteFile(filepath.Join(folder, "tasks"), []byte(strconv.Itoa(unix.Gettid())), 0)
}

// kill implements tracker.
func (c *cgroups) kill(id string, pid int) ([]victim, error) {
	folder := filepath.Join(c.all, id)
	text, err := os.ReadFile(filepath.Join(folder, "cgroup.procs"))
	if err != nil {
		return nil, err
	}
	list, some := make(map[int]stat), make(map[int]bool)
	for field := range bytes.FieldsSeq(text) {
		member, err := strconv.Atoi(string(field))
		if err != nil || member == pid {
			continue
		}
		if s, err := readStat(member); err == nil {
			list[member], some[member] = s, true
		}
	}
	if len(some) == 0 {
		return nil, nil
	}
	// It leaves no time to start others; version 1 and Linux before 5.14 lack it.
	err = os.WriteFile(filepath.Join(folder, "cgroup.kill"), []byte("1"), 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		return nil, err
	}
	return killAll(list, some)
}

// release implements tracker.
func (c *cgroups) release(id string) error { return removeGroup(filepath.Join(c.all, id)) }

// removeGroup removes a group whose processes have ended, if it is there.
func removeGroup(folder string) error {
	var busy error
	err := poll(func() (bool, error) {
		err := os.Remove(folder)
		// A group that holds a process in its last moments is busy.
		if errors.Is(err, syscall.EBUSY) {
			busy = err
			return false, nil
		}
		busy = nil
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return true, err
	})
	return cmp.Or(err, busy)
}

// close implements tracker.
func (c *cgroups) close() error {
	if err := os.Remove(c.all); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// unifiedHierarchy finds the control groups of version 2.
func unifiedHierarchy() (hierarchy, error) {
	return findHierarchy("cgroup2", "")
}

// legacyHierarchy finds one of version 1 that neither systemd nor the administrator
// keeps processes apart by.
func legacyHierarchy() (hierarchy, error) {
	var causes error
	for _, controller := range []string{"freezer", "pids", "devices"} {
		h, err := findHierarchy("cgroup", controller)
		if err == nil {
			return h, nil
		}
		causes = errors.Join(causes, err)
	}
	return hierarchy{}, causes
}

// findHierarchy looks into the table of mounts (proc(5): fields up to a hyphen,
// then type, source and options).
func findHierarchy(kind, controller string) (hierarchy, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return hierarchy{}, err
	}
	for line := range strings.Lines(string(text)) {
		before, after, _ := strings.Cut(line, " - ")
		where, what := strings.Fields(before), strings.Fields(after)
		if len(where) < 5 || len(what) < 3 || what[0] != kind {
			continue
		}
		if controller == "" || contains(what[2], controller) {
			return hierarchy{root: where[3], mount: where[4], controller: controller}, nil
		}
	}
	return hierarchy{}, fmt.Errorf("no %s hierarchy %s is mounted", kind, controller)
}

func contains(list, word string) bool {
	for each := range strings.SplitSeq(list, ",") {
		if each == word {
			return true
		}
	}
	return false
}

// own is the folder of the group that this program was started in.
func (h hierarchy) own() (string, error) {
	current, err := h.current()
	// It may have gone into a leaf, see limits.
	if h.controller == "" && strings.HasPrefix(filepath.Base(current), leafPrefix) {
		current = filepath.Dir(current)
	}
	return current, err
}

// current is the folder of the group that this program is in.
func (h hierarchy) current() (string, error) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 || !contains(parts[1], h.controller) {
			continue
		}
		below, err := filepath.Rel(h.root, path.Clean(parts[2]))
		if err != nil || !filepath.IsLocal(below) {
			return "", fmt.Errorf("the core's control group %s is not seen below %s", parts[2], h.mount)
		}
		return filepath.Join(h.mount, below), nil
	}
	return "", fmt.Errorf("/proc/self/cgroup names no group of the hierarchy at %s", h.mount)
}
