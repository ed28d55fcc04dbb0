//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The cores run in processes of this program's own, crews, so that they have memory and
// descriptors apart from each other's and from whoever measures. A crew reads orders from
// its input and prints events, both as lines of JSON; it ends with its input.

// order is what a crew is to do; one member is set.
type order struct {
	// Start has cores begin.
	Start *start `json:",omitempty"`
	// Cut has the lines of these cores end.
	Cut []int `json:",omitempty"`
	// Rest has all close what no request uses.
	Rest bool `json:",omitempty"`
	// Send has all send the message of this number to their neighbours.
	Send int `json:",omitempty"`
}

// start is a crew's cores, and how they are.
type start struct {
	Lines   []line
	Pace    pace
	Entries int
	Cores   []identity
}

// What is told of cores.
const (
	connected = "connected" // its MQTT session is up, with its filter
	ready     = "ready"     // it has said what it is, and waits
	refused   = "refused"   // its MQTT session ended, or could not be
	offered   = "offered"   // it was given a deployment
	ended     = "ended"     // the server has its report of the end
	failed    = "failed"    // a request failed
	receiving = "receiving" // the cloud keeps messages for it
	arrived   = "arrived"   // a message of its neighbour has come
)

// event is what happened to a core.
type event struct {
	Core int
	What string
	At   time.Time
	// Took is how long it took to connect, or the message.
	Took       time.Duration `json:",omitempty"`
	Deployment string        `json:",omitempty"`
	Message    int           `json:",omitempty"`
	Error      string        `json:",omitempty"`
}

// crewArgument has this program be a crew.
const crewArgument = "crew"

// garbage is how much a crew lets lie for each 100 bytes in use. It shares the processors with
// the server, unlike the cores that it plays, and has memory to spare.
const garbage = 400

// playCrew plays cores until the input ends.
func playCrew(ctx context.Context, in io.Reader, out io.Writer) error {
	debug.SetGCPercent(garbage)
	ctx, cancel := context.WithCancel(ctx)
	var (
		mu      sync.Mutex
		events  = json.NewEncoder(out)
		cores   = make(map[int]*core)
		running sync.WaitGroup
	)
	defer running.Wait()
	defer cancel()
	tell := func(e event) {
		mu.Lock()
		defer mu.Unlock()
		_ = events.Encode(e) // who has gone needs no news
	}
	for orders := json.NewDecoder(in); ; {
		var o order
		if err := orders.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read an order: %w", err)
		}
		for _, n := range o.Cut {
			if c := cores[n]; c != nil {
				c.cut()
			}
		}
		if o.Rest {
			for _, c := range cores {
				c.rest()
			}
		}
		if o.Send > 0 {
			for _, c := range cores {
				c.send(o.Send)
			}
		}
		if o.Start == nil {
			continue
		}
		entries := make(chan struct{}, o.Start.Entries)
		for _, id := range o.Start.Cores {
			c, err := newCore(id, o.Start.Lines, o.Start.Pace, entries, tell)
			if err != nil {
				return err
			}
			cores[id.Number] = c
			running.Go(func() { c.run(ctx) })
		}
	}
}

// crew is such a process as its owner has it.
type crew struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	orders *json.Encoder
	done   chan error
}

// startCrew starts this program again as a crew; heard gets its events, from one goroutine.
func startCrew(ctx context.Context, heard func(event)) (*crew, error) {
	own, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &crew{cmd: exec.CommandContext(ctx, own, crewArgument), done: make(chan error, 1)}
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	c.orders = json.NewEncoder(c.in)
	go func() {
		var err error
		for events := json.NewDecoder(out); err == nil; {
			var e event
			if err = events.Decode(&e); err == nil {
				heard(e)
			}
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		c.done <- errors.Join(err, c.cmd.Wait())
	}()
	return c, nil
}

// processorTime is what the crew has used of the processors.
func (c *crew) processorTime() (time.Duration, error) {
	var used unix.Timespec
	pid := c.cmd.Process.Pid
	// The clock of a process, as clock_getcpuclockid(3) numbers it.
	if err := unix.ClockGettime(int32(^pid<<3|2), &used); err != nil {
		return 0, fmt.Errorf("processor time of the process %d: %w", pid, err)
	}
	return time.Duration(used.Nano()), nil
}

// end has the crew end in peace.
func (c *crew) end() error {
	c.in.Close()
	return <-c.done
}
