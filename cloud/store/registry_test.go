package store_test

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/registry"
	"github.com/fescue-edge/fescue/cloud/store"
)

var (
	here  = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}
	there = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "eu-west-1"}
	epoch = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
)

func mustDo(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func wantError(t *testing.T, err, want error, mention string) {
	t.Helper()
	if !errors.Is(err, want) || want != nil && !strings.Contains(err.Error(), mention) {
		t.Errorf("error %v, want one that wraps %v and names %q", err, want, mention)
	}
}

func testPrincipal(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	c := certificate(1, fescue.CertificateActive)
	mustDo(t, s.Certificates().CreateCertificate(ctx, there, c))

	t.Run("a certificate alone", func(t *testing.T) {
		got, err := s.Certificates().Principal(ctx, "aws", c.ID)
		mustDo(t, err)
		if diff := cmp.Diff(fescue.Principal{Partition: there, Certificate: c}, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("with its things and acting documents, and no others", func(t *testing.T) {
		other := certificate(2, fescue.CertificateActive)
		mustDo(t, s.Certificates().CreateCertificate(ctx, there, other))
		for _, name := range []string{"b", "a", "z"} {
			addThing(t, s, there, name)
			addPolicy(t, s, there, name, "document 1 of "+name, epoch)
		}
		_, _, err := s.Policies().AddPolicyVersion(ctx, there, "a", "document 2 of a", true, 5, epoch)
		mustDo(t, err)
		_, _, err = s.Policies().AddPolicyVersion(ctx, there, "b", "document 2 of b", false, 5, epoch)
		mustDo(t, err)
		for _, name := range []string{"b", "a"} {
			mustDo(t, s.Things().AttachThing(ctx, there, name, c.ID), s.Policies().AttachPolicy(ctx, there, name, c.ID, 10))
		}
		mustDo(t, s.Things().AttachThing(ctx, there, "z", other.ID), s.Policies().AttachPolicy(ctx, there, "z", other.ID, 10))
		got, err := s.Certificates().Principal(ctx, "aws", c.ID)
		mustDo(t, err)
		want := fescue.Principal{Partition: there, Certificate: c, Things: []string{"a", "b"}, Policies: []string{"document 1 of b", "document 2 of a"}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("several at once, each as alone", func(t *testing.T) {
		// Another account has policies of the same names.
		mustDo(t, s.Certificates().CreateCertificate(ctx, here, certificate(3, fescue.CertificateInactive)))
		addPolicy(t, s, here, "a", "document of another's a", epoch)
		mustDo(t, s.Policies().AttachPolicy(ctx, here, "a", certID(3), 10))
		want := make(map[string]fescue.Principal)
		for i := 1; i <= 3; i++ {
			want[certID(i)] = must(s.Certificates().Principal(ctx, "aws", certID(i)))(t)
		}
		got, err := s.Certificates().Principals(ctx, "aws", []string{certID(3), certID(9), certID(1), certID(2)})
		mustDo(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		got, err = s.Certificates().Principals(ctx, "aws", nil)
		if mustDo(t, err); len(got) > 0 {
			t.Errorf("of none: %v", got)
		}
	})
	t.Run("unknown", func(t *testing.T) {
		_, err := s.Certificates().Principal(ctx, "aws", certID(9))
		wantError(t, err, fescue.ErrNotFound, certID(9))
	})
}

// Many at once: what must hold is held by the database, not by the callers.
func testRegistryLimits(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	const callers = 20
	mustDo(t, s.Certificates().CreateCertificate(ctx, here, certificate(1, fescue.CertificateActive)))
	addPolicy(t, s, here, "versioned", "{}", epoch)
	for i := range callers {
		addPolicy(t, s, here, fmt.Sprint("p", i), "{}", epoch)
	}
	addThing(t, s, here, "lamp")
	for _, tc := range []struct {
		name string
		do   func(n int) error
		want int // how many succeed
	}{
		{"policies of a certificate", func(n int) error { return s.Policies().AttachPolicy(ctx, here, fmt.Sprint("p", n), certID(1), 10) }, 10},
		{"versions of a policy", func(n int) error {
			_, _, err := s.Policies().AddPolicyVersion(ctx, here, "versioned", "{}", n%2 == 0, 5, epoch)
			return err
		}, 4},
		{"one change of a thing's version", func(int) error {
			_, err := s.Things().ReplaceThing(ctx, here, fescue.Thing{Name: "lamp", Version: 2})
			return err
		}, 1},
		{"one owner of a certificate", func(n int) error {
			p := here
			p.Account = fmt.Sprintf("%012d", n)
			return s.Certificates().CreateCertificate(ctx, p, certificate(7, fescue.CertificateActive))
		}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var wg sync.WaitGroup
			errs := make([]error, callers)
			for n := range callers {
				wg.Go(func() { errs[n] = tc.do(n) })
			}
			wg.Wait()
			succeeded := 0
			for _, err := range errs {
				if err == nil {
					succeeded++
				} else if !errors.Is(err, fescue.ErrConflict) {
					t.Error(err)
				}
			}
			if succeeded != tc.want {
				t.Errorf("%d of %d succeeded, want %d", succeeded, callers, tc.want)
			}
		})
	}
	t.Run("the acting version is always one that is there", func(t *testing.T) {
		versions, err := s.Policies().PolicyVersions(ctx, here, "versioned")
		mustDo(t, err)
		acting := slices.DeleteFunc(slices.Clone(versions), func(v registry.PolicyVersion) bool { return !v.Default })
		if len(versions) != 5 || len(acting) != 1 {
			t.Errorf("%d versions, of which %d act", len(versions), len(acting))
		}
	})
}

func BenchmarkPrincipal(b *testing.B) {
	s, err := store.OpenSQLite(b.Context(), filepath.Join(b.TempDir(), "fescue.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	ctx := b.Context()
	for i := range 500 {
		name := fmt.Sprint("t", i)
		_, err := s.Things().CreateThing(ctx, here, fescue.Thing{Name: name, ID: fescue.NewID(), Version: 1}, epoch)
		if err := errors.Join(err,
			s.Certificates().CreateCertificate(ctx, here, certificate(i, fescue.CertificateActive)),
			s.Policies().CreatePolicy(ctx, here, registry.Policy{Name: name, Document: strings.Repeat("x", 1000)}),
			s.Things().AttachThing(ctx, here, name, certID(i)), s.Policies().AttachPolicy(ctx, here, name, certID(i), 10)); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := s.Certificates().Principal(ctx, "aws", certID(42)); err != nil {
			b.Fatal(err)
		}
	}
}
