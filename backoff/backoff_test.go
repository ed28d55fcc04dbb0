package backoff_test

import (
	"math"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/backoff"
)

func TestPause(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		policy   backoff.Policy
		failures int
		want     time.Duration
	}{
		{backoff.Policy{First: time.Second, Most: time.Minute}, 0, time.Second},
		{backoff.Policy{First: time.Second, Most: time.Minute}, 1, time.Second},
		{backoff.Policy{First: time.Second, Most: time.Minute}, 2, 2 * time.Second},
		{backoff.Policy{First: time.Second, Most: time.Minute}, 6, 32 * time.Second},
		{backoff.Policy{First: time.Second, Most: time.Minute}, 7, time.Minute},
		{backoff.Policy{First: time.Second, Most: time.Minute}, math.MaxInt, time.Minute},
		{backoff.Policy{First: time.Hour, Most: time.Minute}, 1, time.Minute},
		{backoff.Policy{First: 3, Most: 7}, 2, 7},
		{backoff.Policy{}, 5, 0},
		{backoff.Policy{First: 1, Most: math.MaxInt64}, 100, math.MaxInt64},
	} {
		for range 100 {
			if got := c.policy.Pause(c.failures); got > c.want || got < c.want/2 {
				t.Errorf("%+v after %d: %v, want %v or up to a half less", c.policy, c.failures, got, c.want)
			}
		}
	}
}
