package store_test

import (
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
)

func testChecks(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	soon := time.Now().Add(time.Minute)
	ask := func(p fescue.Partition, thing, id string, expires time.Time) {
		t.Helper()
		if err := s.Checks().AskCheck(ctx, p, thing, id, []byte(`{"id":"`+id+`"}`), expires); err != nil {
			t.Fatal(err)
		}
	}
	waiting := func(p fescue.Partition, thing, want string) {
		t.Helper()
		id, request, err := s.Checks().WaitingCheck(ctx, p, thing)
		if want == "" {
			refused(t, "waiting for "+thing, err, fescue.ErrNotFound)
		} else if err != nil || id != want || string(request) != `{"id":"`+want+`"}` {
			t.Errorf("waiting for %s: %q %s, %v; want %q", thing, id, request, err, want)
		}
	}
	ask(homePartition, "core", "expired", time.Now().Add(-time.Minute))
	waiting(homePartition, "core", "")
	ask(homePartition, "core", "a", soon)
	ask(homePartition, "core", "b", soon.Add(time.Second))
	waiting(homePartition, "core", "a")
	waiting(homePartition, "other", "")
	for _, p := range elsewhere {
		waiting(p, "core", "")
		refused(t, "answer in another partition", s.Checks().AnswerCheck(ctx, p, "core", "a", []byte(`{}`)), fescue.ErrNotFound)
	}
	if answer := must(s.Checks().CheckAnswer(ctx, homePartition, "a"))(t); answer != nil {
		t.Errorf("answered %s", answer)
	}
	refused(t, "another core's answer", s.Checks().AnswerCheck(ctx, homePartition, "other", "a", []byte(`{}`)), fescue.ErrNotFound)
	if err := s.Checks().AnswerCheck(ctx, homePartition, "core", "a", []byte(`{"toFetch":1}`)); err != nil {
		t.Fatal(err)
	}
	refused(t, "a second answer", s.Checks().AnswerCheck(ctx, homePartition, "core", "a", []byte(`{}`)), fescue.ErrNotFound)
	if answer := must(s.Checks().CheckAnswer(ctx, homePartition, "a"))(t); string(answer) != `{"toFetch":1}` {
		t.Errorf("answered %s", answer)
	}
	waiting(homePartition, "core", "b")
	if err := s.Checks().ForgetCheck(ctx, homePartition, "b"); err != nil {
		t.Fatal(err)
	}
	waiting(homePartition, "core", "")
	for _, id := range []string{"b", "expired"} {
		_, err := s.Checks().CheckAnswer(ctx, homePartition, id)
		refused(t, id, err, fescue.ErrNotFound)
	}

	owner := func(want string) {
		t.Helper()
		if got := must(s.Cores().CoreOwner(ctx, homePartition, "owned"))(t); got != want {
			t.Errorf("owner %q, want %q", got, want)
		}
	}
	owner("")
	r := deploying(t, s, "g").offer("owned")
	owner("")
	r.step(fescue.EventClaimed)
	owner("g")
}
