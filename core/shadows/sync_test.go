package shadows_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/shadow"
)

// meet brings a shadow in step. Where a mark says that it is, nothing may change.
func (r *site) meet(t testing.TB, id shadow.ID) error {
	t.Helper()
	before, err := r.store.Shadow(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	r.cloud.mu.Lock()
	there := r.cloud.documents[id]
	r.cloud.mu.Unlock()
	said := before.Synced.InStep(before.Document, there.Mark())
	if m := before.Synced.Meet(before.Document, there); said && !(m.Local.None() && m.Cloud.None()) {
		t.Errorf("%+v and %+v are in step by their marks, and yet there is %+v to do", before, there, m)
	}
	return r.syncer.Meet(t.Context(), id)
}

// settle meets until both sides say the same, and asserts that nothing is left to do.
func (r *site) settle(t testing.TB, id shadow.ID) {
	t.Helper()
	if err := r.meet(t, id); err != nil {
		t.Fatal(err)
	}
	here, exists := r.state(t, id)
	there, also := r.cloud.state(id)
	if exists != also || !here.Equal(there) {
		t.Fatalf("the core has %s (%v), the cloud %s (%v)", text(here), exists, text(there), also)
	}
	before, err := r.store.Shadow(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	writes := r.cloud.writes
	if err := r.syncer.Meet(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	after, err := r.store.Shadow(t.Context(), id)
	if err != nil || after.Document.Version != before.Document.Version || r.cloud.writes != writes {
		t.Fatalf("what is in step is changed once more: version %d to %d, %d more changes in the cloud, %v",
			before.Document.Version, after.Document.Version, r.cloud.writes-writes, err)
	}
}

// TestWhoWins has both sides change what they have in step, and looks at what both say
// then.
func TestWhoWins(t *testing.T) {
	t.Parallel()
	const first = `{"state":{"desired":{"a":1,"o":{"x":1,"y":1}},"reported":{"a":1,"o":{"x":1,"y":1}}}}`
	for _, tc := range []struct {
		title string
		// before is on both sides.
		before string
		// core and cloud change it; "delete" deletes.
		core, cloud []string
		// want is the state of both; empty for none.
		want string
	}{
		{"nothing", "", nil, nil, ``},
		{"the core alone has one", "", []string{`{"state":{"reported":{"a":1}}}`}, nil, `{"reported":{"a":1}}`},
		{"the cloud alone has one", "", nil, []string{`{"state":{"desired":{"a":1}}}`}, `{"desired":{"a":1}}`},
		{"an empty one", "", nil, []string{`{"state":null}`}, `{}`},
		{"they meet for the first time", "", []string{`{"state":{"desired":{"a":1,"b":1},"reported":{"a":1,"b":1}}}`},
			[]string{`{"state":{"desired":{"b":2,"c":2},"reported":{"b":2,"c":2}}}`}, `{"desired":{"a":1,"b":2,"c":2},"reported":{"a":1,"b":1,"c":2}}`},
		{"only the core changes", first, []string{`{"state":{"desired":{"a":2},"reported":{"o":{"x":null}}}}`}, nil,
			`{"desired":{"a":2,"o":{"x":1,"y":1}},"reported":{"a":1,"o":{"y":1}}}`},
		{"only the cloud changes", first, nil, []string{`{"state":{"desired":{"o":null},"reported":null}}`}, `{"desired":{"a":1}}`},
		{"different members", first, []string{`{"state":{"desired":{"o":{"x":2}}}}`}, []string{`{"state":{"desired":{"o":{"y":3}}}}`},
			`{"desired":{"a":1,"o":{"x":2,"y":3}},"reported":{"a":1,"o":{"x":1,"y":1}}}`},
		{"the same member", first, []string{`{"state":{"desired":{"a":2},"reported":{"a":2}}}`}, []string{`{"state":{"desired":{"a":3},"reported":{"a":3}}}`},
			`{"desired":{"a":3,"o":{"x":1,"y":1}},"reported":{"a":2,"o":{"x":1,"y":1}}}`},
		{"changed here, removed there", first, []string{`{"state":{"desired":{"a":2},"reported":{"a":2}}}`}, []string{`{"state":{"desired":{"a":null},"reported":{"a":null}}}`},
			`{"desired":{"o":{"x":1,"y":1}},"reported":{"a":2,"o":{"x":1,"y":1}}}`},
		{"removed here, changed there", first, []string{`{"state":{"desired":{"a":null},"reported":{"a":null}}}`}, []string{`{"state":{"desired":{"a":2},"reported":{"a":2}}}`},
			`{"desired":{"a":2,"o":{"x":1,"y":1}},"reported":{"o":{"x":1,"y":1}}}`},
		{"deleted here", first, []string{"delete"}, nil, ``},
		{"deleted there", first, nil, []string{"delete"}, ``},
		{"deleted on both sides", first, []string{"delete"}, []string{"delete"}, ``},
		{"deleted here, changed there", first, []string{"delete"}, []string{`{"state":{"desired":{"a":2}}}`},
			`{"desired":{"a":2,"o":{"x":1,"y":1}},"reported":{"a":1,"o":{"x":1,"y":1}}}`},
		{"changed here, deleted there", first, []string{`{"state":{"reported":{"a":2}}}`}, []string{"delete"},
			`{"desired":{"a":1,"o":{"x":1,"y":1}},"reported":{"a":2,"o":{"x":1,"y":1}}}`},
		{"deleted and made anew there", first, nil, []string{"delete", `{"state":{"desired":{"z":1}}}`}, `{"desired":{"z":1}}`},
		{"deleted and made anew there long after", first, nil, []string{"delete", "long", `{"state":{"desired":{"z":1}}}`},
			`{"desired":{"a":1,"o":{"x":1,"y":1},"z":1},"reported":{"a":1,"o":{"x":1,"y":1}}}`},
		{"a restored cloud", first, []string{`{"state":{"reported":{"a":5}}}`}, []string{"restore"},
			`{"desired":{"a":1,"o":{"x":1,"y":1}},"reported":{"a":5,"o":{"x":1,"y":1}}}`},
		{"restored to before it existed", first, nil, []string{"lose"},
			`{"desired":{"a":1,"o":{"x":1,"y":1}},"reported":{"a":1,"o":{"x":1,"y":1}}}`},
		{"restored to before it existed, changed here", first, []string{`{"state":{"reported":{"a":2}}}`}, []string{"lose"},
			`{"desired":{"a":1,"o":{"x":1,"y":1}},"reported":{"a":2,"o":{"x":1,"y":1}}}`},
		{"restored to before it existed, deleted here", first, []string{"delete"}, []string{"lose"}, ``},
		{"restored to after an older one's deletion", first, nil, []string{"restore", "delete"},
			`{"desired":{"a":1,"o":{"x":1,"y":1}},"reported":{"a":1,"o":{"x":1,"y":1}}}`},
		{"deleted there longer ago than is known", first, nil, []string{"delete", "long"},
			`{"desired":{"a":1,"o":{"x":1,"y":1}},"reported":{"a":1,"o":{"x":1,"y":1}}}`},
		{"deleted here and made anew long after, deleted there", `{"state":{"reported":{"a":1}}}`, []string{"delete", "long", `{"state":{"reported":{"a":2}}}`},
			[]string{"delete"}, `{"reported":{"a":2}}`},
		{"numbers by value", `{"state":{"reported":{"a":1}}}`, nil, []string{`{"state":{"reported":{"a":1.0}}}`}, `{"reported":{"a":1}}`},
		{"an empty object", first, nil, []string{`{"state":{"reported":{"o":{"x":null,"y":null},"e":{}}}}`},
			`{"desired":{"a":1,"o":{"x":1,"y":1}},"reported":{"a":1,"e":{},"o":{}}}`},
		{"deeper than devices may", first, nil, []string{`{"state":{"desired":{"a":{"b":{"c":{"d":{"e":{"f":{"g":1}}}}}}}}}`, `{"state":{"reported":null}}`},
			`{"desired":{"a":{"b":{"c":{"d":{"e":{"f":{"g":1}}}}}},"o":{"x":1,"y":1}}}`},
	} {
		t.Run(tc.title, func(t *testing.T) {
			t.Parallel()
			r := newSite(t)
			if tc.before != "" {
				// Its version is not the first, so that a restored one is older.
				r.cloud.change(t, lamp, `{"state":{}}`)
				restored := r.cloud.documents[lamp]
				r.change(t, lamp, tc.before)
				r.settle(t, lamp)
				defer func() { r.cloud.documents = nil }()
				tc.cloud = append([]string{}, tc.cloud...)
				for i, c := range tc.cloud {
					if c == "restore" {
						tc.cloud[i] = ""
						r.cloud.documents[lamp] = restored
					}
				}
			}
			for _, c := range tc.core {
				switch c {
				case "delete":
					if _, err := r.Delete(t.Context(), lamp, shadow.Request{}); err != nil {
						t.Fatal(err)
					}
				case "long":
					r.pass(72 * time.Hour)
				default:
					r.change(t, lamp, c)
				}
			}
			for _, c := range tc.cloud {
				switch c {
				case "":
				case "long":
					r.pass(72 * time.Hour)
				case "delete":
					r.cloud.remove(lamp)
				case "lose":
					r.cloud.lose(lamp)
				default:
					r.cloud.change(t, lamp, c)
				}
			}
			r.settle(t, lamp)
			got, exists := r.state(t, lamp)
			if said := text(got); exists && said != tc.want || !exists && tc.want != "" {
				t.Errorf("both say %s (%v), want %s", said, exists, tc.want)
			}
		})
	}
}

// TestAnyInterleavingConverges has devices and the cloud's users change a shadow while
// it is being brought in step, requests and answers get lost, and the core lose power
// before and after each write. At the end both sides say the same; what only one of
// them wrote is what that one wrote last.
func TestAnyInterleavingConverges(t *testing.T) {
	t.Parallel()
	runs := 150
	if testing.Short() {
		runs = 50
	}
	for seed := range runs {
		converge(t, uint64(seed), seed%2 == 1)
	}
}

// converge is one run; a wild one has deletions, restored clouds and long absences.
func converge(t *testing.T, seed uint64, wild bool) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Fatalf("with the seed %d", seed)
		}
	}()
	random := rand.New(rand.NewPCG(seed, 1))
	r := newSite(t)
	chance := func(of int) bool { return random.IntN(of) == 0 }
	calm := false
	cut := func() error {
		if !calm && chance(6) {
			return errCut
		}
		return nil
	}
	r.cloud.fault, r.store.fault = cut, cut
	last := map[string]map[string]int{"core": {}, "cloud": {}} // member to value, -1 for none
	n := 0
	update := func(side string) string {
		n++
		section, key := [2]string{"desired", "reported"}[random.IntN(2)], fmt.Sprint("own-", side, random.IntN(2))
		if chance(3) {
			key = fmt.Sprint("shared", random.IntN(2))
		}
		value := fmt.Sprint(n)
		member := section + " " + key
		if last[side][member] = n; chance(4) {
			value, last[side][member] = "null", -1
		}
		if chance(3) { // below an object that both write to
			last[side][section+" both "+key] = last[side][member]
			return fmt.Sprintf(`{"state":{%q:{%q:%s,"both":{%q:%s}}}}`, section, key, value, key, value)
		}
		return fmt.Sprintf(`{"state":{%q:{%q:%s}}}`, section, key, value)
	}
	var backup *shadow.Document
	busy := false
	change := func() {
		if calm || busy {
			return
		}
		busy = true
		defer func() { busy = false }()
		for chance(3) {
			u, err := shadow.ParseUpdate([]byte(update("core")), shadow.CoreLimits)
			if err != nil {
				t.Fatal(err)
			}
			fault := r.store.fault
			r.store.fault = func() error { return nil } // the device has its answer
			if _, err = r.Update(t.Context(), lamp, u); err != nil {
				t.Fatal(err)
			}
			if wild && chance(6) {
				_, _ = r.Delete(t.Context(), lamp, shadow.Request{})
			}
			r.store.fault = fault
		}
		for chance(3) {
			r.cloud.change(t, lamp, update("cloud"))
			switch {
			case wild && chance(6):
				r.cloud.remove(lamp)
			case wild && chance(8):
				d := r.cloud.documents[lamp]
				backup = &d
			case wild && chance(8) && backup != nil:
				r.cloud.documents[lamp] = *backup
			case wild && chance(12):
				r.cloud.lose(lamp)
			case wild && chance(20):
				r.pass(72 * time.Hour)
			}
		}
	}
	r.cloud.between = change
	for range 12 {
		change()
		switch err := r.meet(t, lamp); {
		case errors.Is(err, errCut):
			r.restart(t)
		case err != nil && !strings.Contains(err.Error(), "changes all the time"):
			t.Fatal(err)
		}
	}
	calm = true
	r.settle(t, lamp)
	if wild {
		return
	}
	got, _ := r.state(t, lamp)
	for side, members := range last {
		for member, want := range members {
			levels := strings.Fields(member)
			if !strings.HasPrefix(levels[len(levels)-1], "own-") {
				continue
			}
			var value any = map[string]any{"desired": got.Desired, "reported": got.Reported}
			for _, level := range levels {
				object, _ := value.(map[string]any)
				value = object[level]
			}
			if said := fmt.Sprint(value); said != fmt.Sprint(want) && !(want == -1 && value == nil) {
				t.Errorf("%s, which only the %s writes, is %s, want %d", member, side, said, want)
			}
		}
	}
}

// TestALostAnswerLosesNoWrite: the cloud has taken what the core sent, the answer was
// lost, and a device writes again before the next attempt.
func TestALostAnswerLosesNoWrite(t *testing.T) {
	t.Parallel()
	r := newSite(t)
	r.change(t, lamp, `{"state":{"desired":{"a":1}}}`)
	r.settle(t, lamp)
	r.change(t, lamp, `{"state":{"desired":{"a":2}}}`)
	asked := 0
	r.cloud.fault = func() error {
		if asked++; asked == 4 { // the answer to the update
			return errCut
		}
		return nil
	}
	if err := r.syncer.Meet(t.Context(), lamp); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	if state, _ := r.cloud.state(lamp); text(state) != `{"desired":{"a":2}}` {
		t.Fatalf("the cloud has %s", text(state))
	}
	r.restart(t)
	r.change(t, lamp, `{"state":{"desired":{"a":3}}}`)
	r.settle(t, lamp)
	if state, _ := r.cloud.state(lamp); text(state) != `{"desired":{"a":3}}` {
		t.Errorf("both have %s", text(state))
	}
}

// TestRefusedUpdates: what the cloud will not have is not sent again and again, but for
// a version that is not the present one.
func TestRefusedUpdates(t *testing.T) {
	t.Parallel()
	for _, refusal := range []*shadow.Error{shadow.ErrNode, shadow.ErrTooLarge} {
		r := newSite(t)
		r.change(t, lamp, `{"state":{"desired":{"a":1}}}`)
		r.settle(t, lamp)
		r.change(t, lamp, `{"state":{"desired":{"a":2}}}`)
		r.settle(t, lamp)
		r.change(t, lamp, `{"state":{"desired":{"a":3}}}`)
		r.cloud.updates, r.cloud.unwanted = 0, refusal
		var refused *corelink.StatusError
		if err := r.syncer.Meet(t.Context(), lamp); !errors.As(err, &refused) || refused.HTTPStatus != refusal.Code || r.cloud.updates != 1 {
			t.Errorf("%v: %v after %d requests", refusal, err, r.cloud.updates)
		}
		r.cloud.unwanted = nil
		r.settle(t, lamp)
	}
}

// TestRun drives the loop: changes of both sides, a line that is down, and refusals.
func TestRun(t *testing.T) {
	t.Parallel()
	named := shadow.ID{Thing: "lamp", Name: "config"}
	stranger := shadow.ID{Thing: "stranger"}
	// run has the loop run in a bubble of its own time.
	run := func(t *testing.T, f func(t *testing.T, r *site)) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := newSite(t)
			ctx, end := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() { r.syncer.Run(ctx) })
			defer running.Wait()
			defer end()
			synctest.Wait()
			f(t, r)
		})
	}
	equal := func(t *testing.T, r *site, id shadow.ID, want string) {
		t.Helper()
		synctest.Wait()
		here, _ := r.state(t, id)
		there, _ := r.cloud.state(id)
		if text(here) != want || text(there) != want {
			t.Errorf("the core has %s, the cloud %s, want %s", text(here), text(there), want)
		}
	}
	const one, two = `{"state":{"reported":{"a":1}}}`, `{"state":{"reported":{"a":2}}}`
	t.Run("a device's change goes up at once", func(t *testing.T) {
		run(t, func(t *testing.T, r *site) {
			r.change(t, lamp, one)
			equal(t, r, lamp, `{"reported":{"a":1}}`)
			r.change(t, named, one)
			equal(t, r, named, `{"reported":{"a":1}}`)
		})
	})
	t.Run("what is not to be in step stays", func(t *testing.T) {
		run(t, func(t *testing.T, r *site) {
			r.change(t, stranger, one)
			synctest.Wait()
			if _, exists := r.cloud.state(stranger); exists {
				t.Error("it is in the cloud")
			}
			r.change(t, lamp, one)
			equal(t, r, lamp, `{"reported":{"a":1}}`)
			if err := r.syncer.Set(t.Context(), []string{"core"}); err != nil {
				t.Fatal(err)
			}
			r.change(t, lamp, two)
			synctest.Wait()
			if state, _ := r.cloud.state(lamp); text(state) != `{"reported":{"a":1}}` {
				t.Errorf("the cloud has %s", text(state))
			}
		})
	})
	t.Run("the cloud's change comes down when it is heard, and goes out as a delta", func(t *testing.T) {
		run(t, func(t *testing.T, r *site) {
			r.cloud.change(t, lamp, `{"state":{"desired":{"a":1}}}`)
			r.syncer.Heard(t.Context(), "$aws/things/lamp/shadow/update/accepted", []byte(`{"version":1}`))
			equal(t, r, lamp, `{"desired":{"a":1}}`)
			var topics []string
			for _, m := range r.messages() {
				topics = append(topics, strings.TrimPrefix(m.Topic, "$aws/things/lamp/shadow/"))
			}
			if got := strings.Join(topics, " "); got != "update/delta update/documents update/accepted" {
				t.Errorf("published %s", got)
			}
			r.cloud.remove(lamp)
			r.syncer.Heard(t.Context(), "$aws/things/lamp/shadow/delete/accepted", []byte(`{"version":1}`))
			equal(t, r, lamp, `{}`)
		})
	})
	t.Run("what the core itself did is not asked for again", func(t *testing.T) {
		run(t, func(t *testing.T, r *site) {
			r.change(t, lamp, one)
			equal(t, r, lamp, `{"reported":{"a":1}}`)
			asked := 0
			r.cloud.between = func() { asked++ }
			r.syncer.Heard(t.Context(), "$aws/things/lamp/shadow/update/accepted", []byte(`{"version":1}`))
			r.syncer.Heard(t.Context(), "$aws/things/lamp/shadow/get/accepted", []byte(`{"version":9}`))
			r.syncer.Heard(t.Context(), "$aws/things/lamp/shadow/update/rejected", []byte(`{"version":9}`))
			synctest.Wait()
			if asked > 0 {
				t.Errorf("%d requests", asked/2)
			}
		})
	})
	t.Run("after months without a line both are in step within 5 seconds", func(t *testing.T) {
		run(t, func(t *testing.T, r *site) {
			r.change(t, lamp, `{"state":{"desired":{"a":1},"reported":{"a":1}}}`)
			equal(t, r, lamp, `{"desired":{"a":1},"reported":{"a":1}}`)
			r.cloud.mu.Lock()
			r.cloud.fault = func() error { return errCut }
			r.cloud.mu.Unlock()
			r.mu.Lock()
			r.reachable = func() error { return errCut }
			r.mu.Unlock()
			r.syncer.Line()
			r.change(t, lamp, `{"state":{"desired":{"a":2},"reported":{"b":2}}}`)
			r.change(t, named, one)
			r.cloud.change(t, lamp, `{"state":{"desired":{"a":3},"reported":{"c":3}}}`)
			r.cloud.change(t, shadow.ID{Thing: "core", Name: "x"}, one)
			time.Sleep(10 * time.Hour) // in the bubble's time
			r.cloud.mu.Lock()
			r.cloud.fault = func() error { return nil }
			r.cloud.mu.Unlock()
			r.mu.Lock()
			r.reachable = func() error { return nil }
			r.mu.Unlock()
			time.Sleep(5 * time.Second)
			equal(t, r, lamp, `{"desired":{"a":3},"reported":{"a":1,"b":2,"c":3}}`)
			equal(t, r, named, `{"reported":{"a":1}}`)
			equal(t, r, shadow.ID{Thing: "core", Name: "x"}, `{"reported":{"a":1}}`)
		})
	})
	for _, old := range []bool{false, true} {
		t.Run(fmt.Sprintf("only what may have changed is read when the line is back, from an old control plane: %t", old), func(t *testing.T) {
			run(t, func(t *testing.T, r *site) {
				r.cloud.mu.Lock()
				r.cloud.old = old
				r.cloud.mu.Unlock()
				r.change(t, lamp, one)
				equal(t, r, lamp, `{"reported":{"a":1}}`)
				r.change(t, named, one)
				equal(t, r, named, `{"reported":{"a":1}}`)
				reads := func() int {
					r.cloud.mu.Lock()
					defer r.cloud.mu.Unlock()
					return r.cloud.reads
				}
				before := reads()
				r.syncer.Line()
				synctest.Wait()
				// An old one has each of them read, and the core's own.
				if got := reads() - before; !old && got != 0 || old && got != 3 {
					t.Errorf("%d documents of an unchanged site were read", got)
				}
				r.cloud.change(t, named, two)
				r.cloud.change(t, shadow.ID{Thing: "core"}, one)
				before = reads()
				r.syncer.Line()
				equal(t, r, named, `{"reported":{"a":2}}`)
				equal(t, r, shadow.ID{Thing: "core"}, `{"reported":{"a":1}}`)
				if got := reads() - before; !old && got != 2 {
					t.Errorf("%d documents were read for two that had changed", got)
				}
				r.cloud.remove(named)
				r.syncer.Line()
				equal(t, r, named, `{}`)
			})
		})
	}
	t.Run("a refused one is tried again, and others are not held up", func(t *testing.T) {
		run(t, func(t *testing.T, r *site) {
			r.cloud.mu.Lock()
			r.cloud.refusal = http.StatusForbidden
			r.cloud.mu.Unlock()
			r.change(t, lamp, one)
			synctest.Wait()
			r.cloud.mu.Lock()
			r.cloud.refusal = 0
			r.cloud.mu.Unlock()
			r.change(t, shadow.ID{Thing: "core"}, one)
			equal(t, r, shadow.ID{Thing: "core"}, `{"reported":{"a":1}}`)
			time.Sleep(time.Minute)
			equal(t, r, lamp, `{"reported":{"a":1}}`)
		})
	})
	t.Run("two that are too large together stay apart", func(t *testing.T) {
		run(t, func(t *testing.T, r *site) {
			long := strings.Repeat("x", 5000)
			r.change(t, lamp, `{"state":{"reported":{"a":"`+long+`"}}}`)
			equal(t, r, lamp, `{"reported":{"a":"`+long+`"}}`)
			r.cloud.change(t, lamp, `{"state":{"reported":{"a":null,"b":"`+long+`"}}}`)
			r.change(t, lamp, `{"state":{"reported":{"a":"y`+long+`"}}}`)
			time.Sleep(time.Hour)
			r.change(t, lamp, `{"state":{"reported":{"a":"short"}}}`)
			time.Sleep(time.Hour)
			equal(t, r, lamp, `{"reported":{"a":"short","b":"`+long+`"}}`)
		})
	})
	t.Run("without notice all are looked at now and then", func(t *testing.T) {
		run(t, func(t *testing.T, r *site) {
			r.mu.Lock()
			r.notified = false
			r.mu.Unlock()
			r.syncer.Line()
			synctest.Wait()
			r.cloud.change(t, lamp, one)
			time.Sleep(2 * time.Minute)
			equal(t, r, lamp, `{"reported":{"a":1}}`)
		})
	})
}
