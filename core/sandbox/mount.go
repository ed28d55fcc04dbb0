package sandbox

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// outsideIn orders mounts so that one which lies in another comes after it.
func outsideIn(list []Mount) []Mount {
	return slices.SortedStableFunc(slices.Values(list), func(a, b Mount) int { return cmp.Compare(a.Destination, b.Destination) })
}

// kernelFileSystems describe the machine or act on it. Below a folder of the
// machine's they are left out; one that is asked for itself is shown.
var kernelFileSystems = []string{
	"proc", "sysfs", "devtmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "securityfs", "debugfs", "tracefs", "bpf", "pstore", "configfs", "efivarfs", "fusectl",
}

// mount shows a folder or a file. What is hidden stays so within it.
func (p rootPlan) mount(m Mount) error {
	source, err := openReal(m.Source)
	if err != nil {
		return err
	}
	defer unix.Close(source)
	target := string(m.Destination)
	if err := stand(source, target); err != nil {
		return err
	}
	if err := unix.Mount(fdPath(source), target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if target, err = filepath.EvalSymlinks(target); err != nil {
		return err
	}
	if err := restrict(target, !m.Writable); err != nil {
		return err
	}
	covered := slices.Clone(hidden)
	for _, path := range p.Hidden {
		covered = append(covered, string(path))
	}
	for _, path := range covered {
		if rest, ok := below(path, string(m.Source)); ok && rest != "" {
			if err := p.cover(filepath.Join(target, rest)); err != nil {
				return err
			}
		}
	}
	return nil
}

// restrict has everything that is mounted at a place and below it be without devices
// and programs that give rights, and readOnly if it is to be.
func restrict(target string, readOnly bool) error {
	list, err := mountsBelow(target)
	if err != nil {
		return err
	}
	var left []string
	for _, m := range list {
		if slices.ContainsFunc(left, func(path string) bool { _, ok := below(m.path, path); return ok }) {
			continue // it went with the one that it lies in
		}
		if m.path != target && slices.Contains(kernelFileSystems, m.kind) {
			if err := unix.Unmount(m.path, unix.MNT_DETACH); err != nil {
				return fmt.Errorf("leave out %s: %w", m.path, err)
			}
			left = append(left, m.path)
			continue
		}
		var now unix.Statfs_t
		if err := unix.Statfs(m.path, &now); err != nil {
			return err
		}
		// What the machine forbids stays forbidden. The constants of both calls are
		// the same for these.
		flags := uintptr(now.Flags) & (unix.MS_RDONLY | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME)
		if readOnly {
			flags |= unix.MS_RDONLY
		}
		if err := unix.Mount("", m.path, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_NOSUID|unix.MS_NODEV|flags, ""); err != nil {
			return fmt.Errorf("restrict %s: %w", m.path, err)
		}
	}
	return nil
}

// mounted is a row of the table of mounts.
type mounted struct{ path, kind, source string }

// mountsBelow lists what is mounted at a path and below it, in the order of the table,
// which has one in another after it.
func mountsBelow(path string) ([]mounted, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var list []mounted
	for line := range strings.Lines(string(text)) {
		before, after, _ := strings.Cut(line, " - ")
		where, what := strings.Fields(before), strings.Fields(after)
		if len(where) < 5 || len(what) < 2 {
			continue
		}
		at := unescape(where[4])
		if _, ok := below(at, path); ok {
			list = append(list, mounted{at, what[0], what[1]})
		}
	}
	return list, nil
}

// unescape reads a path of the table of mounts: spaces and the like are written as a
// backslash and three octal digits.
func unescape(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+3 < len(text) {
			if n, err := strconv.ParseUint(text[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// device shows a device file. It is mounted read-only, which keeps its owner and its
// mode from being changed and lets it be written: that is the control group's to say.
func (p rootPlan) device(d Device) error {
	fail := func(err error) error { return fmt.Errorf("show the device %s: %w", d.Path, err) }
	source, err := openReal(d.Source)
	if err != nil {
		return fail(err)
	}
	defer unix.Close(source)
	if err := stand(source, string(d.Path)); err != nil {
		return fail(err)
	}
	if err := unix.Mount(fdPath(source), string(d.Path), "", unix.MS_BIND, ""); err != nil {
		return fail(err)
	}
	const flags = unix.MS_REMOUNT | unix.MS_BIND | unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_RDONLY
	if err := unix.Mount("", string(d.Path), "", flags, ""); err != nil {
		return fail(err)
	}
	return nil
}

// openReal opens a path of the machine, no part of which may be a link, only to name
// what is there.
func openReal(path HostPath) (int, error) {
	fd, err := unix.Open(host, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	for part := range strings.SplitSeq(strings.Trim(filepath.Clean(string(path)), "/"), "/") {
		if part == "" {
			break // the root itself
		}
		next, err := unix.Openat(fd, part, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		unix.Close(fd)
		if err != nil {
			return -1, err
		}
		fd = next
		var info unix.Stat_t
		if err = unix.Fstat(fd, &info); err == nil && info.Mode&unix.S_IFMT == unix.S_IFLNK {
			err = fmt.Errorf("%s on its way has become a link since it was looked at: %w", part, unix.ELOOP)
		}
		if err != nil {
			unix.Close(fd)
			return -1, err
		}
	}
	return fd, nil
}

// fdPath names what a descriptor of this process is open on.
func fdPath(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// stand makes a folder, or a file, for what is mounted there, where there is none.
func stand(source int, target string) error {
	var info unix.Stat_t
	if err := unix.Fstat(source, &info); err != nil {
		return err
	}
	if info.Mode&unix.S_IFMT == unix.S_IFDIR {
		return folder(target)
	}
	if _, err := os.Stat(target); err == nil {
		return nil
	}
	if err := folder(filepath.Dir(target)); err != nil {
		return err
	}
	return os.WriteFile(target, nil, 0o644)
}
