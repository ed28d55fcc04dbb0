package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/fescue-edge/fescue/core/sandbox"
	"github.com/fescue-edge/fescue/testkit"
)

// The test program is also what the tests start, and a core that gets killed. Its
// words come as arguments, since some of it has no environment.
func TestMain(m *testing.M) {
	sandbox.Init()
	if len(os.Args) > 1 && os.Args[1] == "play" {
		os.Exit(play(os.Args[2], os.Args[3:]))
	}
	os.Exit(m.Run())
}

func play(role string, words []string) int {
	switch role {
	case "parent":
		// One child for each word; it goes on when all have been started.
		for _, kind := range words {
			if err := startChild(kind); err != nil {
				fmt.Println(err)
				return 1
			}
		}
		fmt.Println("started")
		forever()
	case "orphan":
		// Its child outlives it.
		if err := child(words[0], true, words[0] == "bare").Start(); err != nil {
			fmt.Println(err)
			return 1
		}
	case "leaf":
		fmt.Println(words[0], os.Getpid())
		forever()
	case "container":
		return playContainer(words[0])
	case "containers":
		return playContainers(words[0])
	case "core":
		return playCore(sandbox.Tracking(words[0]), words[1], words[2:])
	}
	return 0
}

func child(kind string, session, bare bool) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", "play", "leaf", kind)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: session}
	if bare {
		cmd.Env = []string{"PATH=/bin"}
	}
	return cmd
}

// startChild starts a child that sleeps: plain; in a session of its own; an orphan,
// as daemons are; or an orphan without the environment of its ancestors.
func startChild(kind string) error {
	switch kind {
	case "plain":
		return child(kind, false, false).Start()
	case "session":
		return child(kind, true, false).Start()
	}
	cmd := exec.Command("/proc/self/exe", "play", "orphan", kind)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// forever waits for a signal that nobody sends. A bare select would be taken for a
// deadlock in a program without cgo.
func forever() {
	never := make(chan os.Signal, 1)
	signal.Notify(never, syscall.SIGUSR2)
	<-never
}

// playCore runs a process with children in a sandbox until it is killed.
func playCore(tracking sandbox.Tracking, folder string, kinds []string) int {
	s, err := sandbox.Open(sandbox.Options{Folder: folder, Logger: slog.New(slog.DiscardHandler), Tracking: []sandbox.Tracking{tracking}})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	spec := parent(kinds...)
	spec.Output = []func(string){func(line string) { fmt.Println(line) }, func(line string) { fmt.Println(line) }}
	p, err := s.Start(context.Background(), spec)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("parent", p.PID())
	forever()
	return 0
}

// playContainer runs a process in a container until it is killed.
func playContainer(folder string) int {
	s, err := sandbox.Open(sandbox.Options{Folder: folder, Init: "/proc/self/exe", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	say := func(line string) { fmt.Println(line) }
	_, err = s.Start(context.Background(), sandbox.Spec{
		ID: uuid.NewString(), Program: "/bin/sh", Args: []string{"-c", "sleep 1000 & echo started; sleep 1000"}, Dir: "/", Env: []string{"PATH=/usr/bin:/bin"},
		Credential: user, Container: &sandbox.Container{Memory: 64 << 20}, Output: []func(string){say, say},
	})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	forever()
	return 0
}

// playContainers says what an earlier run left of its containers, and what is left of
// that, and starts containers, one after the other, until it is killed.
func playContainers(folder string) int {
	left := func(when string) {
		entries, _ := os.ReadDir(folder + "/containers")
		fmt.Println(when, len(entries), "left")
	}
	left("before")
	s, err := sandbox.Open(sandbox.Options{Folder: folder, Init: "/proc/self/exe", Logger: slog.New(slog.DiscardHandler)})
	if err != nil || s.Missing() != nil {
		fmt.Println(err, s.Missing())
		return 1
	}
	left("after")
	for {
		p, err := s.Start(context.Background(), sandbox.Spec{
			ID: uuid.NewString(), Program: "/bin/sh", Args: []string{"-c", "echo x >/tmp/x"}, Dir: "/", Env: []string{"PATH=/usr/bin:/bin"},
			Credential: user, Container: &sandbox.Container{Memory: 64 << 20},
		})
		if err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println("ended with", p.Wait().Status)
	}
}

// parent is a process with a child of each kind.
func parent(kinds ...string) sandbox.Spec {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	var who *sandbox.Credential
	if uid, err := strconv.ParseUint(os.Getenv("FESCUE_TEST_USER"), 10, 32); err == nil {
		who = &sandbox.Credential{UID: uint32(uid), GID: uint32(uid)}
	}
	return sandbox.Spec{
		Credential: who, ID: uuid.NewString(), Program: sandbox.InsidePath(self), Dir: "/", Env: []string{"PATH=/usr/bin:/bin"},
		Args: append([]string{"play", "parent"}, kinds...),
	}
}

// lines keeps what a process writes.
type lines struct {
	mu   sync.Mutex
	list []string
}

func (l *lines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, line)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.list, "\n")
}

// pids are the numbers that stand behind words of the output.
func (l *lines) pids() map[string]int {
	list := make(map[string]int)
	for line := range strings.Lines(l.String()) {
		word, number, _ := strings.Cut(strings.TrimSpace(line), " ")
		if pid, err := strconv.Atoi(number); err == nil {
			list[word] = pid
		}
	}
	return list
}

// alive says whether a process is there and no zombie.
func alive(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(text[bytes.LastIndexByte(text, ')'):]), ") Z ")
}

// everyTracking runs a test with each way to follow processes that works here.
func everyTracking(t *testing.T, test func(t *testing.T, tracking sandbox.Tracking)) {
	for _, tracking := range []sandbox.Tracking{sandbox.CgroupV2, sandbox.CgroupV1, sandbox.Tree} {
		t.Run(string(tracking), func(t *testing.T) { test(t, tracking) })
	}
}

// open makes a sandbox for a test, which is skipped where that cannot be.
func open(t *testing.T, tracking sandbox.Tracking, folder string) (*sandbox.Sandbox, *lines) {
	t.Helper()
	log := &lines{}
	s, err := sandbox.Open(sandbox.Options{
		Folder: folder, Tracking: []sandbox.Tracking{tracking}, Logger: slog.New(slog.NewTextHandler(writer{log}, nil)),
	})
	if err != nil {
		t.Skipf("%v; run the tests as root on a machine with control groups to include this one", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if strings.Contains(log.String(), "ERROR") {
			t.Error(log)
		}
	})
	return s, log
}

type writer struct{ *lines }

func (w writer) Write(text []byte) (int, error) {
	w.add(strings.TrimSpace(string(text)))
	return len(text), nil
}

// run starts a process and waits until it and its children have spoken.
func run(t *testing.T, s *sandbox.Sandbox, spec sandbox.Spec) (sandbox.Process, *lines) {
	t.Helper()
	out := &lines{}
	spec.Output = []func(string){out.add, out.add}
	p, err := s.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	want := len(spec.Args) - 2
	testkit.Until(t, "all children have spoken", func() bool {
		return strings.Contains(out.String(), "started") && len(out.pids()) == want
	})
	return p, out
}

// end asks a process to end and waits for it and all that came of it.
func end(t *testing.T, p sandbox.Process) sandbox.End {
	t.Helper()
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	done := make(chan sandbox.End, 1)
	go func() { done <- p.Wait() }()
	select {
	case ended := <-done:
		return ended
	case <-time.After(30 * time.Second):
		t.Fatal(errors.New("the process does not end"))
		return sandbox.End{}
	}
}
