package identity_test

import (
	"errors"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/pki"
)

// TestPersons: who signed in acts as an access key, and is known by name.
func TestPersons(t *testing.T) {
	t.Parallel()
	const anna = "anna@example.com"
	s, k := open(t)
	ctx := t.Context()
	parent, _, err := k.Create(ctx, account, "operators", identity.Grant{Access: "deployer"})
	if err != nil {
		t.Fatal(err)
	}
	begun, err := k.SignIn(ctx, parent, anna, "token", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	wants := func(t *testing.T, id, person string) identity.Signer {
		t.Helper()
		signer, err := k.Signer(ctx, id)
		if err != nil || signer.Person != person || signer.Name != "operators" || signer.Holder != parent || signer.Access != "deployer" {
			t.Errorf("%+v, %v; want %s as %s", signer.Caller, err, person, parent)
		}
		return signer
	}
	t.Run("with the rights of the key", func(t *testing.T) {
		if signer := wants(t, begun.ID, anna); signer.Secret != begun.Secret || signer.SessionToken != begun.Token || signer.Identity != "user/operators" {
			t.Errorf("%+v", signer)
		}
		wants(t, parent, "")
	})
	t.Run("once", func(t *testing.T) {
		for _, keys := range []*identity.Keys{k, s.keys(t, 1)} { // another server
			if _, err := keys.SignIn(ctx, parent, anna, "token", time.Hour); !errors.Is(err, identity.ErrTaken) {
				t.Errorf("again: %v", err)
			}
		}
		if other, err := k.SignIn(ctx, parent, anna, "another token", time.Hour); err != nil || other.ID == begun.ID {
			t.Errorf("%+v, %v", other, err)
		}
		if _, err := k.SignIn(ctx, begun.ID, anna, "x", time.Hour); !errors.Is(err, identity.ErrTemporaryKey) {
			t.Errorf("as a temporary key: %v", err)
		}
	})
	t.Run("what comes of it is theirs, and ends with it", func(t *testing.T) {
		addRole(t, s, "r", `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)
		role, err := k.StartSession(ctx, begun.ID, "assumed-role/r/x", "r", 2*time.Hour)
		if err != nil || role.ExpiresAt.After(begun.ExpiresAt) {
			t.Fatalf("%+v, %v; the sign-in ends at %v", role, err, begun.ExpiresAt)
		}
		if signer := wants(t, role.ID, anna); signer.Identity != "assumed-role/r/x" {
			t.Errorf("%+v", signer.Caller)
		}
	})
	t.Run("is ended, with what came of it, and does not begin again", func(t *testing.T) {
		for name, ending := range map[string]*identity.Keys{"here": k, "by another server": s.keys(t, 1)} {
			of := func(id string) error { _, err := k.Signer(ctx, id); return err }
			mine, err := k.SignIn(ctx, parent, anna, "ended "+name, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			role, err := k.StartSession(ctx, mine.ID, "assumed-role/r/x", "r", time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			chained, err := k.StartSession(ctx, role.ID, "assumed-role/r/y", "r", time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			for _, id := range []string{mine.ID, role.ID, chained.ID} {
				if err := of(id); err != nil {
					t.Fatal(err)
				}
			}
			if err := ending.EndSession(ctx, mine.ID); err != nil {
				t.Fatal(err)
			}
			if ending != k {
				s.pass(time.Second)
			}
			for _, id := range []string{mine.ID, role.ID, chained.ID} {
				if err := of(id); !errors.Is(err, identity.ErrExpiredKey) {
					t.Errorf("%s, %s: %v", name, id, err)
				}
			}
			if err := of(begun.ID); err != nil {
				t.Errorf("%s: another session of the person: %v", name, err)
			}
			if _, err := k.StartSession(ctx, role.ID, "assumed-role/r/z", "r", time.Hour); !errors.Is(err, identity.ErrExpiredKey) {
				t.Errorf("%s: a key of an ended one: %v", name, err)
			}
			if _, err := k.SignIn(ctx, parent, anna, "ended "+name, time.Hour); !errors.Is(err, identity.ErrTaken) {
				t.Errorf("%s: the same token again: %v", name, err)
			}
			if err := k.EndSession(ctx, mine.ID); !errors.Is(err, identity.ErrExpiredKey) {
				t.Errorf("%s: twice: %v", name, err)
			}
		}
		if err := k.EndSession(ctx, parent); !errors.Is(err, identity.ErrLastingKey) {
			t.Errorf("an access key: %v", err)
		}
		if err := k.EndSession(ctx, "ASIAUNKNOWNUNKNOWN00"); !errors.Is(err, identity.ErrUnknownKey) {
			t.Errorf("an unknown key: %v", err)
		}
	})
	t.Run("a role of whoever has the key goes on by itself", func(t *testing.T) {
		first, err := k.StartSession(ctx, parent, "assumed-role/r/x", "r", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		second, err := k.StartSession(ctx, first.ID, "assumed-role/r/y", "r", time.Hour)
		if err == nil {
			err = k.EndSession(ctx, first.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Signer(ctx, first.ID); !errors.Is(err, identity.ErrExpiredKey) {
			t.Error(err)
		}
		wants(t, second.ID, "")
	})
	t.Run("in the console", func(t *testing.T) {
		pass, _, err := k.IssuePass(ctx, parent, anna, identity.ConsoleSession, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if signer, _, err := k.Bearer(ctx, identity.ConsoleSession, pass); err != nil || signer.Person != anna || signer.ID != parent {
			t.Errorf("%+v, %v", signer, err)
		}
		wants(t, parent, "") // the key itself is nobody's
	})
	t.Run("ends with its key", func(t *testing.T) {
		if err := k.Revoke(ctx, parent); err != nil {
			t.Fatal(err)
		}
		s.pass(time.Second)
		if _, err := k.Signer(ctx, begun.ID); !errors.Is(err, identity.ErrUnknownKey) {
			t.Error(err)
		}
	})
}

// TestChangedPerson: whoever can write to the database has nobody else blamed.
func TestChangedPerson(t *testing.T) {
	t.Parallel()
	w := tamper(t)
	id, _, err := w.Create(t.Context(), account, "operators", identity.Grant{Access: "reader"})
	if err != nil {
		t.Fatal(err)
	}
	for _, person := range []string{"", "anna@example.com"} {
		made, err := w.SignIn(t.Context(), id, person, "token of "+person, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		for _, change := range []string{"sign_in = 'ASIAX'", "person = 'bert@example.com', sign_in = ''"} {
			w.exec(t, `UPDATE session_key SET `+change+` WHERE id = $1`, made.ID)
			if _, err := w.Signer(t.Context(), made.ID); !errors.Is(err, pki.ErrSealed) {
				t.Errorf("%q, %s: %v", person, change, err)
			}
		}
	}
}
