package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
)

// certID makes a certificate id that ends in n.
func certID(n int) string { return fmt.Sprintf("%064x", n) }

func certificate(n int, status fescue.CertificateStatus) fescue.Certificate {
	at := epoch.Add(time.Duration(n) * time.Second)
	return fescue.Certificate{
		ID: certID(n), PEM: fmt.Sprintf("pem %d\n", n), Status: status, Mode: "DEFAULT",
		CreatedAt: at, UpdatedAt: at, NotBefore: epoch.Add(-time.Hour), NotAfter: epoch.Add(time.Hour),
	}
}

func testCertificates(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	first := certificate(1, fescue.CertificateInactive)

	t.Run("a certificate comes back as it was written", func(t *testing.T) {
		mustDo(t, s.Certificates().CreateCertificate(ctx, here, first))
		read, err := s.Certificates().Certificate(ctx, here, first.ID)
		mustDo(t, err)
		if diff := cmp.Diff(first, read); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a fingerprint belongs to one partition", func(t *testing.T) {
		wantError(t, s.Certificates().CreateCertificate(ctx, here, first), fescue.ErrExists, first.ID)
		err := s.Certificates().CreateCertificate(ctx, there, first)
		wantError(t, err, fescue.ErrConflict, first.ID)
		if strings.Contains(err.Error(), here.Region) {
			t.Errorf("error %q says whose it is", err)
		}
		_, err = s.Certificates().Certificate(ctx, there, first.ID)
		wantError(t, err, fescue.ErrNotFound, first.ID)
	})
	t.Run("another partition cannot change it", func(t *testing.T) {
		wantError(t, s.Certificates().SetCertificateStatus(ctx, there, first.ID, fescue.CertificateActive, epoch), fescue.ErrNotFound, first.ID)
		wantError(t, s.Certificates().DeleteCertificate(ctx, there, first.ID, true), fescue.ErrNotFound, first.ID)
	})
	t.Run("revoked is final", func(t *testing.T) {
		later := epoch.Add(time.Minute)
		mustDo(t,
			s.Certificates().SetCertificateStatus(ctx, here, first.ID, fescue.CertificateActive, later),
			s.Certificates().SetCertificateStatus(ctx, here, first.ID, fescue.CertificateInactive, later),
			s.Certificates().SetCertificateStatus(ctx, here, first.ID, fescue.CertificateRevoked, later),
			s.Certificates().SetCertificateStatus(ctx, here, first.ID, fescue.CertificateRevoked, later))
		wantError(t, s.Certificates().SetCertificateStatus(ctx, here, first.ID, fescue.CertificateActive, later), fescue.ErrConflict, first.ID)
		read, err := s.Certificates().Certificate(ctx, here, first.ID)
		mustDo(t, err)
		if read.Status != fescue.CertificateRevoked || !read.UpdatedAt.Equal(later) {
			t.Errorf("status %s, updated at %v", read.Status, read.UpdatedAt)
		}
		wantError(t, s.Certificates().SetCertificateStatus(ctx, here, certID(9), fescue.CertificateActive, later), fescue.ErrNotFound, certID(9))
	})
	t.Run("deleting asks for what hinders it", func(t *testing.T) {
		second := certificate(2, fescue.CertificateActive)
		addThing(t, s, here, "lamp")
		addPolicy(t, s, here, "p", "{}", epoch)
		mustDo(t, s.Certificates().CreateCertificate(ctx, here, second), s.Things().AttachThing(ctx, here, "lamp", second.ID), s.Policies().AttachPolicy(ctx, here, "p", second.ID, 10))
		wantError(t, s.Certificates().DeleteCertificate(ctx, here, second.ID, true), fescue.ErrConflict, second.ID)
		policies, err := s.Policies().CertificatePolicies(ctx, here, second.ID, fescue.Page{Limit: 10})
		if err != nil || len(policies) != 1 {
			t.Errorf("a refused deletion left policies %v, %v", policies, err)
		}
		mustDo(t, s.Certificates().SetCertificateStatus(ctx, here, second.ID, fescue.CertificateInactive, epoch))
		wantError(t, s.Certificates().DeleteCertificate(ctx, here, second.ID, true), fescue.ErrInUse, second.ID)
		mustDo(t, s.Things().DetachThing(ctx, here, "lamp", second.ID))
		wantError(t, s.Certificates().DeleteCertificate(ctx, here, second.ID, false), fescue.ErrInUse, second.ID)
		mustDo(t, s.Certificates().DeleteCertificate(ctx, here, second.ID, true))
		wantError(t, s.Certificates().DeleteCertificate(ctx, here, second.ID, true), fescue.ErrNotFound, second.ID)
		mustDo(t, s.Policies().DeletePolicy(ctx, here, "p"))
	})
}

func testCertificatePages(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	same := certificate(3, fescue.CertificateActive)
	same.ID = certID(2)
	same.CreatedAt = certificate(1, "").CreatedAt // the same instant as another
	mustDo(t,
		s.Certificates().CreateCertificate(ctx, here, certificate(1, fescue.CertificateActive)),
		s.Certificates().CreateCertificate(ctx, here, same),
		s.Certificates().CreateCertificate(ctx, here, certificate(4, fescue.CertificateActive)),
		s.Certificates().CreateCertificate(ctx, there, certificate(5, fescue.CertificateActive)))
	for _, tc := range []struct {
		ascending bool
		want      []int
	}{{true, []int{1, 2, 4}}, {false, []int{4, 2, 1}}} {
		t.Run(fmt.Sprintf("ascending %v", tc.ascending), func(t *testing.T) {
			var got []string
			var after fescue.Certificate
			for {
				list, err := s.Certificates().Certificates(ctx, here, after, tc.ascending, 1)
				mustDo(t, err)
				if len(list) == 0 {
					break
				}
				after = list[0]
				got = append(got, after.ID)
			}
			var want []string
			for _, n := range tc.want {
				want = append(want, certID(n))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func testCertificateEnds(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	add := func(p fescue.Partition, n, days int, status fescue.CertificateStatus) {
		t.Helper()
		c := certificate(n, status)
		c.NotAfter = epoch.AddDate(0, 0, days)
		mustDo(t, s.Certificates().CreateCertificate(ctx, p, c))
	}
	add(here, 1, 30, fescue.CertificateActive)
	add(here, 2, 10, fescue.CertificateActive)
	add(here, 3, 10, fescue.CertificateActive) // the same instant as another
	add(here, 4, -5, fescue.CertificateActive) // it is over
	add(here, 5, 1, fescue.CertificateInactive)
	add(here, 6, 1, fescue.CertificateRevoked)
	add(there, 7, 1, fescue.CertificateActive)
	for _, thing := range []string{"lamp", "door"} {
		addThing(t, s, here, thing)
		mustDo(t, s.Things().AttachThing(ctx, here, thing, certID(2)))
	}
	for _, tc := range []struct{ days, limit int }{{365, 1}, {365, 2}, {365, 9}, {30, 9}, {10, 9}, {-9, 9}} {
		want := map[int][]string{365: {"4 ", "2 door", "3 ", "1 "}, 30: {"4 ", "2 door", "3 "}, 10: {"4 "}}[tc.days]
		var got []string
		var after fescue.Certificate
		for {
			list, err := s.Certificates().Ending(ctx, here, epoch.AddDate(0, 0, tc.days), after, tc.limit)
			mustDo(t, err)
			if len(list) == 0 {
				break
			}
			for _, c := range list {
				got = append(got, strings.TrimLeft(c.ID, "0")+" "+c.Thing)
				after = fescue.Certificate{ID: c.ID, NotAfter: c.NotAfter}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%+v: %s", tc, diff)
		}
	}
}
