package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core/invoke"
	"github.com/fescue-edge/fescue/core/lifecycle"
	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/testkit"
)

// flood sends messages until one is refused and says how many were taken.
func (r *site) flood(source, name string, size int) int {
	r.t.Helper()
	for n := range 100000 {
		settle, err := r.sup.ReserveEvent(arn(name), source, "", make([]byte, size))
		if err != nil {
			if !errors.Is(err, invoke.ErrQueueFull) {
				r.t.Fatal(err)
			}
			return n
		}
		settle(true)
	}
	r.t.Fatal("nothing is ever refused")
	return 0
}

func TestShares(t *testing.T) {
	t.Parallel()
	silent := func(t *testing.T, names ...string) *site {
		r := newSite(t, func(o *lifecycle.Options) { o.MaxWorkItems = 100; o.MaxBytes = 30000 })
		var functions []plan.Function
		for _, name := range names {
			functions = append(functions, executable(name, t.TempDir(), "silent"))
		}
		r.apply(functions...)
		return r
	}
	const device = "arn:aws:iot:eu-west-1:123456789012:thing/Press"

	t.Run("one caller of one function has what is configured", func(t *testing.T) {
		t.Parallel()
		r := silent(t, "Busy", "Quiet")
		if n := r.flood(fescue.CloudEndpoint, "Busy", 0); n != 100 {
			t.Errorf("%d items were taken, want 100", n)
		}
		_, err := r.sup.ReserveEvent(arn("Busy"), fescue.CloudEndpoint, "", nil)
		if want := "the share of cloud in the queue of " + arn("Busy") + " holds 100 items"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		for _, source := range []string{device, arn("Quiet")} {
			if n := r.flood(source, "Busy", 0); n == 0 {
				t.Errorf("%s finds no room in the same queue", source)
			}
		}
		for _, source := range []string{fescue.CloudEndpoint, device, arn("Quiet")} {
			if n := r.flood(source, "Quiet", 0); n == 0 {
				t.Errorf("%s finds no room for another function", source)
			}
		}
	})

	t.Run("many callers of many functions that do no work leave room for another", func(t *testing.T) {
		t.Parallel()
		names := []string{"A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M", "N", "O", "P"}
		r := silent(t, append(names, "Quiet")...)
		for _, source := range []string{arn("A"), fescue.CloudEndpoint, device} {
			for _, name := range names {
				r.flood(source, name, 100)
			}
		}
		if n := r.flood(fescue.CloudEndpoint, "Quiet", 100); n < 8 {
			t.Errorf("there is room for %d items", n)
		}
	})

	t.Run("the same of bytes", func(t *testing.T) {
		t.Parallel()
		r := silent(t, "Busy", "Quiet")
		if n := r.flood(fescue.CloudEndpoint, "Busy", 1000); n != 10 {
			t.Errorf("%d items of 1000 bytes of 30000 were taken, want 10", n)
		}
		if n := r.flood(fescue.CloudEndpoint, "Quiet", 1000); n == 0 {
			t.Error("there is no room for another function")
		}
	})

	t.Run("work that is done gives its room back", func(t *testing.T) {
		t.Parallel()
		r := newSite(t, func(o *lifecycle.Options) { o.MaxWorkItems = 2; o.MaxBytes = 1000 })
		r.apply(executable("Upper", t.TempDir(), "upper"))
		for n := range 50 {
			r.wantResult("Upper", fmt.Sprintf("%0100d", n), fmt.Sprintf("%0100d", n))
		}
	})

	t.Run("a function with endless work gives a place to one without any", func(t *testing.T) {
		t.Parallel()
		r := newSite(t, func(o *lifecycle.Options) { o.MaxConcurrent = 2 })
		r.apply(onDemand(executable("Busy", t.TempDir(), "upper")), onDemand(executable("Quiet", t.TempDir(), "upper")))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		fed := make(chan struct{})
		go func() {
			defer close(fed)
			again := time.NewTicker(time.Millisecond)
			defer again.Stop()
			for ctx.Err() == nil {
				settle, err := r.sup.ReserveEvent(arn("Busy"), fescue.CloudEndpoint, "", []byte("x"))
				if err != nil {
					<-again.C
					continue
				}
				settle(true)
			}
		}()
		testkit.Until(r.t, "both places are taken", func() bool { return len(r.workers("Busy")) == 2 })
		r.wantResult("Quiet", "y", "Y")
		cancel()
		<-fed
	})
}
