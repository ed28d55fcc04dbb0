package store_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/secrets"
)

func testSecrets(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	secret := func(name string) secrets.Secret {
		return secrets.Secret{
			Name: name, Suffix: "AbC123", Description: "d", KMSKeyID: "k", Tags: map[string]string{"a": "b"},
			CreatedAt: madeAt, ChangedAt: madeAt, Stages: map[string]string{},
		}
	}
	version := func(id string, after time.Duration, stages ...string) secrets.SecretVersion {
		return secrets.SecretVersion{ID: id, Sealed: []byte{0, 255}, Binary: true, CreatedAt: madeAt.Add(after), Stages: stages}
	}
	first := version("v1", 0, fescue.StageCurrent)
	a := secret("a")
	if err := s.Secrets().CreateSecret(ctx, homePartition, a, &first); err != nil {
		t.Fatal(err)
	}
	for _, p := range append(elsewhere, homePartition) {
		if err := s.Secrets().CreateSecret(ctx, p, secret("b"), nil); err != nil {
			t.Fatal(err)
		}
	}
	refused(t, "create again", s.Secrets().CreateSecret(ctx, homePartition, a, nil), fescue.ErrExists)
	a.Stages[fescue.StageCurrent] = "v1"
	if got := must(s.Secrets().Secret(ctx, homePartition, "a"))(t); !gocmp.Equal(got, a) {
		t.Error(gocmp.Diff(a, got))
	}
	if got := must(s.Secrets().SecretVersions(ctx, homePartition, "a"))(t); !gocmp.Equal(got, []secrets.SecretVersion{first}) {
		t.Errorf("%+v", got)
	}
	_, err := s.Secrets().Secret(ctx, elsewhere[0], "a")
	refused(t, "another partition", err, fescue.ErrNotFound)
	if list := must(s.Secrets().Secrets(ctx, homePartition, fescue.Page{After: "a", Limit: 9}))(t); len(list) != 1 || list[0].Name != "b" {
		t.Errorf("%+v", list)
	}

	add := func(name string, v secrets.SecretVersion) error {
		return s.Secrets().AddSecretVersion(ctx, homePartition, name, "AbC123", v, madeAt)
	}
	for i, stages := range [][]string{{fescue.StageCurrent}, {fescue.StageCurrent, "mine"}, {"other"}} {
		if err := add("a", version(fmt.Sprint("v", i+2), time.Duration(i+1)*time.Second, stages...)); err != nil {
			t.Fatal(err)
		}
	}
	got := must(s.Secrets().Secret(ctx, homePartition, "a"))(t)
	want := map[string]string{fescue.StageCurrent: "v3", fescue.StagePrevious: "v2", "mine": "v3", "other": "v4"}
	if !gocmp.Equal(got.Stages, want) || !got.ChangedAt.After(a.ChangedAt) {
		t.Errorf("%v, changed at %v", got.Stages, got.ChangedAt)
	}
	refused(t, "a version again", add("a", version("v2", 0)), fescue.ErrExists)
	refused(t, "a version of nothing", add("c", version("v1", 0)), fescue.ErrNotFound)

	changed := got
	changed.Description, changed.DeletedAt, changed.PurgeAt, changed.ChangedAt = "new", madeAt, madeAt.Add(time.Hour), got.ChangedAt.Add(time.Second)
	if err := s.Secrets().ReplaceSecret(ctx, homePartition, got.ChangedAt, changed); err != nil {
		t.Fatal(err)
	}
	refused(t, "an old copy", s.Secrets().ReplaceSecret(ctx, homePartition, got.ChangedAt, got), fescue.ErrConflict)
	if got := must(s.Secrets().Secret(ctx, homePartition, "a"))(t); !gocmp.Equal(got, changed) {
		t.Error(gocmp.Diff(changed, got))
	}
	refused(t, "a version of what is deleted", add("a", version("v9", 0)), fescue.ErrNotFound)
	if err := s.Secrets().PurgeSecrets(ctx, homePartition, madeAt.Add(time.Hour-time.Second)); err != nil {
		t.Fatal(err)
	}
	must(s.Secrets().Secret(ctx, homePartition, "a"))(t)
	if err := s.Secrets().PurgeSecrets(ctx, homePartition, madeAt.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	_, err = s.Secrets().Secret(ctx, homePartition, "a")
	refused(t, "purged", err, fescue.ErrNotFound)
	if got := must(s.Secrets().SecretVersions(ctx, homePartition, "a"))(t); len(got) != 0 {
		t.Errorf("versions stay: %+v", got)
	}

	t.Run("versions at once", func(t *testing.T) {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				if err := add("b", version(fmt.Sprint("v", i), time.Minute, fescue.StageCurrent)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		got := must(s.Secrets().Secret(ctx, homePartition, "b"))(t)
		current, previous := got.Stages[fescue.StageCurrent], got.Stages[fescue.StagePrevious]
		if current == "" || previous == "" || current == previous {
			t.Errorf("%v", got.Stages)
		}
		// What has no label goes with the next version after its time.
		if err := s.Secrets().AddSecretVersion(ctx, homePartition, "b", "AbC123", version("last", time.Hour, fescue.StageCurrent), madeAt.Add(2*time.Minute)); err != nil {
			t.Fatal(err)
		}
		if list := must(s.Secrets().SecretVersions(ctx, homePartition, "b"))(t); len(list) != 2 {
			t.Errorf("%d versions", len(list))
		}
	})
	if err := s.Secrets().DropSecret(ctx, homePartition, "b", "AbC123"); err != nil {
		t.Fatal(err)
	}
	refused(t, "drop again", s.Secrets().DropSecret(ctx, homePartition, "b", "AbC123"), fescue.ErrNotFound)
	must(s.Secrets().Secret(ctx, elsewhere[0], "b"))(t)
}
