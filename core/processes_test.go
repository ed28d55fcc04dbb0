package core_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can start functions as somebody else; run the tests as root to include this one")
	}
}

func needPython(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/usr/bin/python3"); err != nil {
		t.Skip("this test needs python3 in /usr/bin")
	}
}

// message waits for a message from a function and gives what comes after its topic.
func (c *cloud) message(topic string) (payload string) {
	c.t.Helper()
	c.await("a message on "+topic, func() bool {
		for _, m := range c.messages {
			var ok bool
			if payload, ok = strings.CutPrefix(m, topic+"="); ok {
				return true
			}
		}
		return false
	})
	return payload
}

func TestFolderClosedToFunctions(t *testing.T) {
	t.Parallel()
	needRoot(t)
	needPython(t)
	c := newCloud(t)
	root := newRoot(t, c)
	home := filepath.Dir(root)
	if err := os.Chmod(home, 0o700); err != nil {
		t.Fatal(err)
	}
	start(t, root, nil)
	g, packages := echoGroup("1", echo, t)
	c.deploy(1, g, packages)
	end := c.outcome()
	if end.Event != fescue.EventFailed || len(end.Details) != 1 {
		t.Fatalf("report %+v", end)
	}
	d := end.Details[0]
	want := "nobody with UID 65534 and GID 65534 may not enter the folder " + home
	if d.DetailedErrorCode != string(fescue.FunctionClosed) || !strings.Contains(d.DetailedErrorMessage, want) {
		t.Errorf("detail %+v, want one that says %q", d, want)
	}
}

// daemonSource is a function that leaves a daemon behind, as daemon(3) makes one, without
// the function's environment. It says the daemon's number.
const daemonSource = echo + `
r, w = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(w, str(os.getpid()).encode())
        os.execve("/bin/sleep", ["sleep", "1000"], {})
    os._exit(0)
publish("up/daemon/" + os.environ["GREETING"], os.read(r, 20).decode())
`

func TestDaemonsEndWithTheirFunction(t *testing.T) {
	t.Parallel()
	needPython(t)
	c := newCloud(t)
	root := newRoot(t, c)
	_, _, stop := start(t, root, nil)
	deploy := func(epoch int64, version string) (daemon int) {
		t.Helper()
		g, packages := echoGroup(version, daemonSource, t)
		c.deploy(epoch, g, packages)
		if end := c.outcome(); end.Event != fescue.EventSucceeded {
			t.Fatalf("the deployment failed: %s", end.Message)
		}
		daemon, err := strconv.Atoi(c.message("up/daemon/hello " + version))
		if err != nil || !alive(daemon) {
			t.Fatalf("daemon %d, %v", daemon, err)
		}
		return daemon
	}
	first := deploy(1, "1")
	second := deploy(2, "2")
	if alive(first) {
		t.Error("the daemon of the first version survived the deployment of the second")
	}
	c.reset(3)
	if end := c.outcome(); end.Event != fescue.EventSucceeded {
		t.Fatalf("the reset failed: %s", end.Message)
	}
	if alive(second) {
		t.Error("a daemon survived the reset")
	}
	third := deploy(4, "3")
	if err := stop(); err != nil {
		t.Error(err)
	}
	if alive(third) {
		t.Error("a daemon survived the core's stop")
	}
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after 30 s still not: %s", what)
		}
	}
}

// alive says whether a process is there and no zombie.
func alive(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(text[strings.LastIndexByte(string(text), ')'):]), ") Z ")
}
