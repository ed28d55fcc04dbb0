package identity_test

import (
	"database/sql"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/pki"
)

// tampered is a site whose database somebody else writes to.
type tampered struct {
	*site
	*identity.Keys
	db *sql.DB
}

func tamper(t *testing.T) *tampered {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fescue.db")
	st, err := store.OpenSQLite(t.Context(), path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s := &site{store: st}
	return &tampered{s, s.keys(t, 1), db}
}

func (w *tampered) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	result, err := w.db.ExecContext(t.Context(), query, args...)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		t.Fatalf("%s: %d rows, %v", query, n, err)
	}
}

// TestChangedRow: whoever can write to the database makes no key that may do more.
func TestChangedRow(t *testing.T) {
	t.Parallel()
	for _, change := range []string{
		`UPDATE access_key SET role = 'admin' WHERE id = $1`,
		`UPDATE access_key SET account = '210987654321' WHERE id = $1`,
		`UPDATE access_key SET name = 'somebody else' WHERE id = $1`,
		`UPDATE access_key SET limit_json = '' WHERE id = $1`, // the tag is in its own column too
		`UPDATE access_key SET limit_json = '{}' WHERE id = $1`,
		`UPDATE access_key SET limit_json = '{"groupTag":"site=north","things":["*"]}' WHERE id = $1`,
		`UPDATE access_key SET limit_json = '{"groupTag":"site=south","things":["north-*"]}' WHERE id = $1`,
		`UPDATE access_key SET sealed = (SELECT sealed FROM access_key WHERE role = 'admin') WHERE id = $1`,
	} {
		t.Run(change, func(t *testing.T) {
			t.Parallel()
			w := tamper(t)
			if _, _, err := w.Create(t.Context(), account, "admin", identity.Grant{Access: identity.Admin}); err != nil {
				t.Fatal(err)
			}
			id, secret, err := w.Create(t.Context(), account, "north", identity.Grant{
				Access: "reader", Limit: identity.Limit{GroupTag: "site=north", Things: []string{"north-*"}},
			})
			if err != nil {
				t.Fatal(err)
			}
			wantSecret(t, w.Keys, id, secret)
			w.exec(t, change, id)
			w.pass(2 * time.Second)
			if key, err := keyOf(t, w.Keys, id); !errors.Is(err, pki.ErrSealed) || key != (identity.Key{}) {
				t.Errorf("%+v, %v", key, err)
			}
			if c, err := w.Signer(t.Context(), id); !errors.Is(err, pki.ErrSealed) || c.Policies != nil {
				t.Errorf("%+v, %v", c, err)
			}
			list, err := w.List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range list { // the operator sees which
				if err := w.Check(row); errors.Is(err, pki.ErrSealed) != (row.ID == id) {
					t.Errorf("%s: %v", row.Name, err)
				}
			}
			// An operator who names the key again does not seal what was changed.
			if err := w.Put(t.Context(), id, secret, account, "north", identity.Grant{Access: "reader"}); !errors.Is(err, pki.ErrSealed) {
				t.Errorf("sealed again: %v", err)
			}
		})
	}
	t.Run("a revoked key stays revoked", func(t *testing.T) {
		t.Parallel()
		w := tamper(t)
		id, _, err := w.Create(t.Context(), account, "n", identity.Grant{Access: identity.Admin})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Revoke(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if list, err := w.List(t.Context()); err != nil || len(list) != 1 || w.Check(list[0]) != nil {
			t.Errorf("%+v, %v", list, err)
		}
		w.exec(t, `UPDATE access_key SET revoked_at = NULL WHERE id = $1`, id)
		if key, err := keyOf(t, w.Keys, id); !errors.Is(err, pki.ErrSealed) || key != (identity.Key{}) {
			t.Errorf("%+v, %v", key, err)
		}
	})
}

// TestChangedSession: a temporary key stays that of its parent, its role and its
// time.
func TestChangedSession(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		change string
		want   error
	}{
		{`UPDATE session_key SET parent = (SELECT id FROM access_key WHERE role = 'admin') WHERE id = $1`, pki.ErrSealed},
		{`UPDATE session_key SET role = '' WHERE id = $1`, pki.ErrSealed},
		{`UPDATE session_key SET identity = 'user/admin' WHERE id = $1`, pki.ErrSealed},
		{`UPDATE session_key SET expires_at = expires_at + 86400000 WHERE id = $1`, pki.ErrSealed},
		{`UPDATE session_key SET id = 'ASIAOTHEROTHEROTHERX' WHERE id = $1`, identity.ErrUnknownKey},
		{`UPDATE session_key SET mac = 'x' WHERE id = $1`, pki.ErrSealed},
		{`UPDATE session_key SET mac = '' WHERE id = $1`, identity.ErrExpiredKey}, // as those of early versions
	} {
		t.Run(c.change, func(t *testing.T) {
			t.Parallel()
			w := tamper(t)
			addRole(t, w.site, "r", `{"Statement":{"Effect":"Allow","Action":"greengrass:*","Resource":"*"}}`)
			if _, _, err := w.Create(t.Context(), account, "admin", identity.Grant{Access: identity.Admin}); err != nil {
				t.Fatal(err)
			}
			parent, _, err := w.Create(t.Context(), account, "n", identity.Grant{Access: "reader"})
			if err != nil {
				t.Fatal(err)
			}
			made, err := w.StartSession(t.Context(), parent, "assumed-role/r/s", "r", time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Signer(t.Context(), made.ID); err != nil {
				t.Fatal(err)
			}
			w.exec(t, c.change, made.ID)
			w.pass(2 * time.Second)
			if key, err := keyOf(t, w.Keys, made.ID); !errors.Is(err, c.want) || key != (identity.Key{}) {
				t.Errorf("%+v, %v, want %v", key, err, c.want)
			}
			if _, err := w.StartSession(t.Context(), made.ID, "", "", time.Hour); err == nil {
				t.Error("a session of the changed one")
			}
		})
	}
}

// TestAdopt: keys of an early version are sealed with what their rows say, once.
func TestAdopt(t *testing.T) {
	t.Parallel()
	master, err := pki.NewMasterKey(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	early := func(t *testing.T, w *tampered, id, role string, revoked bool) {
		t.Helper()
		sealed, err := master.Seal([]byte("secret-of-"+id), "access-key/"+id)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.store.AccessKeys().PutAccessKey(t.Context(), identity.AccessKey{ID: id, Account: account, Name: "n", Sealed: sealed, Access: role, CreatedAt: start}); err != nil {
			t.Fatal(err)
		}
		if revoked {
			w.exec(t, `UPDATE access_key SET revoked_at = 1 WHERE id = $1`, id)
		}
	}
	open := func(t *testing.T) (*tampered, *identity.Keys) {
		w := tamper(t)
		return w, identity.NewKeys(w.store.AccessKeys(), w.store.Certificates(), identity.NewRoles(w.store.IAM(), w.now), master, w.now)
	}
	t.Run("once", func(t *testing.T) {
		t.Parallel()
		w, k := open(t)
		early(t, w, "AKIAREADERREADERREAD", "reader", false)
		early(t, w, "AKIAGONEGONEGONEGONE", "admin", true)
		if _, err := k.Signer(t.Context(), "AKIAREADERREADERREAD"); !errors.Is(err, pki.ErrSealed) {
			t.Errorf("good before it is adopted: %v", err)
		}
		adopted, err := k.Adopt(t.Context())
		if err != nil || len(adopted) != 1 || adopted[0].ID != "AKIAREADERREADERREAD" || adopted[0].Access != "reader" {
			t.Errorf("%+v, %v", adopted, err)
		}
		wantSecret(t, k, "AKIAREADERREADERREAD", "secret-of-AKIAREADERREADERREAD")
		if done, err := w.store.AccessKeys().AccessKeysAdopted(t.Context()); !done || err != nil {
			t.Errorf("%v, %v", done, err)
		}
		// What somebody writes as an early version did is not adopted later.
		early(t, w, "AKIALATELATELATELATE", "admin", false)
		if again, err := k.Adopt(t.Context()); err != nil || len(again) != 0 {
			t.Errorf("%+v, %v", again, err)
		}
		if key, err := keyOf(t, k, "AKIALATELATELATELATE"); !errors.Is(err, pki.ErrSealed) {
			t.Errorf("%+v, %v", key, err)
		}
		w.exec(t, `UPDATE access_key SET revoked_at = NULL WHERE id = 'AKIAGONEGONEGONEGONE'`)
		if key, err := keyOf(t, k, "AKIAGONEGONEGONEGONE"); !errors.Is(err, pki.ErrSealed) {
			t.Errorf("%+v, %v", key, err)
		}
	})
	t.Run("not a second time, whatever the database says", func(t *testing.T) {
		t.Parallel()
		w, k := open(t)
		early(t, w, "AKIAREADERREADERREAD", "reader", false)
		if _, err := k.Adopt(t.Context()); err != nil {
			t.Fatal(err)
		}
		id, secret, err := k.Create(t.Context(), account, "n", identity.Grant{Access: identity.Admin})
		if err != nil {
			t.Fatal(err)
		}
		// The reader's row as it was in an old backup, with another role.
		w.exec(t, `DELETE FROM server_setting WHERE name = 'access-keys-adopted'`)
		w.exec(t, `DELETE FROM access_key WHERE id = 'AKIAREADERREADERREAD'`)
		early(t, w, "AKIAREADERREADERREAD", "admin", false)
		if adopted, err := k.Adopt(t.Context()); !errors.Is(err, identity.ErrAdopted) || len(adopted) != 0 {
			t.Errorf("%+v, %v", adopted, err)
		}
		w.pass(2 * time.Second)
		if key, err := keyOf(t, k, "AKIAREADERREADERREAD"); !errors.Is(err, pki.ErrSealed) {
			t.Errorf("%+v, %v", key, err)
		}
		wantSecret(t, k, id, secret)
	})
	t.Run("a key that never opened", func(t *testing.T) {
		t.Parallel()
		w, k := open(t)
		early(t, w, "AKIAREADERREADERREAD", "reader", false)
		w.exec(t, `UPDATE access_key SET sealed = 'AAAA'`)
		if _, err := k.Adopt(t.Context()); err != nil {
			t.Fatal(err)
		}
		if key, err := keyOf(t, k, "AKIAREADERREADERREAD"); !errors.Is(err, pki.ErrSealed) {
			t.Errorf("%+v, %v", key, err)
		}
	})
}
