package cloud

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// canFindHolders is whether holder knows.
const canFindHolders = true

// holder finds the process that has a file locked, without touching the lock: /proc/locks
// has a row for each. The process is 0 when it is another container's.
func holder(path string) (held bool, pid int) {
	var of unix.Stat_t
	if unix.Stat(path, &of) != nil {
		return false, 0
	}
	text, err := os.ReadFile("/proc/locks")
	if err != nil {
		return false, 0
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 6 || f[1] != "FLOCK" {
			continue
		}
		// Device and inode. Of the first a file system of layers says something else.
		if !strings.HasSuffix(f[5], fmt.Sprintf(":%d", of.Ino)) {
			continue
		}
		pid, _ := strconv.Atoi(f[4])
		if f[5] == fmt.Sprintf("%02x:%02x:%d", unix.Major(uint64(of.Dev)), unix.Minor(uint64(of.Dev)), of.Ino) || opens(pid, path) {
			return true, max(pid, 0)
		}
	}
	return false, 0
}

// opens reports whether a process has a file open, as far as this user may know.
func opens(pid int, path string) bool {
	folder := fmt.Sprintf("/proc/%d/fd", pid)
	list, _ := os.ReadDir(folder)
	return slices.ContainsFunc(list, func(fd os.DirEntry) bool {
		to, _ := os.Readlink(folder + "/" + fd.Name())
		return to == path
	})
}

// descriptorsOf is how many files a process may have open.
func descriptorsOf(pid int) (int, error) {
	if pid == 0 {
		return 0, errors.New("no process")
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "Max open files"); ok {
			return strconv.Atoi(strings.Fields(rest)[0])
		}
	}
	return 0, errors.New("the kernel does not say it")
}

// clockKept reports whether the kernel's clock is kept by a time service.
func clockKept() (kept, known bool) {
	state, err := unix.Adjtimex(new(unix.Timex))
	return state != unix.TIME_ERROR, err == nil
}

// mayWrite is nil where this process may write a file, or in a folder.
func mayWrite(path string) error { return unix.Access(path, unix.W_OK) }

// bindable is nil where this process could listen. It does not: a server that starts at
// the same time is not in its way.
func bindable(address string) error {
	domain, at, err := socketAddress(address)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	return unix.Bind(fd, at)
}

func socketAddress(address string) (domain int, at unix.Sockaddr, err error) {
	tcp, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return 0, nil, err
	}
	if ip := tcp.IP.To4(); ip != nil {
		return unix.AF_INET, &unix.SockaddrInet4{Port: tcp.Port, Addr: [4]byte(ip)}, nil
	}
	six := &unix.SockaddrInet6{Port: tcp.Port}
	if tcp.IP != nil {
		six.Addr = [16]byte(tcp.IP.To16())
	}
	return unix.AF_INET6, six, nil
}
