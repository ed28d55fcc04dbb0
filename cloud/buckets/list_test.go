package buckets_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/cloud/buckets"
)

// everything pages through a list and returns objects and groups, each page of
// at most limit.
func everything(t testing.TB, s *site, bucket string, q buckets.List) (keys, groups []string) {
	t.Helper()
	for range 10_000 {
		page, err := s.List(t.Context(), here, bucket, q)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(page.Objects) + len(page.Prefixes); n > q.Limit || page.Truncated && n != q.Limit {
			t.Fatalf("a page of %d, limit %d, truncated %v", n, q.Limit, page.Truncated)
		}
		for _, o := range page.Objects {
			keys = append(keys, o.Key)
		}
		groups = append(groups, page.Prefixes...)
		if !page.Truncated {
			return keys, groups
		}
		q.Position = page.Next
	}
	t.Fatal("the list does not end")
	return nil, nil
}

// listed is what a list must be, computed in the plainest way.
func listed(all []string, q buckets.List) (keys, groups []string) {
	slices.Sort(all)
	for _, key := range all {
		rest, ok := strings.CutPrefix(key, q.Prefix)
		if !ok || key <= q.After {
			continue
		}
		if i := strings.Index(rest, q.Delimiter); q.Delimiter != "" && i >= 0 {
			group := q.Prefix + rest[:i+len(q.Delimiter)]
			if group != q.After && !slices.Contains(groups, group) {
				groups = append(groups, group)
			}
			continue
		}
		keys = append(keys, key)
	}
	return keys, groups
}

func TestList(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.bucket(t, here, "list")
	random := rand.New(rand.NewPCG(1, 2))
	alphabet := []string{"a", "b", "/", "/", "-", "ü", "\U0010FFFF", "\uD7FF", "\uE000", "%", " "}
	seen := map[string]bool{}
	for len(seen) < 60 {
		var key strings.Builder
		for range 1 + random.IntN(5) {
			key.WriteString(alphabet[random.IntN(len(alphabet))])
		}
		if !seen[key.String()] {
			seen[key.String()] = true
			s.put(t, here, "list", key.String(), "x")
		}
	}
	var all []string
	for key := range seen {
		all = append(all, key)
	}
	for i := range 200 {
		q := buckets.List{Limit: []int{1, 2, 7, 1000}[random.IntN(4)]}
		q.Delimiter = []string{"", "/", "a", "b/", "\U0010FFFF", "\uD7FF"}[random.IntN(6)]
		if random.IntN(2) == 0 {
			q.Prefix = all[random.IntN(len(all))]
			q.Prefix = q.Prefix[:min(len(q.Prefix), 1+random.IntN(2))]
		}
		if random.IntN(3) == 0 {
			q.After = all[random.IntN(len(all))]
		}
		q.Prefix = strings.ToValidUTF8(q.Prefix, "")
		keys, groups := everything(t, s, "list", q)
		wantKeys, wantGroups := listed(all, q)
		if !slices.Equal(keys, wantKeys) || !slices.Equal(groups, wantGroups) {
			t.Fatalf("%d: %+v:\n%q\n%q, want\n%q\n%q", i, q, keys, groups, wantKeys, wantGroups)
		}
	}
	t.Run("nothing is asked for", func(t *testing.T) {
		if page, err := s.List(t.Context(), here, "list", buckets.List{}); err != nil || page.Truncated || len(page.Objects) != 0 {
			t.Errorf("%+v, %v", page, err)
		}
	})
	t.Run("a page survives what changes between", func(t *testing.T) {
		s := open(t)
		s.bucket(t, here, "moving")
		for i := range 10 {
			s.put(t, here, "moving", fmt.Sprint(i), "x")
		}
		page, err := s.List(t.Context(), here, "moving", buckets.List{Limit: 4})
		if err != nil || !page.Truncated || page.Last != "3" {
			t.Fatalf("%+v, %v", page, err)
		}
		for _, key := range []string{"3", "4"} {
			if err := s.Delete(t.Context(), here, "moving", key); err != nil {
				t.Fatal(err)
			}
		}
		s.put(t, here, "moving", "35", "x")
		keys, _ := everything(t, s, "moving", buckets.List{Limit: 4, Position: page.Next})
		if !slices.Equal(keys, []string{"35", "5", "6", "7", "8", "9"}) {
			t.Errorf("%q", keys)
		}
	})
	t.Run("of nothing", func(t *testing.T) {
		_, err := s.List(t.Context(), here, "nothing", buckets.List{Limit: 1})
		refused(t, "list", err, buckets.ErrNoBucket)
	})
}
