package store_test

import (
	"context"
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

var _ registry.Store = (*store.Store)(nil)

var (
	here  = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}
	there = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "eu-west-1"}
	epoch = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
)

func openRegistry(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "fescue.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// certID makes a certificate id that ends in n.
func certID(n int) string { return fmt.Sprintf("%064x", n) }

func certificate(n int, status fescue.CertificateStatus) fescue.Certificate {
	at := epoch.Add(time.Duration(n) * time.Second)
	return fescue.Certificate{
		ID: certID(n), PEM: fmt.Sprintf("pem %d\n", n), Status: status, Mode: "DEFAULT",
		CreatedAt: at, UpdatedAt: at, NotBefore: epoch.Add(-time.Hour), NotAfter: epoch.Add(time.Hour),
	}
}

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

func addThing(t *testing.T, s *store.Store, p fescue.Partition, name string) {
	t.Helper()
	_, err := s.CreateThing(t.Context(), p, fescue.Thing{Name: name, ID: fescue.NewID(), Version: 1}, epoch)
	mustDo(t, err)
}

func addPolicy(t *testing.T, s *store.Store, p fescue.Partition, name, document string, at time.Time) {
	t.Helper()
	mustDo(t, s.CreatePolicy(t.Context(), p, fescue.Policy{Name: name, DefaultVersionID: "1", Document: document, CreatedAt: at, UpdatedAt: at}))
}

func TestThings(t *testing.T) {
	t.Parallel()
	s, ctx := openRegistry(t), t.Context()
	lamp := fescue.Thing{Name: "lamp", ID: fescue.NewID(), Type: "light", Attributes: map[string]string{"colour": "red", "empty": ""}, Version: 1}

	t.Run("a thing comes back as it was written", func(t *testing.T) {
		made, err := s.CreateThing(ctx, here, lamp, epoch)
		mustDo(t, err)
		read, err := s.Thing(ctx, here, "lamp")
		mustDo(t, err)
		if diff := cmp.Diff(lamp, made) + cmp.Diff(lamp, read); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a taken name returns what has it", func(t *testing.T) {
		found, err := s.CreateThing(ctx, here, fescue.Thing{Name: "lamp", ID: fescue.NewID(), Version: 1}, epoch)
		wantError(t, err, fescue.ErrExists, "thing lamp")
		if diff := cmp.Diff(lamp, found); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("another partition does not have it", func(t *testing.T) {
		_, err := s.Thing(ctx, there, "lamp")
		wantError(t, err, fescue.ErrNotFound, "thing lamp")
		wantError(t, s.DeleteThing(ctx, there, "lamp", 0), fescue.ErrNotFound, "thing lamp")
		list, err := s.Things(ctx, there, "", fescue.Page{Limit: 10})
		if err != nil || len(list) != 0 {
			t.Errorf("got %v, %v, want no things", list, err)
		}
	})
	t.Run("a change is made to the version it was worked out from", func(t *testing.T) {
		next := lamp
		next.Version, next.Attributes = 2, map[string]string{"colour": "blue"}
		_, err := s.ReplaceThing(ctx, here, next)
		mustDo(t, err)
		_, err = s.ReplaceThing(ctx, here, next)
		wantError(t, err, fescue.ErrConflict, "thing lamp")
		_, err = s.ReplaceThing(ctx, here, fescue.Thing{Name: "none", Version: 2})
		wantError(t, err, fescue.ErrNotFound, "thing none")
		read, err := s.Thing(ctx, here, "lamp")
		mustDo(t, err)
		if diff := cmp.Diff(next, read); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("lists page by name and filter by type", func(t *testing.T) {
		addThing(t, s, here, "a")
		addThing(t, s, here, "z")
		for _, tc := range []struct {
			thingType string
			page      fescue.Page
			want      []string
		}{
			{"", fescue.Page{Limit: 10}, []string{"a", "lamp", "z"}},
			{"", fescue.Page{Limit: 2}, []string{"a", "lamp"}},
			{"", fescue.Page{After: "b", Limit: 2}, []string{"lamp", "z"}},
			{"light", fescue.Page{Limit: 10}, []string{"lamp"}},
			{"none", fescue.Page{Limit: 10}, nil},
		} {
			list, err := s.Things(ctx, here, tc.thingType, tc.page)
			mustDo(t, err)
			var names []string
			for _, thing := range list {
				names = append(names, thing.Name)
			}
			if !slices.Equal(names, tc.want) {
				t.Errorf("type %q, page %v: got %v, want %v", tc.thingType, tc.page, names, tc.want)
			}
		}
	})
	t.Run("deleting asks for the version and for detached certificates", func(t *testing.T) {
		mustDo(t, s.CreateCertificate(ctx, here, certificate(1, fescue.CertificateActive)), s.AttachThing(ctx, here, "lamp", certID(1)))
		wantError(t, s.DeleteThing(ctx, here, "lamp", 0), fescue.ErrInUse, "thing lamp")
		mustDo(t, s.DetachThing(ctx, here, "lamp", certID(1)))
		wantError(t, s.DeleteThing(ctx, here, "lamp", 1), fescue.ErrConflict, "thing lamp")
		mustDo(t, s.DeleteThing(ctx, here, "lamp", 2))
		wantError(t, s.DeleteThing(ctx, here, "lamp", 0), fescue.ErrNotFound, "thing lamp")
	})
}

func TestThingAttachments(t *testing.T) {
	t.Parallel()
	s, ctx := openRegistry(t), t.Context()
	for _, name := range []string{"a", "b", "c"} {
		addThing(t, s, here, name)
	}
	addThing(t, s, there, "a")
	mustDo(t, s.CreateCertificate(ctx, here, certificate(1, fescue.CertificateInactive)), s.CreateCertificate(ctx, there, certificate(2, fescue.CertificateActive)))

	t.Run("what is unknown is named", func(t *testing.T) {
		for _, do := range []func(context.Context, fescue.Partition, string, string) error{s.AttachThing, s.DetachThing} {
			wantError(t, do(ctx, here, "none", certID(1)), fescue.ErrNotFound, "thing none")
			wantError(t, do(ctx, here, "a", certID(9)), fescue.ErrNotFound, "certificate "+certID(9))
			wantError(t, do(ctx, here, "a", certID(2)), fescue.ErrNotFound, "certificate "+certID(2))
		}
	})
	t.Run("both ends list it, once", func(t *testing.T) {
		mustDo(t, s.AttachThing(ctx, here, "b", certID(1)), s.AttachThing(ctx, here, "b", certID(1)), s.AttachThing(ctx, here, "a", certID(1)))
		things, err := s.CertificateThings(ctx, here, certID(1), fescue.Page{Limit: 10})
		mustDo(t, err)
		if !slices.Equal(things, []string{"a", "b"}) {
			t.Errorf("things %v", things)
		}
		things, err = s.CertificateThings(ctx, here, certID(1), fescue.Page{After: "a", Limit: 1})
		mustDo(t, err)
		if !slices.Equal(things, []string{"b"}) {
			t.Errorf("things after a: %v", things)
		}
		ids, err := s.ThingCertificates(ctx, here, "b", fescue.Page{Limit: 10})
		mustDo(t, err)
		if !slices.Equal(ids, []string{certID(1)}) {
			t.Errorf("certificates %v", ids)
		}
		ids, err = s.ReplaceThing(ctx, here, fescue.Thing{Name: "b", Version: 2})
		if err != nil || !slices.Equal(ids, []string{certID(1)}) {
			t.Errorf("certificates of the changed thing: %v, %v", ids, err)
		}
	})
	t.Run("detaching again changes nothing", func(t *testing.T) {
		mustDo(t, s.DetachThing(ctx, here, "b", certID(1)), s.DetachThing(ctx, here, "b", certID(1)))
		ids, err := s.ThingCertificates(ctx, here, "b", fescue.Page{Limit: 10})
		if err != nil || len(ids) != 0 {
			t.Errorf("certificates %v, %v, want none", ids, err)
		}
	})
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	s, ctx := openRegistry(t), t.Context()
	first := certificate(1, fescue.CertificateInactive)

	t.Run("a certificate comes back as it was written", func(t *testing.T) {
		mustDo(t, s.CreateCertificate(ctx, here, first))
		read, err := s.Certificate(ctx, here, first.ID)
		mustDo(t, err)
		if diff := cmp.Diff(first, read); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a fingerprint belongs to one partition", func(t *testing.T) {
		wantError(t, s.CreateCertificate(ctx, here, first), fescue.ErrExists, first.ID)
		err := s.CreateCertificate(ctx, there, first)
		wantError(t, err, fescue.ErrConflict, first.ID)
		if strings.Contains(err.Error(), here.Region) {
			t.Errorf("error %q says whose it is", err)
		}
		_, err = s.Certificate(ctx, there, first.ID)
		wantError(t, err, fescue.ErrNotFound, first.ID)
	})
	t.Run("another partition cannot change it", func(t *testing.T) {
		wantError(t, s.SetCertificateStatus(ctx, there, first.ID, fescue.CertificateActive, epoch), fescue.ErrNotFound, first.ID)
		wantError(t, s.DeleteCertificate(ctx, there, first.ID, true), fescue.ErrNotFound, first.ID)
	})
	t.Run("revoked is final", func(t *testing.T) {
		later := epoch.Add(time.Minute)
		mustDo(t,
			s.SetCertificateStatus(ctx, here, first.ID, fescue.CertificateActive, later),
			s.SetCertificateStatus(ctx, here, first.ID, fescue.CertificateInactive, later),
			s.SetCertificateStatus(ctx, here, first.ID, fescue.CertificateRevoked, later),
			s.SetCertificateStatus(ctx, here, first.ID, fescue.CertificateRevoked, later))
		wantError(t, s.SetCertificateStatus(ctx, here, first.ID, fescue.CertificateActive, later), fescue.ErrConflict, first.ID)
		read, err := s.Certificate(ctx, here, first.ID)
		mustDo(t, err)
		if read.Status != fescue.CertificateRevoked || !read.UpdatedAt.Equal(later) {
			t.Errorf("status %s, updated at %v", read.Status, read.UpdatedAt)
		}
		wantError(t, s.SetCertificateStatus(ctx, here, certID(9), fescue.CertificateActive, later), fescue.ErrNotFound, certID(9))
	})
	t.Run("deleting asks for what hinders it", func(t *testing.T) {
		second := certificate(2, fescue.CertificateActive)
		addThing(t, s, here, "lamp")
		addPolicy(t, s, here, "p", "{}", epoch)
		mustDo(t, s.CreateCertificate(ctx, here, second), s.AttachThing(ctx, here, "lamp", second.ID), s.AttachPolicy(ctx, here, "p", second.ID, 10))
		wantError(t, s.DeleteCertificate(ctx, here, second.ID, true), fescue.ErrConflict, second.ID)
		policies, err := s.CertificatePolicies(ctx, here, second.ID, fescue.Page{Limit: 10})
		if err != nil || len(policies) != 1 {
			t.Errorf("a refused deletion left policies %v, %v", policies, err)
		}
		mustDo(t, s.SetCertificateStatus(ctx, here, second.ID, fescue.CertificateInactive, epoch))
		wantError(t, s.DeleteCertificate(ctx, here, second.ID, true), fescue.ErrInUse, second.ID)
		mustDo(t, s.DetachThing(ctx, here, "lamp", second.ID))
		wantError(t, s.DeleteCertificate(ctx, here, second.ID, false), fescue.ErrInUse, second.ID)
		mustDo(t, s.DeleteCertificate(ctx, here, second.ID, true))
		wantError(t, s.DeleteCertificate(ctx, here, second.ID, true), fescue.ErrNotFound, second.ID)
		mustDo(t, s.DeletePolicy(ctx, here, "p"))
	})
}

func TestCertificatesPageByCreation(t *testing.T) {
	t.Parallel()
	s, ctx := openRegistry(t), t.Context()
	same := certificate(3, fescue.CertificateActive)
	same.ID = certID(2)
	same.CreatedAt = certificate(1, "").CreatedAt // the same instant as another
	mustDo(t,
		s.CreateCertificate(ctx, here, certificate(1, fescue.CertificateActive)),
		s.CreateCertificate(ctx, here, same),
		s.CreateCertificate(ctx, here, certificate(4, fescue.CertificateActive)),
		s.CreateCertificate(ctx, there, certificate(5, fescue.CertificateActive)))
	for _, tc := range []struct {
		ascending bool
		want      []int
	}{{true, []int{1, 2, 4}}, {false, []int{4, 2, 1}}} {
		t.Run(fmt.Sprintf("ascending %v", tc.ascending), func(t *testing.T) {
			var got []string
			var after fescue.Certificate
			for {
				list, err := s.Certificates(ctx, here, after, tc.ascending, 1)
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

func TestPolicies(t *testing.T) {
	t.Parallel()
	s, ctx := openRegistry(t), t.Context()
	addPolicy(t, s, here, "p", " {\n\"é\":1}", epoch)

	t.Run("a document comes back exactly", func(t *testing.T) {
		got, err := s.Policy(ctx, here, "p")
		mustDo(t, err)
		want := fescue.Policy{Name: "p", DefaultVersionID: "1", Document: " {\n\"é\":1}", CreatedAt: epoch, UpdatedAt: epoch}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("names are taken within a partition", func(t *testing.T) {
		wantError(t, s.CreatePolicy(ctx, here, fescue.Policy{Name: "p"}), fescue.ErrExists, "policy p")
		_, err := s.Policy(ctx, there, "p")
		wantError(t, err, fescue.ErrNotFound, "policy p")
		addPolicy(t, s, there, "p", "{}", epoch)
	})
	t.Run("version numbers are never given twice", func(t *testing.T) {
		v, _, err := s.AddPolicyVersion(ctx, here, "p", "2", false, 5, epoch)
		mustDo(t, err, s.DeletePolicyVersion(ctx, here, "p", 2))
		again, _, err := s.AddPolicyVersion(ctx, here, "p", "3", true, 5, epoch)
		mustDo(t, err)
		if v.ID != "2" || v.Default || again.ID != "3" || !again.Default {
			t.Errorf("versions %v, then %v", v, again)
		}
		got, err := s.Policy(ctx, here, "p")
		if err != nil || got.DefaultVersionID != "3" || got.Document != "3" {
			t.Errorf("policy %v, %v", got, err)
		}
	})
	t.Run("versions list newest first with the one that acts", func(t *testing.T) {
		list, err := s.PolicyVersions(ctx, here, "p")
		mustDo(t, err)
		want := []fescue.PolicyVersion{
			{ID: "3", Document: "3", CreatedAt: epoch, Default: true},
			{ID: "1", Document: " {\n\"é\":1}", CreatedAt: epoch},
		}
		if diff := cmp.Diff(want, list); diff != "" {
			t.Error(diff)
		}
		one, err := s.PolicyVersion(ctx, here, "p", 1)
		if err != nil || cmp.Diff(want[1], one) != "" {
			t.Errorf("version 1: %v, %v", one, err)
		}
	})
	t.Run("what is unknown is named", func(t *testing.T) {
		_, err := s.PolicyVersions(ctx, here, "none")
		wantError(t, err, fescue.ErrNotFound, "policy none")
		_, err = s.PolicyVersion(ctx, here, "p", 2)
		wantError(t, err, fescue.ErrNotFound, "version 2 of policy p")
		_, err = s.SetDefaultPolicyVersion(ctx, here, "p", 2, epoch)
		wantError(t, err, fescue.ErrNotFound, "version 2 of policy p")
		_, err = s.SetDefaultPolicyVersion(ctx, here, "none", 1, epoch)
		wantError(t, err, fescue.ErrNotFound, "policy none")
		_, _, err = s.AddPolicyVersion(ctx, here, "none", "x", false, 5, epoch)
		wantError(t, err, fescue.ErrNotFound, "policy none")
		wantError(t, s.DeletePolicyVersion(ctx, here, "p", 2), fescue.ErrNotFound, "version 2 of policy p")
		wantError(t, s.DeletePolicy(ctx, here, "none"), fescue.ErrNotFound, "policy none")
	})
	t.Run("the acting version and policies with versions stay", func(t *testing.T) {
		wantError(t, s.DeletePolicyVersion(ctx, here, "p", 3), fescue.ErrConflict, "policy p")
		wantError(t, s.DeletePolicy(ctx, here, "p"), fescue.ErrInUse, "policy p")
		_, err := s.SetDefaultPolicyVersion(ctx, here, "p", 1, epoch.Add(time.Hour))
		mustDo(t, err, s.DeletePolicyVersion(ctx, here, "p", 3), s.DeletePolicy(ctx, here, "p"))
		_, err = s.Policy(ctx, there, "p")
		mustDo(t, err)
	})
	t.Run("lists page by creation", func(t *testing.T) {
		addPolicy(t, s, here, "b", "{}", epoch)
		addPolicy(t, s, here, "a", "{}", epoch.Add(time.Second))
		addPolicy(t, s, here, "c", "{}", epoch)
		list, err := s.Policies(ctx, here, fescue.Policy{}, true, 10)
		mustDo(t, err)
		rest, err := s.Policies(ctx, here, list[0], true, 10)
		mustDo(t, err)
		down, err := s.Policies(ctx, here, fescue.Policy{}, false, 2)
		mustDo(t, err)
		var names []string
		for _, p := range slices.Concat(list, rest, down) {
			names = append(names, p.Name)
		}
		if got := strings.Join(names, " "); got != "b c a c a a c" {
			t.Errorf("got %s", got)
		}
	})
}

func TestPolicyAttachments(t *testing.T) {
	t.Parallel()
	s, ctx := openRegistry(t), t.Context()
	addPolicy(t, s, here, "p", "{}", epoch)
	addPolicy(t, s, here, "q", "{}", epoch)
	addPolicy(t, s, there, "far", "{}", epoch)
	mustDo(t, s.CreateCertificate(ctx, here, certificate(1, fescue.CertificateActive)), s.CreateCertificate(ctx, there, certificate(2, fescue.CertificateActive)))
	attach := func(ctx context.Context, p fescue.Partition, name, id string) error {
		return s.AttachPolicy(ctx, p, name, id, 2)
	}

	t.Run("what is unknown is named", func(t *testing.T) {
		for _, do := range []func(context.Context, fescue.Partition, string, string) error{attach, s.DetachPolicy} {
			wantError(t, do(ctx, here, "none", certID(1)), fescue.ErrNotFound, "policy none")
			wantError(t, do(ctx, here, "far", certID(1)), fescue.ErrNotFound, "policy far")
			wantError(t, do(ctx, here, "p", certID(2)), fescue.ErrNotFound, "certificate "+certID(2))
		}
	})
	t.Run("the limit counts each policy once", func(t *testing.T) {
		addPolicy(t, s, here, "r", "{}", epoch)
		mustDo(t, attach(ctx, here, "q", certID(1)), attach(ctx, here, "p", certID(1)), attach(ctx, here, "p", certID(1)))
		wantError(t, attach(ctx, here, "r", certID(1)), fescue.ErrConflict, certID(1))
		names, err := s.CertificatePolicies(ctx, here, certID(1), fescue.Page{Limit: 10})
		if err != nil || !slices.Equal(names, []string{"p", "q"}) {
			t.Errorf("policies %v, %v", names, err)
		}
	})
	t.Run("changes of the acting version tell whom they concern", func(t *testing.T) {
		_, ids, err := s.AddPolicyVersion(ctx, here, "p", "2", true, 5, epoch)
		if err != nil || !slices.Equal(ids, []string{certID(1)}) {
			t.Errorf("after a new default version: %v, %v", ids, err)
		}
		ids, err = s.SetDefaultPolicyVersion(ctx, here, "p", 1, epoch)
		if err != nil || !slices.Equal(ids, []string{certID(1)}) {
			t.Errorf("after going back: %v, %v", ids, err)
		}
		mustDo(t, s.DeletePolicyVersion(ctx, here, "p", 2))
	})
	t.Run("an attached policy stays", func(t *testing.T) {
		wantError(t, s.DeletePolicy(ctx, here, "p"), fescue.ErrInUse, "policy p")
		mustDo(t, s.DetachPolicy(ctx, here, "p", certID(1)), s.DetachPolicy(ctx, here, "p", certID(1)))
		ids, err := s.PolicyCertificates(ctx, here, "p", fescue.Page{Limit: 10})
		if err != nil || len(ids) != 0 {
			t.Errorf("certificates %v, %v, want none", ids, err)
		}
		mustDo(t, s.DeletePolicy(ctx, here, "p"))
	})
}

func TestPrincipal(t *testing.T) {
	t.Parallel()
	s, ctx := openRegistry(t), t.Context()
	c := certificate(1, fescue.CertificateActive)
	mustDo(t, s.CreateCertificate(ctx, there, c))

	t.Run("a certificate alone", func(t *testing.T) {
		got, err := s.Principal(ctx, "aws", c.ID)
		mustDo(t, err)
		if diff := cmp.Diff(fescue.Principal{Partition: there, Certificate: c}, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("with its things and acting documents, and no others", func(t *testing.T) {
		other := certificate(2, fescue.CertificateActive)
		mustDo(t, s.CreateCertificate(ctx, there, other))
		for _, name := range []string{"b", "a", "z"} {
			addThing(t, s, there, name)
			addPolicy(t, s, there, name, "document 1 of "+name, epoch)
		}
		_, _, err := s.AddPolicyVersion(ctx, there, "a", "document 2 of a", true, 5, epoch)
		mustDo(t, err)
		_, _, err = s.AddPolicyVersion(ctx, there, "b", "document 2 of b", false, 5, epoch)
		mustDo(t, err)
		for _, name := range []string{"b", "a"} {
			mustDo(t, s.AttachThing(ctx, there, name, c.ID), s.AttachPolicy(ctx, there, name, c.ID, 10))
		}
		mustDo(t, s.AttachThing(ctx, there, "z", other.ID), s.AttachPolicy(ctx, there, "z", other.ID, 10))
		got, err := s.Principal(ctx, "aws", c.ID)
		mustDo(t, err)
		want := fescue.Principal{Partition: there, Certificate: c, Things: []string{"a", "b"}, Policies: []string{"document 1 of b", "document 2 of a"}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("unknown", func(t *testing.T) {
		_, err := s.Principal(ctx, "aws", certID(9))
		wantError(t, err, fescue.ErrNotFound, certID(9))
	})
}

// Many at once: what must hold is held by the database, not by the callers.
func TestRegistryLimitsHoldUnderConcurrency(t *testing.T) {
	t.Parallel()
	s, ctx := openRegistry(t), t.Context()
	const callers = 20
	mustDo(t, s.CreateCertificate(ctx, here, certificate(1, fescue.CertificateActive)))
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
		{"policies of a certificate", func(n int) error { return s.AttachPolicy(ctx, here, fmt.Sprint("p", n), certID(1), 10) }, 10},
		{"versions of a policy", func(n int) error {
			_, _, err := s.AddPolicyVersion(ctx, here, "versioned", "{}", n%2 == 0, 5, epoch)
			return err
		}, 4},
		{"one change of a thing's version", func(int) error {
			_, err := s.ReplaceThing(ctx, here, fescue.Thing{Name: "lamp", Version: 2})
			return err
		}, 1},
		{"one owner of a certificate", func(n int) error {
			p := here
			p.Account = fmt.Sprintf("%012d", n)
			return s.CreateCertificate(ctx, p, certificate(7, fescue.CertificateActive))
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
		versions, err := s.PolicyVersions(ctx, here, "versioned")
		mustDo(t, err)
		acting := slices.DeleteFunc(slices.Clone(versions), func(v fescue.PolicyVersion) bool { return !v.Default })
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
		_, err := s.CreateThing(ctx, here, fescue.Thing{Name: name, ID: fescue.NewID(), Version: 1}, epoch)
		if err := errors.Join(err,
			s.CreateCertificate(ctx, here, certificate(i, fescue.CertificateActive)),
			s.CreatePolicy(ctx, here, fescue.Policy{Name: name, Document: strings.Repeat("x", 1000)}),
			s.AttachThing(ctx, here, name, certID(i)), s.AttachPolicy(ctx, here, name, certID(i), 10)); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := s.Principal(ctx, "aws", certID(42)); err != nil {
			b.Fatal(err)
		}
	}
}
