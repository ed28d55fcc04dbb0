package identity

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/audit"
	"github.com/fescue-edge/fescue/pki"
	"github.com/fescue-edge/fescue/policy"
)

// KeyStore keeps access keys and temporary keys; what is recorded of a change is
// written with it. A key that is not there is fescue.ErrNotFound.
type KeyStore interface {
	// PutAccessKey writes a key, or its new account and secret when the id is there;
	// a revoked id is fescue.ErrConflict.
	PutAccessKey(ctx context.Context, k AccessKey, records ...audit.Record) error
	AccessKey(ctx context.Context, id string) (AccessKey, error)
	AccessKeys(ctx context.Context) ([]AccessKey, error)
	RevokeAccessKey(ctx context.Context, id string, records ...audit.Record) error
	AdoptAccessKeys(ctx context.Context, seal func(AccessKey) ([]byte, error), record func(AccessKey) audit.Record) ([]AccessKey, error)
	// AddSessionKey of an id that is there is fescue.ErrConflict, and one whose SignIn has
	// ended fescue.ErrNotFound.
	AddSessionKey(ctx context.Context, k SessionKey) error
	SessionKey(ctx context.Context, id string) (SessionKey, error)
	// RemoveSessionKey ends a temporary key: of two who do only one gets no error.
	RemoveSessionKey(ctx context.Context, id string) error
	// EndSessionKey ends a temporary key of an access key, and those that were made with
	// it, but keeps its row, so that its id is not given out again.
	EndSessionKey(ctx context.Context, id string) error
}

// Keys keeps the access keys that API callers sign with. Secrets are stored sealed
// by the master key, together with whose the key is and what it may do, and leave
// it in two ways only: once, to whoever creates the key, and to the signature check.
type Keys struct {
	store        KeyStore
	certificates CertificateStore
	roles        *Roles
	master       *pki.MasterKey
	now          func() time.Time

	mu     sync.Mutex
	recent map[string]recentSigner
}

// recentSigner is who signs with a key, as it was read a moment ago.
type recentSigner struct {
	Signer
	until time.Time
}

// A key that was read is good for freshness without being read again: a key that
// is revoked, here or by another program, is refused within that time.
const (
	freshness = time.Second
	maxRecent = 4096
)

// NewKeys makes the service. Sessions take on what the roles grant; those of cores end
// with their certificates.
func NewKeys(s KeyStore, certificates CertificateStore, roles *Roles, master *pki.MasterKey, now func() time.Time) *Keys {
	return &Keys{store: s, certificates: certificates, roles: roles, master: master, now: now, recent: make(map[string]recentSigner)}
}

var idPattern = regexp.MustCompile(`^[A-Za-z0-9_]{16,128}$`)

// ErrForm is wrapped when an id or a secret does not have the form of AWS's.
var ErrForm = errors.New("malformed access key")

// label is what the secret of a key is sealed with: who the key is and what it may
// do, so that a row that was changed does not open.
func label(row AccessKey) string {
	of, err := json.Marshal(struct {
		Account, Name string
		Access        string `json:"Role"` // as it was called when the first keys were sealed so
		Limit         Limit
	}{row.Account, row.Name, row.Access, row.Limit})
	if err != nil {
		panic(err) // texts always encode
	}
	return "access-key/" + row.ID + " " + string(of)
}

// earlyLabel is what early versions sealed secrets with.
func earlyLabel(id string) string { return "access-key/" + id }

// open opens the secret of a key that nobody changed.
func (k *Keys) open(row AccessKey) (string, error) {
	secret, err := k.master.Open(row.Sealed, label(row))
	if err != nil {
		return "", fmt.Errorf("access key %s is not as Fescue wrote it: its row in the database was changed; revoke it and make another: %w", row.ID, pki.ErrSealed)
	}
	return string(secret), nil
}

// Put keeps a key that the operator chose, or a new secret for it. A key that is
// there already keeps its name and what it may do.
func (k *Keys) Put(ctx context.Context, id, secret, account, name string, grant Grant) error {
	return k.put(ctx, id, secret, account, name, grant)
}

func (k *Keys) put(ctx context.Context, id, secret, account, name string, grant Grant, records ...audit.Record) error {
	if err := grant.Validate(); err != nil {
		return err
	}
	if IsSession(id) {
		return fmt.Errorf("%w: the id %q begins as those of temporary keys do", ErrForm, id)
	}
	if !idPattern.MatchString(id) {
		return fmt.Errorf("%w: the id %q must have 16 to 128 characters of [A-Za-z0-9_]", ErrForm, id)
	}
	if len(secret) < 16 || len(secret) > 128 {
		return fmt.Errorf("%w: the secret of %s must have 16 to 128 characters", ErrForm, id)
	}
	row := AccessKey{
		ID: id, Account: account, Name: name, Access: grant.Access, Limit: grant.Limit, CreatedAt: k.now().UTC(),
	}
	there, err := k.store.AccessKey(ctx, id)
	if err == nil && there.RevokedAt.IsZero() {
		if _, err := k.open(there); err != nil {
			return err
		}
		row.Name, row.Access, row.Limit = there.Name, there.Access, there.Limit
	} else if err != nil && !errors.Is(err, fescue.ErrNotFound) {
		return err
	}
	if row.Sealed, err = k.master.Seal([]byte(secret), label(row)); err != nil {
		return err
	}
	return k.store.PutAccessKey(ctx, row, records...)
}

// Create makes a key for the operator, and the audit record of it. The secret is
// returned only here.
func (k *Keys) Create(ctx context.Context, account, name string, grant Grant) (id, secret string, err error) {
	if id, secret, err = newKey(); err != nil {
		return "", "", err
	}
	return id, secret, k.put(ctx, id, secret, account, name, grant, k.record("CreateAccessKey", account, id))
}

// Issue makes a key for a caller, whose call has a record. The secret is returned only
// here.
func (k *Keys) Issue(ctx context.Context, account, name string, grant Grant) (id, secret string, err error) {
	if id, secret, err = newKey(); err != nil {
		return "", "", err
	}
	return id, secret, k.put(ctx, id, secret, account, name, grant)
}

func newKey() (id, secret string, err error) {
	var raw [40]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return "", "", err
	}
	return "AKIA" + base32.StdEncoding.EncodeToString(raw[:10]), base64.RawStdEncoding.EncodeToString(raw[10:]), nil
}

// List is every key, revoked ones included, without secrets.
func (k *Keys) List(ctx context.Context) ([]AccessKey, error) { return k.store.AccessKeys(ctx) }

// Check is nil for the row of a key that is good or revoked. Of one that was changed
// outside Fescue, and so is good for nothing, the error wraps pki.ErrSealed.
func (k *Keys) Check(row AccessKey) error {
	if !row.RevokedAt.IsZero() {
		return nil
	}
	_, err := k.open(row)
	return err
}

// Revoke ends a key for good: within a second it is unknown to every server.
func (k *Keys) Revoke(ctx context.Context, id string) error {
	row, err := k.store.AccessKey(ctx, id)
	if err != nil {
		return err
	}
	return k.store.RevokeAccessKey(ctx, id, k.record("DeleteAccessKey", row.Account, id))
}

// Withdraw ends a key of an account as Revoke does, for a caller, whose call has a
// record. One that is not there or is another account's is fescue.ErrNotFound.
func (k *Keys) Withdraw(ctx context.Context, account, id string) error {
	row, err := k.store.AccessKey(ctx, id)
	if err == nil && row.Account != account {
		err = fescue.ErrNotFound
	}
	if err != nil {
		return err
	}
	return k.store.RevokeAccessKey(ctx, id)
}

// record is the audit record of what an operator does on the data folder.
func (k *Keys) record(operation, account, id string) audit.Record {
	return audit.Record{
		Partition: fescue.Partition{Account: account}, At: k.now().UTC(), ID: uuid.NewString(), KeyName: "operator",
		Service: "fescue", Operation: operation, Resource: id, Status: http.StatusOK,
	}
}

// Signer implements Signers.
func (k *Keys) Signer(ctx context.Context, id string) (Signer, error) {
	now := k.now()
	k.mu.Lock()
	hit, ok := k.recent[id]
	k.mu.Unlock()
	if ok && now.Before(hit.until) && now.After(hit.until.Add(-2*freshness)) {
		return hit.Signer, nil
	}
	return k.Current(ctx, id)
}

// Current is Signer of what is in the database now: it asks for whoever stays connected.
func (k *Keys) Current(ctx context.Context, id string) (Signer, error) {
	now, read := k.now(), k.read
	if IsSession(id) {
		read = k.readSession
	}
	signer, err := read(ctx, id)
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.recent) >= maxRecent {
		clear(k.recent)
	}
	delete(k.recent, id)
	if err == nil {
		k.recent[id] = recentSigner{signer, now.Add(freshness)}
	}
	return signer, err
}

func (k *Keys) read(ctx context.Context, id string) (Signer, error) {
	row, err := k.store.AccessKey(ctx, id)
	if errors.Is(err, fescue.ErrNotFound) || err == nil && !row.RevokedAt.IsZero() {
		return Signer{}, ErrUnknownKey
	}
	if err != nil {
		return Signer{}, err
	}
	secret, err := k.open(row)
	if err != nil {
		return Signer{}, err
	}
	policies, scope, err := Grant{row.Access, row.Limit}.compile()
	if err != nil {
		return Signer{}, fmt.Errorf("access key %s: %w", id, err)
	}
	return Signer{
		Key: Key{ID: id, Secret: secret, Account: row.Account},
		Caller: Caller{
			Name: row.Name, Identity: "user/" + userName(row), Holder: id, Access: row.Access,
			Policies: []policy.Set{policies}, Scope: scope,
		},
	}, nil
}

// userPattern is what IAM takes as a user's name (IAM API model).
var userPattern = regexp.MustCompile(`^[a-zA-Z0-9_+=,.@-]{1,64}$`)

// userName is the key's name, or its id where no user can be called so.
func userName(row AccessKey) string {
	if userPattern.MatchString(row.Name) {
		return row.Name
	}
	return row.ID
}
