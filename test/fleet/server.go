//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/fescue-edge/fescue/testkit"
	"github.com/fescue-edge/fescue/testkit/programs"
)

// server is the one under test as it is reached: started here, or another's.
type server struct {
	API, Device, MQTT, Ops string

	// Of one that was started here.
	program, folder    string
	environment, flags []string
	process            *programs.Program
	printed            *testkit.Buffer
}

// build builds the operator's program into a folder.
func build(ctx context.Context, folder string) (string, error) {
	program := filepath.Join(folder, "fescue")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/fescue-edge/fescue/cmd/fescue")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build cmd/fescue: %w\n%s", err, out)
	}
	return program, nil
}

// startServer starts a server on a folder of its own.
func startServer(ctx context.Context, program, folder string, environment, flags []string) (*server, error) {
	free := "127.0.0.1:0"
	s := &server{program: program, folder: folder, environment: environment, flags: flags, API: free, Device: free, MQTT: free, Ops: free}
	return s, s.run(ctx)
}

// startTimeout is how long a server may take until it is ready, or has ended.
const startTimeout = time.Minute

// run starts the program, where it listened before if it ran before, and waits until it
// is ready.
func (s *server) run(ctx context.Context) (err error) {
	s.printed = new(testkit.Buffer)
	s.process, err = programs.Start(s.printed, slices.Concat(programs.ServerKey, s.environment), s.program, append([]string{
		"server", "--data", s.folder, "--account", programs.Account, "--region", programs.Region,
		"--api", s.API, "--device", s.Device, "--mqtt", s.MQTT, "--ops", s.Ops,
	}, s.flags...)...)
	if err != nil {
		return err
	}
	return testkit.Within(ctx, startTimeout, func() error {
		at, ready := programs.Addresses(s.printed.String())
		if !ready {
			return fmt.Errorf("the server is not ready (%w)\n%s", s.process.Ended(), s.printed)
		}
		s.API, s.Device, s.MQTT, s.Ops = at["api"], at["device"], at["mqtt"], at["ops"]
		return nil
	})
}

// stop ends the server in peace.
func (s *server) stop() {
	if s.process == nil {
		return
	}
	s.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.process.Done:
	case <-time.After(startTimeout):
		s.process.Kill()
	}
}

// usage is what the server holds and has used at a moment.
type usage struct {
	At time.Time
	// Memory is resident, Heap what of it is in use, Stored what lies in the servers'
	// folders; Sockets is what the kernel keeps for TCP, of all processes of this machine.
	// All are in bytes.
	Memory, Heap, Stored, Sockets float64
	Goroutines, Descriptors       float64
	// CPU is in seconds since the server's start, CoresCPU that of the processes which play
	// the cores since theirs.
	CPU, CoresCPU float64
}

// figures are where usage stands on /metrics.
var figures = []struct {
	name string
	of   func(*usage) *float64
}{
	{"process_resident_memory_bytes", func(u *usage) *float64 { return &u.Memory }},
	{"go_memstats_heap_inuse_bytes", func(u *usage) *float64 { return &u.Heap }},
	{"go_goroutines", func(u *usage) *float64 { return &u.Goroutines }},
	{"process_open_fds", func(u *usage) *float64 { return &u.Descriptors }},
	{"process_cpu_seconds_total", func(u *usage) *float64 { return &u.CPU }},
}

// use reads the server's figures.
func (s *server) use(ctx context.Context) (usage, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Ops+"/metrics", nil)
	if err != nil {
		return usage{}, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return usage{}, err
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		return usage{}, fmt.Errorf("read /metrics of %s: %w", s.Ops, err)
	}
	u := usage{At: time.Now()}
	for _, f := range figures {
		family := families[f.name]
		if family == nil || len(family.Metric) != 1 {
			return usage{}, fmt.Errorf("/metrics of %s has no %s", s.Ops, f.name)
		}
		m := family.Metric[0]
		*f.of(&u) = m.GetGauge().GetValue() + m.GetCounter().GetValue()
	}
	return u, nil
}

// socketMemory is what the kernel keeps for TCP, in bytes.
func socketMemory() (float64, error) {
	file, err := os.Open("/proc/net/sockstat")
	if err != nil {
		return 0, err
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var inUse, orphans, waiting, allocated, pages float64
		if _, err := fmt.Sscanf(lines.Text(), "TCP: inuse %g orphan %g tw %g alloc %g mem %g", &inUse, &orphans, &waiting, &allocated, &pages); err == nil {
			return pages * float64(os.Getpagesize()), nil
		}
	}
	return 0, fmt.Errorf("%s has no line of TCP", strings.TrimSpace(file.Name()))
}
