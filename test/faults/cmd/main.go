//go:build linux

// Command cmd runs the fault harness for as long as one likes:
//
//	go run ./test/faults/cmd -runs 2000 -seed 1
//	go run ./test/faults/cmd -runs 300 -seed 5000 -servers 2
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/fescue-edge/fescue/cloud/broker/natstest"
	"github.com/fescue-edge/fescue/test/faults"
)

func main() {
	natstest.Main() // with several servers, this program is their nodes of NATS
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	o := faults.Options{Log: os.Stdout}
	flag.IntVar(&o.Runs, "runs", 200, "number of runs")
	flag.Uint64Var(&o.Seed, "seed", 1, "seed of the first episode")
	flag.IntVar(&o.Servers, "servers", 1, "servers of a site; several are on one PostgreSQL, which must be installed, and one cluster of NATS")
	flag.IntVar(&o.Parallel, "parallel", 4, "episodes at once")
	flag.StringVar(&o.Dir, "dir", "", "folder for programs, data and logs (default: a temporary one)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp(o.Dir, "fescue-faults-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		return err
	}
	o.Dir = dir
	if o.Programs, err = faults.Build(ctx, dir); err != nil {
		return err
	}
	report, err := faults.Run(ctx, o)
	if report != nil {
		fmt.Print(report)
	}
	if err != nil {
		return err
	}
	if len(report.Broken) > 0 {
		return fmt.Errorf("%d episodes broke a promise", len(report.Broken))
	}
	return os.RemoveAll(dir)
}
