package history

import (
	"slices"
	"time"
)

// bounds are what requests are counted by: those that took no longer than one, and
// longer than the one before. They are those of the metric fescue_api_request_seconds.
var bounds = [...]time.Duration{
	200 * time.Microsecond, 800 * time.Microsecond, 3200 * time.Microsecond, 12800 * time.Microsecond,
	51200 * time.Microsecond, 204800 * time.Microsecond, 819200 * time.Microsecond, 3276800 * time.Microsecond,
}

// Latencies is how many requests took how long; the last are those beyond all bounds.
type Latencies [len(bounds) + 1]int64

func indexOf(took time.Duration) int {
	i, _ := slices.BinarySearch(bounds[:], took)
	return i
}

func (l *Latencies) add(other Latencies) {
	for i, n := range other {
		l[i] += n
	}
}

func (l Latencies) count() (n int64) {
	for _, of := range l {
		n += of
	}
	return n
}

// Quantile is what a share of the requests took at most, as far as the bounds tell:
// between two of them requests are taken to lie evenly, and beyond the last one at it.
// Of none it is 0.
func (l Latencies) Quantile(share float64) time.Duration {
	rank := share * float64(l.count())
	var below time.Duration
	for i, bound := range bounds {
		if n := float64(l[i]); n > 0 && rank <= n {
			return below + time.Duration(rank/n*float64(bound-below))
		}
		rank -= float64(l[i])
		below = bound
	}
	if rank <= 0 {
		return 0
	}
	return below
}
