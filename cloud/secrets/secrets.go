// Package secrets keeps secrets as AWS Secrets Manager does: named values with
// versions and staging labels. Values are sealed by the master key before they
// reach the store. The package knows neither its wire nor who may read a value.
package secrets

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
)

// Store keeps secrets.
type Store interface {
	CreateSecret(ctx context.Context, p fescue.Partition, secret Secret, first *SecretVersion) error
	Secret(ctx context.Context, p fescue.Partition, name string) (Secret, error)
	Secrets(ctx context.Context, p fescue.Partition, page fescue.Page) ([]Secret, error)
	ReplaceSecret(ctx context.Context, p fescue.Partition, before time.Time, secret Secret) error
	DropSecret(ctx context.Context, p fescue.Partition, name, suffix string) error
	PurgeSecrets(ctx context.Context, p fescue.Partition, now time.Time) error
	AddSecretVersion(ctx context.Context, p fescue.Partition, name, suffix string, v SecretVersion, unlabelled time.Time) error
	SecretVersions(ctx context.Context, p fescue.Partition, name string) ([]SecretVersion, error)
}

// Sealer wraps values: the master key.
type Sealer interface {
	Seal(secret []byte, label string) ([]byte, error)
	Open(sealed []byte, label string) ([]byte, error)
}

// Service is the secrets.
type Service struct {
	store  Store
	sealer Sealer
	now    func() time.Time
}

// New makes the service.
func New(store Store, sealer Sealer, now func() time.Time) *Service {
	return &Service{store, sealer, now}
}

// What the service refuses, with texts that are fit for the caller.
var (
	// ErrParameter is a value that no secret can have.
	ErrParameter = errors.New("invalid parameter")
	// ErrState is a request that the secret's state does not allow.
	ErrState = errors.New("invalid request")
)

var errUnknown = fescue.Refuse(fescue.ErrNotFound, "Secrets Manager can't find the specified secret.")

// Limits (Secrets Manager user guide, "Quotas").
const (
	maxValue       = 65536
	maxTags        = 50
	maxStages      = 20
	minRecovery    = 7
	maxRecovery    = 30
	unlabelledLife = 24 * time.Hour
)

// Value is what a version holds: one of the two.
type Value struct {
	Text   *string
	Binary []byte
}

// bytes are what is sealed; none is false.
func (v Value) bytes() (data []byte, binary, some bool, err error) {
	switch {
	case v.Text != nil && v.Binary != nil:
		return nil, false, false, fescue.Refuse(ErrParameter, "You can't specify both a binary secret value and a string secret value in the same secret.")
	case v.Text != nil:
		data, some = []byte(*v.Text), true
	case v.Binary != nil:
		data, binary, some = v.Binary, true, true
	}
	if some && (len(data) < 1 || len(data) > maxValue) {
		return nil, false, false, fescue.Refuse(ErrParameter, "The secret value has %d bytes; it must have 1 to %d.", len(data), maxValue)
	}
	return data, binary, some, nil
}

// Version is a version with its value.
type Version struct {
	SecretVersion
	Value Value
}

var (
	namePattern  = regexp.MustCompile(`^[A-Za-z0-9/_+=.@-]{1,512}$`)
	tokenPattern = regexp.MustCompile(`^[A-Za-z0-9-]{32,64}$`)
	suffixed     = regexp.MustCompile(`^(.+)-([A-Za-z0-9]{6})$`)
	stagePattern = regexp.MustCompile(`^[A-Za-z0-9/_+=.@-]{1,256}$`)
)

// Description is what a caller says of a secret beside its value; nil leaves
// what is there.
type Description struct {
	Text, KMSKeyID *string
}

// Create makes a secret, with a first version when there is a value. The same
// token with the same value again answers as before.
func (s *Service) Create(ctx context.Context, p fescue.Partition, name string, d Description, tags map[string]string, value Value, token string) (secret Secret, versionID string, err error) {
	if !namePattern.MatchString(name) {
		return secret, "", fescue.Refuse(ErrParameter, "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!")
	}
	if err := checkTags(tags); err != nil {
		return secret, "", err
	}
	now := s.now().UTC()
	if err := s.store.PurgeSecrets(ctx, p, now); err != nil {
		return secret, "", err
	}
	secret = Secret{Name: name, Suffix: randomSuffix(), Tags: tags, CreatedAt: now, ChangedAt: now}
	d.apply(&secret)
	first, err := s.version(p, secret, value, token, []string{fescue.StageCurrent})
	if err != nil {
		return secret, "", err
	}
	err = s.store.CreateSecret(ctx, p, secret, first)
	switch {
	case errors.Is(err, fescue.ErrExists):
		return s.created(ctx, p, name, value, token)
	case err != nil || first == nil:
		return secret, "", err
	}
	return secret, first.ID, nil
}

// created answers a Create of a name that is taken.
func (s *Service) created(ctx context.Context, p fescue.Partition, name string, value Value, token string) (Secret, string, error) {
	secret, err := s.store.Secret(ctx, p, name)
	if err != nil {
		return secret, "", err
	}
	if !secret.DeletedAt.IsZero() {
		return secret, "", fescue.Refuse(ErrState, "You can't create this secret because a secret with this name is already scheduled for deletion.")
	}
	if token != "" {
		if err := s.same(ctx, p, secret, value, token); err == nil {
			return secret, token, nil
		}
	}
	return secret, "", fescue.Refuse(fescue.ErrExists, "The operation failed because the secret %s already exists.", name)
}

func (d Description) apply(s *Secret) {
	if d.Text != nil {
		s.Description = *d.Text
	}
	if d.KMSKeyID != nil {
		s.KMSKeyID = *d.KMSKeyID
	}
}

func checkTags(tags map[string]string) error {
	if len(tags) > maxTags {
		return fescue.Refuse(ErrParameter, "A secret has at most %d tags.", maxTags)
	}
	for key, value := range tags {
		if key == "" || len(key) > 128 || len(value) > 256 {
			return fescue.Refuse(ErrParameter, "The tag %.128q must have a key of 1 to 128 characters and a value of at most 256.", key)
		}
	}
	return nil
}

// randomSuffix is six letters and digits.
func randomSuffix() string { return rand.Text()[:6] }

func label(p fescue.Partition, secret Secret, version string) string {
	return "secret/" + p.Key() + "/" + secret.Name + "-" + secret.Suffix + "/" + version
}

// version seals a value, nil when there is none. The token is its id; a caller
// without one gets a random id.
func (s *Service) version(p fescue.Partition, secret Secret, value Value, token string, stages []string) (*SecretVersion, error) {
	data, binary, some, err := value.bytes()
	if err != nil {
		return nil, err
	}
	if token != "" && !tokenPattern.MatchString(token) {
		return nil, fescue.Refuse(ErrParameter, "ClientRequestToken must have 32 to 64 letters, digits or dashes, as a UUID has.")
	}
	if !some {
		return nil, nil
	}
	if token == "" {
		token = uuid.NewString()
	}
	sealed, err := s.sealer.Seal(data, label(p, secret, token))
	if err != nil {
		return nil, err
	}
	return &SecretVersion{ID: token, Sealed: sealed, Binary: binary, CreatedAt: s.now().UTC(), Stages: stages}, nil
}

// Find is the secret that an id names: a name, an ARN, or an ARN without its
// suffix. A deleted one is found too, one whose time has come is not.
func (s *Service) Find(ctx context.Context, p fescue.Partition, id string) (Secret, error) {
	name := id
	if strings.HasPrefix(id, "arn:") {
		arn, err := fescue.ParseARN(id)
		rest, ok := strings.CutPrefix(arn.Resource, "secret:")
		if err != nil || !ok || arn.Service != "secretsmanager" || arn.Partition() != p {
			return Secret{}, errUnknown
		}
		name = rest
		if m := suffixed.FindStringSubmatch(rest); m != nil {
			if secret, err := s.find(ctx, p, m[1]); err == nil && secret.Suffix == m[2] || err != nil && !errors.Is(err, fescue.ErrNotFound) {
				return secret, err
			}
		}
	}
	if !namePattern.MatchString(name) {
		return Secret{}, errUnknown
	}
	secret, err := s.find(ctx, p, name)
	return secret, err
}

func (s *Service) find(ctx context.Context, p fescue.Partition, name string) (Secret, error) {
	secret, err := s.store.Secret(ctx, p, name)
	if errors.Is(err, fescue.ErrNotFound) || err == nil && s.purged(secret) {
		return Secret{}, errUnknown
	}
	return secret, err
}

func (s *Service) purged(secret Secret) bool {
	return !secret.PurgeAt.IsZero() && !s.now().Before(secret.PurgeAt)
}

// live is a secret that is not deleted.
func (s *Service) live(ctx context.Context, p fescue.Partition, id string) (Secret, error) {
	secret, err := s.Find(ctx, p, id)
	if err == nil && !secret.DeletedAt.IsZero() {
		return secret, fescue.Refuse(ErrState, "You can't perform this operation on the secret because it was marked for deletion.")
	}
	return secret, err
}

// Put adds a version, with AWSCURRENT when no labels are named. The same token
// with the same value again changes nothing.
func (s *Service) Put(ctx context.Context, p fescue.Partition, id string, value Value, token string, stages []string) (Secret, SecretVersion, error) {
	secret, err := s.live(ctx, p, id)
	if err != nil {
		return secret, SecretVersion{}, err
	}
	if len(stages) == 0 {
		stages = []string{fescue.StageCurrent}
	}
	if len(stages) > maxStages || slices.ContainsFunc(stages, func(s string) bool { return !stagePattern.MatchString(s) }) {
		return secret, SecretVersion{}, fescue.Refuse(ErrParameter, "A version has 1 to %d staging labels of letters, digits and -/_+=.@", maxStages)
	}
	v, err := s.version(p, secret, value, token, stages)
	if err != nil {
		return secret, SecretVersion{}, err
	}
	if v == nil {
		return secret, SecretVersion{}, fescue.Refuse(ErrParameter, "You must provide either SecretString or SecretBinary.")
	}
	err = s.store.AddSecretVersion(ctx, p, secret.Name, secret.Suffix, *v, v.CreatedAt.Add(-unlabelledLife))
	switch {
	case errors.Is(err, fescue.ErrExists):
		return secret, *v, s.same(ctx, p, secret, value, v.ID)
	case errors.Is(err, fescue.ErrNotFound):
		return secret, *v, errUnknown // deleted a moment ago
	}
	return secret, *v, err
}

// same says whether the version holds the value.
func (s *Service) same(ctx context.Context, p fescue.Partition, secret Secret, value Value, id string) error {
	v, err := s.read(ctx, p, secret, func(v SecretVersion) bool { return v.ID == id })
	if err != nil {
		return err
	}
	want, binary, _, err := value.bytes()
	if err != nil {
		return err
	}
	got, _, _, err := v.Value.bytes()
	if err == nil && (binary != v.Binary || subtle.ConstantTimeCompare(got, want) != 1) {
		err = fescue.Refuse(fescue.ErrExists, "You can't use ClientRequestToken %s because that value is already in use for a version of secret %s.", id, p.SecretARN(secret.Name, secret.Suffix))
	}
	return err
}

// read opens the version that is asked for; none is fescue.ErrNotFound.
func (s *Service) read(ctx context.Context, p fescue.Partition, secret Secret, is func(SecretVersion) bool) (Version, error) {
	versions, err := s.store.SecretVersions(ctx, p, secret.Name)
	if err != nil {
		return Version{}, err
	}
	i := slices.IndexFunc(versions, is)
	if i < 0 {
		return Version{}, fescue.ErrNotFound
	}
	v := Version{SecretVersion: versions[i]}
	data, err := s.sealer.Open(v.Sealed, label(p, secret, v.ID))
	if err != nil {
		return Version{}, err
	}
	if v.Binary {
		v.Value.Binary = data
	} else {
		text := string(data)
		v.Value.Text = &text
	}
	return v, nil
}

// Value reads a version by its id, by a label, or by both, which must agree;
// without either the current one.
func (s *Service) Value(ctx context.Context, p fescue.Partition, id, versionID, stage string) (Secret, Version, error) {
	secret, err := s.live(ctx, p, id)
	if err != nil {
		return secret, Version{}, err
	}
	if versionID == "" && stage == "" {
		stage = fescue.StageCurrent
	}
	v, err := s.read(ctx, p, secret, func(v SecretVersion) bool {
		return (versionID == "" || v.ID == versionID) && (stage == "" || slices.Contains(v.Stages, stage))
	})
	if errors.Is(err, fescue.ErrNotFound) {
		what := "staging label: " + stage
		if versionID != "" {
			what = "VersionId: " + versionID
		}
		err = fescue.Refuse(fescue.ErrNotFound, "Secrets Manager can't find the specified secret value for %s", what)
	}
	return secret, v, err
}

// Versions lists the versions of a secret, oldest first, without values.
func (s *Service) Versions(ctx context.Context, p fescue.Partition, id string) (Secret, []SecretVersion, error) {
	secret, err := s.Find(ctx, p, id)
	if err != nil {
		return secret, nil, err
	}
	versions, err := s.store.SecretVersions(ctx, p, secret.Name)
	return secret, versions, err
}

// List is secrets by name; deleted ones only when asked for.
func (s *Service) List(ctx context.Context, p fescue.Partition, page fescue.Page, deleted bool) ([]Secret, error) {
	var list []Secret
	for {
		part, err := s.store.Secrets(ctx, p, page)
		if err != nil {
			return nil, err
		}
		for _, secret := range part {
			if !s.purged(secret) && (deleted || secret.DeletedAt.IsZero()) && len(list) < page.Limit {
				list = append(list, secret)
			}
		}
		if len(part) < page.Limit || len(list) == page.Limit {
			return list, nil
		}
		page.After = part[len(part)-1].Name
	}
}

// change replaces a secret by what edit makes of it; it tries again when another
// change comes between.
func (s *Service) change(ctx context.Context, p fescue.Partition, find func(context.Context, fescue.Partition, string) (Secret, error), id string, edit func(*Secret) error) (Secret, error) {
	for try := 0; ; try++ {
		secret, err := find(ctx, p, id)
		if err != nil {
			return secret, err
		}
		before := secret.ChangedAt
		if err := edit(&secret); err != nil {
			return secret, err
		}
		if secret.ChangedAt = s.now().UTC(); !secret.ChangedAt.After(before) {
			secret.ChangedAt = before.Add(time.Millisecond)
		}
		err = s.store.ReplaceSecret(ctx, p, before, secret)
		if err == nil || !errors.Is(err, fescue.ErrConflict) || try == 10 {
			return secret, err
		}
	}
}

// Update changes the description and, when there is a value, adds a version.
func (s *Service) Update(ctx context.Context, p fescue.Partition, id string, d Description, value Value, token string) (secret Secret, versionID string, err error) {
	_, _, some, err := value.bytes()
	if err != nil {
		return secret, "", err
	}
	if secret, err = s.live(ctx, p, id); err != nil {
		return secret, "", err
	}
	if some {
		_, v, err := s.Put(ctx, p, id, value, token, nil)
		if err != nil {
			return secret, "", err
		}
		versionID = v.ID
	}
	if d != (Description{}) {
		secret, err = s.change(ctx, p, s.live, id, func(secret *Secret) error { d.apply(secret); return nil })
	}
	return secret, versionID, err
}

// Tag adds tags to a secret, or replaces their values.
func (s *Service) Tag(ctx context.Context, p fescue.Partition, id string, tags map[string]string) error {
	_, err := s.change(ctx, p, s.live, id, func(secret *Secret) error {
		if secret.Tags == nil {
			secret.Tags = make(map[string]string)
		}
		maps.Copy(secret.Tags, tags)
		return checkTags(secret.Tags)
	})
	return err
}

// Untag removes tags of a secret.
func (s *Service) Untag(ctx context.Context, p fescue.Partition, id string, keys []string) error {
	_, err := s.change(ctx, p, s.live, id, func(secret *Secret) error {
		for _, key := range keys {
			delete(secret.Tags, key)
		}
		return nil
	})
	return err
}

// Delete marks a secret as deleted for so many days, nil meaning 30, after which
// it is gone; force removes it at once. It returns when it goes.
func (s *Service) Delete(ctx context.Context, p fescue.Partition, id string, window *int, force bool) (Secret, time.Time, error) {
	days := maxRecovery
	if window != nil {
		days = *window
	}
	switch {
	case force && window != nil:
		return Secret{}, time.Time{}, fescue.Refuse(ErrParameter, "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.")
	case !force && (days < minRecovery || days > maxRecovery):
		return Secret{}, time.Time{}, fescue.Refuse(ErrParameter, "The RecoveryWindowInDays value must be between %d and %d days (inclusive).", minRecovery, maxRecovery)
	}
	now := s.now().UTC()
	if force {
		secret, err := s.Find(ctx, p, id)
		if err != nil {
			return secret, now, err
		}
		return secret, now, s.store.DropSecret(ctx, p, secret.Name, secret.Suffix)
	}
	secret, err := s.change(ctx, p, s.live, id, func(secret *Secret) error {
		secret.DeletedAt, secret.PurgeAt = now, now.AddDate(0, 0, days)
		return nil
	})
	return secret, secret.PurgeAt, err
}

// Restore takes a deletion back, also when there was none.
func (s *Service) Restore(ctx context.Context, p fescue.Partition, id string) (Secret, error) {
	return s.change(ctx, p, s.Find, id, func(secret *Secret) error {
		secret.DeletedAt, secret.PurgeAt = time.Time{}, time.Time{}
		return nil
	})
}

// ForCore reads what a core is given of a secret: the versions that have one of the
// labels, each with those of the labels that it has. That the secret, or a version
// with a label, is not there is fescue.ErrNotFound.
func (s *Service) ForCore(ctx context.Context, p fescue.Partition, id string, labels []string) (bundle.Secret, error) {
	secret, err := s.live(ctx, p, id)
	if errors.Is(err, ErrState) {
		err = fescue.Refuse(fescue.ErrNotFound, "%v", err)
	}
	if err != nil {
		return bundle.Secret{}, err
	}
	given := bundle.Secret{ARN: p.SecretARN(secret.Name, secret.Suffix), Name: secret.Name}
	versions, err := s.store.SecretVersions(ctx, p, secret.Name)
	if err != nil {
		return bundle.Secret{}, err
	}
	found := make(map[string]bool)
	for _, v := range versions {
		has := slices.DeleteFunc(slices.Clone(v.Stages), func(stage string) bool { return !slices.Contains(labels, stage) })
		if len(has) == 0 {
			continue
		}
		for _, stage := range has {
			found[stage] = true
		}
		value, err := s.sealer.Open(v.Sealed, label(p, secret, v.ID))
		if err != nil {
			return bundle.Secret{}, err
		}
		given.Versions = append(given.Versions, bundle.SecretVersion{ID: v.ID, Stages: has, Binary: v.Binary, CreatedAt: v.CreatedAt, Value: value})
	}
	for _, stage := range labels {
		if !found[stage] {
			return bundle.Secret{}, fescue.Refuse(fescue.ErrNotFound, "Secrets Manager can't find the specified secret value for staging label: %s", stage)
		}
	}
	return given, nil
}
