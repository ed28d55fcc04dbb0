package registry_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/registry"
	"github.com/fescue-edge/fescue/policy"
)

func TestPolicies(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	c := must(s.RegisterCertificateWithoutCA(ctx, here, device(t, authority(t)), fescue.CertificateActive))

	t.Run("the document comes back exactly", func(t *testing.T) {
		text := "\n " + strings.ReplaceAll(allowAll, ":", " : ") + strings.Repeat(" ", 3000)
		text = strings.ReplaceAll(text, "iot : *", "iot:*")
		p, err := s.CreatePolicy(ctx, here, "p=1,@x", text)
		mustDo(t, err)
		if p.Document != text || must(s.Policy(ctx, here, "p=1,@x")).Document != text {
			t.Error("the document was changed")
		}
		_, err = s.CreatePolicy(ctx, here, "p=1,@x", allowAll)
		wantError(t, err, registry.ErrPolicyExists)
	})
	t.Run("refused", func(t *testing.T) {
		for _, document := range []string{"", "{", "[]", `{"Version":"2012-10-17"}`, `{"Statement":[]}`, strings.Repeat(" ", 70_000) + allowAll} {
			_, err := s.CreatePolicy(ctx, here, "bad", document)
			wantError(t, err, policy.ErrMalformed)
			_, err = s.CreatePolicyVersion(ctx, here, "p=1,@x", document, true)
			wantError(t, err, policy.ErrMalformed)
		}
		var size *registry.SizeError
		long := strings.Replace(allowAll, `"*"`, `"arn:aws:iot:`+strings.Repeat("x", 2048)+`"`, 1)
		if _, err := s.CreatePolicy(ctx, here, "long", long); !errors.As(err, &size) || size.Size <= 2048 {
			t.Errorf("error %v, want a SizeError", err)
		}
		for _, name := range []string{"", "a/b", "a b", "é", "\x00", strings.Repeat("a", 129)} {
			_, err := s.CreatePolicy(ctx, here, name, allowAll)
			wantInvalid(t, err, "policy name")
		}
		for _, version := range []string{"", "0", "01", "-1", "+1", "1.0", "x", "99999999999999999999"} {
			_, err := s.PolicyVersion(ctx, here, "p=1,@x", version)
			wantInvalid(t, err, "policy version")
		}
	})
	t.Run("five versions", func(t *testing.T) {
		must(s.CreatePolicy(ctx, here, "five", allowAll))
		for range 4 {
			must(s.CreatePolicyVersion(ctx, here, "five", allowAll, false))
		}
		_, err := s.CreatePolicyVersion(ctx, here, "five", allowAll, false)
		wantError(t, err, registry.ErrVersionLimit)
		wantError(t, s.DeletePolicyVersion(ctx, here, "five", "1"), registry.ErrVersionIsDefault)
		wantError(t, s.DeletePolicy(ctx, here, "five"), registry.ErrPolicyHasVersions)
		mustDo(t, s.AttachPolicy(ctx, here, "five", c.ID))
		wantError(t, s.DeletePolicy(ctx, here, "five"), registry.ErrPolicyAttached)
		mustDo(t, s.DetachPolicy(ctx, here, "five", c.ID), s.SetDefaultPolicyVersion(ctx, here, "five", "5"), s.DeletePolicyVersion(ctx, here, "five", "1"))
		if v := must(s.CreatePolicyVersion(ctx, here, "five", allowAll, false)); v.ID != "6" {
			t.Errorf("version %s, want 6", v.ID)
		}
	})
	t.Run("ten policies", func(t *testing.T) {
		for i := range 11 {
			name := fmt.Sprint("ten", i)
			must(s.CreatePolicy(ctx, here, name, allowAll))
			err := s.AttachPolicy(ctx, here, name, c.ID)
			if i < 10 {
				mustDo(t, err)
			} else {
				wantError(t, err, registry.ErrPolicyLimit)
			}
		}
		mustDo(t, s.AttachPolicy(ctx, here, "ten0", c.ID))
	})
	t.Run("another partition's are not found", func(t *testing.T) {
		wantError(t, s.DeletePolicy(ctx, there, "five"), fescue.ErrNotFound)
		wantError(t, s.AttachPolicy(ctx, there, "five", c.ID), fescue.ErrNotFound)
		_, err := s.PolicyCertificates(ctx, there, "five", fescue.Page{Limit: 1})
		wantError(t, err, fescue.ErrNotFound)
		_, err = s.CertificatePolicies(ctx, there, c.ID, fescue.Page{Limit: 1})
		wantError(t, err, fescue.ErrNotFound)
		_, err = s.CertificateThings(ctx, there, c.ID, fescue.Page{Limit: 1})
		wantError(t, err, fescue.ErrNotFound)
	})
}
