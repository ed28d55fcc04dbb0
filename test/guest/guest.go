//go:build linux

// Package guest runs programs in a virtual machine: on a kernel other than the host's,
// with control groups of version 2 alone, and with a power cord to pull. It needs QEMU
// and a kernel of Debian's, and no right of the host's: nothing of it is virtualised by
// the processor.
//
// A guest has a disk of its own for its root, and the host's /usr to read. It reaches
// the host's loopback at HostAddress.
package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// kernelFolder is where a kernel is looked for, boot/vmlinuz-* and lib/modules/*, with
// FESCUE_TEST_KERNEL in its place.
const kernelFolder = "/"

// modules are what guests need of the kernel, those needed for them aside.
var modules = []string{"virtio_pci", "virtio_blk", "virtio_net", "9pnet_virtio", "9p", "crc32c_generic", "ext4", "overlay"}

// HostAddress is where guests reach what listens on the host's loopback device.
const HostAddress = "10.0.2.2"

// Disk is what is on a guest's disk besides the usual.
type Disk struct {
	// Script is for a shell that the first process starts; the guest ends with it.
	Script string
	// Unit, in place of a script, is one of systemd's that starts with the guest, whose
	// first process is Debian's systemd then.
	Unit string
	// Files are of the host, by their paths in the guest.
	Files map[string]string
}

// Delegated begins a script. What the script calls with in_unit runs in the folder /guest
// and in a control group of its own, as the processes of a unit with Delegate=yes do.
const Delegated = `
cd /sys/fs/cgroup
mkdir -p system.slice/fescue-core.service
echo +memory +pids >cgroup.subtree_control
echo +memory +pids >system.slice/cgroup.subtree_control
in_unit() { /bin/sh -c 'echo $$ >/sys/fs/cgroup/system.slice/fescue-core.service/cgroup.procs; cd /guest; exec "$@"' unit "$@"; }
`

// Linked gives the files outside of /usr that symbolic links below one of its folders lead
// to, for Disk.Files: guests have of the host nothing else. Links that lead nowhere are left out.
func Linked(folder string) (map[string]string, error) {
	files := make(map[string]string)
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type() != fs.ModeSymlink {
			return err
		}
		target, err := os.Readlink(path)
		if err != nil {
			return err
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		info, err := os.Stat(target)
		if err == nil && info.Mode().IsRegular() && !strings.HasPrefix(target, "/usr/") {
			files[target] = target
		}
		return nil
	})
	return files, err
}

// Machine is what guests are started by.
type Machine struct{ qemu, kernel, initramfs string }

// Need is what starts guests. The test is skipped where something for it is missing.
func Need(t *testing.T) *Machine {
	t.Helper()
	var missing []string
	m := &Machine{}
	var err error
	if m.qemu, err = exec.LookPath("qemu-system-x86_64"); err != nil {
		missing = append(missing, "qemu-system-x86_64 (apt-get install qemu-system-x86)")
	}
	if _, err := exec.LookPath("/sbin/mke2fs"); err != nil {
		missing = append(missing, "mke2fs (apt-get install e2fsprogs)")
	}
	folder := os.Getenv("FESCUE_TEST_KERNEL")
	if folder == "" {
		folder = kernelFolder
	}
	kernels, _ := filepath.Glob(filepath.Join(folder, "boot", "vmlinuz-*-amd64"))
	if len(kernels) == 0 {
		missing = append(missing, "a kernel of Debian's in "+folder+" or in what FESCUE_TEST_KERNEL names (linux-image-amd64, unpacked)")
	}
	if len(missing) > 0 {
		t.Skipf("no guest: this test needs %s", strings.Join(missing, ", and "))
	}
	m.kernel = kernels[len(kernels)-1]
	version := strings.TrimPrefix(filepath.Base(m.kernel), "vmlinuz-")
	files, err := modulesFor(filepath.Join(folder, "lib", "modules", version), modules...)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	first := filepath.Join(dir, "first")
	Build(t, first, "build", "github.com/fescue-edge/fescue/test/guest/first")
	archive, err := initramfs(first, files)
	if err != nil {
		t.Fatal(err)
	}
	m.initramfs = filepath.Join(dir, "initramfs")
	if err := os.WriteFile(m.initramfs, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	return m
}

// Build makes a program of what `go build` or `go test -c` make one of.
func Build(t *testing.T, to string, words ...string) {
	t.Helper()
	args := append([]string{words[0], "-o", to}, words[1:]...)
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %v: %v\n%s", args, err, out)
	}
}

// Prepare makes the image of a guest's disk.
func Prepare(t *testing.T, d Disk) string {
	t.Helper()
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	texts := map[string]string{
		"etc/passwd": "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/usr/sbin/nologin\n",
		"etc/group":  "root:x:0:\nnogroup:x:65534:\n",
		"etc/shadow": "root:*:::::::\n", "etc/hosts": "127.0.0.1 localhost\n", "etc/machine-id": "", "etc/hostname": "guest\n",
		"etc/ssh/ssh_host_key": "secret\n", "root/.profile": "secret\n",
		"etc/fescue/server.env": "secret\n", "var/lib/fescue/master.key": "secret\n",
	}
	if d.Unit != "" {
		texts["etc/systemd/system/guest.service"] = d.Unit
	} else {
		texts["guest/run"] = "( set -e\n" + d.Script + "\n)\necho guest: status $?\n"
	}
	folders := []string{"dev", "proc", "sys", "usr", "run", "opt", "home", "var/log", "var/tmp", "tmp"}
	err := os.MkdirAll(root, 0o755)
	for _, name := range folders {
		err = errors.Join(err, os.MkdirAll(filepath.Join(root, name), 0o755))
	}
	for name, text := range texts {
		mode := fs.FileMode(0o644)
		if name == "etc/shadow" {
			mode = 0o640
		}
		path := filepath.Join(root, name)
		err = errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), mode))
	}
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		err = errors.Join(err, os.Symlink("usr/"+name, filepath.Join(root, name)))
	}
	err = errors.Join(err, os.Chmod(filepath.Join(root, "tmp"), 0o777|fs.ModeSticky), os.Chmod(filepath.Join(root, "var/tmp"), 0o777|fs.ModeSticky))
	for name, source := range d.Files {
		err = errors.Join(err, copyFile(source, filepath.Join(root, name)))
	}
	if err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(dir, "disk")
	if out, err := exec.CommandContext(t.Context(), "/sbin/mke2fs", "-q", "-t", "ext4", "-d", root, image, "1G").CombinedOutput(); err != nil {
		t.Fatalf("mke2fs: %v\n%s", err, out)
	}
	return image
}

func copyFile(source, target string) error {
	from, err := os.Open(source)
	if err != nil {
		return err
	}
	defer from.Close()
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	info, err := from.Stat()
	if err != nil {
		return err
	}
	to, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

// Guest is a running machine.
type Guest struct {
	cmd  *exec.Cmd
	done chan struct{}

	mu     sync.Mutex
	said   bytes.Buffer
	waited chan struct{}
}

// Write implements io.Writer for what the guest says.
func (g *Guest) Write(text []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.said.Write(text)
	close(g.waited) // whoever waits looks again
	g.waited = make(chan struct{})
	return len(text), nil
}

// Said is all that the guest has said, and a channel that is closed when it says more.
func (g *Guest) Said() (string, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.ReplaceAll(g.said.String(), "\r", ""), g.waited
}

// Start switches a guest on, with a disk that Prepare made. The test's end cuts its
// power.
func (m *Machine) Start(t *testing.T, disk string) *Guest {
	t.Helper()
	// The kernel's check of its timer fails where the processor is emulated and late.
	line := "console=ttyS0 quiet panic=-1 no_timer_check cgroup_no_v1=all mitigations=off random.trust_cpu=on systemd.show_status=0 systemd.unit=guest.service"
	g := &Guest{done: make(chan struct{}), waited: make(chan struct{})}
	g.cmd = exec.Command(m.qemu, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio",
		"-machine", "q35", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max", "-smp", "2", "-m", "2048",
		"-kernel", m.kernel, "-initrd", m.initramfs, "-append", line,
		"-drive", "file="+disk+",if=virtio,format=raw,cache=writeback",
		"-virtfs", "local,path=/usr,mount_tag=usr,security_model=none,readonly=on",
		"-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile=")
	g.cmd.Stdout, g.cmd.Stderr = g, g
	// A guest does not outlive a test program that was killed. To the kernel its parent is
	// the thread that started it, which is kept for as long.
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := g.cmd.Start()
		started <- err
		if err == nil {
			_ = g.cmd.Wait()
			close(g.done)
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	t.Cleanup(func() {
		g.Cut()
		used := g.cmd.ProcessState
		t.Logf("the guest took %.1f s, and %.1f s of processors", time.Since(begin).Seconds(), (used.UserTime() + used.SystemTime()).Seconds())
		if t.Failed() {
			said, _ := g.Said()
			t.Logf("the guest said:\n%s", said)
		}
	})
	return g
}

// Cut cuts the guest's power.
func (g *Guest) Cut() {
	_ = g.cmd.Process.Kill()
	<-g.done
}

// Until waits until the guest has said something n times.
func (g *Guest) Until(ctx context.Context, n int, words string) error {
	for {
		said, more := g.Said()
		if strings.Count(said, words) >= n {
			return nil
		}
		select {
		case <-more:
		case <-g.done:
			return fmt.Errorf("the guest ended before it said %q", words)
		case <-ctx.Done():
			return fmt.Errorf("the guest did not say %q: %w", words, ctx.Err())
		}
	}
}

var statusLine = regexp.MustCompile(`(?m)^guest: status (\d+)$`)

// Result waits until the guest has ended by itself, and gives all that it has said. A
// script that failed is an error.
func (g *Guest) Result(ctx context.Context) (string, error) {
	select {
	case <-g.done:
	case <-ctx.Done():
		return "", fmt.Errorf("the guest does not end: %w", ctx.Err())
	}
	said, _ := g.Said()
	found := statusLine.FindStringSubmatch(said)
	if found == nil {
		return said, errors.New("the guest ended before its script did")
	}
	if status, _ := strconv.Atoi(found[1]); status != 0 {
		return said, fmt.Errorf("the guest's script ended with status %d", status)
	}
	return said, nil
}

// patience is how long a guest may take on a busy machine.
const patience = 20 * time.Minute

// Run runs a script in a guest until its end, and gives what it said.
func (m *Machine) Run(t *testing.T, disk string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	said, err := m.Start(t, disk).Result(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return said
}
