package core

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/fescue-edge/fescue/disk"
)

// ErrRunning means that another core runs on the same root.
var ErrRunning = errors.New("another core runs on this folder")

// lockRoot makes sure that exactly one core runs on a folder. The lock goes with
// the process, however it ends.
func lockRoot(folder string) (*os.File, error) {
	path := filepath.Join(folder, "core.lock")
	f, err := openLock(path)
	if err != nil {
		return nil, err
	}
	err = tryLock(f)
	if errors.Is(err, unix.EWOULDBLOCK) {
		text, _ := io.ReadAll(io.LimitReader(f, 32))
		f.Close()
		holder := strings.TrimSpace(string(text))
		if pid, err := strconv.Atoi(holder); err == nil && errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			return nil, fmt.Errorf("%s is locked, and the core that ran with [pid = %d] has ended; something else holds it: fuser %s names it, stop that first", path, pid, path)
		}
		return nil, fmt.Errorf("%w: %s is held by the process with [pid = %s]; stop it first", ErrRunning, path, holder)
	}
	// Whoever may open the file may hold its lock. It is changed only when no core holds it,
	// which else could not open it at its next start.
	if err == nil {
		err = errors.Join(f.Chown(os.Geteuid(), -1), f.Chmod(0o600))
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// openLock opens the file of a lock of the core's; tryLock takes it.
func openLock(path string) (*os.File, error) {
	if err := disk.MakeFolder(filepath.Dir(path), 0o711); err != nil {
		return nil, fmt.Errorf("make the core's folder: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open a lock of the core: %w", err)
	}
	return f, nil
}

// tryLock locks a file until it is closed. It is unix.EWOULDBLOCK when another has it.
func tryLock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

// pidFile is the file's name that service definitions of the original have.
const pidFile = "greengrassd.pid"

// writePID writes this process's number into a folder. What remove finds of another
// process by then it leaves alone.
func writePID(dir string) (remove func(), err error) {
	path, text := filepath.Join(dir, pidFile), []byte(strconv.Itoa(os.Getpid())+"\n")
	if err := disk.WriteFile(path, text, 0o644); err != nil {
		return nil, fmt.Errorf("write %s of pidFileDirectory in config.json: %w", path, err)
	}
	return func() {
		if now, err := os.ReadFile(path); err == nil && string(now) == string(text) {
			_ = os.Remove(path)
		}
	}, nil
}
