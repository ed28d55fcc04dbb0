//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// report is what was measured; steps that were not asked for are nil.
type report struct {
	// Cores wait by MQTT and, WithoutMQTT of them, by long polls.
	Cores, WithoutMQTT int
	Idle               *idle `json:",omitempty"`
	Steps              []step
	Soak               []sample `json:",omitempty"`
	// Broken is what did not end as it should; empty if all is well.
	Broken []string `json:",omitempty"`
}

// idle is what cores cost that wait.
type idle struct {
	Seconds float64
	// Before is what the server holds without them.
	BeforeMB float64
	// For each core: resident memory, what the kernel keeps for TCP on this machine,
	// goroutines and descriptors of the server.
	MemoryKB, SocketsKB, Goroutines, Descriptors float64
	// CPU is the server's for all cores together, in processors.
	CPU float64
}

// step is something that was done with all cores.
type step struct {
	Name    string
	Count   int
	Seconds float64
	// CPU is the server's for each of Count, CoresCPU theirs, in milliseconds; MemoryMB and
	// Descriptors are what the server holds at the end.
	CPU, CoresCPU, MemoryMB, Descriptors float64
	Latencies                            []latency
}

// latency is how long something took, in milliseconds.
type latency struct {
	What          string
	Count         int
	P50, P99, Max float64
}

// measure sorts what was measured.
func measure(what string, took []time.Duration) latency {
	l := latency{What: what, Count: len(took)}
	if len(took) == 0 {
		return l
	}
	slices.Sort(took)
	at := func(percent int) float64 {
		return float64(took[min(len(took)*percent/100, len(took)-1)].Microseconds()) / 1e3
	}
	l.P50, l.P99, l.Max = at(50), at(99), at(100)
	return l
}

// costs compares two moments between which the cores came.
func costs(before, after usage, cores int) *idle {
	each := func(a, b float64) float64 { return (a - b) / float64(cores) }
	return &idle{
		BeforeMB: before.Memory / (1 << 20),
		MemoryKB: each(after.Memory, before.Memory) / 1024, SocketsKB: each(after.Sockets, before.Sockets) / 1024,
		Goroutines: each(after.Goroutines, before.Goroutines), Descriptors: each(after.Descriptors, before.Descriptors),
	}
}

// print writes the report as tables.
func (r *report) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "cores\t%d\nof these without MQTT\t%d\n", r.Cores, r.WithoutMQTT)
	if i := r.Idle; i != nil {
		fmt.Fprintf(w, "server without them\t%.0f MB\n", i.BeforeMB)
		fmt.Fprintf(w, "for each that waits\t%.1f KB, %.1f KB of sockets, %.1f goroutines, %.2f descriptors\n", i.MemoryKB, i.SocketsKB, i.Goroutines, i.Descriptors)
		fmt.Fprintf(w, "for all that wait\t%.3f processors over %.0f s\n", i.CPU, i.Seconds)
	}
	fmt.Fprintln(w, "\nSTEP\tCOUNT\tSECONDS\tCPU EACH\tTHE CORES\tMEMORY\tDESCRIPTORS\tOF IT\tCOUNT\tP50\tP99\tMAX")
	for _, s := range r.Steps {
		fmt.Fprintf(w, "%s\t%d\t%.1f\t%.2f ms\t%.2f ms\t%.0f MB\t%.0f", s.Name, s.Count, s.Seconds, s.CPU, s.CoresCPU, s.MemoryMB, s.Descriptors)
		for i, l := range s.Latencies {
			if i > 0 {
				fmt.Fprint(w, "\n\t\t\t\t\t\t")
			}
			fmt.Fprintf(w, "\t%s\t%d\t%.0f ms\t%.0f ms\t%.0f ms", l.What, l.Count, l.P50, l.P99, l.Max)
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	printSoak(out, r.Soak)
	for _, b := range r.Broken {
		fmt.Fprintln(out, "BROKEN", b)
	}
	return nil
}
