// Package secrets keeps the secrets of deployed groups on a core's disk, sealed as the
// control plane sealed them for this core, and gives them to the functions that list
// them: it is GGSecretManager.
//
// A deployment's secrets are fetched when it is staged, under a data key of their own
// that the core's private key opens. Nothing of them is ever written in clear, and
// what is kept of one deployment does not open for another. The package must not know
// what a deployment does next, nor the form in which functions speak.
package secrets

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/failure"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/pki"
)

// Source is where sealed secrets come from; corelink.Client is one.
type Source interface {
	SealSecrets(ctx context.Context, groupID, deploymentID, coreARN string, request corelink.SecretsRequest) ([]byte, error)
}

// Keys say whose seals are believed; trust.Keys are some.
type Keys interface {
	// OpenSecrets is for secrets that are offered, OpenAcceptedSecrets for those that
	// were taken before.
	OpenSecrets(envelope []byte, of bundle.SecretsOf) (bundle.SealedSecrets, error)
	OpenAcceptedSecrets(envelope []byte, of bundle.SecretsOf) (bundle.SealedSecrets, error)
	// Learn asks for the keys that followed the trusted ones.
	Learn(ctx context.Context) (learned bool, err error)
}

// Options is what a Vault is made of. All are needed.
type Options struct {
	Disk disk.FS
	// Folder is the absolute path of the folder of sealed secrets, which nobody but
	// the core can enter.
	Folder string
	// KeyFile is the private key that secrets are sealed for.
	KeyFile string
	Source  Source
	Keys    Keys
	Logger  *slog.Logger
}

// Vault is the sealed secrets on one core's disk. One goroutine uses it.
type Vault struct{ Options }

// New makes a vault. It touches nothing.
func New(o Options) *Vault { return &Vault{o} }

const (
	suffix              = ".dsse"
	private fs.FileMode = 0o700
)

func (v *Vault) file(deployment string) string { return filepath.Join(v.Folder, deployment+suffix) }

// Wanted are the secret resources of a group.
func Wanted(g bundle.Group) (list []bundle.Resource) {
	for _, r := range g.GroupDefinitions.Resources.Content {
		if r.Data.Class == fescue.SecretType.Class {
			list = append(list, r)
		}
	}
	return list
}

// key is the private key.
func (v *Vault) key() (crypto.Signer, error) {
	key, err := pki.LoadPrivateKey(v.KeyFile)
	if err == nil {
		err = pki.CheckWrapping(key.Public())
	}
	if err != nil {
		return nil, failure.Fail(fescue.SecretKeyUnfit, err)
	}
	return key, nil
}

// Check says whether secrets could be sealed for this core. The error is a
// failure.Error.
func (v *Vault) Check() error {
	_, err := v.key()
	return err
}

// Stage fetches the secrets of a deployment whose group has some, unless they lie
// here. The error is a failure.Error when trying again would not help.
func (v *Vault) Stage(ctx context.Context, m bundle.Manifest, g bundle.Group) error {
	if len(Wanted(g)) == 0 {
		return nil
	}
	if _, err := v.Load(m, g); err == nil {
		return nil
	}
	key, err := v.key()
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return failure.Fail(fescue.SecretKeyUnfit, err)
	}
	envelope, err := v.Source.SealSecrets(ctx, m.GroupID, m.DeploymentID, m.CoreThingArn, corelink.SecretsRequest{Epoch: m.Epoch, PublicKey: public})
	if refused, ok := corelink.Refused(err); ok {
		return failure.Fail(fescue.SecretsNotFetched, refused)
	}
	if err != nil {
		return err
	}
	sealed, err := v.Keys.OpenSecrets(envelope, m.SecretsOf())
	if errors.Is(err, bundle.ErrUnknownKey) {
		learned, failed := v.Keys.Learn(ctx)
		if failed != nil {
			return failed
		}
		if learned {
			sealed, err = v.Keys.OpenSecrets(envelope, m.SecretsOf())
		}
	}
	if err == nil {
		_, err = open(sealed, key, g)
	}
	if err != nil {
		return failure.Fail(fescue.SecretsRefused, err)
	}
	err = disk.EnsureFolder(v.Disk, v.Folder, private)
	if err == nil {
		err = disk.ReplaceFile(v.Disk, v.file(m.DeploymentID), envelope, 0o600)
	}
	if err != nil {
		return failure.Disk("keep the group's secrets", err)
	}
	return nil
}

// Load opens the secrets of a staged deployment; nil without an error when its group
// has none. The error is a failure.Error.
func (v *Vault) Load(m bundle.Manifest, g bundle.Group) (*Set, error) {
	if len(Wanted(g)) == 0 {
		return nil, nil
	}
	envelope, err := disk.ReadFile(v.Disk, v.file(m.DeploymentID), bundle.MaxSealedSecrets)
	if err != nil {
		return nil, failure.Fail(fescue.SecretsRefused, fmt.Errorf("read them: %w", err))
	}
	sealed, err := v.Keys.OpenAcceptedSecrets(envelope, m.SecretsOf())
	if err != nil {
		return nil, failure.Fail(fescue.SecretsRefused, fmt.Errorf("%s: %w", v.file(m.DeploymentID), err))
	}
	key, err := v.key()
	if err != nil {
		return nil, err
	}
	set, err := open(sealed, key, g)
	if err != nil {
		return nil, failure.Fail(fescue.SecretsRefused, fmt.Errorf("%s: %w", v.file(m.DeploymentID), err))
	}
	return set, nil
}

// open unwraps the data key, and tries each value that the group asks for.
func open(sealed bundle.SealedSecrets, key crypto.Signer, g bundle.Group) (*Set, error) {
	opened, err := sealed.Unwrap(key)
	if err != nil {
		return nil, err
	}
	set := &Set{opened}
	for _, r := range Wanted(g) {
		data := fescue.SecretsManagerSecretResourceData{ARN: r.Data.ARN, AdditionalStagingLabelsToDownload: r.Data.AdditionalStagingLabelsToDownload}
		for _, label := range data.Labels() {
			if err := set.check(data.ARN, label); err != nil {
				return nil, err
			}
		}
	}
	return set, nil
}

// Prune removes the secrets of all but these deployments.
func (v *Vault) Prune(manifests ...bundle.Manifest) error {
	return v.sweep(func(name string) bool {
		return !slices.ContainsFunc(manifests, func(m bundle.Manifest) bool { return name == m.DeploymentID+suffix })
	})
}

// Clean removes what a start finds half written.
func (v *Vault) Clean() error {
	return v.sweep(func(name string) bool { return strings.HasSuffix(name, disk.NewSuffix) })
}

func (v *Vault) sweep(unwanted func(name string) bool) error {
	entries, err := v.Disk.ReadDir(v.Folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if err == nil && unwanted(e.Name()) {
			err = v.Disk.RemoveAll(filepath.Join(v.Folder, e.Name()))
		}
	}
	if err != nil {
		return fmt.Errorf("clean the secrets of earlier deployments: %w", err)
	}
	return nil
}
