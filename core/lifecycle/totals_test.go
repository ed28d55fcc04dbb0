package lifecycle_test

import (
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/core/invoke"
	"github.com/fescue-edge/fescue/core/lifecycle"
	"github.com/fescue-edge/fescue/testkit"
)

// TestTotals: what happens to functions is counted by their ARNs without versions, for
// as long as they are in the group.
func TestTotals(t *testing.T) {
	t.Parallel()
	r := newSite(t, func(o *lifecycle.Options) { o.StopGrace = 2 * time.Second })
	first, second := executable("First", t.TempDir(), "crash"), executable("Second", t.TempDir(), "upper")
	slow := executable("Slow", t.TempDir(), "stubborn")
	const prefix = "arn:aws:lambda:eu-west-1:123456789012:function:"
	is := func(what string, want ...lifecycle.Totals) {
		t.Helper()
		testkit.Until(t, what, func() bool { return cmp.Equal(r.sup.Totals(), want) })
	}
	r.apply(first, second)
	is("nothing happened", lifecycle.Totals{ARN: prefix + "First"}, lifecycle.Totals{ARN: prefix + "Second"})
	if got := r.invoke("First", "x"); got.Error != invoke.Unhandled {
		t.Errorf("%+v", got)
	}
	is("it ended with a call", lifecycle.Totals{ARN: prefix + "First", Ungraceful: 1, Errors: 1}, lifecycle.Totals{ARN: prefix + "Second"})
	pid, err := strconv.Atoi(r.pid("Second", invoke.Waiting))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	is("it was killed", lifecycle.Totals{ARN: prefix + "First", Ungraceful: 1, Errors: 1}, lifecycle.Totals{ARN: prefix + "Second", Ungraceful: 1})

	t.Run("another version goes on, what is gone is forgotten", func(t *testing.T) {
		first.ARN, first.Version, first.Hash = prefix+"First:2", "2", "2"
		r.apply(first, slow)
		is("it goes on", lifecycle.Totals{ARN: prefix + "First", Ungraceful: 1, Errors: 1}, lifecycle.Totals{ARN: prefix + "Slow"})
		r.apply(first, second, slow)
		is("it begins anew", lifecycle.Totals{ARN: prefix + "First", Ungraceful: 1, Errors: 1}, lifecycle.Totals{ARN: prefix + "Second"}, lifecycle.Totals{ARN: prefix + "Slow"})
	})
	t.Run("one that does not stop has to be killed", func(t *testing.T) {
		testkit.Until(t, "it ignores SIGTERM", func() bool { return len(r.sup.Tail(slow.ARN)) > 0 })
		slow.Hash = "2"
		r.apply(first, second, slow)
		is("it was killed", lifecycle.Totals{ARN: prefix + "First", Ungraceful: 1, Errors: 1}, lifecycle.Totals{ARN: prefix + "Second"}, lifecycle.Totals{ARN: prefix + "Slow", Ungraceful: 1})
	})
}

// TestTotalsOfTimeouts: a call that takes too long is one, and an error, and nothing
// else.
func TestTotalsOfTimeouts(t *testing.T) {
	t.Parallel()
	r := newSite(t)
	f := r.python("Sleeper", "import time\ndef handler(event, context):\n    time.sleep(60)\n")
	f.Timeout = 100 * time.Millisecond
	r.apply(f)
	if got := r.invoke("Sleeper", "{}"); got.Error != invoke.Unhandled {
		t.Errorf("%+v", got)
	}
	testkit.Until(t, "its process has ended", func() bool { return r.sup.Activity()[0].Restarts > 0 })
	want := []lifecycle.Totals{{ARN: "arn:aws:lambda:eu-west-1:123456789012:function:Sleeper", Timeouts: 1, Errors: 1}}
	if diff := cmp.Diff(want, r.sup.Totals()); diff != "" {
		t.Error(diff)
	}
}
