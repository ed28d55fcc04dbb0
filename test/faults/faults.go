//go:build linux

package faults

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fescue-edge/fescue/cloud/store/pgtest"
)

// Programs are the built programs.
type Programs struct {
	// Fescue is the operator's program, Core the edge program, Subject the
	// executable function that is deployed.
	Fescue, Core, Subject string
}

// Build builds the programs into a folder that everybody may enter.
func Build(ctx context.Context, dir string) (Programs, error) {
	p := Programs{filepath.Join(dir, "fescue"), filepath.Join(dir, "fescue-core"), filepath.Join(dir, "subject")}
	clocks, err := overlay(dir)
	if err != nil {
		return p, fmt.Errorf("give the programs a clock: %w", err)
	}
	for bin, pkg := range map[string]string{p.Fescue: "cmd/fescue", p.Core: "cmd/fescue-core", p.Subject: "test/faults/testdata/subject"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-overlay", clocks, "-ldflags=-s -w", "-o", bin, "github.com/fescue-edge/fescue/"+pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return p, fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
	}
	return p, nil
}

// Options say what is done.
type Options struct {
	Programs
	// Seed is the first episode's; the next episodes have the next seeds.
	Seed uint64
	// Runs is the number of runs; RunsPerEpisode of them make an episode.
	Runs int
	// Servers is how many servers a site has. Several share a database of PostgreSQL
	// and a cluster of NATS, whose nodes are this program: its main calls natstest.Main.
	Servers int
	// Parallel episodes go on at once.
	Parallel int
	// Dir is where the sites are made. What failed is kept there.
	Dir string
	// Log gets each episode.
	Log io.Writer

	postgres *pgtest.Server
}

// Broken is a promise that was broken.
type Broken struct {
	Seed uint64
	Err  error
	// Kept is the folder with the logs.
	Kept string
}

// Report is what came of it.
type Report struct {
	Servers, Runs, Deployments int
	// Ends, Kinds and Faults count deployments by status and version, and
	// faults by kind.
	Ends, Kinds, Faults map[string]int
	// Resources counts what functions were given.
	Resources map[string]int
	// Slowest is the longest time that a run took.
	Slowest time.Duration
	// Skipped says what could not be done on this machine.
	Skipped []string
	Broken  []Broken
}

// String is the report in words.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "servers: %d; %d runs, %d deployments, slowest run %s\n", r.Servers, r.Runs, r.Deployments, r.Slowest.Round(time.Millisecond))
	for _, c := range []struct {
		title  string
		counts map[string]int
	}{{"ends", r.Ends}, {"versions", r.Kinds}, {"resources", r.Resources}, {"faults", r.Faults}} {
		fmt.Fprintf(&b, "%s:", c.title)
		for i, name := range slices.Sorted(maps.Keys(c.counts)) {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, " %s %d", name, c.counts[name])
		}
		b.WriteByte('\n')
	}
	for _, s := range r.Skipped {
		fmt.Fprintf(&b, "not done: %s\n", s)
	}
	for _, f := range r.Broken {
		fmt.Fprintf(&b, "BROKEN: seed %d: %v\n  logs in %s\n  repeat: go run ./test/faults/cmd -servers %d -seed %d -runs %d\n", f.Seed, f.Err, f.Kept, r.Servers, f.Seed, RunsPerEpisode)
	}
	return b.String()
}

// Run plays episodes until all runs are done. The error is of the harness itself;
// broken promises are in the report. Where several servers lack PostgreSQL, pgtest.Missing
// says so of the error.
func Run(ctx context.Context, o Options) (*Report, error) {
	o.Servers = max(1, o.Servers)
	if o.Servers > 1 {
		var err error
		if o.postgres, err = pgtest.Open(); err != nil {
			return nil, fmt.Errorf("several servers need PostgreSQL: %w", err)
		}
		defer o.postgres.Close()
	}
	report := &Report{Servers: o.Servers, Ends: map[string]int{}, Kinds: map[string]int{}, Resources: map[string]int{}, Faults: map[string]int{}}
	if err := canMount(o.Dir); err != nil {
		report.Skipped = append(report.Skipped, fmt.Sprintf("a full disk: no file system can be mounted here: %v", err))
	}
	if !havePython() {
		report.Skipped = append(report.Skipped, "Python functions: python3 is not installed")
	}
	if lacks := missing(o.Programs, o.Dir); len(lacks) > 0 {
		report.Skipped = append(report.Skipped, "containers: "+strings.Join(lacks, "; "))
	}
	var mu sync.Mutex
	count := func(u run, attempts []attempt, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		report.Runs++
		report.Deployments += len(attempts)
		report.Slowest = max(report.Slowest, took)
		for _, a := range attempts {
			report.Ends[string(a.status())]++
			report.Kinds[a.name]++
			if a.contained && a.runs != nil {
				report.Kinds["in a container"]++
			}
			for _, res := range a.given {
				report.Resources[res.name]++
			}
		}
		for _, k := range u.strikes {
			report.Faults[k.name]++
		}
		if u.cancel.after > 0 {
			report.Faults["cancel"]++
		}
	}
	episodes := make(chan uint64)
	var workers sync.WaitGroup
	for range max(1, o.Parallel) {
		workers.Go(func() {
			for seed := range episodes {
				began := time.Now()
				runs := min(RunsPerEpisode, o.Runs-int(seed-o.Seed)*RunsPerEpisode)
				kept, err := o.play(ctx, seed, runs, count)
				if ctx.Err() != nil {
					continue
				}
				mu.Lock()
				if err != nil {
					report.Broken = append(report.Broken, Broken{seed, err, kept})
				}
				fmt.Fprintf(o.Log, "seed %d: %d runs in %s: %s\n", seed, runs, time.Since(began).Round(time.Millisecond), verdict(err))
				mu.Unlock()
			}
		})
	}
	for n := uint64(0); int(n)*RunsPerEpisode < o.Runs && ctx.Err() == nil; n++ {
		episodes <- o.Seed + n
	}
	close(episodes)
	workers.Wait()
	return report, ctx.Err()
}

func verdict(err error) string {
	if err != nil {
		return "BROKEN: " + err.Error()
	}
	return "all promises kept"
}

// play plays one episode on a site of its own.
func (o Options) play(ctx context.Context, seed uint64, runs int, count func(run, []attempt, time.Duration)) (kept string, err error) {
	dir, err := os.MkdirTemp(o.Dir, fmt.Sprintf("seed-%d-", seed))
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		return "", err
	}
	s, err := newSite(ctx, o, dir)
	if err == nil {
		err = episode(ctx, s, o.Programs, seed, runs, count)
	}
	if closed := s.close(err != nil); err == nil {
		err = closed
	}
	return dir, err
}

// canMount tries whether the core can have a disk of its own.
func canMount(parent string) error {
	dir, err := os.MkdirTemp(parent, "mount-")
	if err != nil {
		return err
	}
	defer os.Remove(dir)
	if err := mount(dir); err != nil {
		return err
	}
	return unmount(dir)
}
