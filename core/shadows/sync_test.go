package shadows_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/shadow"
)

// meet brings shadows in step. Where a mark says that one is, nothing may change.
func (r *site) meet(t testing.TB, ids ...shadow.ID) []error {
	t.Helper()
	for _, id := range ids {
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
	}
	return r.syncer.Meet(t.Context(), ids...)
}

// settle meets until both sides say the same, and asserts that nothing is left to do.
func (r *site) settle(t testing.TB, id shadow.ID) {
	t.Helper()
	if err := r.meet(t, id)[0]; err != nil {
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
	if err := r.syncer.Meet(t.Context(), id)[0]; err != nil {
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

// TestAnyInterleavingConverges has devices and the cloud's users change shadows while
// they are being brought in step, one or many together, requests and answers get lost, and
// the core lose power before and after each write. At the end both sides say the same; what
// only one of them wrote is what that one wrote last.
func TestAnyInterleavingConverges(t *testing.T) {
	t.Parallel()
	runs := 150
	if testing.Short() {
		runs = 50
	}
	batches := 0
	for seed := range runs {
		batches += converge(t, uint64(seed))
	}
	if batches < runs {
		t.Errorf("%d requests for several shadows in %d runs", batches, runs)
	}
}

// converge is one run. Each second is a wild one: it has deletions, restored clouds and long
// absences. It returns how many requests were for several shadows.
func converge(t *testing.T, seed uint64) int {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Fatalf("with the seed %d", seed)
		}
	}()
	wild, old := seed%2 == 1, seed%10 > 7
	ids := []shadow.ID{lamp, {Thing: "core", Name: "x"}, {Thing: "lamp", Name: "config"}, {Thing: "core"}}[:1+seed/2%4]
	var mu sync.Mutex // of random: an old cloud is asked for several at the same time
	random := rand.New(rand.NewPCG(seed, 1))
	some := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return random.IntN(n)
	}
	chance := func(of int) bool { return some(of) == 0 }
	r := newSite(t)
	r.cloud.old = old
	// calm is a line that is not cut any more, safe a device that gets its answer.
	var calm, safe atomic.Bool
	cut := func() error {
		if !calm.Load() && !safe.Load() && chance(6) {
			return errCut
		}
		return nil
	}
	r.cloud.fault, r.store.fault = cut, cut
	type side struct {
		id   shadow.ID
		name string
	}
	last := make(map[side]map[string]int) // member to value, -1 for none
	n := 0
	update := func(of side) string {
		n++
		section, key := [2]string{"desired", "reported"}[some(2)], fmt.Sprint("own-", of.name, some(2))
		if chance(3) {
			key = fmt.Sprint("shared", some(2))
		}
		if last[of] == nil {
			last[of] = make(map[string]int)
		}
		value := fmt.Sprint(n)
		member := section + " " + key
		if last[of][member] = n; chance(4) {
			value, last[of][member] = "null", -1
		}
		if chance(3) { // below an object that both write to
			last[of][section+" both "+key] = last[of][member]
			return fmt.Sprintf(`{"state":{%q:{%q:%s,"both":{%q:%s}}}}`, section, key, value, key, value)
		}
		return fmt.Sprintf(`{"state":{%q:{%q:%s}}}`, section, key, value)
	}
	backup := make(map[shadow.ID]shadow.Document)
	restore := func(id shadow.ID, save bool) {
		r.cloud.mu.Lock()
		defer r.cloud.mu.Unlock()
		if d, ok := backup[id]; save {
			backup[id] = r.cloud.documents[id]
		} else if ok {
			r.cloud.documents[id] = d
		}
	}
	var changing sync.Mutex
	change := func() {
		if calm.Load() || !changing.TryLock() {
			return
		}
		defer changing.Unlock()
		for chance(3) {
			id := ids[some(len(ids))]
			u, err := shadow.ParseUpdate([]byte(update(side{id, "core"})), shadow.CoreLimits)
			if err != nil {
				t.Fatal(err)
			}
			safe.Store(true)
			if _, err = r.Update(t.Context(), id, u); err != nil {
				t.Fatal(err)
			}
			if wild && chance(6) {
				_, _ = r.Delete(t.Context(), id, shadow.Request{})
			}
			safe.Store(false)
		}
		for chance(3) {
			id := ids[some(len(ids))]
			r.cloud.change(t, id, update(side{id, "cloud"}))
			switch {
			case wild && chance(6):
				r.cloud.remove(id)
			case wild && chance(8):
				restore(id, true)
			case wild && chance(8):
				restore(id, false)
			case wild && chance(12):
				r.cloud.lose(id)
			case wild && chance(20):
				r.pass(72 * time.Hour)
			}
		}
	}
	r.cloud.between = change
	for range 12 {
		change()
		lost := false
		for _, err := range r.meet(t, ids...) {
			switch {
			case errors.Is(err, errCut) || errors.Is(err, context.Canceled):
				lost = true
			case err != nil && !strings.Contains(err.Error(), "changes all the time"):
				t.Fatal(err)
			}
		}
		if lost {
			r.restart(t)
		}
	}
	calm.Store(true)
	for _, err := range r.meet(t, ids...) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range ids {
		r.settle(t, id)
	}
	if wild {
		return r.cloud.batches
	}
	for of, members := range last {
		got, _ := r.state(t, of.id)
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
				t.Errorf("%s of %v, which only the %s writes, is %s, want %d", member, of.id, of.name, said, want)
			}
		}
	}
	return r.cloud.batches
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
	if err := r.syncer.Meet(t.Context(), lamp)[0]; !errors.Is(err, errCut) {
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
		if err := r.syncer.Meet(t.Context(), lamp)[0]; !errors.As(err, &refused) || refused.HTTPStatus != refusal.Code || r.cloud.updates != 1 {
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
	t.Run("many go together, fewer where the line is slow", func(t *testing.T) {
		run(t, func(t *testing.T, r *site) {
			var ids []shadow.ID
			for i := range 40 {
				ids = append(ids, shadow.ID{Thing: []string{"lamp", "core"}[i%2], Name: fmt.Sprint("n", i)})
			}
			// all has both sides change each, and waits until they are in step.
			all := func(n int, slow, wait time.Duration) (batches int) {
				r.cloud.mu.Lock()
				r.cloud.slow = slow
				r.cloud.fault = func() error { return errCut }
				before := r.cloud.batches
				r.cloud.mu.Unlock()
				r.syncer.Line()
				synctest.Wait()
				for _, id := range ids {
					r.change(t, id, fmt.Sprintf(`{"state":{"reported":{"n":%d}}}`, n))
					r.cloud.change(t, id, fmt.Sprintf(`{"state":{"desired":{"n":%d}}}`, n))
				}
				r.cloud.mu.Lock()
				r.cloud.fault = func() error { return nil }
				r.cloud.mu.Unlock()
				time.Sleep(wait)
				for _, id := range ids {
					equal(t, r, id, fmt.Sprintf(`{"desired":{"n":%d},"reported":{"n":%d}}`, n, n))
				}
				r.cloud.mu.Lock()
				defer r.cloud.mu.Unlock()
				return r.cloud.batches - before
			}
			// Three with each request: forty are read, and forty are written.
			if got := all(1, 0, 5*time.Second); got < 26 || got > 27 {
				t.Errorf("%d requests", got)
			}
			all(2, time.Second, 4*time.Minute)
			all(3, 3*time.Second, 10*time.Minute)
			// It does not start at once with as many as before.
			if got := all(4, 0, 5*time.Second); got < 26 || got > 36 {
				t.Errorf("%d requests when the line is fast again", got)
			}
		})
	})
	t.Run("what the cloud says of a change while it is made is no news", func(t *testing.T) {
		run(t, func(t *testing.T, r *site) {
			r.change(t, lamp, one)
			r.change(t, named, one)
			equal(t, r, named, `{"reported":{"a":1}}`)
			// The cloud tells of each change before the core has its answer.
			r.cloud.mu.Lock()
			r.cloud.between = func() {
				for _, id := range []shadow.ID{lamp, named} {
					r.cloud.mu.Lock()
					version := r.cloud.documents[id].Version
					r.cloud.mu.Unlock()
					r.syncer.Heard(context.Background(), id.Topic("update/accepted"), fmt.Appendf(nil, `{"version":%d}`, version))
				}
			}
			before := r.cloud.reads
			r.cloud.mu.Unlock()
			r.change(t, lamp, two)
			r.change(t, named, two)
			equal(t, r, lamp, `{"reported":{"a":2}}`)
			equal(t, r, named, `{"reported":{"a":2}}`)
			r.cloud.mu.Lock()
			defer r.cloud.mu.Unlock()
			if got := r.cloud.reads - before; got != 2 {
				t.Errorf("two changes had %d documents read", got)
			}
		})
	})
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
