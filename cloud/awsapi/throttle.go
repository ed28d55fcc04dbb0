package awsapi

import (
	"cmp"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Rates are how many calls a second each access key, with its temporary
// keys, may make of an operation, by the operation's name; "*" is for those that are not named. Zero, as where
// nothing is named, is no limit.
type Rates map[string]float64

// rate is that of an operation.
func (r Rates) rate(operation string) float64 { return cmp.Or(r[operation], r["*"]) }

// throttle counts calls by holder and operation.
type throttle struct {
	mu      sync.Mutex
	buckets map[bucketID]*rate.Limiter
}

type bucketID struct{ holder, service, operation string }

// maxBuckets bounds what is remembered; beyond it everyone begins anew.
const maxBuckets = 100_000

// allow takes a call from its bucket, which holds at most burst.
func (t *throttle) allow(id bucketID, perSecond, burst float64, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	b, ok := t.buckets[id]
	if !ok {
		if t.buckets == nil || len(t.buckets) >= maxBuckets {
			t.buckets = make(map[bucketID]*rate.Limiter)
		}
		b = rate.NewLimiter(rate.Limit(perSecond), max(1, int(burst)))
		t.buckets[id] = b
	}
	return b.AllowN(now, 1)
}

// slowDown refuses a call too many.
func (h *Handler) slowDown(service string, call *Call, t Target) error {
	perSecond := h.Rates.rate(t.Operation)
	if perSecond <= 0 || h.throttle.allow(bucketID{call.Caller.Holder, service, t.Operation}, perSecond, perSecond, h.Verifier.Clock()) {
		return nil
	}
	return throttled(service, "")
}
