package registry_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/registry"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
	"github.com/fescue-edge/fescue/pki"
)

func TestMain(m *testing.M) { os.Exit(storetest.Run(m)) }

var (
	here  = fescue.Partition{AWS: "aws-cn", Account: "123456789012", Region: "cn-north-1"}
	there = fescue.Partition{AWS: "aws-cn", Account: "210987654321", Region: "cn-north-1"}
	now   = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
)

const allowAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"}]}`

func open(t *testing.T) *registry.Service {
	t.Helper()
	return registry.New(registry.Options{
		Stores: storetest.Open(t).Registry(), Authority: authority(t), AWS: here.AWS,
		Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler),
	})
}

func authority(t *testing.T) *pki.Authority {
	t.Helper()
	a, err := pki.NewAuthority("devices", pki.ECDSA, now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func mustDo(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want one that wraps %v", err, want)
	}
}

func wantInvalid(t *testing.T, err error, mention string) {
	t.Helper()
	var e *registry.InvalidError
	if !errors.As(err, &e) || !strings.Contains(e.Text, mention) {
		t.Errorf("error %v, want an InvalidError that says %q", err, mention)
	}
}

func TestPrincipal(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	c := must(s.RegisterCertificateWithoutCA(ctx, here, device(t, authority(t)), fescue.CertificateInactive))
	must(s.CreateThing(ctx, here, "lamp", "", nil))
	must(s.CreatePolicy(ctx, here, "p", allowAll))
	mustDo(t, s.AttachThing(ctx, here, "lamp", c.ID), s.AttachPolicy(ctx, here, "p", c.ID))
	want := fescue.Principal{Partition: here, Certificate: c, Things: []string{"lamp"}, Policies: []string{allowAll}}
	if diff := cmp.Diff(want, must(s.Principal(ctx, c.ID))); diff != "" {
		t.Error(diff)
	}
	for _, id := range []string{"", "x", strings.Repeat("0", 64), strings.ToUpper(c.ID), c.ID + "\x00"} {
		_, err := s.Principal(ctx, id)
		wantError(t, err, fescue.ErrNotFound)
	}
}

func TestOnChange(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	theirs := authority(t)
	one := must(s.RegisterCertificateWithoutCA(ctx, here, device(t, theirs), fescue.CertificateActive))
	two := must(s.RegisterCertificateWithoutCA(ctx, here, device(t, theirs), fescue.CertificateActive))
	must(s.CreateThing(ctx, here, "lamp", "", nil))
	must(s.CreatePolicy(ctx, here, "p", allowAll))

	var notified []string
	var statuses []fescue.CertificateStatus
	cancel := s.OnChange(func(id string) {
		notified = append(notified, id)
		// What is notified is committed: a read sees it.
		if p, err := s.Principal(context.WithoutCancel(ctx), id); err == nil {
			statuses = append(statuses, p.Certificate.Status)
		}
	})
	mustDo(t, s.AttachPolicy(ctx, here, "p", two.ID), s.AttachThing(ctx, here, "lamp", two.ID))
	notified = nil
	for _, tc := range []struct {
		title string
		do    func() error
		want  []string
	}{
		{"a policy is attached", func() error { return s.AttachPolicy(ctx, here, "p", one.ID) }, []string{one.ID}},
		{"a thing is attached", func() error { return s.AttachThing(ctx, here, "lamp", one.ID) }, []string{one.ID}},
		{"a thing is changed", func() error {
			return s.UpdateThing(ctx, here, "lamp", registry.ThingChange{Attributes: map[string]string{"a": "b"}})
		}, []string{one.ID, two.ID}},
		{"a version does not act", func() error { _, err := s.CreatePolicyVersion(ctx, here, "p", allowAll, false); return err }, nil},
		{"a new version acts", func() error { _, err := s.CreatePolicyVersion(ctx, here, "p", allowAll, true); return err }, []string{one.ID, two.ID}},
		{"an old version acts", func() error { return s.SetDefaultPolicyVersion(ctx, here, "p", "1") }, []string{one.ID, two.ID}},
		{"a version is deleted", func() error { return s.DeletePolicyVersion(ctx, here, "p", "3") }, nil},
		{"a thing is detached", func() error { return s.DetachThing(ctx, here, "lamp", one.ID) }, []string{one.ID}},
		{"a policy is detached", func() error { return s.DetachPolicy(ctx, here, "p", one.ID) }, []string{one.ID}},
		{"a status is changed", func() error { return s.SetCertificateStatus(ctx, here, one.ID, fescue.CertificateRevoked) }, []string{one.ID}},
		{"a change is refused", func() error {
			wantError(t, s.SetCertificateStatus(ctx, here, one.ID, fescue.CertificateActive), registry.ErrCertificateRevoked)
			wantError(t, s.AttachPolicy(ctx, here, "none", one.ID), fescue.ErrNotFound)
			return nil
		}, nil},
		{"a certificate is deleted", func() error { return s.DeleteCertificate(ctx, here, one.ID, false) }, []string{one.ID}},
		{"nobody listens any more", func() error { cancel(); return s.SetCertificateStatus(ctx, here, two.ID, fescue.CertificateRevoked) }, nil},
	} {
		t.Run(tc.title, func(t *testing.T) {
			notified, statuses = nil, nil
			mustDo(t, tc.do())
			slices.Sort(notified)
			slices.Sort(tc.want)
			if !slices.Equal(notified, tc.want) {
				t.Errorf("notified of %v, want %v", notified, tc.want)
			}
			if tc.title == "a status is changed" && !slices.Equal(statuses, []fescue.CertificateStatus{fescue.CertificateRevoked}) {
				t.Errorf("a listener saw %v", statuses)
			}
		})
	}
}
