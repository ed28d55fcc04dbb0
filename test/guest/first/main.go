//go:build linux

// Command first is the first process of a guest: it loads the kernel's modules, mounts
// the guest's disk with the host's /usr in it, and starts there what is to run.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

func main() {
	err := boot()
	if err == nil {
		err = run()
	}
	if err != nil {
		fmt.Println("guest:", err)
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// disk is where the guest's root is until it is entered.
const disk = "/disk"

func boot() error {
	if err := mount("devtmpfs", "/dev", "devtmpfs", 0, ""); err != nil {
		return err
	}
	console, err := os.OpenFile("/dev/console", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	for fd := range 3 {
		if err := unix.Dup3(int(console.Fd()), fd, 0); err != nil {
			return err
		}
	}
	modules, err := filepath.Glob("/modules/*.ko")
	if err != nil {
		return err
	}
	slices.Sort(modules) // their names begin with their place
	for _, module := range modules {
		if err := load(module); err != nil {
			return fmt.Errorf("load %s: %w", module, err)
		}
	}
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
		data                 string
	}{
		{"/dev/vda", disk, "ext4", 0, ""},
		{"usr", disk + "/usr", "9p", unix.MS_RDONLY, "trans=virtio,version=9p2000.L,msize=262144,cache=loose,access=any"},
		{"proc", disk + "/proc", "proc", 0, ""},
		{"sysfs", disk + "/sys", "sysfs", 0, ""},
		{"/dev", disk + "/dev", "", unix.MS_MOVE, ""},
	} {
		if err := mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
			return err
		}
	}
	if err := os.Chdir(disk); err != nil {
		return err
	}
	if err := mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return err
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	return os.Chdir("/")
}

func mount(source, target, kind string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		return fmt.Errorf("mount %s at %s: %w", source, target, err)
	}
	return nil
}

func load(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), "", 0)
}

// run starts systemd in this process's place where the guest has no script, else that,
// and takes orphans until it has ended.
func run() error {
	if err := network(); err != nil {
		return fmt.Errorf("set the network up: %w", err)
	}
	const script = "/guest/run"
	if _, err := os.Stat(script); err != nil {
		return unix.Exec("/usr/lib/systemd/systemd", []string{"systemd"}, []string{"PATH=/usr/sbin:/usr/bin"})
	}
	for _, m := range []struct{ target, kind, data string }{
		{"/sys/fs/cgroup", "cgroup2", ""}, {"/dev/shm", "tmpfs", "mode=1777"}, {"/dev/pts", "devpts", "ptmxmode=0666"}, {"/run", "tmpfs", "mode=755"},
	} {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return err
		}
		if err := mount(m.kind, m.target, m.kind, 0, m.data); err != nil {
			return err
		}
	}
	shell := exec.Command("/bin/sh", script)
	shell.Stdout, shell.Stderr = os.Stdout, os.Stderr
	shell.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
	if err := shell.Start(); err != nil {
		return err
	}
	for {
		var status unix.WaitStatus
		if pid, err := unix.Wait4(-1, &status, 0, nil); pid == shell.Process.Pid || err == unix.ECHILD {
			return nil
		}
	}
}

// network gives the devices their addresses; QEMU's network has the host at 10.0.2.2.
func network() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for device, address := range map[string][]byte{"lo": {127, 0, 0, 1}, "eth0": {10, 0, 2, 15}} {
		request, err := unix.NewIfreq(device)
		if err != nil {
			return err
		}
		// The mask is that of the address's class; it is the route, too.
		if err := request.SetInet4Addr(address); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFADDR, request); err != nil {
			return fmt.Errorf("address of %s: %w", device, err)
		}
		request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
			return fmt.Errorf("set %s up: %w", device, err)
		}
	}
	return nil
}
