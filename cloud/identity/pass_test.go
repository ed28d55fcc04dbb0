package identity_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/cloud/identity"
)

func TestPasses(t *testing.T) {
	t.Parallel()
	s, k := open(t)
	ctx := t.Context()
	other, otherSecret, err := k.Create(ctx, account, "other", identity.Grant{Access: "reader"})
	if err != nil {
		t.Fatal(err)
	}
	put(t, k, id, secret)
	issue := func(t *testing.T, key string, use identity.Use) string {
		t.Helper()
		pass, ends, err := k.IssuePass(ctx, key, "", use, time.Hour)
		if err != nil || !ends.Equal(s.now().Add(time.Hour)) || strings.Contains(pass, secret) {
			t.Fatalf("%q until %v: %v", pass, ends, err)
		}
		return pass
	}
	refused := func(t *testing.T, use identity.Use, pass string, want error) {
		t.Helper()
		if signer, _, err := k.Bearer(ctx, use, pass); !errors.Is(err, want) || signer.Access != "" {
			t.Errorf("%+v, %v; want %v", signer.Caller, err, want)
		}
	}
	session, others := issue(t, id, identity.ConsoleSession), issue(t, other, identity.ConsoleSession)
	t.Run("is its key", func(t *testing.T) {
		for pass, key := range map[string]string{session: id, others: other} {
			if signer, _, err := k.Bearer(ctx, identity.ConsoleSession, pass); err != nil || signer.ID != key || signer.SessionToken != "" {
				t.Errorf("%s, %v; want %s", signer.ID, err, key)
			}
		}
	})
	t.Run("is good for its use alone", func(t *testing.T) {
		refused(t, identity.ConsoleLink, session, identity.ErrUnknownKey)
		refused(t, identity.ConsoleSession, issue(t, id, identity.ConsoleLink), identity.ErrUnknownKey)
	})
	t.Run("another master key", func(t *testing.T) {
		if _, _, err := s.keys(t, 2).Bearer(ctx, identity.ConsoleSession, session); !errors.Is(err, identity.ErrUnknownKey) {
			t.Error(err)
		}
	})
	t.Run("malformed", func(t *testing.T) {
		head, tail, _ := strings.Cut(session, ".")
		otherHead, otherTail, _ := strings.Cut(others, ".")
		for _, pass := range []string{"", ".", head, "." + tail, session + "x", session[:len(session)-1], head + "." + otherTail, otherHead + "." + tail, strings.ToLower(session)} {
			refused(t, identity.ConsoleSession, pass, identity.ErrUnknownKey)
		}
	})
	t.Run("signs nothing, and a temporary key is none", func(t *testing.T) {
		temporary, err := k.StartSession(ctx, id, "", "", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		refused(t, identity.ConsoleSession, temporary.ID+"."+temporary.Token, identity.ErrUnknownKey)
		if _, _, err := k.IssuePass(ctx, temporary.ID, "", identity.ConsoleSession, time.Hour); !errors.Is(err, identity.ErrTemporaryKey) {
			t.Error(err)
		}
		if _, err := k.Proves(ctx, temporary.ID, temporary.Secret); !errors.Is(err, identity.ErrUnknownKey) {
			t.Error(err)
		}
	})
	t.Run("proof by the secret", func(t *testing.T) {
		if signer, err := k.Proves(ctx, other, otherSecret); err != nil || signer.Access != "reader" {
			t.Errorf("%+v, %v", signer.Caller, err)
		}
		for _, wrong := range []string{"", secret, otherSecret + " ", otherSecret[:len(otherSecret)-1]} {
			if _, err := k.Proves(ctx, other, wrong); !errors.Is(err, identity.ErrUnknownKey) {
				t.Errorf("%q: %v", wrong, err)
			}
		}
		if _, err := k.Proves(ctx, "AKIAUNKNOWNUNKNOWN00", secret); !errors.Is(err, identity.ErrUnknownKey) {
			t.Error(err)
		}
	})
	t.Run("ends once", func(t *testing.T) {
		link := issue(t, id, identity.ConsoleLink)
		if err := k.EndPass(ctx, identity.ConsoleLink, link); err != nil {
			t.Fatal(err)
		}
		if err := k.EndPass(ctx, identity.ConsoleLink, link); !errors.Is(err, identity.ErrUnknownKey) {
			t.Error(err)
		}
		refused(t, identity.ConsoleLink, link, identity.ErrUnknownKey)
	})
	t.Run("ends with its key, within a second", func(t *testing.T) {
		if err := k.Revoke(ctx, other); err != nil {
			t.Fatal(err)
		}
		s.pass(time.Second)
		refused(t, identity.ConsoleSession, others, identity.ErrUnknownKey)
	})
	t.Run("ends with its time", func(t *testing.T) {
		s.pass(time.Hour)
		refused(t, identity.ConsoleSession, session, identity.ErrExpiredKey)
	})
}
