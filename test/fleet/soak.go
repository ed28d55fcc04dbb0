//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// sample is what the servers hold after a round of a soak.
type sample struct {
	Minutes                            float64
	MemoryMB, HeapMB, StoredMB         float64
	Goroutines, Descriptors            float64
	Deployments, Messages, Connections int
}

// soakPause is how often a round begins at most.
const soakPause = 30 * time.Second

// soak has all cores get messages and deployments again and again, some of their lines cut
// meanwhile, and notes what the servers hold after each round.
func (p *play) soak(ctx context.Context) error {
	p.say("soaking for %s", p.Soak)
	began := time.Now()
	var deployed, sent int
	for time.Since(began) < p.Soak {
		round := time.Now()
		if err := p.sendMessages(); err != nil {
			return err
		}
		ids, _, err := p.createDeployments(ctx, nil)
		if err != nil {
			return err
		}
		if err := p.awaitEnds(ctx, ids); err != nil {
			return err
		}
		if err := p.awaitMessages(ctx); err != nil {
			return err
		}
		if err := p.check(ctx, ids); err != nil {
			return err
		}
		deployed, sent = deployed+len(ids), sent+p.Cores
		if err := p.order(order{Rest: true}); err != nil {
			return err
		}
		if err := rest(ctx, max(soakPause-time.Since(round), soakPause/4)); err != nil {
			return err
		}
		u, err := p.use(ctx)
		if err != nil {
			return err
		}
		s := sample{
			Minutes: u.At.Sub(began).Minutes(), MemoryMB: u.Memory / (1 << 20), HeapMB: u.Heap / (1 << 20), StoredMB: u.Stored / (1 << 20),
			Goroutines: u.Goroutines, Descriptors: u.Descriptors, Deployments: deployed, Messages: sent,
		}
		p.take(func() []time.Duration { s.Connections = len(p.connects); return nil })
		p.report.Soak = append(p.report.Soak, s)
		p.say("%.1f minutes: %d deployments, %d messages; %.0f MB, %.0f goroutines, %.0f descriptors, %.1f MB stored",
			s.Minutes, s.Deployments, s.Messages, s.MemoryMB, s.Goroutines, s.Descriptors, s.StoredMB)
	}
	return nil
}

// rest waits.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// quarter is the mean of a quarter of the samples, counted from 0.
func quarter(all []sample, number int) (mean sample) {
	part := all[len(all)*number/4 : len(all)*(number+1)/4]
	n := float64(len(part))
	for _, s := range part {
		mean.Minutes += s.Minutes / n
		mean.MemoryMB += s.MemoryMB / n
		mean.HeapMB += s.HeapMB / n
		mean.StoredMB += s.StoredMB / n
		mean.Goroutines += s.Goroutines / n
		mean.Descriptors += s.Descriptors / n
	}
	return mean
}

// printSoak writes the means of the quarters: where something grows without end, it does
// from each to the next.
func printSoak(out io.Writer, all []sample) {
	if len(all) < 4 {
		return
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	last := all[len(all)-1]
	fmt.Fprintf(w, "\nSOAK: %d deployments, %d messages in %.0f minutes\n", last.Deployments, last.Messages, last.Minutes)
	fmt.Fprintln(w, "MEAN AT\tMEMORY\tHEAP\tGOROUTINES\tDESCRIPTORS\tSTORED")
	for i := range 4 {
		s := quarter(all, i)
		fmt.Fprintf(w, "%.1f min\t%.1f MB\t%.1f MB\t%.0f\t%.0f\t%.1f MB\n", s.Minutes, s.MemoryMB, s.HeapMB, s.Goroutines, s.Descriptors, s.StoredMB)
	}
	w.Flush()
}
