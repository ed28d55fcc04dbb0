// Package backoff says how long to wait before something that failed is tried
// again. It keeps no state: who waits counts the failures, in memory or in a
// database. Pure.
package backoff

import (
	"math/rand/v2"
	"time"
)

// Policy is the pauses between attempts: they double from First up to Most. Each is
// shortened by up to a half at random, so that what failed together does not come
// back together.
type Policy struct{ First, Most time.Duration }

// Pause is how long to wait after so many failures in a row, counted from 1.
func (p Policy) Pause(failures int) time.Duration {
	pause := min(p.First, p.Most)
	for range failures - 1 {
		if pause >= p.Most/2 {
			pause = p.Most
			break
		}
		pause *= 2
	}
	return pause - rand.N(pause/2+1)
}
