//go:build linux

package faults

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// fault is one way to make trouble. It heals itself after a time.
type fault struct {
	name string
	// restarts says that functions may be started again because of it.
	restarts bool
	// disk says that it needs a disk of the core's own.
	disk bool
	// clock says that deadlines may seem to have passed.
	clock bool
	do    func(s *site, lasts time.Duration, pick uint64)
}

// Faults that excuse the failure of a version that is good: the second one only
// if the failure says so.
const (
	killFunction = "kill a function"
	fillDisk     = "fill the disk"
)

// faults are all kinds of trouble.
var faults = []fault{
	{name: "kill the server", do: func(s *site, lasts time.Duration, pick uint64) {
		v := s.struck(pick)
		v.gone.Lock()
		defer v.gone.Unlock()
		v.signal(syscall.SIGKILL, true)
		time.Sleep(lasts / 2)
		v.start()
	}},
	{name: "kill the core", restarts: true, do: func(s *site, lasts time.Duration, _ uint64) {
		s.coreGone.Lock()
		defer s.coreGone.Unlock()
		s.core.signal(syscall.SIGKILL, true)
		time.Sleep(lasts / 2)
		s.core.start()
	}},
	{name: "stop the core", restarts: true, do: func(s *site, lasts time.Duration, _ uint64) {
		s.coreGone.Lock()
		defer s.coreGone.Unlock()
		s.core.signal(syscall.SIGTERM, true)
		time.Sleep(lasts / 4)
		s.core.start()
	}},
	{name: "freeze the server", do: func(s *site, lasts time.Duration, pick uint64) {
		v := s.struck(pick)
		v.gone.Lock()
		defer v.gone.Unlock()
		v.signal(syscall.SIGSTOP, false)
		time.Sleep(lasts)
		v.signal(syscall.SIGCONT, false)
	}},
	{name: "freeze the core", do: func(s *site, lasts time.Duration, _ uint64) {
		s.coreGone.Lock()
		defer s.coreGone.Unlock()
		s.core.signal(syscall.SIGSTOP, false)
		time.Sleep(lasts)
		s.core.signal(syscall.SIGCONT, false)
	}},
	{name: killFunction, restarts: true, do: func(s *site, _ time.Duration, pick uint64) {
		if list := functions(s.root); len(list) > 0 {
			syscall.Kill(list[pick%uint64(len(list))].pid, syscall.SIGKILL)
		}
	}},
	{name: "cut the line", do: func(s *site, lasts time.Duration, _ uint64) { s.spoil(line{cut: true}, lasts) }},
	{name: "stall the line", do: func(s *site, lasts time.Duration, _ uint64) { s.spoil(line{stalled: true}, lasts) }},
	{name: "slow the line", do: func(s *site, lasts time.Duration, _ uint64) { s.spoil(line{delay: lasts / 20}, 2*lasts) }},
	{name: fillDisk, disk: true, do: func(s *site, lasts time.Duration, _ uint64) {
		s.diskFull.Lock()
		defer s.diskFull.Unlock()
		name := filepath.Join(s.root, "ballast")
		fill(name)
		time.Sleep(lasts)
		os.Remove(name)
	}},
}

// spoil makes the line between core and server bad for a time.
func (s *site) spoil(l line, lasts time.Duration) {
	s.lineBad.Lock()
	defer s.lineBad.Unlock()
	for _, p := range []*proxy{s.https, s.mqtt} {
		p.set(l)
	}
	time.Sleep(lasts)
	for _, p := range []*proxy{s.https, s.mqtt} {
		p.set(line{})
	}
}

// fill writes until the disk is full.
func fill(name string) {
	f, err := os.Create(name)
	if err != nil {
		return
	}
	defer f.Close()
	piece := make([]byte, 64<<10)
	for size := 0; size <= 2*diskSize; size += len(piece) {
		if _, err := f.Write(piece); err != nil {
			piece = piece[:1]
			if _, err := f.Write(piece); err != nil {
				return
			}
		}
	}
}

// strike is a fault with everything that was drawn for it.
type strike struct {
	*fault
	after, lasts time.Duration
	pick         uint64
}

// draw draws up to three strikes.
func drawStrikes(r *rand.Rand, disk bool) []strike {
	var list []strike
	for range []int{0, 1, 1, 1, 2, 2, 3}[r.IntN(7)] {
		if s := drawStrike(r, faults); disk || !s.disk {
			list = append(list, s)
		}
	}
	return list
}

func drawStrike(r *rand.Rand, of []fault) strike {
	// Most of what a deployment does happens within the first half second.
	early := r.Float64()
	return strike{
		fault: &of[r.IntN(len(of))],
		after: time.Duration(early * early * 1200 * float64(time.Millisecond)),
		lasts: time.Duration(50+r.IntN(1200)) * time.Millisecond,
		pick:  r.Uint64(),
	}
}

// happen waits for the strike's time, strikes and heals.
func (k strike) happen(ctx context.Context, s *site) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(k.after):
	}
	k.do(s, k.lasts, k.pick)
}
