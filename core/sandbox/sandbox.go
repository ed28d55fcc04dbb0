// Package sandbox starts functions' processes and ends all that came of them:
// the process, its children, and those that left its group and its session. It
// knows nothing of functions, calls or deployments.
//
// What a process started is distinguished from everything else on the machine by a
// control group of its own, where the core may make one, else by the process tree;
// see tracker. By the same mark the next core finds what a killed one left behind.
package sandbox

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"github.com/fescue-edge/fescue/disk"
)

// Spec is a process to be started.
type Spec struct {
	// ID is unique among the processes of this core and those before it, and fit
	// for a file name.
	ID string
	// Program is what is started, Dir the working directory.
	Program, Dir InsidePath
	Args         []string
	// Reads are files and folders that it must be able to read, for Examine.
	Reads []InsidePath
	// Env is all that the process has of an environment, "name=value".
	Env []string
	// Credential is whom it runs as; nil means as the core.
	Credential *Credential
	// Output takes the lines that the process writes to its descriptors 1, 2 and
	// so on, each without its newline. It inherits no others of the core.
	Output []func(line string)
	// Container is what surrounds the process; nil for one that sees the machine as
	// the core does.
	Container *Container
}

// Container is what a process sees and may use that does not see the machine as the
// core does.
type Container struct {
	// Memory bounds what the process and all that comes of it use, in bytes.
	Memory int64
	// Mounts are the folders and files that it sees besides the machine's own. One may
	// lie in another.
	Mounts []Mount
	// Devices are device files that it has besides those of every container.
	Devices []Device
	// Hidden are folders of the machine that it does not see, beside those of hidden.
	Hidden []HostPath
	// Sysfs lets it read the machine's /sys.
	Sysfs bool
}

// Mount shows a folder or a file of the machine at a place inside, with what is
// mounted below it, but for the kernel's own file systems.
type Mount struct {
	// Source has no link on its way, as Look gives it: a function that may write
	// there could lead the core elsewhere by one.
	Source      HostPath
	Destination InsidePath
	// Writable is false for what nobody inside may write, not root nor below another
	// mount.
	Writable bool
}

// Device shows a device file of the machine.
type Device struct {
	// Source has no link on its way, as Look gives it. Path lies below /dev.
	Source HostPath
	Path   InsidePath
	// Block is false for a character device.
	Block        bool
	Major, Minor uint32
	// Writable is false for a device that is only read.
	Writable bool
}

// Process is a started process.
type Process interface {
	// PID is its number on this machine.
	PID() int
	// Signal sends a signal to the process and its group. One that has ended is no
	// error.
	Signal(syscall.Signal) error
	// Wait returns when the process has ended, all that came of it is killed and
	// its output has been read. It is called once.
	Wait() End
}

// End is how a process ended.
type End struct {
	Status syscall.WaitStatus
	// OutOfMemory says that the kernel killed the process, or something that came of
	// it, for using more than the Memory of its container.
	OutOfMemory bool
}

// Options are what a Sandbox stands on.
type Options struct {
	// Folder is an absolute path, where the sandbox keeps the name by which the
	// next core finds what this one left behind. Empty means nowhere.
	Folder string
	Logger *slog.Logger
	// Tracking is how processes are distinguished: the first that works here. Empty
	// means all, in the order of the constants.
	Tracking []Tracking
	// Init is a program whose main function calls Init first, which becomes the first
	// process of each container. Empty means no containers.
	Init string
	// OverlayTmpfs keeps what containers write into their roots in memory, which counts as
	// theirs, for machines whose file system cannot have the layers of an overlay.
	OverlayTmpfs bool
	// BlockDevices shows containers the file systems of all block devices, to be read,
	// beside those of the system's folders.
	BlockDevices bool
}

// Tracking is a way to know what came of a process.
type Tracking string

// The ways, the surest first.
const (
	// CgroupV2 needs Linux 5.7 and the right to make groups below the core's own.
	CgroupV2 Tracking = "cgroup v2"
	// CgroupV1 needs root and the freezer, pids or devices hierarchy.
	CgroupV1 Tracking = "cgroup v1"
	// Tree works everywhere: orphans come to the core, which reads in their
	// environment whose they are.
	Tree Tracking = "process tree"
)

// tracker knows what came of a process.
type tracker interface {
	// place makes room for a process that is about to be started with attr from
	// the calling thread. placed is called on the same thread afterwards.
	place(id string, attr *syscall.SysProcAttr) (placed func() error, err error)
	// kill ends what came of a process that has itself ended, but is still a
	// zombie with that pid, and gives what it found alive: nothing when it is done.
	kill(id string, pid int) ([]victim, error)
	// release gives up the room of a process of which nothing is left.
	release(id string) error
	close() error
}

// Sandbox starts processes. Make one with Open.
type Sandbox struct {
	id      string
	logger  *slog.Logger
	tracker tracker
	spawner *spawner
	// containers is nil where there are none, for the reasons of missing.
	containers *containers
	missing    []string
}

// Open makes a sandbox and ends what an earlier one with the same folder left
// running. Nobody else may use the folder.
func Open(o Options) (*Sandbox, error) {
	id, err := identity(o.Folder)
	if err != nil {
		return nil, fmt.Errorf("read the sandbox's name: %w", err)
	}
	s := &Sandbox{id: id, logger: o.Logger}
	if err := s.clean(); err != nil {
		return nil, fmt.Errorf("end the functions of an earlier run: %w", err)
	}
	if len(o.Tracking) == 0 {
		o.Tracking = []Tracking{CgroupV2, CgroupV1, Tree}
	}
	var causes error
	for _, way := range o.Tracking {
		if s.tracker, err = s.track(way); err == nil {
			o.Logger.Debug("The sandbox follows what functions start.", slog.String("by", string(way)))
			s.spawner = newSpawner()
			s.containers, s.missing = s.openContainers(o)
			return s, nil
		}
		causes = errors.Join(causes, fmt.Errorf("%s: %w", way, err))
	}
	return nil, fmt.Errorf("what functions start cannot be followed: %w", causes)
}

func (s *Sandbox) track(way Tracking) (tracker, error) {
	switch way {
	case CgroupV2:
		return newCgroups(s.id, unifiedHierarchy)
	case CgroupV1:
		return newCgroups(s.id, legacyHierarchy)
	}
	return newTree(s.id)
}

// Close ends the sandbox. Its processes must have ended.
func (s *Sandbox) Close() error {
	s.spawner.stop()
	var left error
	if s.containers != nil {
		left = s.containers.close()
	}
	return errors.Join(left, s.tracker.close())
}

// Missing are the things that this machine lacks for containers, each with what to do
// about it; none where they can be started.
func (s *Sandbox) Missing() []string { return s.missing }

// Start starts a process. When ctx ends before its turn comes, it is not started.
func (s *Sandbox) Start(ctx context.Context, spec Spec) (Process, error) {
	if spec.Container != nil {
		return s.startContained(ctx, spec)
	}
	return s.startPlain(ctx, spec)
}

var identityPattern = regexp.MustCompile(`^[0-9a-f]{32}$`)

// identity is the name of the sandbox that has a folder; a new one if it has none
// that can be read.
func identity(folder string) (string, error) {
	random := make([]byte, 16)
	// It never fails: crypto/rand ends the program instead.
	_, _ = rand.Read(random)
	fresh := hex.EncodeToString(random)
	if folder == "" {
		return fresh, nil
	}
	path := filepath.Join(folder, "id")
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if id := strings.TrimSpace(string(text)); identityPattern.MatchString(id) {
		return id, nil
	}
	if err := disk.MakeFolder(folder, 0o700); err != nil {
		return "", err
	}
	return fresh, disk.WriteFile(path, []byte(fresh+"\n"), 0o600)
}
