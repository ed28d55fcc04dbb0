package store_test

import (
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/identity"
)

func testSessions(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	if err := s.AccessKeys().PutAccessKey(ctx, identity.AccessKey{ID: "A", Account: "123456789012", Name: "n", Access: "admin", CreatedAt: madeAt}); err != nil {
		t.Fatal(err)
	}
	session := func(id string, begins time.Duration) identity.SessionKey {
		return identity.SessionKey{ID: id, Parent: "A", Identity: "assumed-role/r/s", Role: "r", CreatedAt: madeAt.Add(begins), ExpiresAt: madeAt.Add(begins + time.Hour)}
	}
	first := session("1", 0)
	first.Person = "anna@example.com"
	for _, k := range []identity.SessionKey{first, session("2", 12*time.Hour)} {
		if err := s.AccessKeys().AddSessionKey(ctx, k); err != nil {
			t.Fatal(err)
		}
	}
	if got := must(s.AccessKeys().SessionKey(ctx, "1"))(t); !gocmp.Equal(got, first) {
		t.Error(gocmp.Diff(first, got))
	}
	refused(t, "one whose id is there", s.AccessKeys().AddSessionKey(ctx, session("1", time.Hour)), fescue.ErrConflict)
	if got := must(s.AccessKeys().SessionKey(ctx, "1"))(t); !gocmp.Equal(got, first) {
		t.Error("it was changed: ", gocmp.Diff(first, got))
	}
	_, err := s.AccessKeys().SessionKey(ctx, "3")
	refused(t, "an unknown one", err, fescue.ErrNotFound)
	if err := s.AccessKeys().AddSessionKey(ctx, session("3", 26*time.Hour)); err != nil {
		t.Fatal(err)
	}
	_, err = s.AccessKeys().SessionKey(ctx, "1")
	refused(t, "one that ended long ago", err, fescue.ErrNotFound)
	must(s.AccessKeys().SessionKey(ctx, "2"))(t)
	late := func(id, of string) identity.SessionKey {
		k := session(id, 26*time.Hour)
		k.SignIn, k.MAC = of, "mac of "+id
		return k
	}
	keys := s.AccessKeys()
	for _, k := range []identity.SessionKey{late("a", ""), late("b", "a"), late("c", "a"), late("d", "")} {
		if err := keys.AddSessionKey(ctx, k); err != nil {
			t.Fatal(err)
		}
		if got := must(keys.SessionKey(ctx, k.ID))(t); !gocmp.Equal(got, k) {
			t.Error(gocmp.Diff(k, got))
		}
	}
	if err := keys.EndSessionKey(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	for id, mac := range map[string]string{"a": "", "b": "", "c": "", "d": "mac of d"} {
		if got := must(keys.SessionKey(ctx, id))(t); got.MAC != mac {
			t.Errorf("%s after a has ended: %+v", id, got)
		}
	}
	refused(t, "the end of one that has ended", keys.EndSessionKey(ctx, "a"), fescue.ErrNotFound)
	refused(t, "the end of an unknown one", keys.EndSessionKey(ctx, "x"), fescue.ErrNotFound)
	refused(t, "one made with what has ended", keys.AddSessionKey(ctx, late("e", "a")), fescue.ErrNotFound)
	refused(t, "an ended one's id", keys.AddSessionKey(ctx, late("a", "")), fescue.ErrConflict)
	orphan := session("4", 0)
	if orphan.Parent = "B"; s.AccessKeys().AddSessionKey(ctx, orphan) == nil {
		t.Error("a session without a parent")
	}
}
