package agent

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/depot"
	"github.com/fescue-edge/fescue/core/secrets"
	"github.com/fescue-edge/fescue/core/trust"
	"github.com/fescue-edge/fescue/disk"
)

// folder is the deployment folder of one core: what lies in it and is made from it. What
// is to lie there the Agent decides.
type folder struct {
	layout
	disk     disk.FS
	keys     *trust.Keys
	depot    *depot.Depot
	vault    *secrets.Vault
	thingARN string
	logger   *slog.Logger

	// stateSaved says that a state file is on the disk.
	stateSaved bool
	// derived is the deployment that the links and group.json were made from by this process.
	derived *deployed
}

// deployed is a verified manifest that lies on the disk.
type deployed struct {
	manifest bundle.Manifest
	envelope []byte
}

func (d *deployed) String() string {
	if d == nil {
		return "no deployment"
	}
	return "deployment " + d.manifest.DeploymentID
}

// maxEnvelopeFile bounds a manifest on disk, in bytes.
const maxEnvelopeFile = 8 << 20

// load reads and verifies a manifest; nil without an error when there is
// none.
func (f *folder) load(path string) (*deployed, error) {
	envelope, err := disk.ReadFile(f.disk, path, maxEnvelopeFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the deployed manifest: %w", err)
	}
	m, err := f.keys.OpenAccepted(envelope)
	if errors.Is(err, trust.ErrNoKey) {
		return nil, err
	}
	if err == nil && m.CoreThingArn != f.thingARN {
		err = fmt.Errorf("%w: it is for core %s, this core is %s", bundle.ErrManifest, m.CoreThingArn, f.thingARN)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &deployed{m, envelope}, nil
}

// keep replaces a manifest on the disk; nil removes it.
func (f *folder) keep(path string, d *deployed) error {
	if d != nil {
		return disk.ReplaceFile(f.disk, path, d.envelope, 0o600)
	}
	if err := disk.RemoveIfThere(f.disk, path); err != nil {
		return err
	}
	return f.disk.SyncDir(f.root)
}

// groupDocument reads what the signature covers, not the file group.json that people
// edit.
func (f *folder) groupDocument(m bundle.Manifest) ([]byte, error) {
	document, ok := m.GroupDocument()
	if !ok {
		return nil, errors.New("the manifest names no group document")
	}
	return f.depot.Read(document)
}

// deriveOnce is derive where this process has not done it for d.
func (f *folder) deriveOnce(d *deployed) error {
	if d != nil && f.derived == d {
		return nil
	}
	return f.derive(d)
}

// derive makes the links in lambda and group.json from the current manifest, nil for none.
func (f *folder) derive(d *deployed) (err error) {
	f.derived = nil
	defer func() {
		if err == nil {
			f.derived = d
		}
	}()
	want := make(map[string]string)
	if d != nil {
		for _, art := range d.manifest.Artifacts {
			if art.Kind == bundle.FunctionPackage {
				want[art.Name] = filepath.Join("..", filepath.Base(f.store()), art.SHA256)
			}
		}
	}
	for folder, mode := range map[string]fs.FileMode{f.lambdas(): passable, f.groupFolder(): private} {
		if err := disk.EnsureFolder(f.disk, folder, mode); err != nil {
			return fmt.Errorf("prepare the deployment folder: %w", err)
		}
	}
	if err := f.linkFunctions(want); err != nil {
		return fmt.Errorf("link the functions: %w", err)
	}
	document, err := f.document(d)
	if err != nil {
		return err
	}
	if now, err := disk.ReadFile(f.disk, f.group(), depot.MaxDocument); err == nil && bytes.Equal(now, document) {
		return f.disk.Chmod(f.group(), 0o600)
	}
	if err := disk.ReplaceFile(f.disk, f.group(), document, 0o600); err != nil {
		return fmt.Errorf("write group.json: %w", err)
	}
	return nil
}

// document is what group.json holds for a manifest.
func (f *folder) document(d *deployed) ([]byte, error) {
	if d == nil || d.manifest.DeploymentType.Reset() {
		return []byte(initialGroup), nil
	}
	data, err := f.groupDocument(d.manifest)
	if err != nil {
		return nil, fmt.Errorf("group.json of %v: %w", d, err)
	}
	return data, nil
}

// emptyGroup in group.json means: start nothing (AWS IoT Greengrass V1 developer
// guide, "Troubleshooting"). initialGroup is the file as the original shipped it.
const (
	emptyGroup   = `{}`
	initialGroup = `{"Version":"test group version","Devices":[],"Cores":[],"GroupDefinitions":{` +
		`"Logging":{"Content":[{"Component":"GreengrassSystem","Level":"DEBUG","Type":"FileSystem","Space":128}]},` +
		`"Lambdas":{"ref":null,"Content":[]},"Subscriptions":{"ref":null,"Content":[]},"ShadowSync":{"ref":null,"Content":[]}},"Region":null}`
)

// groupEmptied reports whether an operator has put `{}` into group.json.
func (f *folder) groupEmptied() bool {
	data, err := disk.ReadFile(f.disk, f.group(), depot.MaxDocument)
	return err == nil && string(bytes.Join(bytes.Fields(data), nil)) == emptyGroup
}

func (f *folder) linkFunctions(want map[string]string) error {
	entries, err := f.disk.ReadDir(f.lambdas())
	if err != nil {
		return err
	}
	removed := false
	for _, e := range entries {
		if e.Type()&fs.ModeSymlink == 0 {
			continue
		}
		// Only links into the store are the agent's to remove.
		name := filepath.Join(f.lambdas(), e.Name())
		target, err := f.disk.Readlink(name)
		if err != nil {
			return err
		}
		if want[e.Name()] == target {
			delete(want, e.Name())
			continue
		}
		_, wanted := want[e.Name()]
		if !wanted && strings.HasPrefix(target, filepath.Join("..", filepath.Base(f.store()))+string(os.PathSeparator)) {
			if err := f.disk.Remove(name); err != nil {
				return err
			}
			removed = true
		}
	}
	if len(want) == 0 && !removed {
		return nil // what a power cut takes of them, the next start makes again
	}
	for arn, target := range want {
		if err := f.linkFunction(filepath.Join(f.lambdas(), arn), target); err != nil {
			return err
		}
	}
	return f.disk.SyncDir(f.lambdas())
}

func (f *folder) linkFunction(name, target string) error {
	if info, err := f.disk.Lstat(name); err == nil && info.Mode()&fs.ModeSymlink == 0 {
		if err := f.putAway(name); err != nil {
			return err
		}
	}
	return disk.ReplaceLink(f.disk, target, name)
}

// foreign reports whether group.json is of another core software. Where nothing is
// deployed, that is one with a core of which the store has no artifact: the
// agent's own are copies of what the store has.
func (f *folder) foreign() bool {
	data, err := disk.ReadFile(f.disk, f.group(), depot.MaxDocument)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	if g, err := bundle.ParseGroup(data); err == nil && len(g.Cores) == 0 {
		return false
	}
	sum := sha256.Sum256(data)
	_, err = f.disk.Lstat(f.depot.Path(hex.EncodeToString(sum[:])))
	return err != nil
}

// putAway moves something that is not the agent's out of the way. What was put
// away before stays.
func (f *folder) putAway(name string) error {
	to := filepath.Join(f.before(), strings.TrimPrefix(name, f.root))
	there, err := disk.Exists(f.disk, to)
	if err != nil {
		return err
	}
	if there {
		return f.disk.RemoveAll(name)
	}
	if err := disk.MakeFolderOn(f.disk, filepath.Dir(to), private); err != nil {
		return err
	}
	f.logger.Info("Something from before this core software is kept.", slog.String("from", name), slog.String("to", to))
	if err := f.disk.Rename(name, to); err != nil {
		return err
	}
	return f.disk.SyncDir(filepath.Dir(to))
}

// prune removes what none of these manifests names.
func (f *folder) prune(list ...*deployed) error {
	var keep []bundle.Manifest
	for _, d := range list {
		if d != nil {
			keep = append(keep, d.manifest)
		}
	}
	return errors.Join(f.depot.Prune(keep...), f.vault.Prune(keep...))
}

// clean removes what a start finds half done.
func (f *folder) clean(now time.Time) error {
	err := errors.Join(f.depot.Clean(now), f.vault.Clean(), f.disk.RemoveAll(f.doneCarried()))
	files := append(f.keys.Files(), f.manifest(), f.previous(), f.state(), f.group())
	for _, name := range files {
		err = errors.Join(err, disk.RemoveIfThere(f.disk, name+disk.NewSuffix))
	}
	return err
}
