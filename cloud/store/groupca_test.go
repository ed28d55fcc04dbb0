package store_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/groupca"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
)

var _ groupca.Store = store.GroupAuthorities{}

func newGroup(t *testing.T, s *store.DB) string {
	t.Helper()
	d := newContainer(fescue.GroupKind, "group")
	must(s.Definitions().CreateDefinition(t.Context(), homePartition, d, nil, fescue.Token{}))(t)
	return d.ID
}

// groupAuthority is an authority whose id and certificate say n, made n hours
// after madeAt.
func groupAuthority(groupID string, n int) groupca.Authority {
	return groupca.Authority{
		GroupID: groupID, ID: certID(n), PEM: fmt.Sprint("certificate ", n), Sealed: fmt.Append(nil, "sealed ", n),
		CreatedAt: madeAt.Add(time.Duration(n) * time.Hour),
	}
}

// retired is how the store shows an authority that signs no more.
func retired(a groupca.Authority, leaves time.Time) groupca.Authority {
	a.Sealed, a.LeavesUntil = []byte{}, leaves
	return a
}

func testRotation(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	group := newGroup(t, s)
	are := func(t *testing.T, at time.Time, want ...groupca.Authority) {
		t.Helper()
		if diff := cmp.Diff(want, must(s.GroupAuthorities().GroupAuthorities(ctx, homePartition, group, at))(t)); diff != "" {
			t.Error(diff)
		}
	}
	h := storetest.Core(t, s, homePartition, group, 1)
	record := func(id string, until time.Time) error {
		h := h
		h.Until = until
		return s.GroupAuthorities().RecordHolder(ctx, homePartition, group, id, h)
	}
	first, second, third := groupAuthority(group, 1), groupAuthority(group, 2), groupAuthority(group, 3)
	soon, later := madeAt.Add(150*time.Minute), madeAt.Add(24*time.Hour)

	are(t, madeAt)
	mustDo(t, s.GroupAuthorities().AddFirstGroupAuthority(ctx, homePartition, first), s.GroupAuthorities().AddFirstGroupAuthority(ctx, homePartition, second))
	are(t, later, first)
	mustDo(t, record(first.ID, soon), record(first.ID, madeAt))
	first.LeavesUntil = soon
	are(t, later, first)

	t.Run("the one before stays until its leaves end, without its key", func(t *testing.T) {
		must(s.GroupAuthorities().RotateGroupAuthority(ctx, homePartition, second, fescue.Token{}))(t)
		are(t, soon.Add(-time.Millisecond), second, retired(first, soon))
		are(t, soon, second)
	})
	t.Run("a leaf that is recorded late counts", func(t *testing.T) {
		mustDo(t, record(first.ID, soon.Add(time.Minute)))
		are(t, soon, second, retired(first, soon.Add(time.Minute)))
	})
	t.Run("what has ended is gone after the next rotation", func(t *testing.T) {
		mustDo(t, record(second.ID, later))
		must(s.GroupAuthorities().RotateGroupAuthority(ctx, homePartition, third, fescue.Token{}))(t)
		are(t, madeAt, third, retired(second, later))
		refused(t, "leaf", record(first.ID, later), fescue.ErrNotFound)
	})
	t.Run("one that signed nothing goes at once", func(t *testing.T) {
		fourth := groupAuthority(group, 4)
		must(s.GroupAuthorities().RotateGroupAuthority(ctx, homePartition, fourth, fescue.Token{}))(t)
		are(t, madeAt, fourth, retired(second, later))
	})
	t.Run("goes with the group", func(t *testing.T) {
		mustDo(t, s.GroupAuthorities().SetCertificateExpiry(ctx, homePartition, group, time.Hour))
		mustDo(t, s.Definitions().DeleteDefinition(ctx, homePartition, fescue.GroupKind, group))
		_, err := s.GroupAuthorities().GroupAuthorities(ctx, homePartition, group, madeAt)
		refused(t, "list", err, fescue.ErrNotFound)
		refused(t, "leaf", record(certID(4), later), fescue.ErrNotFound)
	})
}

// However many servers start at once on a group, there is one first authority,
// and always one that signs.
func testRotationsAtOnce(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	const callers = 8
	for _, tc := range []struct {
		name string
		do   func(group string, n int) error
	}{
		{"first", func(group string, n int) error {
			return s.GroupAuthorities().AddFirstGroupAuthority(ctx, homePartition, groupAuthority(group, n))
		}},
		{"rotations", func(group string, n int) error {
			_, err := s.GroupAuthorities().RotateGroupAuthority(ctx, homePartition, groupAuthority(group, n), fescue.Token{})
			return err
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			group := newGroup(t, s)
			var wg sync.WaitGroup
			errs := make([]error, callers)
			for n := range callers {
				wg.Go(func() { errs[n] = tc.do(group, n+1) })
			}
			wg.Wait()
			mustDo(t, errs...)
			list := must(s.GroupAuthorities().GroupAuthorities(ctx, homePartition, group, madeAt))(t)
			if len(list) != 1 || len(list[0].Sealed) == 0 {
				t.Errorf("%+v", list)
			}
		})
	}
}

func testRotationTokens(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	group := newGroup(t, s)
	token := fescue.Token{Operation: "CreateGroupCertificateAuthority", Value: "v", RequestHash: "h"}
	rotate := func(n int, token fescue.Token) (string, error) {
		return s.GroupAuthorities().RotateGroupAuthority(ctx, homePartition, groupAuthority(group, n), token)
	}
	if id := must(rotate(1, token))(t); id != certID(1) {
		t.Errorf("made %s", id)
	}
	if id := must(rotate(2, token))(t); id != certID(1) {
		t.Errorf("the same request made %s", id)
	}
	if list := must(s.GroupAuthorities().GroupAuthorities(ctx, homePartition, group, madeAt))(t); len(list) != 1 || list[0].ID != certID(1) {
		t.Errorf("%+v", list)
	}
	token.RequestHash = "other"
	_, err := rotate(3, token)
	refused(t, "another request", err, fescue.ErrTokenReused)
}

func testAuthoritiesWithoutGroup(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	group := newGroup(t, s)
	mustDo(t, s.GroupAuthorities().AddFirstGroupAuthority(ctx, homePartition, groupAuthority(group, 1)))
	core := newContainer(fescue.CoreKind, "no group")
	must(s.Definitions().CreateDefinition(ctx, homePartition, core, nil, fescue.Token{}))(t)
	type place struct {
		name  string
		p     fescue.Partition
		group string
	}
	places := []place{{"unknown", homePartition, fescue.NewID()}, {"another kind", homePartition, core.ID}}
	for _, p := range elsewhere {
		places = append(places, place{p.String(), p, group})
	}
	for _, at := range places {
		t.Run(at.name, func(t *testing.T) {
			a := groupAuthority(at.group, 2)
			_, err := s.GroupAuthorities().GroupAuthorities(ctx, at.p, at.group, madeAt)
			refused(t, "list", err, fescue.ErrNotFound)
			refused(t, "add", s.GroupAuthorities().AddFirstGroupAuthority(ctx, at.p, a), fescue.ErrNotFound)
			_, err = s.GroupAuthorities().RotateGroupAuthority(ctx, at.p, a, fescue.Token{Operation: "o", Value: "v", RequestHash: "h"})
			refused(t, "rotate", err, fescue.ErrNotFound)
			refused(t, "leaf", s.GroupAuthorities().RecordHolder(ctx, at.p, at.group, certID(1), groupca.Holder{Thing: "gate", CertificateID: certID(2), Until: madeAt}), fescue.ErrNotFound)
			_, err = s.GroupAuthorities().CertificateExpiry(ctx, at.p, at.group)
			refused(t, "expiry", err, fescue.ErrNotFound)
			refused(t, "set expiry", s.GroupAuthorities().SetCertificateExpiry(ctx, at.p, at.group, time.Hour), fescue.ErrNotFound)
		})
	}
	if list := must(s.GroupAuthorities().GroupAuthorities(ctx, homePartition, group, madeAt))(t); len(list) != 1 || !list[0].LeavesUntil.IsZero() {
		t.Errorf("%+v", list)
	}
}

func testCertificateExpiry(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	group := newGroup(t, s)
	for _, want := range []time.Duration{0, 7 * 24 * time.Hour, 30 * 24 * time.Hour} {
		if want > 0 {
			mustDo(t, s.GroupAuthorities().SetCertificateExpiry(ctx, homePartition, group, want))
		}
		if got := must(s.GroupAuthorities().CertificateExpiry(ctx, homePartition, group))(t); got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
}
