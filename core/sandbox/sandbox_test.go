package sandbox_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fescue-edge/fescue/core/sandbox"
	"github.com/fescue-edge/fescue/testkit"
)

var kinds = []string{"plain", "session", "orphan", "bare"}

func TestNothingOutlivesItsProcess(t *testing.T) {
	everyTracking(t, func(t *testing.T, tracking sandbox.Tracking) {
		s, _ := open(t, tracking, "")
		older, _ := run(t, s, parent())
		p, out := run(t, s, parent(kinds...))
		other, others := run(t, s, parent("orphan"))
		end(t, p)
		for kind, pid := range out.pids() {
			// Without its environment an orphan may be the other's.
			if alive(pid) && (kind != "bare" || tracking != sandbox.Tree) {
				t.Errorf("the %s child still runs", kind)
			}
		}
		if !alive(others.pids()["orphan"]) {
			t.Error("the child of another process was ended with it")
		}
		end(t, other)
		end(t, older)
		if alive(others.pids()["orphan"]) || alive(out.pids()["bare"]) {
			t.Error("something still runs")
		}
	})
}

// TestGroupIsRemoved: tools that tidy up remove control groups in which nothing is.
func TestGroupIsRemoved(t *testing.T) {
	for _, tracking := range []sandbox.Tracking{sandbox.CgroupV2, sandbox.CgroupV1} {
		t.Run(string(tracking), func(t *testing.T) {
			folder := t.TempDir()
			s, _ := open(t, tracking, folder)
			id, err := os.ReadFile(filepath.Join(folder, "id"))
			if err != nil {
				t.Fatal(err)
			}
			removed := false
			err = filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
				if err == nil && entry.IsDir() && entry.Name() == "fescue-"+strings.TrimSpace(string(id)) {
					removed = true
					return os.Remove(path)
				}
				return nil
			})
			if err != nil || !removed {
				t.Fatalf("removed: %t, %v", removed, err)
			}
			p, _ := run(t, s, parent())
			end(t, p)
		})
	}
}

// TestOrphansThatEndAreReaped: a process may start many daemons in its life.
func TestOrphansThatEndAreReaped(t *testing.T) {
	s, _ := open(t, sandbox.Tree, "")
	p, out := run(t, s, parent("orphan"))
	orphan := out.pids()["orphan"]
	if err := syscall.Kill(orphan, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	testkit.Until(t, "the zombie is gone", func() bool {
		_, err := os.Stat(fmt.Sprintf("/proc/%d", orphan))
		return os.IsNotExist(err)
	})
	end(t, p)
}

func TestWhatAKilledCoreLeftIsEnded(t *testing.T) {
	everyTracking(t, func(t *testing.T, tracking sandbox.Tracking) {
		folder := filepath.Join(t.TempDir(), "sandbox")
		mine := slices.Clone(kinds)
		if tracking == sandbox.Tree {
			// Without an environment nothing says whose it was.
			mine = mine[:3]
		}
		core := exec.Command("/proc/self/exe", append([]string{"play", "core", string(tracking), folder}, mine...)...)
		stdout, err := core.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := core.Start(); err != nil {
			t.Fatal(err)
		}
		out := &lines{}
		scanner := bufio.NewScanner(stdout)
		for len(out.pids()) < len(mine)+1 && scanner.Scan() {
			out.add(scanner.Text())
		}
		pids := out.pids()
		killed := core.Process.Kill()
		_ = core.Wait()
		if len(pids) != len(mine)+1 || killed != nil {
			if strings.Contains(out.String(), "cannot be followed") {
				t.Skip(out)
			}
			t.Fatalf("the core said %q; %v", out, killed)
		}
		if !alive(pids["orphan"]) {
			t.Fatal("the orphan ended with the core; this shows nothing")
		}
		// The next core need not follow processes in the same way.
		_, log := open(t, sandbox.Tree, folder)
		for kind, pid := range pids {
			if alive(pid) {
				t.Errorf("%s %d still runs", kind, pid)
			}
		}
		if !strings.Contains(log.String(), "left behind") {
			t.Errorf("the log does not say so: %s", log)
		}
	})
}

func TestOutsidersLive(t *testing.T) {
	for name, id := range map[string]string{
		"empty": "", "cut short": "0123", "no name": "/", "all": "..", "damaged": strings.Repeat("z", 32), "other": strings.Repeat("0", 32),
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			if err := os.WriteFile(filepath.Join(folder, "id"), []byte(id), 0o600); err != nil {
				t.Fatal(err)
			}
			outsider := exec.Command("sleep", "1000")
			outsider.Env = []string{"FESCUE_PROCESS=" + strings.Repeat("1", 32) + "/x"}
			if err := outsider.Start(); err != nil {
				t.Fatal(err)
			}
			defer outsider.Wait()
			defer outsider.Process.Kill()
			_, log := open(t, sandbox.Tree, folder)
			if !alive(outsider.Process.Pid) || log.String() != "" {
				t.Errorf("an outsider was ended: %s", log)
			}
		})
	}
}

func TestNothingIsInherited(t *testing.T) {
	// As a program that was started with an open descriptor has it.
	fd, err := unix.Open("/etc/passwd", unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	t.Setenv("FESCUE_TEST_SECRET", "of the core")
	everyTracking(t, func(t *testing.T, tracking sandbox.Tracking) {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			t.Fatal(err)
		}
		s, _ := open(t, tracking, "")
		out := &lines{}
		spec := parent()
		spec.Program, spec.Args = "/bin/sh", []string{"-c", "i=0; while [ $i -lt 64 ]; do [ -e /proc/$$/fd/$i ] && echo $i; i=$((i+1)); done; export; exit 7"}
		spec.Output = []func(string){out.add, out.add, out.add}
		p, err := s.Start(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		if end := p.Wait(); end.Status.ExitStatus() != 7 {
			t.Errorf("it ended with %v", end)
		}
		if !strings.HasPrefix(out.String(), "0\n1\n2\n3\nexport") || strings.Contains(out.String(), "of the core") {
			t.Errorf("the process has\n%s", out)
		}
	})
}

func TestAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can start processes as somebody else; run the tests as root to include this one")
	}
	everyTracking(t, func(t *testing.T, tracking sandbox.Tracking) {
		s, _ := open(t, tracking, "")
		out := &lines{}
		spec := parent()
		spec.Program, spec.Args = "/bin/sh", []string{"-c", "id -u; id -g; id -G; pwd"}
		spec.Credential = &sandbox.Credential{UID: 54321, GID: 54322, Groups: []uint32{54323}}
		spec.Output = []func(string){out.add, out.add}
		p, err := s.Start(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		p.Wait()
		if got := out.String(); got != "54321\n54322\n54322 54323\n/" {
			t.Errorf("got\n%s", got)
		}
	})
}

// openProgram is this test program in a folder that is open to other users.
func openProgram(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "sandbox-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	text, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(folder, "test")
	if err := errors.Join(os.WriteFile(program, text, 0o755), os.Chmod(folder, 0o777)); err != nil {
		t.Fatal(err)
	}
	return program
}

// TestRootOfAContainer: it is root without the right to look into other users'
// processes, and control groups are not its own.
func TestRootOfAContainer(t *testing.T) {
	setpriv, err := exec.LookPath("setpriv")
	if err != nil || os.Getuid() != 0 {
		t.Skip("only root can give up rights; run the tests as root, with util-linux installed, to include this one")
	}
	program := openProgram(t)
	// What Docker leaves it.
	const rights = "-all,+chown,+dac_override,+fsetid,+fowner,+mknod,+net_raw,+setgid,+setuid,+setfcap,+setpcap,+net_bind_service,+sys_chroot,+kill,+audit_write"
	cmd := exec.Command(setpriv, "--bounding-set="+rights, "--inh-caps=-all", program,
		"-test.run=(TestNothingOutlives|TestWhatAKilled).*/process", "-test.v")
	cmd.Dir, cmd.Env = "/", []string{"TMPDIR=" + filepath.Dir(program), "PATH=/usr/bin:/bin", "FESCUE_TEST_USER=54321"}
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "--- PASS") < 4 {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestOrdinaryUser: a core without root's rights follows its processes, too.
func TestOrdinaryUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("as an ordinary user all tests show this; run them as root to include this one")
	}
	program := openProgram(t)
	folder := filepath.Dir(program)
	cmd := exec.Command(program, "-test.run=TestNothingOutlives|TestOrphans|TestWhatAKilled|TestNothingIs|TestNoContainers", "-test.v")
	cmd.Dir, cmd.Env = folder, []string{"TMPDIR=" + folder, "PATH=/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 54321, Gid: 54321}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestNoContainers") || strings.Count(string(out), "--- PASS") < 5 {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestNoWayToFollow(t *testing.T) {
	_, err := sandbox.Open(sandbox.Options{Folder: "/proc/nowhere", Logger: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "sandbox's name") {
		t.Errorf("got %v", err)
	}
}
