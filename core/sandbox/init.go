package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// initName is what the first process of a container is called.
const initName = "fescue-container"

// Descriptors of the first process: what it is to do, what it says, and from
// firstOutput on what the function writes to.
const (
	orderFD     = 3
	reportFD    = 4
	firstOutput = 5
)

// order is what the first process of a container is to do.
type order struct {
	Root rootPlan
	// Joining are the files by which a process goes into the container's control
	// groups, Back the one by which it comes back, if it has to.
	Joining []string
	Back    string
	// Program and so on are what is started then; with Try nothing is.
	Try        bool
	Program    InsidePath
	Dir        InsidePath
	Args, Env  []string
	Credential *Credential
	Outputs    int
}

// report is what it says, one JSON document each: that all has been started or why
// not, and how it ended.
type report struct {
	Error string `json:",omitempty"`
	// Errno is the kernel's reason not to start the program itself.
	Errno syscall.Errno `json:",omitempty"`
	// Status is a syscall.WaitStatus; nil until the end.
	Status *uint32 `json:",omitempty"`
}

// Init makes this process the first one of a container if it was started as that, and
// never returns then. A program that Options.Init names calls it before all else.
//
// The first process builds the container's root, starts the function in the control
// groups that bound it, without being bound itself, passes signals on and takes what
// has ended off the kernel's list. When it ends the kernel ends all else in the
// container.
func Init() {
	if len(os.Args) == 1 && os.Args[0] == initName && os.Getpid() == 1 {
		os.Exit(first())
	}
}

func first() int {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2)
	unix.CloseOnExec(orderFD)
	unix.CloseOnExec(reportFD)
	reports := json.NewEncoder(os.NewFile(reportFD, "report"))
	say := func(r report) { _ = reports.Encode(r) }
	fail := func(err error) int {
		r := report{Error: err.Error()}
		_ = errors.As(err, &r.Errno)
		say(r)
		return 1
	}
	var o order
	orders := os.NewFile(orderFD, "order")
	if err := json.NewDecoder(orders).Decode(&o); err != nil {
		return fail(fmt.Errorf("read what to do: %w", err))
	}
	orders.Close()
	unix.Umask(0o022)
	doors, err := open(append(o.Joining, o.Back))
	if err != nil {
		return fail(fmt.Errorf("open the control groups: %w", err))
	}
	if err := o.Root.enter(); err != nil {
		return fail(err)
	}
	child, err := o.start(doors)
	if err != nil {
		return fail(err)
	}
	for i := range o.Outputs {
		unix.Close(firstOutput + i)
	}
	for _, door := range doors {
		door.Close()
	}
	say(report{})
	if o.Try {
		return 0
	}
	go func() {
		for s := range signals {
			// The function has its own session. It may have ended just now.
			_ = unix.Kill(-child, s.(syscall.Signal))
		}
	}()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if pid == child {
			say(report{Status: (*uint32)(&status)})
			return 0
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fail(fmt.Errorf("wait for processes: %w", err))
		}
	}
}

// open opens the files of control groups, which are not seen from inside.
func open(paths []string) ([]*os.File, error) {
	var files []*os.File
	for _, path := range paths {
		if path == "" {
			continue
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// start starts the function from a thread that gives up for it what it may not have.
func (o order) start(doors []*os.File) (child int, err error) {
	onOwnThread(func() { child, err = o.fork(doors) })
	return child, err
}

func (o order) fork(doors []*os.File) (int, error) {
	for _, door := range doors[:len(o.Joining)] {
		if _, err := door.WriteString("0"); err != nil {
			return 0, fmt.Errorf("go into the control group: %w", err)
		}
	}
	var keep []uintptr
	if o.Credential == nil || o.Credential.UID == 0 {
		keep = rootKeeps
	}
	if err := errors.Join(bound(keep), forbid()); err != nil {
		return 0, err
	}
	child, err := 0, error(nil)
	if !o.Try {
		child, err = o.exec()
	}
	for _, door := range doors[len(o.Joining):] {
		if _, back := door.WriteString("0"); back != nil {
			return 0, fmt.Errorf("come back from the control group: %w", back)
		}
	}
	return child, err
}

func (o order) exec() (int, error) {
	null, err := os.Open("/dev/null")
	if err != nil {
		return 0, err
	}
	defer null.Close()
	attr := &syscall.ProcAttr{Dir: string(o.Dir), Env: o.Env, Files: []uintptr{null.Fd()}, Sys: &syscall.SysProcAttr{Setsid: true}}
	for i := range o.Outputs {
		attr.Files = append(attr.Files, uintptr(firstOutput+i))
	}
	for len(attr.Files) < 3 {
		attr.Files = append(attr.Files, null.Fd())
	}
	if c := o.Credential; c != nil {
		attr.Sys.Credential = &syscall.Credential{Uid: c.UID, Gid: c.GID, Groups: c.Groups}
	}
	return syscall.ForkExec(string(o.Program), append([]string{string(o.Program)}, o.Args...), attr)
}
