package store_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
)

func testSettings(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	kept := make([]string, 8)
	var wg sync.WaitGroup
	for i := range kept {
		wg.Go(func() {
			var err error
			if kept[i], err = s.Settings().Keep(ctx, "master-key", fmt.Sprint("id", i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if slices.Sort(kept); kept[0] != kept[7] || kept[0] == "" {
		t.Errorf("kept %v", kept)
	}
	if other := must(s.Settings().Keep(ctx, "other", "x"))(t); other != "x" {
		t.Errorf("kept %q", other)
	}
	for _, value := range []string{"y", "z"} {
		if err := s.Settings().Put(ctx, "other", value); err != nil {
			t.Fatal(err)
		}
		if got := must(s.Settings().Kept(ctx, "other"))(t); got != value {
			t.Errorf("kept %q, put %q", got, value)
		}
	}
	if got := must(s.Settings().Kept(ctx, "none"))(t); got != "" {
		t.Errorf("kept %q", got)
	}
}

// The partitions of one account only, the one with the oldest row first.
func testPartitions(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	in := func(account, region string) fescue.Partition {
		return fescue.Partition{AWS: "aws", Account: account, Region: region}
	}
	list := func(account string) []fescue.Partition { return must(s.Settings().Partitions(ctx, "aws", account))(t) }
	if got := list("123456789012"); len(got) != 0 {
		t.Errorf("%v", got)
	}
	for i, p := range []fescue.Partition{in("123456789012", "us-east-1"), in("123456789012", "eu-west-1"), in("210987654321", "eu-west-1"), in("123456789012", "eu-west-1")} {
		d := fescue.Definition{Kind: fescue.GroupKind, ID: fescue.NewID(), Name: "g", CreatedAt: madeAt.Add(-time.Duration(i) * time.Hour), UpdatedAt: madeAt}
		if _, err := s.Definitions().CreateDefinition(ctx, p, d, nil, fescue.Token{}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := gocmp.Diff([]fescue.Partition{in("123456789012", "eu-west-1"), in("123456789012", "us-east-1")}, list("123456789012")); diff != "" {
		t.Error(diff)
	}
	if diff := gocmp.Diff([]fescue.Partition{in("210987654321", "eu-west-1")}, list("210987654321")); diff != "" {
		t.Error(diff)
	}
}
