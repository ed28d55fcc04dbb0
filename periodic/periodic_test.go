package periodic_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fescue-edge/fescue/periodic"
)

// TestEvery counts the calls of two and a half intervals, and none after the end.
func TestEvery(t *testing.T) {
	for name, tc := range map[string]struct {
		run  func(context.Context, time.Duration, func())
		want int
	}{"Every": {periodic.Every, 2}, "AtOnce": {periodic.AtOnce, 3}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 150*time.Second)
				defer cancel()
				calls := 0
				tc.run(ctx, time.Minute, func() { calls++ })
				if calls != tc.want {
					t.Errorf("%d calls, want %d", calls, tc.want)
				}
			})
		})
	}
}

// TestSlow: what takes longer than an interval is not done twice at once, nor caught up.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		calls := 0
		periodic.Every(ctx, time.Minute, func() {
			calls++
			time.Sleep(150 * time.Second)
		})
		if calls != 4 {
			t.Errorf("%d calls in 10 minutes, want 4", calls)
		}
	})
}
