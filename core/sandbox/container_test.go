package sandbox_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

// openContainers makes a sandbox that starts containers, for a test that is skipped
// where that cannot be.
func openContainers(t *testing.T, folder string) *sandbox.Sandbox {
	t.Helper()
	return openContainersWith(t, sandbox.Options{Folder: folder})
}

// openContainersWith is openContainers with more options than a folder.
func openContainersWith(t *testing.T, o sandbox.Options) *sandbox.Sandbox {
	t.Helper()
	log, folder := &lines{}, o.Folder
	o.Init, o.Logger = "/proc/self/exe", slog.New(slog.NewTextHandler(writer{log}, nil))
	s, err := sandbox.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if text := log.String(); strings.Contains(text, "ERROR") || strings.Contains(text, "stays until") {
			t.Error(text)
		}
		if left := remains(t, folder); left != "" {
			t.Errorf("left behind:\n%s", left)
		}
	})
	if missing := s.Missing(); len(missing) > 0 {
		t.Skipf("no containers here: %s", strings.Join(missing, "; "))
	}
	return s
}

// remains are the mounts, control groups and folders of a sandbox.
func remains(t *testing.T, folder string) string {
	t.Helper()
	var list []string
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, folder) {
			list = append(list, line)
		}
	}
	id, err := os.ReadFile(filepath.Join(folder, "id"))
	if err != nil {
		t.Fatal(err)
	}
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.Contains(d.Name(), strings.TrimSpace(string(id))) {
			list = append(list, path)
		}
		return nil
	})
	if entries, err := os.ReadDir(filepath.Join(folder, "containers")); err == nil {
		list = append(list, fmt.Sprint("containers", entries))
	}
	return strings.Join(list, "\n")
}

// user is an ordinary user without an account.
var user = &sandbox.Credential{UID: 54321, GID: 54322, Groups: []uint32{54323}}

// inside is a shell script in a container, with its code in /lambda.
func inside(t *testing.T, script string) sandbox.Spec {
	t.Helper()
	code := t.TempDir()
	if err := os.WriteFile(filepath.Join(code, "run"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return sandbox.Spec{
		ID: uuid.NewString(), Program: "/lambda/run", Dir: "/lambda", Env: []string{"PATH=/usr/bin:/bin"}, Credential: user,
		Container: &sandbox.Container{
			Memory: 64 << 20,
			Mounts: []sandbox.Mount{{Source: sandbox.HostPath(code), Destination: "/lambda"}},
		},
	}
}

// result runs a process until its end.
func result(t *testing.T, s *sandbox.Sandbox, spec sandbox.Spec) (string, sandbox.End) {
	t.Helper()
	out := &lines{}
	spec.Output = []func(string){out.add, out.add}
	p, err := s.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	ended := p.Wait()
	return out.String(), ended
}

func TestContainer(t *testing.T) {
	hiddenRoot := t.TempDir()
	if err := os.WriteFile(filepath.Join(hiddenRoot, "key"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	other, err := os.MkdirTemp("/opt", "fescue-other-")
	if err != nil {
		t.Skipf("%v; run the tests as root to include this one", err)
	}
	t.Cleanup(func() { os.RemoveAll(other) })
	if err := os.WriteFile(filepath.Join(other, "code"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s := openContainers(t, t.TempDir())
	root := &sandbox.Credential{}
	for name, c := range map[string]struct {
		script string
		change func(*sandbox.Spec)
		want   string
		status int
	}{
		"who it is":               {"id -u; id -g; id -G; pwd; exit 7", nil, "54321\n54322\n54322 54323\n/lambda", 7},
		"its own processes alone": {"set -- /proc/[0-9]*; echo $# $1", nil, "2 /proc/1", 0},
		"its code to be read":     {"cat run >/dev/null && echo read; touch /lambda/x 2>&1 | grep -o 'Read-only.*'", func(s *sandbox.Spec) { s.Credential = root }, "read\nRead-only file system", 0},
		"a folder of its own":     {"touch /tmp/x /var/tmp/x && ls /tmp; df -T /tmp | tail -1 | grep -c tmpfs", nil, "x\n0", 1},
		"root's secrets":          {"cat /etc/shadow | wc -c; ls -A /root /etc/ssh 2>/dev/null", func(s *sandbox.Spec) { s.Credential = root }, "0\n/etc/ssh:\n\n/root:", 0},
		// Guests have both (package guest).
		"nothing of Fescue's own":      {"cat /etc/fescue/* /var/lib/fescue/* 2>/dev/null | wc -c", func(s *sandbox.Spec) { s.Credential = root }, "0", 0},
		"nothing of other folders":     {"ls -A " + other, func(s *sandbox.Spec) { s.Container.Hidden = []sandbox.HostPath{sandbox.HostPath(other)} }, "", 0},
		"devices":                      {"ls /dev | tr '\\n' ' '; echo x >/dev/null && head -c1 /dev/zero | wc -c; test -e /dev/fd/0 && test -w /dev/shm && echo ok", nil, "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero 1\nok", 0},
		"no /sys":                      {"ls -A /sys", nil, "", 0},
		"/sys to be read":              {"ls -d /sys/kernel; touch /sys/kernel/x 2>/dev/null || echo no", func(s *sandbox.Spec) { s.Container.Sysfs = true; s.Credential = root }, "/sys/kernel\nno", 0},
		"no rights":                    {"grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status | tr -d '\\t' | tr '\\n' ' '", nil, "CapEff:0000000000000000 CapBnd:0000000000000000 NoNewPrivs:1 Seccomp:2 ", 0},
		"root's few rights":            {"grep -E 'CapEff|CapBnd' /proc/self/status | tr -d '\\t' | tr '\\n' ' '", func(s *sandbox.Spec) { s.Credential = root }, "CapEff:00000000000024fb CapBnd:00000000000024fb ", 0},
		"no settings of the kernel":    {"for f in sys/kernel/core_pattern sysrq-trigger sys/vm/drop_caches; do echo x 2>/dev/null >/proc/$f || echo no; done", func(s *sandbox.Spec) { s.Credential = root }, "no\nno\nno", 0},
		"what it writes is its own":    {"echo x >/etc/fescue-test && cat /etc/fescue-test", func(s *sandbox.Spec) { s.Credential = root }, "x", 0},
		"nothing of its first process": {"cat /proc/1/environ /proc/1/mem /proc/1/fd/* 2>/dev/null; for f in /proc/1/fd/* /proc/1/root /proc/1/cwd /proc/1/ns/mnt; do readlink $f; done; kill -9 1; echo lives", func(s *sandbox.Spec) { s.Credential = root }, "lives", 0},
		"nothing of the core":          {"ls -A /.host 2>/dev/null; ls -l /proc/self/fd | grep -c cgroup; export", nil, "0\nexport PATH='/usr/bin:/bin'\nexport PWD='/lambda'", 0},
	} {
		t.Run(name, func(t *testing.T) {
			spec := inside(t, c.script)
			if c.change != nil {
				c.change(&spec)
			}
			out, end := result(t, s, spec)
			if out != c.want || end.Status.ExitStatus() != c.status || end.OutOfMemory {
				t.Errorf("it wrote\n%s\nand ended with %v; want\n%s", out, end, c.want)
			}
		})
	}
	if _, err := os.Stat("/etc/fescue-test"); err == nil {
		t.Error("what the function wrote is on the machine")
	}
}

// TestLayersInMemory: with OverlayTmpfs nothing that a container writes into its root comes
// to the disk, and it counts as its memory.
func TestLayersInMemory(t *testing.T) {
	folder := t.TempDir()
	for _, inMemory := range []bool{false, true} {
		t.Run(fmt.Sprint("in memory ", inMemory), func(t *testing.T) {
			s := openContainersWith(t, sandbox.Options{Folder: folder, OverlayTmpfs: inMemory})
			out := &lines{}
			spec := inside(t, "cat /etc/hostname >/dev/null && echo x >/etc/fescue-layer && cat /etc/fescue-layer && exec sleep 1000")
			spec.Credential, spec.Output = &sandbox.Credential{}, []func(string){out.add, out.add}
			p, err := s.Start(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			testkit.Until(t, "it has not written", func() bool { return strings.Contains(out.String(), "x") })
			found, err := filepath.Glob(filepath.Join(folder, "containers", "*", "layers", "upper", "etc", "fescue-layer"))
			if err != nil || (len(found) == 0) != inMemory {
				t.Errorf("on the disk lies %q; the function says %q", found, out)
			}
			if err := p.Signal(syscall.SIGKILL); err != nil {
				t.Error(err)
			}
			p.Wait()
			if !inMemory {
				return
			}
			spec = inside(t, "head -c 100000000 /dev/zero >/etc/fescue-layer; wc -c </etc/fescue-layer")
			spec.Credential = &sandbox.Credential{}
			if out, end := result(t, s, spec); !end.OutOfMemory && !strings.Contains(out, "No space left") {
				t.Errorf("more than its memory: %q, %v", out, end)
			}
		})
	}
}

// TestBlockDevices: what is mounted of a block device is seen with BlockDevices, to be
// read, but for what is hidden.
func TestBlockDevices(t *testing.T) {
	source, err := os.MkdirTemp("/opt", "fescue-disk-")
	if err != nil {
		t.Skipf("%v; run the tests as root to include this one", err)
	}
	t.Cleanup(func() { os.RemoveAll(source) })
	place, err := os.MkdirTemp("/srv", "fescue-mounted-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(place) })
	for _, name := range []string{"seen", "core/key"} {
		file := filepath.Join(source, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte("text"), 0o644), os.Chmod(source, 0o755), os.Chmod(place, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mount(source, place, "", syscall.MS_BIND, ""); err != nil {
		t.Skipf("%v; run the tests as root to include this one", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(place, 0); err != nil {
			t.Error(err)
		}
	})
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || !regexp.MustCompile(`(?m) `+regexp.QuoteMeta(place)+` .* - \S+ /dev/`).Match(mounts) {
		t.Skipf("what lies in /opt is not of a block device here (%v); run the tests on a disk to include this one", err)
	}
	for _, shown := range []bool{false, true} {
		t.Run(fmt.Sprint("shown ", shown), func(t *testing.T) {
			s := openContainersWith(t, sandbox.Options{Folder: t.TempDir(), BlockDevices: shown})
			spec := inside(t, "cat "+place+"/seen 2>/dev/null; cat "+place+"/core/key 2>/dev/null; touch "+place+"/new 2>/dev/null; ls -d /usr")
			spec.Credential, spec.Container.Hidden = &sandbox.Credential{}, []sandbox.HostPath{sandbox.HostPath(filepath.Join(place, "core"))}
			want := map[bool]string{false: "/usr", true: "text/usr"}[shown]
			if out, end := result(t, s, spec); out != want || end.Status.ExitStatus() != 0 {
				t.Errorf("it says %q, %v; want %q", out, end, want)
			}
			if _, err := os.Stat(filepath.Join(source, "new")); err == nil {
				t.Error("a container has written to the disk")
			}
		})
	}
}

// TestForbidden: what would lead out of a container is refused, root's too.
func TestForbidden(t *testing.T) {
	s := openContainers(t, t.TempDir())
	python := "/usr/bin/python3"
	if _, err := os.Stat(python); err != nil {
		t.Skip("this test needs python3 in /usr/bin")
	}
	script := python + ` -c '
import ctypes, os, errno
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *args):
    result = getattr(libc, name)(*args)
    print(name, errno.errorcode[ctypes.get_errno()] if result == -1 else "ALLOWED")
call("mount", b"none", b"/tmp", b"tmpfs", 0, None)
call("umount", b"/root")
call("ptrace", 16, 1, None, None)
call("unshare", 0x10000000)
call("setns", 0, 0)
call("chroot", b"/tmp")
call("mknod", b"/tmp/disk", 0o60666, os.makedev(254, 0))
call("sethostname", b"x", 1)
call("reboot", 0)
print("clone", libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0) if os.uname().machine == "x86_64" else -1)
'`
	for name, credential := range map[string]*sandbox.Credential{"root": {}, "an ordinary user": user} {
		t.Run(name, func(t *testing.T) {
			spec := inside(t, script)
			spec.Credential = credential
			out, end := result(t, s, spec)
			if strings.Contains(out, "ALLOWED") || strings.Count(out, "EPERM") != 9 || !strings.Contains(out, "clone -1") || end.Status != 0 {
				t.Errorf("%v\n%s", end, out)
			}
		})
	}
}

func TestMemoryOfContainers(t *testing.T) {
	s := openContainers(t, t.TempDir())
	neighbour := inside(t, "echo started; exec sleep 1000")
	neighbour.Args = []string{"", ""}
	alive, _ := run(t, s, neighbour)
	for name, script := range map[string]string{
		"itself":            "exec tail /dev/zero",
		"a child alone":     "tail /dev/zero & sleep 1000",
		"in shared memory":  "head -c 200M /dev/zero > /dev/shm/x; sleep 1000",
		"together, in many": "for i in 1 2 3 4; do head -c 30M /dev/zero | tail -n 1 & done; wait; sleep 1000",
	} {
		t.Run(name, func(t *testing.T) {
			spec := inside(t, script)
			if name == "in shared memory" {
				spec.Container.Memory = 32 << 20
				spec.Program, spec.Args = "/bin/sh", []string{"-c", "mkdir -p /tmp/x; i=0; while :; do i=$((i+1)); head -c 4M /dev/zero > /dev/shm/$i || exec sleep 1000; done"}
			}
			begin := time.Now()
			_, end := result(t, s, spec)
			if !end.OutOfMemory || !end.Status.Signaled() && end.Status.ExitStatus() == 0 {
				t.Errorf("it ended with %+v", end)
			}
			t.Logf("ended after %v", time.Since(begin))
		})
	}
	if err := syscall.Kill(alive.PID(), 0); err != nil {
		t.Errorf("the neighbour: %v", err)
	}
	if ended := end(t, alive); ended.OutOfMemory || ended.Status.Signal() != syscall.SIGTERM {
		t.Errorf("the neighbour ended with %+v", ended)
	}
}

// TestDevicesOfContainers: what is in a container's control group uses its device
// files alone, even if it could reach others.
func TestDevicesOfContainers(t *testing.T) {
	s := openContainers(t, t.TempDir())
	spec := inside(t, "echo started; exec sleep 1000")
	spec.Args = []string{"", ""}
	p, _ := run(t, s, spec)
	defer end(t, p)
	groups := 0
	_ = filepath.WalkDir("/sys/fs/cgroup", func(group string, d os.DirEntry, err error) error {
		if err != nil || d.Name() != spec.ID || strings.HasPrefix(group, "/sys/fs/cgroup/memory/") || strings.HasPrefix(group, "/sys/fs/cgroup/pids/") {
			return nil
		}
		if _, err := os.Stat(filepath.Join(group, "memory.max")); err != nil {
			if _, err := os.Stat(filepath.Join(group, "devices.list")); err != nil {
				return nil // the tracker's
			}
		}
		groups++
		out, err := exec.Command("/bin/sh", "-c", `echo $$ >"$0"/cgroup.procs || exit 1
			for d in null zero urandom ptmx kmsg mem; do (: </dev/$d) 2>/dev/null && echo $d || echo no $d; done
			mknod "$1"/null c 1 3 2>/dev/null || echo none made`, group, t.TempDir()).Output()
		if want := "null\nzero\nurandom\nptmx\nno kmsg\nno mem\nnone made\n"; err != nil || string(out) != want {
			t.Errorf("in %s: %v\n%s", group, err, out)
		}
		return nil
	})
	if groups != 1 {
		t.Errorf("%d groups with devices", groups)
	}
}

// TestContainersEnd: nothing of a container outlives its process.
func TestContainersEnd(t *testing.T) {
	s := openContainers(t, t.TempDir())
	spec := parent(kinds...)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	spec.Container = &sandbox.Container{Memory: 256 << 20, Mounts: []sandbox.Mount{{Source: sandbox.HostPath(filepath.Dir(self)), Destination: "/lambda"}}}
	spec.Program, spec.Credential = sandbox.InsidePath("/lambda/"+filepath.Base(self)), user
	p, _ := run(t, s, spec)
	count := func() (n int) {
		_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
			if err == nil && d.Name() == "cgroup.procs" && strings.Contains(path, spec.ID) {
				text, _ := os.ReadFile(path)
				n = max(n, strings.Count(string(text), "\n"))
			}
			return nil
		})
		return n
	}
	if n := count(); n != len(kinds)+1 {
		t.Errorf("%d processes", n)
	}
	end(t, p)
	if n := count(); n != 0 {
		t.Errorf("%d processes left", n)
	}
}

func TestWhatAKilledCoreLeftOfContainersIsRemoved(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "sandbox")
	openContainers(t, t.TempDir()) // there are containers here
	core := exec.Command("/proc/self/exe", "play", "container", folder)
	stdout, err := core.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := core.Start(); err != nil {
		t.Fatal(err)
	}
	scanner := bufio.NewScanner(stdout)
	var said []string
	for scanner.Scan() {
		if said = append(said, scanner.Text()); scanner.Text() == "started" {
			break
		}
	}
	before := remains(t, folder)
	_ = core.Process.Kill()
	_ = core.Wait()
	if !strings.Contains(before, "containers") || !strings.Contains(before, "/sys/fs/cgroup") {
		t.Fatalf("the core said %q and left %q; this shows nothing", said, before)
	}
	s, err := sandbox.Open(sandbox.Options{Folder: folder, Init: "/proc/self/exe", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if left := remains(t, folder); left != "" {
		t.Errorf("left:\n%s", left)
	}
}

// TestGroupsOfAnEarlierRunElsewhere: a core may be started in another control group
// than the one before it.
func TestGroupsOfAnEarlierRunElsewhere(t *testing.T) {
	folder := t.TempDir()
	id := strings.ReplaceAll(uuid.NewString(), "-", "")
	if err := os.WriteFile(filepath.Join(folder, "id"), []byte(id), 0o600); err != nil {
		t.Fatal(err)
	}
	mount := "/sys/fs/cgroup"
	if _, err := os.Stat(mount + "/cgroup.controllers"); err != nil {
		mount += "/memory"
	}
	elsewhere := filepath.Join(mount, "elsewhere-"+id[:8])
	left := filepath.Join(elsewhere, "fescue-"+id, "containers", "x")
	if err := os.MkdirAll(left, 0o755); err != nil {
		t.Skipf("%v; run the tests as root on a machine with control groups to include this one", err)
	}
	t.Cleanup(func() { os.Remove(elsewhere) })
	openContainers(t, folder)
	if _, err := os.Stat(filepath.Dir(filepath.Dir(left))); err == nil {
		t.Error("it is still there")
	}
}

// TestGroupsThatAreGone: containers start when the groups above theirs were removed.
func TestGroupsThatAreGone(t *testing.T) {
	folder := t.TempDir()
	s := openContainers(t, folder)
	id, err := os.ReadFile(filepath.Join(folder, "id"))
	if err != nil {
		t.Fatal(err)
	}
	removed := 0
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Name() == "fescue-"+strings.TrimSpace(string(id)) {
			_ = os.Remove(filepath.Join(path, "containers"))
			if os.Remove(path) == nil {
				removed++
			}
		}
		return nil
	})
	if removed == 0 {
		t.Error("nothing was removed")
	}
	if out, end := result(t, s, inside(t, "echo here")); out != "here" || end.Status != 0 {
		t.Errorf("%q, %+v", out, end)
	}
}

// TestManyContainers: two cores start containers on one machine at once.
func TestManyContainers(t *testing.T) {
	first, second := openContainers(t, t.TempDir()), openContainers(t, t.TempDir())
	var running sync.WaitGroup
	for _, s := range []*sandbox.Sandbox{first, second, first, second, first, second} {
		spec := inside(t, "echo $$; exit 3")
		running.Go(func() {
			if out, end := result(t, s, spec); out != "2" && out == "" || end.Status.ExitStatus() != 3 {
				t.Errorf("%q, %+v", out, end)
			}
		})
	}
	running.Wait()
}

// TestKilledWhileStarting: a container whose first process is killed while it is being
// made has not started, and nothing of it stays.
func TestKilledWhileStarting(t *testing.T) {
	s := openContainers(t, t.TempDir())
	killed := 0
	for round := range 40 {
		spec := inside(t, "exit 3")
		started := make(chan error, 1)
		go func() {
			p, err := s.Start(t.Context(), spec)
			if err == nil {
				p.Wait()
			}
			started <- err
		}()
		first := 0
		testkit.Until(t, "its first process", func() bool {
			first = firstProcess(spec.ID)
			return first > 0 || len(started) > 0
		})
		if first > 0 {
			for range round {
				firstProcess(spec.ID) // takes a moment
			}
			_ = syscall.Kill(first, syscall.SIGKILL)
		}
		if err := <-started; err != nil {
			killed++
		}
	}
	t.Logf("%d of 40 were killed before they had started", killed)
	if killed == 0 {
		t.Error("none; this shows nothing")
	}
}

// firstProcess is the number of the first process of a container, 0 before it is there.
func firstProcess(id string) int {
	threads, _ := filepath.Glob("/proc/self/task/*/children")
	for _, thread := range threads {
		children, _ := os.ReadFile(thread)
		for child := range strings.FieldsSeq(string(children)) {
			// One that cannot be read has ended.
			if text, _ := os.ReadFile("/proc/" + child + "/environ"); bytes.HasPrefix(text, []byte("GOMAXPROCS=")) && bytes.Contains(text, []byte("/"+id)) {
				pid, _ := strconv.Atoi(child)
				return pid
			}
		}
	}
	return 0
}

// TestContainersThatDoNotStart: the cause is returned, and nothing stays.
func TestContainersThatDoNotStart(t *testing.T) {
	s := openContainers(t, t.TempDir())
	for name, c := range map[string]struct {
		change func(*sandbox.Spec)
		want   string
	}{
		"no such program":          {func(s *sandbox.Spec) { s.Program = "/lambda/other" }, "it does not exist"},
		"a program that is hidden": {func(s *sandbox.Spec) { s.Program = "/root/.profile" }, "not seen in a container"},
		"no such code":             {func(s *sandbox.Spec) { s.Container.Mounts[0].Source = "/nowhere" }, "/nowhere"},
		"too little memory":        {func(s *sandbox.Spec) { s.Container.Memory = 4096 }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			spec := inside(t, "exit 0")
			c.change(&spec)
			p, err := s.Start(t.Context(), spec)
			if err == nil {
				if name != "too little memory" || p.Wait().Status == 0 {
					t.Fatal("it started")
				}
				return
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Error(err)
			}
			t.Log(err)
		})
	}
}

func TestNoContainers(t *testing.T) {
	s, _ := open(t, sandbox.Tree, "")
	if len(s.Missing()) != 1 {
		t.Errorf("missing %q", s.Missing())
	}
	if _, err := s.Start(t.Context(), inside(t, "exit 0")); err == nil || !strings.Contains(err.Error(), "no containers on this machine: this program") {
		t.Errorf("got %v", err)
	}
	if os.Getuid() != 0 {
		s, err := sandbox.Open(sandbox.Options{Folder: t.TempDir(), Init: "/proc/self/exe", Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if len(s.Missing()) != 1 || !strings.Contains(s.Missing()[0], "run it as root") {
			t.Errorf("missing %q", s.Missing())
		}
	}
}
