//go:build linux

package test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/testkit/programs"
)

// booted is a machine with this one's files and network in which systemd runs. What it
// writes is its own, and gone with the test.
type booted struct {
	// root is its file system, as this machine sees it.
	root string
	// first is its first process.
	first string
}

// boot starts one.
func boot(t *testing.T) *booted {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can start a machine with systemd-nspawn")
	}
	for program, of := range map[string]string{
		"systemd-nspawn": "systemd-container", "/usr/lib/systemd/systemd": "systemd", "nsenter": "util-linux", "dpkg": "dpkg", "rpm": "rpm", "ssh-keygen": "openssh-client",
	} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s (Debian's package %s) is not installed", program, of)
		}
	}
	dir := t.TempDir()
	m := &booted{root: filepath.Join(dir, "root")}
	own, upper, work := filepath.Join(dir, "own"), filepath.Join(dir, "own", "upper"), filepath.Join(dir, "own", "work")
	mount := func(source, at, kind, options string, below ...string) {
		t.Helper()
		err := os.MkdirAll(at, 0o755)
		if err == nil {
			err = unix.Mount(source, at, kind, 0, options)
		}
		if err != nil {
			t.Skipf("this machine's files cannot be another machine's too: mount %s: %v", kind, err)
		}
		t.Cleanup(func() { unix.Unmount(at, unix.MNT_DETACH) })
		for _, folder := range below {
			if err := os.MkdirAll(folder, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	mount("tmpfs", own, "tmpfs", "", upper, work)
	mount("overlay", m.root, "overlay", "lowerdir=/,upperdir="+upper+",workdir="+work)
	// What this machine starts it does not.
	for _, folder := range []string{"etc/systemd/system", "etc/fescue", "var/lib/fescue", "greengrass"} {
		if err := os.RemoveAll(filepath.Join(m.root, folder)); err != nil {
			t.Fatal(err)
		}
	}
	id := strings.ReplaceAll(uuid.NewString(), "-", "")
	nspawn := startProgram(t, "systemd-nspawn", nil, "--directory", m.root, "--boot", "--register=no", "--keep-unit", "--link-journal=no",
		"--uuid", id, "--machine", "fescue-"+id, "--console=pipe", "systemd.unit=multi-user.target")
	pid := strconv.Itoa(nspawn.Process.Pid)
	t.Cleanup(func() {
		// A machine outlives the systemd-nspawn that is killed; with its first process all
		// of it ends.
		if first, err := strconv.Atoi(m.first); err == nil {
			if err := unix.Kill(first, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				t.Error(err)
			}
		}
	})
	eventually(t, "a machine with systemd", func() error {
		if err := nspawn.Ended(); err != nil {
			t.Fatalf("%v: %s", err, nspawn.out)
		}
		children, err := os.ReadFile(filepath.Join("/proc", pid, "task", pid, "children"))
		if m.first = strings.TrimSpace(string(children)); err != nil || m.first == "" {
			return errors.Join(err, errors.New("it has no process"))
		}
		_, err = m.try("systemctl is-active multi-user.target")
		return err
	})
	return m
}

// try runs a script of the shell in the machine and returns what it printed.
func (m *booted) try(script string, args ...any) (string, error) {
	script = fmt.Sprintf(script, args...)
	cmd := exec.Command("nsenter", "--target", m.first, "--mount", "--uts", "--ipc", "--pid", "sh", "-ec", script)
	cmd.Env = programs.Environment("LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", "SYSTEMD_PAGER=")
	out, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return text, fmt.Errorf("%s: %w\n%s", script, err, text)
	}
	return text, nil
}

// run is try where everything has to go well.
func (m *booted) run(t *testing.T, script string, args ...any) string {
	t.Helper()
	out, err := m.try(script, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// expect wants a script to print something.
func (m *booted) expect(t *testing.T, want, script string, args ...any) {
	t.Helper()
	if out, _ := m.try(script, args...); out != want {
		t.Errorf("%s: %q, want %q", fmt.Sprintf(script, args...), out, want)
	}
}

// put writes a file into the machine.
func (m *booted) put(t *testing.T, path string, content []byte, mode fs.FileMode) {
	t.Helper()
	path = filepath.Join(m.root, path)
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, content, mode)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// makePackages makes the packages of the tests' programs as a version, and returns the checksums.
func makePackages(t *testing.T, version, dist string, flags ...string) string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"run", "-C", "../packaging", "./build", "-version", version, "-arch", runtime.GOARCH,
		"-programs", filepath.Dir(fescueBin), "-dist", dist, "-compression", "gzip:1"}, flags...)...)
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1780000000")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return string(readFile(t, filepath.Join(dist, "SHA256SUMS")))
}

// releaseKey makes a key that signs checksums.
func releaseKey(t *testing.T) string {
	t.Helper()
	key := filepath.Join(t.TempDir(), "release")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	return key
}

// verifySums has OpenSSH say whose the checksums are, as docs/operations.md does, and refuse others.
func verifySums(t *testing.T, dist string) {
	sums := readFile(t, filepath.Join(dist, "SHA256SUMS"))
	verify := func(sums []byte) (string, error) {
		cmd := exec.Command("ssh-keygen", "-Y", "verify", "-f", "allowed_signers", "-I", "release@fescue", "-n", "file", "-s", "SHA256SUMS.sig")
		cmd.Dir, cmd.Stdin = dist, bytes.NewReader(sums)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := verify(sums); err != nil || !strings.HasPrefix(out, `Good "file" signature for release@fescue`) {
		t.Errorf("%v: %s", err, out)
	}
	sums[0] ^= 1
	if out, err := verify(sums); err == nil {
		t.Errorf("checksums that were changed: %s", out)
	}
}

// packager is a program that installs packages.
type packager struct {
	format, install, upgrade, remove string
	// settings are where the operator's lie when the package is removed.
	settings string
	// purge is empty where there is no such thing.
	purge string
}

var packagers = []packager{
	{"deb", "dpkg -i", "dpkg -i", "dpkg -r", "/etc/fescue/server.env", "dpkg -P"},
	// Debian's rpm knows of nothing that Debian has installed.
	{"rpm", "rpm -i --nodeps", "rpm -U --nodeps", "rpm -e --nodeps", "/etc/fescue/server.env.rpmsave", ""},
}

// TestPackages: packages are installed, started by systemd, deployed to, upgraded and
// removed.
func TestPackages(t *testing.T) {
	t.Parallel()
	m := boot(t)
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skip("the tests know no packages for " + runtime.GOARCH)
	}
	dist := t.TempDir()
	makePackages(t, "0.1.0", dist)
	if first, second := makePackages(t, "0.2.0", dist, "-sign", releaseKey(t)), makePackages(t, "0.2.0", t.TempDir()); first != second {
		t.Errorf("the same programs make\n%s\nand\n%s", first, second)
	}
	for name, module := range map[string]string{"fescue": "nats-io/nats-server", "fescue-core": "elastic/go-seccomp-bpf"} {
		bill := string(readFile(t, filepath.Join(dist, name+"_0.2.0_"+runtime.GOARCH+".cdx.json")))
		if !strings.Contains(bill, `"purl": "pkg:golang/github.com/`+module) || !strings.Contains(bill, `"name": "`+name+`"`) {
			t.Errorf("what %s is made of: %s", name, bill)
		}
	}
	t.Run("signature", func(t *testing.T) { verifySums(t, dist) })
	t.Run("image", func(t *testing.T) { runImage(t, filepath.Join(dist, "fescue_0.2.0_"+runtime.GOARCH+".image.tar")) })
	files, err := filepath.Glob(filepath.Join(dist, "fescue*.[dr][ep][bm]"))
	if err != nil || len(files) != 2*2*len(packagers) {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		m.put(t, "/packages/"+filepath.Base(file), readFile(t, file), 0o644)
	}
	h := (&server{api: address(t), device: address(t), mqtt: address(t)}).site(region)
	settings := fmt.Sprintf("FESCUE_SERVER_FLAGS=--api %s --device %s --mqtt %s\nFESCUE_ACCOUNT=%s\nFESCUE_REGION=%s\n%s\n",
		h.api, h.device, h.mqtt, account, region, strings.Join(programs.ServerKey, "\n"))
	i := &installation{booted: m, h: h, settings: settings}
	for _, p := range packagers {
		t.Run(p.format, func(t *testing.T) { i.live(t, p) })
	}
}

// installation is what outlives packages.
type installation struct {
	*booted
	h        *site
	settings string
	// The gateway and its deployment are made with the first packages.
	gateway           *gateway
	group, deployment string
}

// live goes through the life of packages of a format.
func (i *installation) live(t *testing.T, p packager) {
	m := i.booted
	t.Cleanup(func() {
		if t.Failed() {
			journal, err := m.try("journalctl --no-pager --lines 60 --unit fescue-server --unit fescue-core")
			t.Logf("%s\n%v", journal, err)
		}
	})
	both := func(version string) string {
		name := "/packages/%s_" + version + "_" + runtime.GOARCH + "." + p.format
		return fmt.Sprintf(name+" "+name, "fescue", "fescue-core")
	}
	said := m.run(t, "%s %s", p.install, both("0.1.0"))
	for _, unit := range []string{"fescue-server", "fescue-core"} {
		if !strings.Contains(said, "systemctl enable --now "+unit+".service") {
			t.Errorf("what comes next is not said of %s: %s", unit, said)
		}
		m.expect(t, "inactive", "systemctl is-active %s || true", unit)
	}
	m.expect(t, "", "systemd-analyze verify fescue-server.service fescue-core.service")
	m.expect(t, "700 fescue:fescue", "stat -c '%%a %%U:%%G' /var/lib/fescue")
	m.expect(t, "600 root:root", "stat -c '%%a %%U:%%G' /etc/fescue/server.env")
	// docs/operations.md says the figure.
	m.run(t, "systemd-analyze security --offline=true --threshold=17 fescue-server.service")

	m.put(t, "/etc/fescue/server.env", []byte(i.settings), 0o600)
	// As docs/operations.md has it, before the first start and beside the server.
	const examine = "systemd-run --quiet --pipe --wait --uid=fescue --property=EnvironmentFile=/etc/fescue/server.env --property=LimitNOFILE=524288 " +
		"--property=AmbientCapabilities=CAP_NET_BIND_SERVICE --setenv=FESCUE_DATA=/var/lib/fescue fescue doctor '$FESCUE_SERVER_FLAGS'"
	if found := m.run(t, examine); !strings.Contains(found, i.h.api+" is free") {
		t.Errorf("before the start the doctor says\n%s", found)
	}
	m.run(t, "systemctl enable --now fescue-server")
	m.expect(t, "active", "systemctl is-active fescue-server")
	if found := m.run(t, examine); !strings.Contains(found, i.h.api+" is held by the server that runs (process "+m.pid(t, "fescue-server")+")") || !strings.Contains(found, "the limit of the server that runs (process ") {
		t.Errorf("beside the server the doctor says\n%s", found)
	}
	m.expect(t, "fescue", "ps -o user= -p $(systemctl show -P MainPID fescue-server)")
	if i.gateway == nil {
		i.provision(t)
	}
	m.run(t, "systemctl enable --now fescue-core")
	if i.deployment == "" {
		i.deploy(t)
	}
	i.works(t)

	// The new version takes over, with the state and the settings of the one before.
	server, core := m.pid(t, "fescue-server"), m.pid(t, "fescue-core")
	m.run(t, "%s %s", p.upgrade, both("0.2.0"))
	if m.pid(t, "fescue-server") == server || m.pid(t, "fescue-core") == core {
		t.Error("the version before goes on after the upgrade")
	}
	i.works(t)
	m.expect(t, strings.TrimSpace(i.settings), "cat /etc/fescue/server.env")

	t.Run("a process that hangs", i.hangs)
	i.works(t)

	m.run(t, "%s fescue fescue-core", p.remove)
	for _, unit := range []string{"fescue-server", "fescue-core"} {
		m.expect(t, "inactive", "systemctl is-active %s || true", unit)
		m.expect(t, "0", "systemctl list-unit-files %s.service --no-legend | wc -l", unit)
	}
	m.expect(t, "", "pgrep -x fescue; pgrep -x fescue-core; pgrep -x echo || true")
	m.expect(t, strings.TrimSpace(i.settings), "cat %s", p.settings)
	if p.purge != "" {
		if said := m.run(t, "%s fescue fescue-core", p.purge); !strings.Contains(said, "/var/lib/fescue stays") {
			t.Errorf("a purge does not say what stays: %s", said)
		}
		m.expect(t, "gone", "test -e /etc/fescue || echo gone")
	}
	m.run(t, "test -s /var/lib/fescue/master.key && test -s /greengrass/config/config.json")
}

// provision makes identities through the server that was installed, and moves the core's
// into the machine.
func (i *installation) provision(t *testing.T) {
	i.gateway = i.h.provision(t, "Packaged_Core")
	for path, file := range i.gateway.moved(t, gatewayRoot) {
		if strings.HasPrefix(path, gatewayRoot) {
			i.put(t, path, readFile(t, file), 0o600)
		}
	}
}

// deploy deploys a function that runs as the user that the package made.
func (i *installation) deploy(t *testing.T) {
	id := func(flag string) *int32 {
		n, err := strconv.Atoi(i.run(t, "id %s ggc_user", flag))
		if err != nil {
			t.Fatal(err)
		}
		return aws.Int32(int32(n))
	}
	arn := i.h.publish(t, "Packaged", fescue.ExecutableRuntime, "echo", zipOf(t, map[string][]byte{"echo": readFile(t, echoBin)}))
	var version string
	i.group, version = i.gateway.groupVersion(t, "", []function{{
		arn: arn, pinned: true, variables: out("Packaged_Core", "packaged"), runAs: &types.FunctionRunAsConfig{Uid: id("-u"), Gid: id("-g")},
	}}, ends(arn, "Packaged_Core"))
	i.deployment = i.h.deploy(t, i.group, version)
	i.h.await(t, i.group, i.deployment, fescue.Success)
	i.expect(t, "ggc_user", "ps -o user= -p $(pgrep -x echo)")
}

// works: the function that was deployed answers.
func (i *installation) works(t *testing.T) {
	t.Helper()
	i.h.await(t, i.group, i.deployment, fescue.Success)
	viewer := i.h.connect(t, "Viewer_"+uuid.NewString())
	viewer.subscribe(t, "Packaged_Core/out")
	answers(t, viewer, "Packaged_Core")
}

// answers wants a function of a core to answer what it is sent, to a client that has
// subscribed to what it says.
func answers(t *testing.T, viewer *client, core string) {
	t.Helper()
	eventually(t, "the function answers", func() error {
		await(t, "publish", viewer.Publish(core+"/in/x", 1, false, `{"alive":1}`))
		select {
		case m := <-viewer.messages:
			if text := string(m.Payload()); !strings.Contains(text, "alive") {
				return errors.New(text)
			}
			return nil
		case <-time.After(time.Second):
			return errors.New("it does not")
		}
	})
}

// hangs: the watchdog ends a process that gives no sign of life, and starts it anew.
func (i *installation) hangs(t *testing.T) {
	for _, unit := range []string{"fescue-server", "fescue-core"} {
		// The unit's own patience is longer than a test's.
		i.put(t, "/etc/systemd/system/"+unit+".service.d/test.conf", []byte("[Service]\nWatchdogSec=5s\nTimeoutAbortSec=1s\nRestartSec=100ms\n"), 0o644)
		i.run(t, "systemctl daemon-reload && systemctl restart %s", unit)
		pid := i.pid(t, unit)
		i.run(t, "kill -STOP %s", pid)
		eventually(t, unit+" is started anew", func() error {
			now, err := i.try("systemctl is-active --quiet %[1]s && systemctl show -P MainPID %[1]s", unit)
			if err == nil && now == pid {
				err = errors.New("it hangs")
			}
			return err
		})
		i.expect(t, "watchdog", "journalctl -u %s -o cat | grep -om1 watchdog", unit)
		i.run(t, "rm -r /etc/systemd/system/%s.service.d && systemctl daemon-reload", unit)
	}
}

// pid is the process of a unit that is active.
func (m *booted) pid(t *testing.T, unit string) string {
	t.Helper()
	return m.run(t, "systemctl is-active --quiet %[1]s && systemctl show -P MainPID %[1]s", unit)
}
