package store_test

import (
	"errors"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/audit"
	"github.com/fescue-edge/fescue/cloud/identity"
)

func testRoles(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	const service = "" // the group id of the service role
	read := func(p fescue.Partition, group, want string) {
		t.Helper()
		role, at, err := s.GroupRoles().AssociatedRole(ctx, p, group)
		if want == "" {
			refused(t, "AssociatedRole", err, fescue.ErrNotFound)
		} else if err != nil || role != want || time.Since(at) > time.Minute || at.Location() != time.UTC {
			t.Errorf("%s: %q at %v, %v; want %q", group, role, at, err, want)
		}
	}
	read(homePartition, service, "")
	read(homePartition, "g", "")
	at := must(s.GroupRoles().AssociateRole(ctx, homePartition, "g", "role1"))(t)
	if _, got, err := s.GroupRoles().AssociatedRole(ctx, homePartition, "g"); err != nil || got.UnixMilli() != at.UnixMilli() {
		t.Errorf("associated at %v, read %v, %v", at, got, err)
	}
	must(s.GroupRoles().AssociateRole(ctx, homePartition, service, "role2"))(t)
	must(s.GroupRoles().AssociateRole(ctx, elsewhere[0], "g", "role3"))(t)
	read(homePartition, "g", "role1")
	read(homePartition, service, "role2")
	read(elsewhere[0], "g", "role3")
	read(elsewhere[0], service, "")
	read(elsewhere[1], "g", "")
	must(s.GroupRoles().AssociateRole(ctx, homePartition, "g", "role4"))(t)
	read(homePartition, "g", "role4")
	for range 2 { // also when there is none
		if at := must(s.GroupRoles().DisassociateRole(ctx, homePartition, "g"))(t); time.Since(at) > time.Minute {
			t.Errorf("disassociated at %v", at)
		}
		read(homePartition, "g", "")
	}
	read(homePartition, service, "role2")
	read(elsewhere[0], "g", "role3")
}

func testKeys(t *testing.T, open opener) {
	t.Parallel()
	key := func(id string, after time.Duration) identity.AccessKey {
		return identity.AccessKey{ID: id, Account: "123456789012", Name: "n", Sealed: []byte{0, 255, 1}, CreatedAt: madeAt.Add(after)}
	}
	t.Run("access keys", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		a, b := key("B", 0), key("A", time.Second)
		for _, k := range []identity.AccessKey{b, a} {
			if err := s.AccessKeys().PutAccessKey(ctx, k); err != nil {
				t.Fatal(err)
			}
		}
		if list := must(s.AccessKeys().AccessKeys(ctx))(t); !gocmp.Equal(list, []identity.AccessKey{a, b}) {
			t.Errorf("not oldest first: %+v", list)
		}
		if got := must(s.AccessKeys().AccessKey(ctx, "B"))(t); !gocmp.Equal(got, a) {
			t.Error(gocmp.Diff(a, got))
		}
		a.Sealed = []byte("new")
		if err := s.AccessKeys().PutAccessKey(ctx, a); err != nil {
			t.Fatal(err)
		}
		if got := must(s.AccessKeys().AccessKey(ctx, "B"))(t); string(got.Sealed) != "new" {
			t.Errorf("%+v", got)
		}
		if err := s.AccessKeys().RevokeAccessKey(ctx, "B"); err != nil {
			t.Fatal(err)
		}
		if got := must(s.AccessKeys().AccessKey(ctx, "B"))(t); time.Since(got.RevokedAt) > time.Minute {
			t.Errorf("%+v", got)
		}
		refused(t, "put a revoked key", s.AccessKeys().PutAccessKey(ctx, a), fescue.ErrConflict)
		refused(t, "revoke it again", s.AccessKeys().RevokeAccessKey(ctx, "B"), fescue.ErrNotFound)
		refused(t, "revoke an unknown one", s.AccessKeys().RevokeAccessKey(ctx, "C"), fescue.ErrNotFound)
		_, err := s.AccessKeys().AccessKey(ctx, "C")
		refused(t, "read an unknown one", err, fescue.ErrNotFound)
		_, err = s.AccessKeys().AccessKey(ctx, "a")
		refused(t, "another case", err, fescue.ErrNotFound)
		if got := must(s.AccessKeys().AccessKey(ctx, "A"))(t); !got.RevokedAt.IsZero() {
			t.Errorf("%+v", got)
		}
	})
	t.Run("adoption", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		for _, id := range []string{"A", "B", "GONE"} {
			if err := s.AccessKeys().PutAccessKey(ctx, key(id, 0)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.AccessKeys().RevokeAccessKey(ctx, "GONE"); err != nil {
			t.Fatal(err)
		}
		if got := must(s.AccessKeys().AccessKey(ctx, "GONE"))(t); len(got.Sealed) != 0 {
			t.Errorf("a revoked key's secret is kept: %+v", got)
		}
		record := func(k identity.AccessKey) audit.Record {
			return audit.Record{Partition: fescue.Partition{Account: k.Account}, At: madeAt, ID: k.ID, Operation: "Adopt"}
		}
		broken := errors.New("broken")
		if _, err := s.AccessKeys().AdoptAccessKeys(ctx, func(identity.AccessKey) ([]byte, error) { return nil, broken }, record); !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
		if must(s.AccessKeys().AccessKeysAdopted(ctx))(t) {
			t.Error("adopted though it failed")
		}
		seal := func(k identity.AccessKey) ([]byte, error) { return []byte("new " + k.ID), nil }
		adopted := must(s.AccessKeys().AdoptAccessKeys(ctx, seal, record))(t)
		if len(adopted) != 2 || !must(s.AccessKeys().AccessKeysAdopted(ctx))(t) {
			t.Errorf("%+v", adopted)
		}
		for _, id := range []string{"A", "B"} {
			if got := must(s.AccessKeys().AccessKey(ctx, id))(t); string(got.Sealed) != "new "+id {
				t.Errorf("%+v", got)
			}
		}
		if again := must(s.AccessKeys().AdoptAccessKeys(ctx, func(identity.AccessKey) ([]byte, error) { return nil, broken }, record))(t); len(again) != 0 {
			t.Errorf("again: %+v", again)
		}
	})
}
