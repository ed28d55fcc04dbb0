package identity_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/pki"
)

// deployed says which group deploys a core, and its role.
type deployed struct{ group, role string }

func (d *deployed) CoreOwner(context.Context, fescue.Partition, string) (string, error) {
	return d.group, nil
}

func (d *deployed) AssociatedRole(context.Context, fescue.Partition, string) (string, time.Time, error) {
	if d.role == "" {
		return "", time.Time{}, fescue.ErrNotFound
	}
	return d.role, start, nil
}

// coreOf is a core's certificate in the database.
func (s *site) coreOf(t *testing.T, hex string) identity.Principal {
	t.Helper()
	p := identity.Principal{
		Partition:   fescue.Partition{AWS: "aws", Account: account, Region: "eu-west-1"},
		Certificate: fescue.Certificate{ID: strings.Repeat(hex, 64), PEM: "x", Status: fescue.CertificateActive, NotBefore: start.Add(-time.Hour), NotAfter: start.Add(24 * time.Hour), CreatedAt: start},
	}
	if err := s.store.Certificates().CreateCertificate(t.Context(), p.Partition, p.Certificate); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestExchange(t *testing.T) {
	t.Parallel()
	s, k := open(t)
	trust := func(principal string) string {
		return `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":` + principal + `,"Action":"sts:AssumeRole"}}`
	}
	roles := identity.NewRoles(s.store.IAM(), s.now)
	role := func(name, principal, document string) string {
		t.Helper()
		made, err := roles.Create(t.Context(), account, identity.IAMRole{Name: name, Trust: trust(principal)})
		if err == nil && document != "" {
			err = roles.PutPolicy(t.Context(), account, name, "p", document)
		}
		if err != nil {
			t.Fatal(err)
		}
		return fescue.Partition{AWS: "aws", Account: account}.RoleARN(made.Path, made.Name)
	}
	const greengrass = `{"Service":"greengrass.amazonaws.com"}`
	wide := role("wide", greengrass, `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)
	narrow := role("narrow", greengrass, `{"Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}`)
	of := &deployed{group: "g"}
	x := identity.Exchange{Keys: k, Roles: roles, GroupRoles: of, Cores: of}
	core := s.coreOf(t, "a")
	get := func(t *testing.T, arn string) identity.Session {
		t.Helper()
		of.role = arn
		made, err := x.Credentials(t.Context(), core, "mill", "g")
		if err != nil {
			t.Fatal(err)
		}
		return made
	}

	t.Run("keys do what the role allows, as the group", func(t *testing.T) {
		made := get(t, narrow)
		signer, err := k.Signer(t.Context(), made.ID)
		if err != nil || signer.Account != account || signer.Secret != made.Secret || signer.SessionToken != made.Token || signer.Identity != "assumed-role/narrow/g" ||
			!signer.Conditional || signer.Scope != nil || !signer.Ends.Equal(made.ExpiresAt) || !made.ExpiresAt.Equal(s.now().Add(time.Hour)) {
			t.Errorf("%+v, %v", signer, err)
		}
		if !allows(t, k, made.ID, "s3:GetObject") || allows(t, k, made.ID, "s3:PutObject") {
			t.Error("it may do other things")
		}
	})
	t.Run("no role gives what manages access or deletes", func(t *testing.T) {
		made := get(t, wide)
		for action, want := range map[string]bool{
			"s3:DeleteObject": true, "secretsmanager:GetSecretValue": true, "iot:Publish": true, "iot:DeleteThingShadow": true, "greengrass:GetGroup": true,
			"iam:CreateRole": false, "iam:ListRoles": false, "fescue:CreateAccessKey": false, "fescue:GetAudit": false, "sts:AssumeRole": false,
			"greengrass:DeleteGroup": false, "greengrass:AssociateRoleToGroup": false, "iot:DeleteThing": false, "iot:DeleteCertificate": false, "lambda:DeleteFunction": false, "secretsmanager:DeleteSecret": false,
		} {
			if got := allows(t, k, made.ID, action); got != want {
				t.Errorf("%s: %t", action, got)
			}
		}
		if _, err := k.StartSession(t.Context(), made.ID, "", "", time.Hour); !errors.Is(err, identity.ErrUnknownKey) {
			t.Errorf("a key of a key: %v", err)
		}
	})
	t.Run("who gets none", func(t *testing.T) {
		for name, tc := range map[string]struct {
			role, owner string
			want        error
			text        string
		}{
			"a group without a role":          {"", "g", fescue.ErrNotFound, "You need to attach an IAM role to this deployment group."},
			"another group's core":            {wide, "h", fescue.ErrNotFound, "does not deploy core mill"},
			"a core that nobody deploys":      {wide, "", fescue.ErrNotFound, "does not deploy"},
			"a role that is not here":         {"arn:aws:iam::" + account + ":role/none", "g", identity.ErrRoleRefused, "does not exist here"},
			"one of another account":          {"arn:aws:iam::999999999999:role/wide", "g", identity.ErrRoleRefused, "does not exist here"},
			"one of another path":             {"arn:aws:iam::" + account + ":role/x/wide", "g", identity.ErrRoleRefused, "does not exist here"},
			"one that trusts another service": {role("lambda", `{"Service":"lambda.amazonaws.com"}`, ""), "g", identity.ErrRoleRefused, "does not let greengrass.amazonaws.com assume it"},
			"one that trusts the account":     {role("root", `{"AWS":"`+account+`"}`, ""), "g", identity.ErrRoleRefused, "does not let"},
		} {
			of.role, of.group = tc.role, tc.owner
			if made, err := x.Credentials(t.Context(), core, "mill", "g"); !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) || made.ID != "" {
				t.Errorf("%s: %v", name, err)
			}
		}
		of.group = "g"
	})
	t.Run("a key ends with its certificate, its role and its time", func(t *testing.T) {
		for name, end := range map[string]func(id string) error{
			"b": func(id string) error {
				return s.store.Certificates().SetCertificateStatus(t.Context(), core.Partition, id, fescue.CertificateRevoked, s.now())
			},
			"c": func(id string) error {
				return s.store.Certificates().SetCertificateStatus(t.Context(), core.Partition, id, fescue.CertificateInactive, s.now())
			},
			"d": func(id string) error {
				return s.store.Certificates().DeleteCertificate(t.Context(), core.Partition, id, true)
			},
		} {
			of.role = narrow
			c := s.coreOf(t, name)
			made, err := x.Credentials(t.Context(), c, "mill", "g")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := k.Signer(t.Context(), made.ID); err != nil {
				t.Error(err)
			}
			if name == "d" {
				err = s.store.Certificates().SetCertificateStatus(t.Context(), core.Partition, c.Certificate.ID, fescue.CertificateInactive, s.now())
			}
			if err == nil {
				err = end(c.Certificate.ID)
			}
			if err != nil {
				t.Fatal(err)
			}
			s.pass(2 * time.Second)
			if _, err := k.Signer(t.Context(), made.ID); !errors.Is(err, identity.ErrUnknownKey) {
				t.Errorf("%s: %v", name, err)
			}
		}
		gone := get(t, role("gone", greengrass, ""))
		late := get(t, narrow)
		if err := roles.Delete(t.Context(), account, "gone"); err != nil {
			t.Fatal(err)
		}
		if _, err := k.Signer(t.Context(), gone.ID); !errors.Is(err, identity.ErrUnknownKey) {
			t.Error(err)
		}
		s.pass(time.Hour)
		if _, err := k.Signer(t.Context(), late.ID); !errors.Is(err, identity.ErrExpiredKey) {
			t.Error(err)
		}
	})
}

// TestChangedCoreSession: a row that was edited opens nothing.
func TestChangedCoreSession(t *testing.T) {
	t.Parallel()
	for _, change := range []string{
		`UPDATE core_session SET parent = 'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff' WHERE id = $1`,
		`UPDATE core_session SET role = 'wide' WHERE id = $1`,
		`UPDATE core_session SET identity = 'user/admin' WHERE id = $1`,
		`UPDATE core_session SET expires_at = expires_at + 86400000 WHERE id = $1`,
	} {
		w := tamper(t)
		roles := identity.NewRoles(w.store.IAM(), w.now)
		if _, err := roles.Create(t.Context(), account, identity.IAMRole{Name: "r", Trust: `{"Statement":{"Effect":"Allow","Principal":{"Service":"greengrass.amazonaws.com"},"Action":"sts:AssumeRole"}}`}); err != nil {
			t.Fatal(err)
		}
		of := &deployed{"g", "arn:aws:iam::" + account + ":role/r"}
		made, err := identity.Exchange{Keys: w.Keys, Roles: roles, GroupRoles: of, Cores: of}.Credentials(t.Context(), w.coreOf(t, "a"), "mill", "g")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Signer(t.Context(), made.ID); err != nil {
			t.Fatal(err)
		}
		w.exec(t, change, made.ID)
		w.pass(2 * time.Second)
		if _, err := w.Signer(t.Context(), made.ID); !errors.Is(err, pki.ErrSealed) {
			t.Errorf("%s: %v", change, err)
		}
	}
}
