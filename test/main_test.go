//go:build linux

package test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/fescue-edge/fescue/cloud/store/pgtest"
	"github.com/fescue-edge/fescue/testkit"
)

// Programs under test, built once.
var (
	fescueBin string
	// edgeBin is the edge program alone, as gateways run it.
	edgeBin string
	// echoBin is an executable function.
	echoBin string
)

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	// Functions may run as another user: the folder must be open to all.
	dir, err := os.MkdirTemp("", "fescue-test-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	fescueBin, edgeBin, echoBin = filepath.Join(dir, "fescue"), filepath.Join(dir, "fescue-core"), filepath.Join(dir, "echo")
	for bin, pkg := range map[string]string{fescueBin: "../cmd/fescue", edgeBin: "../cmd/fescue-core", echoBin: "./testdata/echo"} {
		cmd := exec.Command("go", "build", "-o", bin, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n%s", pkg, err, out)
			return 1
		}
	}
	return pgtest.Run(m)
}

const patience = testkit.Patience

// eventually waits until f returns nil; its last error fails the test.
func eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	testkit.Eventually(t, what, f)
}

// process is a started program whose output is kept for a failed test.
type process struct {
	*exec.Cmd
	out  *output
	done chan struct{}
	err  error
}

// start starts the operator's program; the test's end kills what still runs.
func start(t testing.TB, env []string, args ...string) *process {
	t.Helper()
	return startProgram(t, fescueBin, env, args...)
}

func startProgram(t testing.TB, bin string, env []string, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(bin, args...), out: new(output), done: make(chan struct{})}
	p.Env = append(cleanEnvironment(), env...)
	p.Stdout, p.Stderr = p.out, p.out
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s %v said:\n%s", filepath.Base(bin), args, p.out)
		}
	})
	return p
}

// cleanEnvironment is the test's own without what would steer the AWS SDK.
func cleanEnvironment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !bytes.HasPrefix([]byte(v), []byte("AWS_")) && !bytes.HasPrefix([]byte(v), []byte("FESCUE_")) {
			env = append(env, v)
		}
	}
	return env
}

// kill ends the process at once, as a power cut would, and waits for it.
func (p *process) kill() {
	p.Process.Kill()
	<-p.done
}

// interrupt asks the process to end and returns how it did.
func (p *process) interrupt(t testing.TB) error {
	t.Helper()
	p.Process.Signal(os.Interrupt)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		t.Fatalf("%v did not end on interrupt", p.Args)
		return nil
	}
}
