package identity_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
	"github.com/fescue-edge/fescue/pki"
)

var _ identity.Signers = (*identity.Keys)(nil)

const (
	account = "123456789012"
	id      = "AKIAIOSFODNN7EXAMPLE"
	secret  = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

// site is a database with a clock that stands still until it is moved.
type site struct {
	dir   string
	store *store.DB
	past  atomic.Int64 // since start
}

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func (s *site) now() time.Time { return start.Add(time.Duration(s.past.Load())) }

func (s *site) pass(d time.Duration) { s.past.Add(int64(d)) }

// keys opens the keys with a master key.
func (s *site) keys(t *testing.T, seed byte) *identity.Keys {
	t.Helper()
	master, err := pki.NewMasterKey(bytes.Repeat([]byte{seed}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return identity.NewKeys(s.store.AccessKeys(), s.store.Certificates(), identity.NewRoles(s.store.IAM(), s.now), master, s.now)
}

func open(t *testing.T) (*site, *identity.Keys) {
	t.Helper()
	dir := t.TempDir()
	s := &site{dir: dir, store: storetest.OpenOn(t, filepath.Join(dir, "fescue.db"))}
	return s, s.keys(t, 1)
}

// keyOf is the key of who signs with it.
func keyOf(t *testing.T, k *identity.Keys, id string) (identity.Key, error) {
	t.Helper()
	signer, err := k.Signer(t.Context(), id)
	return signer.Key, err
}

func put(t *testing.T, k *identity.Keys, id, secret string) {
	t.Helper()
	if err := k.Put(t.Context(), id, secret, account, "admin", identity.Grant{Access: identity.Admin}); err != nil {
		t.Fatal(err)
	}
}

func wantSecret(t *testing.T, k *identity.Keys, id, secret string) {
	t.Helper()
	key, err := keyOf(t, k, id)
	if want := (identity.Key{ID: id, Secret: secret, Account: account}); err != nil || key != want {
		t.Errorf("key %+v, %v; want %+v", key, err, want)
	}
}

func wantUnknown(t *testing.T, k *identity.Keys, id string) {
	t.Helper()
	if key, err := keyOf(t, k, id); !errors.Is(err, identity.ErrUnknownKey) || key != (identity.Key{}) {
		t.Errorf("key %+v, %v", key, err)
	}
}

func TestCreate(t *testing.T) {
	t.Parallel()
	s, k := open(t)
	idForm, secretForm := regexp.MustCompile(`^AKIA[A-Z2-7]{16}$`), regexp.MustCompile(`^[A-Za-z0-9+/]{40}$`)
	seen := make(map[string]bool)
	for i := range 10 {
		id, secret, err := k.Create(t.Context(), account, fmt.Sprint("key", i), identity.Grant{Access: identity.Admin})
		if err != nil || !idForm.MatchString(id) || !secretForm.MatchString(secret) || seen[id] || seen[secret] {
			t.Fatalf("%q, %q, %v", id, secret, err)
		}
		seen[id], seen[secret] = true, true
		wantSecret(t, k, id, secret)
		if c, err := k.Signer(t.Context(), id); err != nil || c.Name != fmt.Sprint("key", i) {
			t.Errorf("caller %+v, %v", c, err)
		}
		s.pass(time.Second)
	}
	list, err := k.List(t.Context())
	if err != nil || len(list) != 10 || list[9].Name != "key9" || list[9].Account != account || !list[0].CreatedAt.Equal(start) {
		t.Errorf("%+v, %v", list, err)
	}
}

// No secret lies in the files of the database.
func TestSealed(t *testing.T) {
	t.Parallel()
	s, k := open(t)
	put(t, k, id, secret)
	files, err := os.ReadDir(s.dir)
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	found := false
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(s.dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		found = found || bytes.Contains(data, []byte(id))
		if bytes.Contains(data, []byte(secret)) {
			t.Errorf("%s holds the secret", f.Name())
		}
	}
	if !found {
		t.Error("no file holds the key's id")
	}
	t.Run("another master key", func(t *testing.T) {
		key, err := keyOf(t, s.keys(t, 2), id)
		if !errors.Is(err, pki.ErrSealed) || errors.Is(err, identity.ErrUnknownKey) || key != (identity.Key{}) {
			t.Errorf("%+v, %v", key, err)
		}
	})
	t.Run("another key's secret in its place", func(t *testing.T) {
		row, err := s.store.AccessKeys().AccessKey(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		row.ID = "AKIAANOTHEREXAMPLE77"
		if err := s.store.AccessKeys().PutAccessKey(t.Context(), row); err != nil {
			t.Fatal(err)
		}
		if key, err := keyOf(t, k, row.ID); !errors.Is(err, pki.ErrSealed) {
			t.Errorf("%+v, %v", key, err)
		}
	})
}

func TestPutRefuses(t *testing.T) {
	t.Parallel()
	_, k := open(t)
	for name, c := range map[string]struct{ id, secret string }{
		"no id":            {"", secret},
		"short id":         {"AKIA", secret},
		"long id":          {strings.Repeat("A", 129), secret},
		"id with a slash":  {"AKIA/OSFODNN7EXAMPLE", secret},
		"id with a blank":  {id + " ", secret},
		"id with a return": {id + "\n", secret},
		"id with NUL":      {id + "\x00", secret},
		"foreign letters":  {"АКІАIOSFODNN7EXAMPLE", secret},
		"no secret":        {id, ""},
		"short secret":     {id, secret[:15]},
		"long secret":      {id, strings.Repeat("s", 129)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := k.Put(t.Context(), c.id, c.secret, account, "n", identity.Grant{Access: identity.Admin})
			if !errors.Is(err, identity.ErrForm) {
				t.Errorf("%v", err)
			}
			if err != nil && c.secret != "" && strings.Contains(err.Error(), c.secret) {
				t.Errorf("the error contains the secret: %v", err)
			}
			wantUnknown(t, k, c.id)
		})
	}
	for _, c := range [][2]string{{strings.Repeat("a", 16), strings.Repeat("s", 16)}, {strings.Repeat("_", 128), strings.Repeat("s", 128)}} {
		put(t, k, c[0], c[1])
		wantSecret(t, k, c[0], c[1])
	}
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	s, k := open(t)
	other := s.keys(t, 1) // of another server on the same database
	put(t, k, id, secret)
	wantSecret(t, k, id, secret)
	wantSecret(t, other, id, secret)
	if err := k.Withdraw(t.Context(), "210987654321", id); !errors.Is(err, fescue.ErrNotFound) {
		t.Errorf("revoked by another account: %v", err)
	}
	if err := k.Revoke(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	// Within a second it is refused everywhere, and then for good.
	s.pass(time.Second)
	wantUnknown(t, k, id)
	wantUnknown(t, other, id)
	if err := k.Put(t.Context(), id, secret, account, "n", identity.Grant{Access: identity.Admin}); !errors.Is(err, fescue.ErrConflict) {
		t.Errorf("put again: %v", err)
	}
	wantUnknown(t, k, id)
	if err := k.Revoke(t.Context(), id); !errors.Is(err, fescue.ErrNotFound) {
		t.Errorf("revoked again: %v", err)
	}
	if err := k.Revoke(t.Context(), "AKIAUNKNOWNEXAMPLE77"); !errors.Is(err, fescue.ErrNotFound) {
		t.Errorf("unknown: %v", err)
	}
	list, err := k.List(t.Context())
	if err != nil || len(list) != 1 || list[0].RevokedAt.IsZero() {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestNewSecret(t *testing.T) {
	t.Parallel()
	s, k := open(t)
	wantUnknown(t, k, id)
	put(t, k, id, secret)
	wantSecret(t, k, id, secret) // that it was unknown is not remembered
	put(t, k, id, "another secret, long enough")
	s.pass(time.Second)
	wantSecret(t, k, id, "another secret, long enough")
	t.Run("a clock that is set back", func(t *testing.T) {
		put(t, k, id, secret)
		s.pass(-time.Hour)
		wantSecret(t, k, id, secret)
	})
}

func TestManyCallers(t *testing.T) {
	t.Parallel()
	s, k := open(t)
	ids := make([]string, 8)
	for i := range ids {
		ids[i] = fmt.Sprintf("AKIAIOSFODNN7EXAMPL%d", i)
		put(t, k, ids[i], secret)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 50 {
				if key, err := keyOf(t, k, ids[(i+n)%len(ids)]); err != nil || key.ID != ids[(i+n)%len(ids)] {
					t.Errorf("%+v, %v", key, err)
				}
				s.pass(20 * time.Millisecond)
			}
		})
	}
	wg.Wait()
}
