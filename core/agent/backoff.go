package agent

import (
	"math/rand/v2"
	"time"
)

// backoff doubles its pauses from first up to most. Each is shortened by up to a
// half at random, so that the cores of a fleet do not come back all at once.
type backoff struct {
	first, most time.Duration
	failures    int
}

func (b *backoff) next() time.Duration {
	pause := b.first
	for range b.failures {
		if pause >= b.most/2 {
			pause = b.most
			break
		}
		pause *= 2
	}
	b.failures++
	pause = min(pause, b.most)
	return pause - rand.N(pause/2+1)
}

func (b *backoff) reset() { b.failures = 0 }
