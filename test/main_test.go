//go:build linux

package test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/fescue-edge/fescue/cloud/broker/natstest"
	"github.com/fescue-edge/fescue/cloud/store/pgtest"
	"github.com/fescue-edge/fescue/testkit"
	"github.com/fescue-edge/fescue/testkit/hosts"
	"github.com/fescue-edge/fescue/testkit/programs"
)

// Programs under test, built once.
var (
	fescueBin string
	// edgeBin is the edge program alone, as gateways run it.
	edgeBin string
	// echoBin is an executable function.
	echoBin string
)

func TestMain(m *testing.M) {
	natstest.Main()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	// They wait for programs more than they compute.
	flag.Parse()
	if err := flag.Set("test.parallel", cmp.Or(given("test.parallel"), strconv.Itoa(2*runtime.GOMAXPROCS(0)))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dir := os.Getenv("FESCUE_TEST_PROGRAMS")
	if dir == "" {
		var err error
		if dir, err = build(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
	}
	fescueBin, edgeBin, echoBin = filepath.Join(dir, "fescue"), filepath.Join(dir, "fescue-core"), filepath.Join(dir, "echo")
	return pgtest.Run(m)
}

// build makes the programs in a folder of their own. FESCUE_TEST_PROGRAMS names one where
// they are already, for a guest, which has no compiler.
func build() (dir string, err error) {
	// Functions may run as another user: the folder must be open to all.
	dir, err = os.MkdirTemp("", "fescue-test-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	for name, pkg := range map[string]string{"fescue": "../cmd/fescue", "fescue-core": "../cmd/fescue-core", "echo": "./testdata/echo"} {
		if err != nil {
			break
		}
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, name), pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, failed := cmd.CombinedOutput(); failed != nil {
			err = fmt.Errorf("build %s: %w\n%s", pkg, failed, out)
		}
	}
	return dir, err
}

// given is a flag of the command line, empty if it is not there.
func given(name string) (value string) {
	flag.Visit(func(f *flag.Flag) {
		if f.Name == name {
			value = f.Value.String()
		}
	})
	return value
}

const patience = testkit.Patience

// eventually waits until f returns nil; its last error fails the test.
func eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	testkit.Eventually(t, what, f)
}

// process is a started program whose output is kept for a failed test.
type process struct {
	*programs.Program
	out *testkit.Buffer
}

// start starts the operator's program; the test's end kills what still runs.
func start(t testing.TB, env []string, args ...string) *process {
	t.Helper()
	return startProgram(t, fescueBin, env, args...)
}

func startProgram(t testing.TB, bin string, env []string, args ...string) *process {
	t.Helper()
	return startOn(t, nil, bin, env, args...)
}

// startOn starts a program on a host of a network; on this machine if it is nil.
func startOn(t testing.TB, host *hosts.Host, bin string, env []string, args ...string) *process {
	t.Helper()
	begin := (*exec.Cmd).Start
	if host != nil {
		begin = host.Start
	}
	p := &process{out: new(testkit.Buffer)}
	var err error
	if p.Program, err = programs.StartBy(begin, p.out, env, bin, args...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s %v said:\n%s", filepath.Base(bin), args, p.out)
		}
	})
	return p
}

// interrupt asks the process to end and returns how it did.
func (p *process) interrupt(t testing.TB) error {
	t.Helper()
	p.Process.Signal(os.Interrupt)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case <-p.Done:
		return p.Err
	case <-ctx.Done():
		t.Fatalf("%v did not end on interrupt", p.Args)
		return nil
	}
}
