//go:build linux

package test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/fescue-edge/fescue"
)

// unruly does what its event says: it fills its disk, prints 100 MB, uses up its
// descriptors, or never comes back from its work.
const unruly = greeter + `
import os, threading, time

def fill():
    with open("/tmp/big", "wb") as f:
        while True:
            f.write(b"x" * (1 << 20))

leaked = []

def leak():
    # Bare descriptors: file objects of Python have buffers of 8 KB, which together
    # come close to its memory.
    try:
        while True:
            leaked.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        for _ in range(3):  # for what it does next
            os.close(leaked.pop())
        raise

def talk():
    for _ in range(5000):
        print("x" * 20000)
    publish("talked 100 MB")

def hang():
    open("/tmp/hanging", "w").close()
    publish("hanging")
    while True:
        time.sleep(1000)

def handler(event, context):
    try:
        {"fill": fill, "leak": leak, "talk": threading.Thread(target=talk).start, "hang": hang}[event["do"]]()
    except OSError as e:
        publish("%s: %s" % (event["do"], e))
`

// daemon does not end when it is asked to, and starts what leaves its group, its
// session and its environment.
const daemon = `
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve("/bin/sh", ["sh", "-c", "trap '' TERM HUP; while :; do sleep 1; done"], {})
    os._exit(0)
` + greeter

// hanging gives the container of the function that hangs in its work: its ID, the
// function's process and the first one.
func (g *gateway) hanging(t testing.TB) (id string, function, first int) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(g.root, "ggc/var/state/sandbox/containers/*/tmp/hanging"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%q hang: %v", found, err)
	}
	id = filepath.Base(filepath.Dir(filepath.Dir(found[0])))
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, process := range processes {
		pid, _ := strconv.Atoi(filepath.Base(process))
		// One that cannot be read has ended.
		environment, _ := os.ReadFile(process + "/environ")
		group, _ := os.ReadFile(process + "/cgroup")
		switch {
		case strings.Contains(string(group), "/containers/"+id):
			function = pid
		case strings.Contains(string(environment), "FESCUE_PROCESS=") && strings.Contains(string(environment), "/"+id):
			first = pid
		}
	}
	return id, function, first
}

// TestFaultsOfContainers: whatever a function in a container does or is done to, its
// neighbour goes on, and nothing of it is left.
func TestFaultsOfContainers(t *testing.T) {
	needPython(t)
	h := startServer(t).site(region)
	viewer := h.connect(t, "Viewer")
	viewer.subscribe(t, "Unruly_Core/out")
	g := h.provision(t, "Unruly_Core")
	if os.Getuid() == 0 {
		// The disk that is filled is a small one.
		disk := filepath.Join(g.root, "ggc")
		if err := errors.Join(os.MkdirAll(disk, 0o711), syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=48m,mode=711")); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(disk, 0); err != nil {
				t.Error(err)
			}
		})
	}
	g.startContained(t)
	// What it does is much work, for a machine that others keep busy.
	const slow = 5 * patience
	wild, neighbour, left := h.python(t, "Unruly", unruly), h.python(t, "Neighbour", greeter), h.python(t, "Daemon", daemon)
	functions := []function{
		{arn: neighbour, pinned: true, memory: aws.Int32(32768), variables: out(g.thing, "neighbour")},
		{arn: wild, memory: aws.Int32(262144), timeout: int32(slow.Seconds()), variables: out(g.thing, "unruly")},
		{arn: left, pinned: true, memory: aws.Int32(32768), variables: out(g.thing, "daemon")},
	}
	routes := append(ends(neighbour, g.thing), route{wild, g.thing + "/out", "cloud"}, route{"cloud", g.thing + "/do", wild}, route{left, g.thing + "/out", "cloud"})
	group, version := g.groupVersion(t, "", functions, routes)
	g.awaitContained(t, group, version)
	viewer.next(t, "started neighbour", "started daemon")
	do := func(what, said string) {
		t.Helper()
		await(t, "publish", viewer.Publish("Unruly_Core/do", 1, false, `{"do":"`+what+`"}`))
		viewer.nextWithin(t, slow, said)
		await(t, "publish", viewer.Publish("Unruly_Core/in/x", 1, false, `{"after":"`+what+`"}`))
		viewer.next(t, `echo {"after": "`+what+`"}`)
	}

	do("talk", "talked 100 MB")
	do("fill", "fill: [Errno 28] No space left on device")
	do("leak", "leak: [Errno 24] Too many open files")
	for _, victim := range []string{"its process", "the first process of its container"} {
		t.Run("killed in the middle of a call: "+victim, func(t *testing.T) {
			do("hang", "hanging")
			id, pid, first := g.hanging(t)
			if victim != "its process" {
				pid = first
			}
			if pid == 0 {
				t.Fatalf("there is no such process: the function is %d, the first process %d, 0 if it is in the container's control groups", pid, first)
			}
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			eventually(t, "nothing of it is left", func() error {
				if _, all := g.remains(t); strings.Contains(strings.Join(all, "\n"), id) {
					return errors.New(strings.Join(all, "\n"))
				}
				return nil
			})
		})
	}
	whole := t
	t.Run("the core killed in the middle of a call", func(t *testing.T) {
		do("hang", "hanging")
		g.process.Kill()
		g.run(whole)
		viewer.next(t, "started neighbour", "started daemon")
		g.settle(t, 2)
		if free := freeOf(t, filepath.Join(g.root, "ggc")); free < 30<<20 {
			t.Errorf("%d bytes of its disk are free", free)
		}
	})
	t.Run("a daemon that heeds no signal is taken out of the group", func(t *testing.T) {
		group, version = g.groupVersion(t, group, functions[:1], routes[:2])
		h.await(t, group, h.deploy(t, group, version), fescue.Success)
		g.settle(t, 1)
	})
	g.leaveNothing(t)
}

func freeOf(t testing.TB, folder string) uint64 {
	t.Helper()
	var s syscall.Statfs_t
	if err := syscall.Statfs(folder, &s); err != nil {
		t.Fatal(fmt.Errorf("%s: %w", folder, err))
	}
	return s.Bavail * uint64(s.Bsize)
}
