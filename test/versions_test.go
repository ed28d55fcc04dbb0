//go:build linux

package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue"
)

// versionBefore is the commit of the version before this one. Its programs go on
// with those of this version, in each direction.
const versionBefore = "80d9378f35fe34bdec7afaa18e18f0d39e81266e"

// serversBefore is the commit of the version before whose servers run beside those of this
// version on one database: the last one before what store.TestAdditive looks at.
const serversBefore = "73b7d18eac3cac10fe0f43dcafbf017a61d613fa"

// programsOf are the programs of commits, each built once, beside those under test.
var programsOf = struct {
	mu    sync.Mutex
	built map[string]func() (bin string, err error)
}{built: make(map[string]func() (string, error))}

func buildOf(commit string) (bin string, err error) {
	dir := filepath.Join(filepath.Dir(fescueBin), commit[:12])
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	script := `set -e
git -C .. archive "$1" | tar -x -C "$2"
cd "$2"
go build -o "$2/bin/" ./cmd/fescue ./cmd/fescue-core`
	cmd := exec.Command("sh", "-c", script, "sh", commit, dir)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), err
	}
	return filepath.Join(dir, "bin"), nil
}

// before gives the program of the version before.
func before(t testing.TB, name string) string {
	t.Helper()
	return programOf(t, versionBefore, name)
}

// programOf gives the program of a commit.
func programOf(t testing.TB, commit, name string) string {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is missing: it gives the source of the version before")
	}
	if out, err := exec.Command("git", "-C", "..", "rev-parse", "--git-dir").CombinedOutput(); err != nil {
		t.Skipf("the source has no history, from which the version before is built: %s", out)
	}
	if err := exec.Command("git", "-C", "..", "cat-file", "-e", commit+"^{commit}").Run(); err != nil {
		t.Fatalf("the history does not reach back to %s, from which the version before is built: run git fetch --unshallow", commit)
	}
	programsOf.mu.Lock()
	build := programsOf.built[commit]
	if build == nil {
		build = sync.OnceValues(func() (string, error) { return buildOf(commit) })
		programsOf.built[commit] = build
	}
	programsOf.mu.Unlock()
	bin, err := build()
	if err != nil {
		t.Fatalf("build the version before: %v\n%s", err, bin)
	}
	return filepath.Join(bin, name)
}

// TestVersionBefore has servers and cores of this version and of the one before go
// on together.
func TestVersionBefore(t *testing.T) {
	t.Parallel()
	t.Run("a core of the version before with this server", func(t *testing.T) {
		h := startServer(t).site(region)
		g := h.provision(t, "Old_Core")
		g.process = startProgram(t, before(t, "fescue-core"), nil, "--root", g.root)
		g.passes(t)
	})
	t.Run("a core of this version with a server of the version before", func(t *testing.T) {
		s := &server{data: t.TempDir(), program: before(t, "fescue"), args: []string{"server"}}
		s.args = append(s.args, "--data", s.data, "--api", address(t), "--device", address(t), "--mqtt", address(t),
			"--account", account, "--region", region)
		s.run(t)
		g := s.site(region).provision(t, "New_Core")
		g.run(t)
		g.passes(t)
	})
	t.Run("a core that is taken back, and forward again", func(t *testing.T) {
		h := startServer(t).site(region)
		viewer := h.connect(t, "Viewer")
		g := h.provision(t, "Back_Core")
		viewer.subscribe(t, g.thing+"/out")
		g.run(t)
		arn := h.echo(t, "Back")
		group, version := g.echoes(t, "", arn, "deployed")
		h.await(t, group, h.deploy(t, group, version), fescue.Success)
		viewer.next(t, "started deployed")

		g.process.Kill()
		g.process = startProgram(t, before(t, "fescue-core"), nil, "--root", g.root)
		viewer.next(t, "started deployed")
		_, version = g.echoes(t, group, arn, "by the version before")
		h.await(t, group, h.deploy(t, group, version), fescue.Success)
		viewer.next(t, "started by the version before")

		g.process.Kill()
		g.run(t)
		viewer.next(t, "started by the version before")
		_, version = g.echoes(t, group, arn, "forward again")
		h.await(t, group, h.deploy(t, group, version), fescue.Success)
		viewer.next(t, "started forward again")
	})
}

// echoes makes a version of a group with one long-lived function.
func (g *gateway) echoes(t testing.TB, group, arn, tag string) (groupID, version string) {
	t.Helper()
	return g.groupVersion(t, group, []function{
		{arn: arn, pinned: true, encoding: types.EncodingTypeBinary, variables: out(g.thing, tag)},
	}, ends(arn, g.thing))
}

// passes takes a core through its life: a deployment, one that fails and is gone
// back from, a restart, a reset.
func (g *gateway) passes(t *testing.T) {
	t.Helper()
	h, viewer := g.site, g.connect(t, "Viewer")
	viewer.subscribe(t, g.thing+"/out")
	arn := h.echo(t, "Echo")
	group, version := g.echoes(t, "", arn, "first")
	h.await(t, group, h.deploy(t, group, version), fescue.Success)
	viewer.next(t, "started first")
	await(t, "publish", viewer.Publish(g.thing+"/in/x", 1, false, "ping"))
	viewer.next(t, "echo ping")

	broken := h.publish(t, "Broken", fescue.ExecutableRuntime, "missing", zipOf(t, map[string][]byte{"other": []byte("x")}))
	_, version = g.groupVersion(t, group, []function{{arn: broken, pinned: true}}, nil)
	failed := h.await(t, group, h.deploy(t, group, version), fescue.Failure)
	if got := details(failed); !strings.Contains(got, string(fescue.HandlerMissing)) {
		t.Errorf("details %q", got)
	}
	await(t, "publish", viewer.Publish(g.thing+"/in/x", 1, false, "still there"))
	viewer.next(t, "echo still there")

	g.process.Kill()
	g.process = startProgram(t, g.process.Path, nil, g.process.Args[1:]...)
	viewer.next(t, "started first")

	reset, err := h.greengrass.ResetDeployments(t.Context(), &greengrass.ResetDeploymentsInput{GroupId: &group})
	if err != nil {
		t.Fatal(err)
	}
	h.await(t, group, *reset.DeploymentId, fescue.Success)
}
