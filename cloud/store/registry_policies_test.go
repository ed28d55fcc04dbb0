package store_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/registry"
	"github.com/fescue-edge/fescue/cloud/store"
)

func addPolicy(t *testing.T, s *store.DB, p fescue.Partition, name, document string, at time.Time) {
	t.Helper()
	mustDo(t, s.Policies().CreatePolicy(t.Context(), p, registry.Policy{Name: name, DefaultVersionID: "1", Document: document, CreatedAt: at, UpdatedAt: at}))
}

func testPolicies(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	addPolicy(t, s, here, "p", " {\n\"é\":1}", epoch)

	t.Run("a document comes back exactly", func(t *testing.T) {
		got, err := s.Policies().Policy(ctx, here, "p")
		mustDo(t, err)
		want := registry.Policy{Name: "p", DefaultVersionID: "1", Document: " {\n\"é\":1}", CreatedAt: epoch, UpdatedAt: epoch}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("names are taken within a partition", func(t *testing.T) {
		wantError(t, s.Policies().CreatePolicy(ctx, here, registry.Policy{Name: "p"}), fescue.ErrExists, "policy p")
		_, err := s.Policies().Policy(ctx, there, "p")
		wantError(t, err, fescue.ErrNotFound, "policy p")
		addPolicy(t, s, there, "p", "{}", epoch)
	})
	t.Run("version numbers are never given twice", func(t *testing.T) {
		v, _, err := s.Policies().AddPolicyVersion(ctx, here, "p", "2", false, 5, epoch)
		mustDo(t, err, s.Policies().DeletePolicyVersion(ctx, here, "p", 2))
		again, _, err := s.Policies().AddPolicyVersion(ctx, here, "p", "3", true, 5, epoch)
		mustDo(t, err)
		if v.ID != "2" || v.Default || again.ID != "3" || !again.Default {
			t.Errorf("versions %v, then %v", v, again)
		}
		got, err := s.Policies().Policy(ctx, here, "p")
		if err != nil || got.DefaultVersionID != "3" || got.Document != "3" {
			t.Errorf("policy %v, %v", got, err)
		}
	})
	t.Run("versions list newest first with the one that acts", func(t *testing.T) {
		list, err := s.Policies().PolicyVersions(ctx, here, "p")
		mustDo(t, err)
		want := []registry.PolicyVersion{
			{ID: "3", Document: "3", CreatedAt: epoch, Default: true},
			{ID: "1", Document: " {\n\"é\":1}", CreatedAt: epoch},
		}
		if diff := cmp.Diff(want, list); diff != "" {
			t.Error(diff)
		}
		one, err := s.Policies().PolicyVersion(ctx, here, "p", 1)
		if err != nil || cmp.Diff(want[1], one) != "" {
			t.Errorf("version 1: %v, %v", one, err)
		}
	})
	t.Run("what is unknown is named", func(t *testing.T) {
		_, err := s.Policies().PolicyVersions(ctx, here, "none")
		wantError(t, err, fescue.ErrNotFound, "policy none")
		_, err = s.Policies().PolicyVersion(ctx, here, "p", 2)
		wantError(t, err, fescue.ErrNotFound, "version 2 of policy p")
		_, err = s.Policies().SetDefaultPolicyVersion(ctx, here, "p", 2, epoch)
		wantError(t, err, fescue.ErrNotFound, "version 2 of policy p")
		_, err = s.Policies().SetDefaultPolicyVersion(ctx, here, "none", 1, epoch)
		wantError(t, err, fescue.ErrNotFound, "policy none")
		_, _, err = s.Policies().AddPolicyVersion(ctx, here, "none", "x", false, 5, epoch)
		wantError(t, err, fescue.ErrNotFound, "policy none")
		wantError(t, s.Policies().DeletePolicyVersion(ctx, here, "p", 2), fescue.ErrNotFound, "version 2 of policy p")
		wantError(t, s.Policies().DeletePolicy(ctx, here, "none"), fescue.ErrNotFound, "policy none")
	})
	t.Run("the acting version and policies with versions stay", func(t *testing.T) {
		wantError(t, s.Policies().DeletePolicyVersion(ctx, here, "p", 3), fescue.ErrConflict, "policy p")
		wantError(t, s.Policies().DeletePolicy(ctx, here, "p"), fescue.ErrInUse, "policy p")
		_, err := s.Policies().SetDefaultPolicyVersion(ctx, here, "p", 1, epoch.Add(time.Hour))
		mustDo(t, err, s.Policies().DeletePolicyVersion(ctx, here, "p", 3), s.Policies().DeletePolicy(ctx, here, "p"))
		_, err = s.Policies().Policy(ctx, there, "p")
		mustDo(t, err)
	})
	t.Run("lists page by creation", func(t *testing.T) {
		addPolicy(t, s, here, "b", "{}", epoch)
		addPolicy(t, s, here, "a", "{}", epoch.Add(time.Second))
		addPolicy(t, s, here, "c", "{}", epoch)
		list, err := s.Policies().Policies(ctx, here, registry.Policy{}, true, 10)
		mustDo(t, err)
		rest, err := s.Policies().Policies(ctx, here, list[0], true, 10)
		mustDo(t, err)
		down, err := s.Policies().Policies(ctx, here, registry.Policy{}, false, 2)
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

func testPolicyAttachments(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	addPolicy(t, s, here, "p", "{}", epoch)
	addPolicy(t, s, here, "q", "{}", epoch)
	addPolicy(t, s, there, "far", "{}", epoch)
	mustDo(t, s.Certificates().CreateCertificate(ctx, here, certificate(1, fescue.CertificateActive)), s.Certificates().CreateCertificate(ctx, there, certificate(2, fescue.CertificateActive)))
	attach := func(ctx context.Context, p fescue.Partition, name, id string) error {
		return s.Policies().AttachPolicy(ctx, p, name, id, 2)
	}

	t.Run("what is unknown is named", func(t *testing.T) {
		for _, do := range []func(context.Context, fescue.Partition, string, string) error{attach, s.Policies().DetachPolicy} {
			wantError(t, do(ctx, here, "none", certID(1)), fescue.ErrNotFound, "policy none")
			wantError(t, do(ctx, here, "far", certID(1)), fescue.ErrNotFound, "policy far")
			wantError(t, do(ctx, here, "p", certID(2)), fescue.ErrNotFound, "certificate "+certID(2))
		}
	})
	t.Run("the limit counts each policy once", func(t *testing.T) {
		addPolicy(t, s, here, "r", "{}", epoch)
		mustDo(t, attach(ctx, here, "q", certID(1)), attach(ctx, here, "p", certID(1)), attach(ctx, here, "p", certID(1)))
		wantError(t, attach(ctx, here, "r", certID(1)), fescue.ErrConflict, certID(1))
		names, err := s.Policies().CertificatePolicies(ctx, here, certID(1), fescue.Page{Limit: 10})
		if err != nil || !slices.Equal(names, []string{"p", "q"}) {
			t.Errorf("policies %v, %v", names, err)
		}
	})
	t.Run("changes of the acting version return whom they concern", func(t *testing.T) {
		_, ids, err := s.Policies().AddPolicyVersion(ctx, here, "p", "2", true, 5, epoch)
		if err != nil || !slices.Equal(ids, []string{certID(1)}) {
			t.Errorf("after a new default version: %v, %v", ids, err)
		}
		ids, err = s.Policies().SetDefaultPolicyVersion(ctx, here, "p", 1, epoch)
		if err != nil || !slices.Equal(ids, []string{certID(1)}) {
			t.Errorf("after going back: %v, %v", ids, err)
		}
		mustDo(t, s.Policies().DeletePolicyVersion(ctx, here, "p", 2))
	})
	t.Run("an attached policy stays", func(t *testing.T) {
		wantError(t, s.Policies().DeletePolicy(ctx, here, "p"), fescue.ErrInUse, "policy p")
		mustDo(t, s.Policies().DetachPolicy(ctx, here, "p", certID(1)), s.Policies().DetachPolicy(ctx, here, "p", certID(1)))
		ids, err := s.Policies().PolicyCertificates(ctx, here, "p", fescue.Page{Limit: 10})
		if err != nil || len(ids) != 0 {
			t.Errorf("certificates %v, %v, want none", ids, err)
		}
		mustDo(t, s.Policies().DeletePolicy(ctx, here, "p"))
	})
}
