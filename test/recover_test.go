//go:build linux

package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/testkit/programs"
)

// fescue runs the operator's program against the site to its end.
func (h *site) fescue(t testing.TB, args ...string) (stdout string, err error) {
	t.Helper()
	return runFescue(t, h.environment(), args...)
}

func runFescue(t testing.TB, env []string, args ...string) (stdout string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), fescueBin, args...)
	cmd.Env = append(programs.Environment(), env...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err = cmd.Run(); err != nil {
		err = fmt.Errorf("fescue %s: %w\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out.String(), err
}

// restored is what recover and import print as JSON.
type restored struct {
	GroupID, GroupVersionID, RewrittenFrom string
	Changed                                int
	Parts                                  []struct{ What, State string }
	Region                                 string
	Assumed, Supply, Warnings              []struct{ About, Text string }
	CannotRun, NoEffect                    []fescue.ErrorDetail
}

func (h *site) restore(t testing.TB, args ...string) restored {
	t.Helper()
	out, err := h.fescue(t, append(args, "--json")...)
	if err != nil {
		t.Fatal(err)
	}
	var r restored
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	return r
}

func (r restored) count(state string) (n int) {
	for _, p := range r.Parts {
		if p.State == state {
			n++
		}
	}
	return n
}

// legacyFolder is a core's folder as a V1 core has it: the documented files, code
// in plain folders, and nothing of Fescue's.
func legacyFolder(t testing.TB, root string) string {
	t.Helper()
	dir := openDir(t)
	copyFile := func(name string, change func(string) string) {
		data := change(string(readFile(t, filepath.Join(root, name))))
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	same := func(text string) string { return text }
	copyFile("config/config.json", func(text string) string { return strings.ReplaceAll(text, root, dir) })
	copyFile("ggc/deployment/group/group.json", same)
	certs, err := os.ReadDir(filepath.Join(root, "certs"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range certs {
		if !strings.HasPrefix(c.Name(), "fescue") {
			copyFile("certs/"+c.Name(), same)
		}
	}
	lambdas := filepath.Join(root, "ggc/deployment/lambda")
	functions, err := os.ReadDir(lambdas)
	if err != nil || len(functions) == 0 {
		t.Fatalf("functions %v: %v", functions, err)
	}
	for _, f := range functions {
		code, err := filepath.EvalSymlinks(filepath.Join(lambdas, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(filepath.Join(dir, "ggc/deployment/lambda", f.Name()), os.DirFS(code)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// deployedFolder is the folder of a core that a group was deployed to, on a
// server that is gone.
func deployedFolder(t testing.TB) (root, group, version string) {
	t.Helper()
	h := startServer(t).site(region)
	g := h.provision(t, "Mill_Core")
	g.run(t)
	var functions []function
	var routes []route
	executable := h.echo(t, "Echo")
	h.echo(t, "Other") // numbers are not all 1
	h.python(t, "Greeter", "# the first version")
	python := h.python(t, "Greeter", greeter)
	for _, arn := range []string{executable, python} {
		functions = append(functions, function{arn: arn, pinned: true, variables: out(g.thing, "recovered"), encoding: types.EncodingTypeBinary})
		routes = append(routes, ends(arn, g.thing)...)
	}
	functions[1].executable = "python3.7" // as many a script has it, beside the handler
	group, version = g.groupVersion(t, "", functions, routes)
	h.await(t, group, h.deploy(t, group, version), fescue.Success)
	if err := g.process.interrupt(t); err != nil {
		t.Fatal(err)
	}
	root = legacyFolder(t, g.root)
	h.Kill()
	return root, group, version
}

// TestRecover: all that is left of a group is its core's folder. It is recovered
// into an empty server, and deployed there to the same core.
func TestRecover(t *testing.T) {
	t.Parallel()
	needPython(t)
	root, group, version := deployedFolder(t)
	h := startServer(t).site(region)
	ctx := t.Context()

	t.Run("a dry run changes nothing", func(t *testing.T) {
		plan := h.restore(t, "recover", root, "--dry-run")
		if plan.Changed != 0 || plan.count("missing") != len(plan.Parts) || len(plan.Parts) == 0 {
			t.Errorf("%+v", plan)
		}
		groups, err := h.greengrass.ListGroups(ctx, &greengrass.ListGroupsInput{})
		things, err2 := h.iot.ListThings(ctx, &iot.ListThingsInput{})
		functions, err3 := h.lambda.ListFunctions(ctx, &lambda.ListFunctionsInput{})
		if err != nil || err2 != nil || err3 != nil || len(groups.Groups)+len(things.Things)+len(functions.Functions) != 0 {
			t.Errorf("%v %v %v, %v %v %v", groups, things, functions, err, err2, err3)
		}
	})
	r := h.restore(t, "recover", root)
	if r.GroupID != group || r.GroupVersionID != version || r.Changed != len(r.Parts) || len(r.Warnings) != 0 {
		t.Fatalf("recovered %+v, want the group %s with its version %s", r, group, version)
	}
	if len(r.CannotRun)+len(r.NoEffect) != 0 {
		t.Errorf("a group that runs is said not to: %+v", r)
	}
	t.Run("again: nothing changes", func(t *testing.T) {
		again := h.restore(t, "recover", root)
		if again.Changed != 0 || again.count("present") != len(r.Parts) {
			t.Errorf("%+v", again)
		}
		text, err := h.fescue(t, "recover", root)
		if err != nil || !strings.Contains(text, "Nothing changed: all") {
			t.Errorf("%v, %s", err, text)
		}
	})
	t.Run("with other options: refused, nothing changes", func(t *testing.T) {
		_, err := h.fescue(t, "recover", root, "--alias", "live")
		if err == nil || !strings.Contains(err.Error(), "nothing was changed") || !strings.Contains(err.Error(), "is there with other content") {
			t.Errorf("error %v", err)
		}
		if _, err := h.lambda.GetAlias(ctx, &lambda.GetAliasInput{FunctionName: ptr("Echo"), Name: ptr("live")}); err == nil {
			t.Error("the alias was made")
		}
	})
	t.Run("deployed to the same core", func(t *testing.T) {
		viewer := h.connect(t, "Viewer")
		viewer.subscribe(t, "Mill_Core/out")
		core := startProgram(t, edgeBin, nil, "--root", root, "--iot-host", local(h.mqtt), "--gg-host", local(h.device), "--ca", filepath.Join(h.data, "ca.pem"))
		eventually(t, "the terminal says that nothing runs", func() error {
			if out := core.out.String(); !strings.Contains(out, "nothing of it runs. Restore it on the server with fescue recover") {
				return fmt.Errorf("%s", out)
			}
			return nil
		})
		h.await(t, group, h.deploy(t, group, version), fescue.Success)
		viewer.next(t, "started recovered")
	})

	t.Run("export and import", func(t *testing.T) {
		dir := t.TempDir()
		one, two := filepath.Join(dir, "one.json"), filepath.Join(dir, "two.json")
		if _, err := h.fescue(t, "export", "--group", group, "--output", one); err != nil {
			t.Fatal(err)
		}
		other := startServer(t).site(region)
		made := other.restore(t, "import", one)
		if made.Changed != len(made.Parts) || made.RewrittenFrom != "" {
			t.Errorf("%+v", made)
		}
		if _, err := other.fescue(t, "export", "--group", group, "--version", version, "-o", two); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(readFile(t, one), readFile(t, two)) {
			t.Errorf("the exports differ:\n%.4000s\n%.4000s", readFile(t, one), readFile(t, two))
		}
		if again := other.restore(t, "import", one); again.Changed != 0 {
			t.Errorf("%+v", again)
		}
		// The folder is the same group: nothing is missing but what its core has been through.
		if again := other.restore(t, "recover", root); again.Changed != 1 || again.Parts[len(again.Parts)-1].What != "epoch 1 of core Mill_Core" {
			t.Errorf("%+v", again)
		}
		cut := filepath.Join(dir, "cut.json")
		text := readFile(t, one)
		if err := os.WriteFile(cut, text[:len(text)/2], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := other.fescue(t, "import", cut); err == nil || !strings.Contains(err.Error(), "not an exported group") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("import into another account and Region", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "mill.json")
		if _, err := h.fescue(t, "export", "--group", group, "-o", file); err != nil {
			t.Fatal(err)
		}
		other := startServer(t, "--account", "210987654321", "--region", "us-west-2").site("us-west-2")
		for _, command := range [][]string{{"import", file}, {"recover", root}} {
			if _, err := other.fescue(t, command...); err == nil || !strings.Contains(err.Error(), "--rewrite") || !strings.Contains(err.Error(), account) {
				t.Errorf("fescue %v with a key of another account: %v", command, err)
			}
		}
		made := other.restore(t, "import", file, "--rewrite")
		if made.RewrittenFrom != account+"/"+region || made.Changed != len(made.Parts) {
			t.Errorf("%+v", made)
		}
		text, err := other.fescue(t, "export", "--group", group)
		if err != nil || strings.Contains(text, account) || strings.Contains(text, region) {
			t.Errorf("%v; the export still names the old account or Region:\n%.6000s", err, text)
		}
		moved := other.restore(t, "recover", root, "--rewrite")
		if moved.Changed != 1 || moved.Parts[len(moved.Parts)-1].State != "restored" || len(moved.Warnings) != 1 || !strings.Contains(moved.Warnings[0].Text, "arn:aws:iot:us-west-2:210987654321:thing/Mill_Core") {
			t.Errorf("%+v", moved)
		}
	})
}

// forgetServer has a core of Fescue's trust the next server that it meets.
func forgetServer(t *testing.T, root string) {
	t.Helper()
	for _, file := range []string{"certs/fescue-signing.pub", "certs/fescue-signing.pub.chain"} {
		if err := os.Remove(filepath.Join(root, file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// TestRecoverOntoAnotherServer: a core that has been through deployments of one server
// takes the first of the server that its folder is recovered onto, also when that
// waits for it already; and nothing that the server before has signed.
func TestRecoverOntoAnotherServer(t *testing.T) {
	t.Parallel()
	first := startServer(t).site(region)
	g := first.provision(t, "Mill_Core")
	g.run(t)
	arn := first.echo(t, "Echo")
	group, version := g.groupVersion(t, "", []function{{arn: arn, pinned: true, variables: out(g.thing, "recovered"), encoding: types.EncodingTypeBinary}}, ends(arn, g.thing))
	for range 3 {
		first.await(t, group, first.deploy(t, group, version), fescue.Success)
	}
	if err := g.process.interrupt(t); err != nil {
		t.Fatal(err)
	}
	old := readFile(t, filepath.Join(g.root, "ggc/deployment/manifest.dsse"))
	first.Kill()

	second := startServer(t).site(region)
	plan := second.restore(t, "recover", g.root, "--dry-run")
	r := second.restore(t, "recover", g.root)
	if n := len(plan.Parts); plan.Parts[n-1].What != "epoch 3 of core Mill_Core" || plan.Changed != 0 || r.Changed != n || r.Parts[n-1].State != "restored" {
		t.Fatalf("%+v\n%+v", plan, r)
	}
	waiting := second.deploy(t, r.GroupID, r.GroupVersionID)
	viewer := second.connect(t, "Viewer")
	viewer.subscribe(t, "Mill_Core/out")
	forgetServer(t, g.root)
	startProgram(t, edgeBin, nil, "--root", g.root, "--iot-host", local(second.mqtt), "--gg-host", local(second.device), "--ca", filepath.Join(second.data, "ca.pem"))
	second.await(t, r.GroupID, waiting, fescue.Success)
	viewer.next(t, "started recovered")
	second.await(t, r.GroupID, second.deploy(t, r.GroupID, r.GroupVersionID), fescue.Success)
	if again := second.restore(t, "recover", g.root, "--dry-run"); again.count("missing") != 0 {
		t.Errorf("%+v", again)
	}
	if now := readFile(t, filepath.Join(g.root, "ggc/deployment/manifest.dsse")); bytes.Equal(now, old) {
		t.Error("the core has the manifest of the server before")
	}

	t.Run("a folder that tells of more than is believed", func(t *testing.T) {
		file := filepath.Join(g.root, "ggc/deployment/state.json")
		if err := os.WriteFile(file, []byte(`{"epoch":70000,"accepted":70000}`), 0o600); err != nil {
			t.Fatal(err)
		}
		third := startServer(t).site(region)
		if _, err := third.fescue(t, "recover", g.root); err == nil || !strings.Contains(err.Error(), "fescue reset-epoch --core Mill_Core --epoch 70000 settles it") {
			t.Errorf("error %v", err)
		}
		if _, err := third.fescue(t, "reset-epoch", "--core", "Mill_Core", "--epoch", "70000"); err != nil {
			t.Error(err)
		}
		if r := third.restore(t, "recover", g.root); r.Changed != 0 || r.count("missing") != 0 {
			t.Errorf("%+v", r)
		}
	})
}

func ptr[T any](v T) *T { return &v }

// lossy forwards to a server until something was changed through it; then the
// answer is lost, and with it the connection.
type lossy struct {
	*httptest.Server
	gone atomic.Bool
}

func newLossy(t testing.TB, h *site) *lossy {
	t.Helper()
	target := &url.URL{Scheme: "http", Host: h.api}
	l := new(lossy)
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host }, // the host is signed
		ModifyResponse: func(resp *http.Response) error {
			r := resp.Request
			reads := r.Method == http.MethodGet || r.Method == http.MethodHead || strings.HasPrefix(r.URL.Path, "/attached-policies/") || r.URL.Path == "/"
			if !reads && resp.StatusCode/100 == 2 {
				l.gone.Store(true)
				return fmt.Errorf("the answer of %s %s is lost", r.Method, r.URL.Path)
			}
			return nil
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if l.gone.Load() {
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(l.Close)
	return l
}

var timestamps = regexp.MustCompile(`"(Creation|LastUpdated)Timestamp": "[^"]*"`)

// TestRecoverInterrupted: the connection is lost after each change in turn, and
// each run goes on where the one before was cut.
func TestRecoverInterrupted(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "recovery", "testdata", "mill")
	const group = "5f0c2a7e-1d34-4c55-9a0b-7e21c0a1b001"
	args := []string{"recover", root, "--alias", "live", "--certificates", filepath.Join("..", "recovery", "testdata", "devices")}
	flags := []string{"--account", "111122223333"}

	whole := startServer(t, flags...).site(region)
	want := whole.restore(t, args...)
	h := startServer(t, flags...).site(region)
	cut := 0
	for ; cut <= len(want.Parts); cut++ {
		l := newLossy(t, h)
		out, err := runFescue(t, h.environment(), append(args, "--endpoint", l.URL)...)
		l.Close()
		if err == nil {
			if !strings.Contains(out, "Nothing changed: all") {
				t.Errorf("the last run said:\n%s", out)
			}
			break
		}
		if !l.gone.Load() || !strings.Contains(err.Error(), "Run this again") {
			t.Fatal(err)
		}
	}
	if cut != want.Changed {
		t.Errorf("done after %d cuts, there are %d changes", cut, want.Changed)
	}
	exports := make([]string, 0, 2)
	for _, h := range []*site{whole, h} {
		text, err := h.fescue(t, "export", "--group", group)
		if err != nil {
			t.Fatal(err)
		}
		exports = append(exports, timestamps.ReplaceAllString(text, ""))
	}
	if exports[0] != exports[1] {
		t.Errorf("the group differs from one that was recovered at once:\n%s\n%s", exports[0], exports[1])
	}
}

// TestRecoverOfAnotherRegion: a folder's Region is kept, whatever the environment
// says, when the server serves it.
func TestRecoverOfAnotherRegion(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "recovery", "testdata", "mill")
	t.Run("that is served", func(t *testing.T) {
		h := startServer(t, "--account", "111122223333", "--region", "us-east-1", "--regions", "eu-west-1").site("us-east-1")
		kept := h.restore(t, "recover", root, "--dry-run")
		if kept.Region != "eu-west-1" || strings.Contains(fmt.Sprint(kept), "rewritten") {
			t.Errorf("%+v", kept)
		}
		moved := h.restore(t, "recover", root, "--dry-run", "--rewrite")
		if moved.Region != "us-east-1" || !strings.Contains(fmt.Sprint(moved.Warnings), "ARNs are rewritten") {
			t.Errorf("%+v", moved)
		}
	})
	t.Run("that is not served", func(t *testing.T) {
		h := startServer(t, "--account", "111122223333", "--region", "us-east-1").site("us-east-1")
		_, err := h.fescue(t, "recover", root, "--dry-run")
		if err == nil || !strings.Contains(err.Error(), "does not serve eu-west-1") || !strings.Contains(err.Error(), "--rewrite") {
			t.Errorf("error %v", err)
		}
	})
}

// TestRecoverVerdict: recover says at its end whether the group can run, and with
// --isolation what becomes of its functions.
func TestRecoverVerdict(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "recovery", "testdata", "mill")
	h := startServer(t, "--account", "111122223333").site(region)
	h.says(t, 0, []string{
		"its core must run as root", "with --isolation NoContainer", "Nothing was changed.",
		"cannot run this group; a deployment would fail:", "CONNECTOR_UNSUPPORTED_ERROR", "make a group version without what cannot run",
	}, "recover", root, "--dry-run")
	said := h.says(t, 0, []string{
		"assumed    function arn:aws:lambda:eu-west-1:111122223333:function:MillReader:7: IsolationMode NoContainer in place of GreengrassContainer, without MemorySize 32768 KB",
		"cannot run this group",
	}, "recover", root, "--dry-run", "--isolation", "NoContainer")
	if strings.Contains(said, "its core must run as root") {
		t.Errorf("a container is left:\n%s", said)
	}
	china := startServer(t, "--partition", "aws-cn", "--account", "444455556666", "--region", "cn-north-1").site("cn-north-1")
	china.says(t, 0, []string{"Nothing in the folder keeps cores of this version from running this group.", "aws greengrass create-deployment"},
		"recover", filepath.Join("..", "recovery", "testdata", "minimal"), "--dry-run")
	h.says(t, 2, []string{"--isolation"}, "recover", root, "--isolation", "Jail")
}
