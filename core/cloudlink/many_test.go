package cloudlink_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/core/cloudlink"
)

// manyRows are filters with wildcards, of which none covers another.
func manyRows(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf("site/%d/+/state/#", i))
	}
	return list
}

// TestManySubscriptions: what a group may have at most keeps nobody waiting. Where each
// filter is held against each other one, it takes hours.
func TestManySubscriptions(t *testing.T) {
	t.Parallel()
	const most = 10_000
	for name, add := range map[string]func(*cloudlink.Link, cloudlink.Handler) *cloudlink.Subscription{
		"clean": (*cloudlink.Link).Subscribe, "lasting": (*cloudlink.Link).SubscribeLasting,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := cloudlink.New(cloudlink.Options{ClientID: "Mill_Core", Logger: slog.New(slog.DiscardHandler)})
			got := 0
			sub := add(l, func(cloudlink.Message) error { got++; return nil })
			rows := manyRows(most)
			began := time.Now()
			sub.SetFilters(rows...)
			if sub.Active() {
				t.Error("it is active before anything was subscribed to")
			}
			l.Assume()
			if !sub.Active() {
				t.Error("it is not active")
			}
			sub.SetFilters(rows...) // as the next deployment does
			for i := range 1000 {   // of which the last connection alone has the last ones
				l.Come(name == "lasting", cloudlink.Message{Topic: fmt.Sprintf("site/%d/a/state/b", most-1-i%10)})
			}
			if got != 1000 {
				t.Errorf("%d messages came", got)
			}
			if took := time.Since(began); took > time.Minute {
				t.Errorf("it took %v", took)
			}
			if clean, lasting := l.Held(); clean+lasting != most {
				t.Errorf("%d and %d filters are held", clean, lasting)
			}
			sub.SetFilters("other")
			if sub.Active() {
				t.Error("it is active with a filter that is nowhere subscribed to")
			}
			if clean, _ := l.Held(); clean > 50 { // those of the first connection, until it has the new one
				t.Errorf("of clean connections that end, %d filters are held", clean-50)
			}
		})
	}
}

// BenchmarkFromCloud is what it takes to find who wants a message from the cloud, with
// few rows and with as many as there may be.
func BenchmarkFromCloud(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := cloudlink.New(cloudlink.Options{ClientID: "Mill_Core", Logger: slog.New(slog.DiscardHandler)})
			sub := l.Subscribe(ignore)
			sub.SetFilters(manyRows(n)...)
			l.Assume()
			m := cloudlink.Message{Topic: fmt.Sprintf("site/%d/a/state/b", n-1)}
			for b.Loop() {
				l.Come(false, m)
			}
		})
	}
}
