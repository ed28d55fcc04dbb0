package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// hidden are the machine's secrets and what gives power over it. Folders are empty in
// a container, files cannot be opened; what is not there is not missed.
var hidden = []string{
	"/root", "/boot", "/lost+found",
	"/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/security/opasswd",
	"/etc/sudoers", "/etc/sudoers.d", "/etc/ssh", "/etc/ssl/private", "/etc/pki/tls/private", "/etc/letsencrypt",
	"/etc/NetworkManager/system-connections", "/etc/wpa_supplicant", "/etc/wireguard", "/etc/openvpn", "/etc/ipsec.secrets", "/etc/ipsec.d",
	"/etc/krb5.keytab", "/etc/cryptsetup-keys.d", "/etc/crypttab", "/etc/docker", "/etc/kubernetes", "/etc/iwd", "/etc/netplan",
	// Settings of Fescue's packages, which may have access keys, and what a control plane
	// on the same machine keeps.
	"/etc/fescue", "/var/lib/fescue",
	"/var/lib/docker", "/var/lib/containerd", "/var/lib/containers", "/var/lib/kubelet", "/var/lib/iwd", "/var/lib/NetworkManager",
	"/var/lib/private", "/var/lib/systemd/credential.secret", "/var/log", "/var/backups", "/var/spool",
}

// emptied are folders of which a container has its own.
var emptied = []string{"/tmp", "/var/tmp", "/run", "/proc", "/dev", "/sys"}

// hiddenProc and readOnlyProc are of /proc: what describes the machine or acts on it.
var (
	hiddenProc   = []string{"kcore", "keys", "key-users", "kmsg", "kallsyms", "timer_list", "sched_debug", "latency_stats", "kpagecount", "kpageflags", "kpagecgroup", "vmallocinfo", "acpi", "scsi"}
	readOnlyProc = []string{"sys", "sysrq-trigger", "irq", "bus", "fs", "asound", "mtrr", "driver", "tty"}
)

// systemFolders hold programs and what they load; one that is a mount of its own is
// not seen through the overlay, and is shown.
var systemFolders = []string{"/usr", "/usr/local", "/opt", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc"}

// rootPlan is what the root of a container is made of.
type rootPlan struct {
	// Folder is the container's on the core's disk: the layers of the overlay and
	// what /tmp is.
	Folder HostPath
	// Mounts are in the order in which they are made.
	Mounts  []Mount
	Devices []Device
	Hidden  []HostPath
	// Shown are folders of the machine that are seen as they are, to be read.
	Shown  []HostPath
	Sysfs  bool
	Memory int64
	// Tmpfs has the layers of the overlay be memory, of which Memory is the most.
	Tmpfs bool
}

// Parts of a container's folder.
const (
	layersFolder = "layers"
	upperFolder  = layersFolder + "/upper"
	workFolder   = layersFolder + "/work"
	mergedFolder = "merged"
	tmpFolder    = "tmp"
	varTmpFolder = "vartmp"
	runFolder    = "run"
	emptyFolder  = "empty"
	emptyFile    = "nothing"
)

// layOut makes a container's folder.
func (p rootPlan) layOut() error {
	for name, mode := range map[string]fs.FileMode{
		layersFolder: 0o755, mergedFolder: 0o755, runFolder: 0o755, emptyFolder: 0o555,
		tmpFolder: 0o777 | fs.ModeSticky, varTmpFolder: 0o777 | fs.ModeSticky,
	} {
		path := string(p.Folder.Join(name))
		// The core's umask does not count.
		if err := errors.Join(os.MkdirAll(path, 0o700), os.Chmod(path, mode)); err != nil {
			return err
		}
	}
	return os.WriteFile(string(p.Folder.Join(emptyFile)), nil, 0)
}

// host is where the machine's root is while the container's is being made.
const host = "/.host"

// step is one thing of which a container is made; failed names it.
type step struct {
	what string
	do   func() error
}

// enter makes the root and goes there. The process has namespaces of its own.
func (p rootPlan) enter() error {
	for _, s := range []step{
		{"keep its mounts from the machine's", func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") }},
		{"mount an overlay over /", p.overlay},
		{"change its root", p.pivot},
		{"mount /proc", p.proc},
		{"make /dev", p.dev},
		{"mount /sys", p.sys},
		{"show folders", p.show},
		{"hide folders", p.hide},
		{"leave the machine's root", func() error {
			return errors.Join(unix.Unmount(host, unix.MNT_DETACH), os.Remove(host))
		}},
	} {
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
	}
	return nil
}

// overlay mounts the machine's root as the lower layer. Its options are relative:
// a comma in a path would end them.
func (p rootPlan) overlay() error {
	if err := os.Chdir(string(p.Folder)); err != nil {
		return err
	}
	if p.Tmpfs {
		if err := unix.Mount("tmpfs", layersFolder, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("mode=755,size=%d", p.Memory)); err != nil {
			return err
		}
	}
	for _, layer := range []string{upperFolder, workFolder} {
		if err := errors.Join(os.Mkdir(layer, 0o755), os.Chmod(layer, 0o755)); err != nil {
			return err
		}
	}
	return unix.Mount("overlay", mergedFolder, "overlay", unix.MS_NOSUID|unix.MS_NODEV, "lowerdir=/,upperdir="+upperFolder+",workdir="+workFolder)
}

func (p rootPlan) pivot() error {
	if err := os.Chdir(mergedFolder); err != nil {
		return err
	}
	if err := os.Mkdir(host[1:], 0o700); err != nil {
		return err
	}
	return errors.Join(unix.PivotRoot(".", host[1:]), os.Chdir("/"))
}

func (p rootPlan) proc() error {
	if err := folder("/proc"); err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return err
	}
	for _, name := range hiddenProc {
		if err := p.cover("/proc/" + name); err != nil {
			return err
		}
	}
	for _, name := range readOnlyProc {
		path := "/proc/" + name
		if _, err := os.Lstat(path); err != nil {
			continue
		}
		if err := bind(path, path, true); err != nil {
			return err
		}
	}
	return nil
}

// devices are the device files of a container.
var devices = []struct {
	name         string
	major, minor uint32
}{
	{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
}

func (p rootPlan) dev() error {
	// What it holds is memory of the machine's: it has room for names only.
	if err := errors.Join(folder("/dev"), unix.Mount("tmpfs", "/dev", "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=755,size=64k")); err != nil {
		return err
	}
	for _, d := range devices {
		path := "/dev/" + d.name
		if err := errors.Join(unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(d.major, d.minor))), os.Chmod(path, 0o666)); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{
		"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(target, "/dev/"+name); err != nil {
			return err
		}
	}
	for _, m := range []struct{ name, kind, data string }{
		{"pts", "devpts", "newinstance,ptmxmode=0666,mode=0620"},
		{"shm", "tmpfs", fmt.Sprintf("mode=1777,size=%d", p.Memory)},
		{"mqueue", "mqueue", ""},
	} {
		path := "/dev/" + m.name
		flags := uintptr(unix.MS_NOSUID | unix.MS_NOEXEC)
		if m.kind != "devpts" {
			flags |= unix.MS_NODEV
		}
		if err := errors.Join(os.Mkdir(path, 0o755), unix.Mount(m.kind, path, m.kind, flags, m.data)); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	for _, d := range p.Devices {
		if err := p.device(d); err != nil {
			return err
		}
	}
	return os.Chmod("/dev/mqueue", 0o777|fs.ModeSticky)
}

func (p rootPlan) sys() error {
	if !p.Sysfs {
		// A machine's /sys that is a folder of its root would be seen.
		return p.cover("/sys")
	}
	if err := folder("/sys"); err != nil {
		return err
	}
	return unix.Mount("sysfs", "/sys", "sysfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}

func (p rootPlan) show() error {
	for _, own := range []struct{ part, path string }{{tmpFolder, "/tmp"}, {varTmpFolder, "/var/tmp"}, {runFolder, "/run"}} {
		// /tmp may be a link.
		path, err := filepath.EvalSymlinks(own.path)
		if errors.Is(err, fs.ErrNotExist) {
			path = own.path
		} else if err != nil {
			return err
		}
		if err := errors.Join(folder(path), bind(host+string(p.Folder.Join(own.part)), path, false)); err != nil {
			return err
		}
	}
	for _, shown := range p.Shown {
		if err := errors.Join(folder(string(shown)), bind(host+string(shown), string(shown), true)); err != nil {
			return err
		}
	}
	for _, m := range p.Mounts {
		if err := p.mount(m); err != nil {
			return fmt.Errorf("show %s at %s: %w", m.Source, m.Destination, err)
		}
	}
	return nil
}

func (p rootPlan) hide() error {
	for _, path := range hidden {
		if err := p.cover(path); err != nil {
			return err
		}
	}
	for _, path := range p.Hidden {
		if err := p.cover(string(path)); err != nil {
			return err
		}
	}
	return nil
}

// cover puts an empty folder or file in the place of what is there. A link is
// followed: what it leads to is the secret.
func (p rootPlan) cover(path string) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil // there is nothing, inside
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	empty := emptyFile
	if info.IsDir() {
		empty = emptyFolder
	}
	return bind(host+string(p.Folder.Join(empty)), path, true)
}

// bind shows what is at source at target, too.
func bind(source, target string, readOnly bool) error {
	fail := func(err error) error {
		return fmt.Errorf("show %s at %s: %w", strings.TrimPrefix(source, host), target, err)
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return fail(err)
	}
	flags := uintptr(unix.MS_REMOUNT | unix.MS_BIND | unix.MS_NOSUID | unix.MS_NODEV)
	if readOnly {
		flags |= unix.MS_RDONLY
	}
	if err := unix.Mount("", target, "", flags, ""); err != nil {
		return fail(err)
	}
	return nil
}

// folder makes a folder of everybody's to enter, where there is none.
func folder(path string) error { return os.MkdirAll(path, 0o755) }
