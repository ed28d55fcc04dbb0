package cores_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
)

func TestPresence(t *testing.T) {
	t.Parallel()
	// Each step is what a core does, in order.
	type step func(p *cores.Presence)
	const thing = "Mill_Core"
	var (
		speaks     step = func(p *cores.Presence) { p.Saw(here, thing) }
		connects   step = func(p *cores.Presence) { p.Connected(here, thing, "10.0.0.7") }
		breaks     step = func(p *cores.Presence) { p.Gone(here, thing) }
		isAnswered step = func(p *cores.Presence) { p.Done(here, thing) }
		namesake   step = func(p *cores.Presence) { p.Connected(there, thing, "10.0.0.8"); p.Gone(there, thing) }
		other      step = func(p *cores.Presence) { p.Connected(here, "Mill_Core2", "10.0.0.9"); p.Gone(here, "Mill_Core2") }
	)
	for name, tc := range map[string]struct {
		steps  []step
		online bool
	}{
		"never seen":                               {nil, false},
		"a device that never spoke as a core":      {[]step{connects}, false},
		"asked once":                               {[]step{speaks}, true},
		"connected":                                {[]step{speaks, connects}, true},
		"its only connection ended":                {[]step{speaks, connects, breaks}, false},
		"a second client of its certificate ended": {[]step{speaks, connects, connects, breaks}, true},
		"both ended":                               {[]step{speaks, connects, connects, breaks, breaks}, false},
		"a poll broke beside its connection":       {[]step{connects, speaks, connects, breaks}, true},
		"a poll was answered":                      {[]step{speaks, connects, isAnswered}, true},
		"a poll was answered after the connection": {[]step{speaks, connects, connects, breaks, isAnswered}, true},
		"it came back":                             {[]step{speaks, connects, breaks, connects}, true},
		"more ends than connections":               {[]step{speaks, connects, breaks, breaks, connects}, true},
		"a thing of that name in another Region":   {[]step{speaks, connects, namesake}, true},
		"another thing ended":                      {[]step{speaks, connects, other}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := storetest.Open(t)
			clock := now
			p := cores.NewPresence(store.Cores(), func() time.Time { clock = clock.Add(time.Second); return clock }, slog.New(slog.DiscardHandler))
			for _, do := range tc.steps {
				do(p)
				write(t, p)
			}
			s, err := p.LastSeen(t.Context(), here, thing)
			if err != nil || s.Online(clock) != tc.online {
				t.Errorf("%+v, %v; online is to be %v", s, err, tc.online)
			}
		})
	}

	t.Run("since when, and from where, before it is written and after", func(t *testing.T) {
		t.Parallel()
		clock := now
		p := cores.NewPresence(storetest.Open(t).Cores(), func() time.Time { return clock }, slog.New(slog.DiscardHandler))
		p.Saw(here, thing)
		p.Connected(here, thing, "10.0.0.7")
		for _, when := range []string{"before", "after"} {
			if s, err := p.LastSeen(t.Context(), here, thing); err != nil || when == "after" && (!s.ConnectedAt.Equal(now) || s.Address != "10.0.0.7") {
				t.Errorf("%s: %+v, %v", when, s, err)
			}
			write(t, p)
		}
		clock = now.Add(time.Hour)
		p.Connected(here, thing, "10.0.0.9")
		write(t, p)
		if s, err := p.LastSeen(t.Context(), here, thing); err != nil || s.Address != "10.0.0.9" || !s.Online(clock) {
			t.Errorf("a second connection: %+v, %v", s, err)
		}
	})
	t.Run("a connection is a sign of life for as long as it lasts", func(t *testing.T) {
		t.Parallel()
		clock := now
		p := cores.NewPresence(storetest.Open(t).Cores(), func() time.Time { return clock }, slog.New(slog.DiscardHandler))
		p.Saw(here, thing)
		p.Connected(here, thing, "10.0.0.7")
		write(t, p)
		clock = now.Add(2 * cores.OnlineWindow)
		if s, err := p.LastSeen(t.Context(), here, thing); err != nil || !s.Online(clock) {
			t.Errorf("%+v, %v", s, err)
		}
	})
}

// write has a Presence write down what was reported to it.
func write(t *testing.T, p *cores.Presence) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p.Run(ctx)
}
