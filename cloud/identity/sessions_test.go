package identity_test

import (
	"errors"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/policy"
)

// addRole makes an IAM role with a policy, if document is one.
func addRole(t *testing.T, s *site, name, document string) *identity.Roles {
	t.Helper()
	roles := identity.NewRoles(s.store.IAM(), s.now)
	const trust = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}}`
	if _, err := roles.Create(t.Context(), account, identity.IAMRole{Name: name, Trust: trust}); err != nil {
		t.Fatal(err)
	}
	if document != "" {
		if err := roles.PutPolicy(t.Context(), account, name, "p", document); err != nil {
			t.Fatal(err)
		}
	}
	return roles
}

func allows(t *testing.T, k *identity.Keys, id, action string) bool {
	t.Helper()
	caller, err := k.Signer(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range caller.Policies {
		if set.Evaluate(policy.Request{Action: action, Resource: "*"}) != policy.Allowed {
			return false
		}
	}
	return len(caller.Policies) > 0
}

func TestSessions(t *testing.T) {
	t.Parallel()
	s, k := open(t)
	addRole(t, s, "empty", "")
	roles := addRole(t, s, "r", `{"Statement":{"Effect":"Allow","Action":["greengrass:*","iot:Delete*"],"Resource":"*"}}`)
	parent, _, err := k.Create(t.Context(), account, "ci", identity.Grant{Access: "deployer"})
	if err != nil {
		t.Fatal(err)
	}
	start := func(signer, who, role string) identity.Session {
		t.Helper()
		made, err := k.StartSession(t.Context(), signer, who, role, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if key, err := keyOf(t, k, made.ID); err != nil || key != (identity.Key{ID: made.ID, Secret: made.Secret, Account: account, SessionToken: made.Token, Ends: made.ExpiresAt}) {
			t.Errorf("%+v, %v; made %+v", key, err, made)
		}
		if !identity.IsSession(made.ID) || len(made.Secret) != 40 || len(made.Token) < 90 || !made.ExpiresAt.Equal(s.now().Add(time.Hour)) {
			t.Errorf("%+v", made)
		}
		return made
	}
	own := start(parent, "", "")
	assumed := start(parent, "assumed-role/r/s", "r")
	chained := start(assumed.ID, "assumed-role/empty/s", "empty")
	if own.Secret == assumed.Secret || own.Token == assumed.Token {
		t.Error("two sessions share a secret")
	}
	for _, c := range []struct {
		id, action string
		allowed    bool
	}{
		{own.ID, "greengrass:CreateGroup", true},
		{own.ID, "lambda:GetFunction", true},
		{own.ID, "greengrass:DeleteGroup", false},
		{assumed.ID, "greengrass:CreateGroup", true},
		{assumed.ID, "lambda:GetFunction", false}, // not the role's
		{assumed.ID, "iot:DeleteThing", false},    // not the parent's
		{chained.ID, "greengrass:CreateGroup", false},
	} {
		if got := allows(t, k, c.id, c.action); got != c.allowed {
			t.Errorf("%s with %s: %v", c.action, c.id, got)
		}
	}
	for id, who := range map[string]string{own.ID: "user/ci", assumed.ID: "assumed-role/r/s", chained.ID: "assumed-role/empty/s"} {
		if c, err := k.Signer(t.Context(), id); err != nil || c.Identity != who || c.Name != "ci" {
			t.Errorf("%+v, %v", c, err)
		}
	}
	t.Run("another master key makes other secrets", func(t *testing.T) {
		other := s.keys(t, 2)
		if key, err := keyOf(t, other, own.ID); err == nil {
			t.Errorf("%+v", key)
		}
	})
	t.Run("a deleted role", func(t *testing.T) {
		if err := errors.Join(roles.DeletePolicy(t.Context(), account, "r", "p"), roles.Delete(t.Context(), account, "r")); err != nil {
			t.Fatal(err)
		}
		s.pass(time.Second)
		wantUnknown(t, k, assumed.ID)
	})
	t.Run("the end", func(t *testing.T) {
		s.pass(time.Hour)
		if key, err := keyOf(t, k, own.ID); !errors.Is(err, identity.ErrExpiredKey) || key != (identity.Key{}) {
			t.Errorf("%+v, %v", key, err)
		}
	})
	t.Run("a revoked parent", func(t *testing.T) {
		last := start(parent, "", "")
		if err := k.Revoke(t.Context(), parent); err != nil {
			t.Fatal(err)
		}
		s.pass(time.Second)
		wantUnknown(t, k, last.ID)
	})
	t.Run("what is no session", func(t *testing.T) {
		wantUnknown(t, k, "ASIAAAAAAAAAAAAAAAAA")
		if err := k.Put(t.Context(), "ASIAAAAAAAAAAAAAAAAA", secret, account, "n", identity.Grant{Access: identity.Admin}); !errors.Is(err, identity.ErrForm) {
			t.Errorf("%v", err)
		}
		if _, err := k.StartSession(t.Context(), "AKIAUNKNOWNEXAMPLE77", "", "", time.Hour); err == nil {
			t.Error("a session without a parent")
		}
	})
}
