package core_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core"
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

// TestProgramThatCannotBeStarted: the deployment ends before anything changes, and
// its status says why.
func TestProgramThatCannotBeStarted(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	root := newRoot(t, c)
	start(t, root, nil)
	for epoch, tc := range []struct{ name, text, want string }{
		{"Windows line ends", "#!/bin/sh\r\necho\r\n", "run.sh cannot be started: its first line ends in CR LF"},
		{"no interpreter", "#!/usr/bin/python9\n", "run.sh cannot be started: the interpreter /usr/bin/python9 that its first line names is not installed"},
		{"another machine", "\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9) + "\x02\x00\x16\x00\x01" + strings.Repeat("\x00", 100), "run.sh cannot be started: it is "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g, packages := echoGroup("1", "", t)
			l := &g.GroupDefinitions.Lambdas.Content[0].DeploymentConfiguration
			l.Runtime, l.Handler = fescue.ExecutableRuntime, "run.sh"
			packages[echoARN+"1"] = archive(t, "run.sh", tc.text)
			c.deploy(int64(epoch+1), g, packages)
			end := c.outcome()
			if end.Event != fescue.EventFailed || len(end.Details) != 1 || end.Details[0].DetailedErrorCode != string(fescue.ProgramInvalid) ||
				!strings.Contains(end.Message, tc.want) {
				t.Errorf("report %+v, want one that says %q", end, tc.want)
			}
		})
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

// setRuntime puts a member of runtime into config.json.
func setRuntime(t *testing.T, root, member, value string) {
	t.Helper()
	path := filepath.Join(root, "config", "config.json")
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, []byte(strings.Replace(string(text), "{", fmt.Sprintf(`{"runtime":{%q:%q},`, member, value), 1)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// spy is a function that reads what another function was started with.
const spy = echo + `
def handler(event, context):
    try:
        with open("/proc/%d/environ" % event) as f:
            found = "token" if "AWS_CONTAINER_AUTHORIZATION_TOKEN=Basic " in f.read() else "nothing"
    except OSError as e:
        found = e.strerror
    publish("up/spied", found)
publish("up/user", "%s %d %d" % (os.environ["MY_FUNCTION_ARN"], os.getuid(), os.getgid()))
`

func TestUserForEachFunction(t *testing.T) {
	t.Parallel()
	needRoot(t)
	needPython(t)
	const other = "arn:aws:lambda:us-east-1:123456789012:function:other:1"
	for _, tc := range []struct{ name, uids, user, other, spied string }{
		{"all share one", "", "65534", "65534", "token"},
		{"each has its own", "70000-70009", "70000", "70001", "Permission denied"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t)
			root := newRoot(t, c)
			if tc.uids != "" {
				setRuntime(t, root, "functionUids", tc.uids)
			}
			k, _, stop := start(t, root, nil)
			g, packages := echoGroup("1", spy, t)
			second := g.GroupDefinitions.Lambdas.Content[0]
			second.FunctionArn, packages[other] = other, packages[echoARN+"1"]
			g.GroupDefinitions.Lambdas.Content = append(g.GroupDefinitions.Lambdas.Content, second)
			for _, row := range g.GroupDefinitions.Subscriptions.Content[:1] {
				row.Id, row.Source = "3", other
				g.GroupDefinitions.Subscriptions.Content = append(g.GroupDefinitions.Subscriptions.Content, row)
			}
			c.deploy(1, g, packages)
			if end := c.outcome(); end.Event != fescue.EventSucceeded {
				t.Fatalf("the deployment failed: %s", end.Message)
			}
			users := func(times int) {
				t.Helper()
				for arn, user := range map[string]string{echoARN + "1": tc.user, other: tc.other} {
					want := "up/user=" + arn + " " + user + " 65534"
					c.await(want, func() bool { return count(c.messages, want) == times })
				}
			}
			users(1)
			for _, w := range workers(t, k) {
				if w["FuncArn"] == other {
					c.await("the subscription", func() bool { return c.filters["down/#"] })
					c.publish("down/x", w["ProcessId"])
				}
			}
			if got := c.message("up/spied"); got != tc.spied {
				t.Errorf("a function finds in another's environment: %s, want %s", got, tc.spied)
			}
			// They keep their users, though they come in another order.
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			start(t, root, nil)
			users(2)
			slices.Reverse(g.GroupDefinitions.Lambdas.Content)
			g.GroupDefinitions.Lambdas.Content[0].DeploymentConfiguration.ExecArgs = []string{"new"}
			g.GroupDefinitions.Lambdas.Content[1].DeploymentConfiguration.ExecArgs = []string{"new"}
			c.deploy(2, g, packages)
			if end := c.outcome(); end.Event != fescue.EventSucceeded {
				t.Fatalf("the deployment failed: %s", end.Message)
			}
			users(3)
		})
	}
	for _, tc := range []struct{ name, uids, want string }{
		{"the range is used up", "70000-70000", "all of runtime.functionUids (70000-70000) are given"},
		{"an account has the number", "65534-65600", "UID 65534 of runtime.functionUids is the account nobody of this machine"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t)
			root := newRoot(t, c)
			setRuntime(t, root, "functionUids", tc.uids)
			start(t, root, nil)
			g, packages := echoGroup("1", echo, t)
			second := g.GroupDefinitions.Lambdas.Content[0]
			second.FunctionArn, packages[other] = other, packages[echoARN+"1"]
			g.GroupDefinitions.Lambdas.Content = append(g.GroupDefinitions.Lambdas.Content, second)
			c.deploy(1, g, packages)
			end := c.outcome()
			if end.Event != fescue.EventFailed || !strings.Contains(end.Message, tc.want) || end.Details[0].DetailedErrorCode != string(fescue.FunctionUIDMissing) {
				t.Errorf("report %+v, want one that says %q", end, tc.want)
			}
		})
	}
}

func TestLockHeldByAnother(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	root := newRoot(t, c)
	_, _, stop := start(t, root, nil)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, "ggc", "core.lock")
	ended := exec.Command("/bin/true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	// As a process that functions left behind may do it.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintln(f, ended.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	k, err := core.New(core.Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Run(t.Context()); err == nil || errors.Is(err, core.ErrRunning) || !strings.Contains(err.Error(), "fuser "+path+" names it") {
		t.Errorf("got %v", err)
	}
}

// alive says whether a process is there and no zombie.
func alive(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(text[strings.LastIndexByte(string(text), ')'):]), ") Z ")
}
