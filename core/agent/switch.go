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

	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/depot"
	"github.com/fescue-edge/fescue/core/trust"
	"github.com/fescue-edge/fescue/disk"
)

// deployed is a verified manifest that lies on the disk.
type deployed struct {
	manifest bundle.Manifest
	envelope []byte
}

// maxEnvelopeFile bounds a manifest on disk, in bytes.
const maxEnvelopeFile = 8 << 20

// loadDeployed reads and verifies a manifest; nil without an error when there is
// none.
func (a *Agent) loadDeployed(path string) (*deployed, error) {
	envelope, err := disk.ReadFile(a.Disk, path, maxEnvelopeFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the deployed manifest: %w", err)
	}
	m, err := a.keys.OpenAccepted(envelope)
	if errors.Is(err, trust.ErrNoKey) {
		return nil, err
	}
	if err == nil && m.CoreThingArn != a.ThingARN {
		err = fmt.Errorf("%w: it is for core %s, this core is %s", bundle.ErrManifest, m.CoreThingArn, a.ThingARN)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &deployed{m, envelope}, nil
}

// switchTo makes next what the core starts from. The rename of the manifest is
// the one instant at which that changes; all else follows from it and is done
// again at each start.
func (a *Agent) switchTo(next *deployed) error {
	if err := a.keepForeign(); err != nil {
		return err
	}
	if !a.stateSaved {
		// Without it the next start could not know that this deployment has
		// not ended.
		if err := a.saveState(a.state); err != nil {
			return err
		}
	}
	if err := a.keepPrevious(); err != nil {
		return err
	}
	if err := disk.ReplaceFile(a.Disk, a.layout.manifest(), next.envelope, 0o600); err != nil {
		return fmt.Errorf("switch to the manifest of deployment %s: %w", next.manifest.DeploymentID, err)
	}
	a.current, a.emptied = next, false
	return a.derive()
}

// keepPrevious writes down what to go back to: the last deployment that
// succeeded, which is not the current one if that has not ended well.
func (a *Agent) keepPrevious() error {
	switch {
	case a.current == nil, a.emptied:
		// An operator who emptied group.json does not want the old one back.
		a.previous = nil
	case a.current.manifest.Epoch == a.state.Accepted:
		a.previous = a.current
	default:
		return nil
	}
	if err := a.writePrevious(); err != nil {
		return fmt.Errorf("keep the previous manifest: %w", err)
	}
	return nil
}

func (a *Agent) writePrevious() error {
	if a.previous != nil {
		return disk.ReplaceFile(a.Disk, a.layout.previous(), a.previous.envelope, 0o600)
	}
	if err := disk.RemoveIfThere(a.Disk, a.layout.previous()); err != nil {
		return err
	}
	return a.Disk.SyncDir(a.layout.root)
}

// switchBack makes the last deployment that succeeded what the core starts from.
func (a *Agent) switchBack() error {
	if a.previous == nil {
		if err := disk.RemoveIfThere(a.Disk, a.layout.manifest()); err != nil {
			return fmt.Errorf("go back to no deployment: %w", err)
		}
		if err := a.Disk.SyncDir(a.layout.root); err != nil {
			return fmt.Errorf("go back to no deployment: %w", err)
		}
	} else if err := disk.ReplaceFile(a.Disk, a.layout.manifest(), a.previous.envelope, 0o600); err != nil {
		return fmt.Errorf("go back to deployment %s: %w", a.previous.manifest.DeploymentID, err)
	}
	a.current, a.unapplied = a.previous, true
	return a.derive()
}

// deriveOnce is derive where this process has not done it for the current manifest.
func (a *Agent) deriveOnce() error {
	if a.current != nil && a.derived == a.current {
		return nil
	}
	return a.derive()
}

// derive makes the links in lambda and group.json from the current manifest.
func (a *Agent) derive() error {
	if err := a.bringInLine(); err != nil {
		a.derived = nil
		return err
	}
	a.derived = a.current
	return nil
}

func (a *Agent) bringInLine() error {
	want := make(map[string]string)
	if a.current != nil {
		for _, art := range a.current.manifest.Artifacts {
			if art.Kind == bundle.FunctionPackage {
				want[art.Name] = filepath.Join("..", filepath.Base(a.layout.store()), art.SHA256)
			}
		}
	}
	for folder, mode := range map[string]fs.FileMode{a.layout.lambdas(): passable, a.layout.groupFolder(): private} {
		if err := disk.EnsureFolder(a.Disk, folder, mode); err != nil {
			return fmt.Errorf("prepare the deployment folder: %w", err)
		}
	}
	if err := a.linkFunctions(want); err != nil {
		return fmt.Errorf("link the functions: %w", err)
	}
	document, err := a.document()
	if err != nil {
		return err
	}
	if now, err := disk.ReadFile(a.Disk, a.layout.group(), depot.MaxDocument); err == nil && bytes.Equal(now, document) {
		return a.Disk.Chmod(a.layout.group(), 0o600)
	}
	if err := disk.ReplaceFile(a.Disk, a.layout.group(), document, 0o600); err != nil {
		return fmt.Errorf("write group.json: %w", err)
	}
	return nil
}

// document is what group.json holds for the current manifest.
func (a *Agent) document() ([]byte, error) {
	switch {
	case a.emptied:
		return []byte(emptyGroup), nil
	case a.current == nil || a.current.manifest.DeploymentType.Reset():
		return []byte(initialGroup), nil
	}
	data, err := a.groupDocument(a.current.manifest)
	if err != nil {
		return nil, fmt.Errorf("group.json of deployment %s: %w", a.current.manifest.DeploymentID, err)
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
func (a *Agent) groupEmptied() bool {
	data, err := disk.ReadFile(a.Disk, a.layout.group(), depot.MaxDocument)
	return err == nil && string(bytes.Join(bytes.Fields(data), nil)) == emptyGroup
}

func (a *Agent) linkFunctions(want map[string]string) error {
	entries, err := a.Disk.ReadDir(a.layout.lambdas())
	if err != nil {
		return err
	}
	removed := false
	for _, e := range entries {
		if e.Type()&fs.ModeSymlink == 0 {
			continue
		}
		// Only links into the store are the agent's to remove.
		name := filepath.Join(a.layout.lambdas(), e.Name())
		target, err := a.Disk.Readlink(name)
		if err != nil {
			return err
		}
		if want[e.Name()] == target {
			delete(want, e.Name())
			continue
		}
		_, wanted := want[e.Name()]
		if !wanted && strings.HasPrefix(target, filepath.Join("..", filepath.Base(a.layout.store()))+string(os.PathSeparator)) {
			if err := a.Disk.Remove(name); err != nil {
				return err
			}
			removed = true
		}
	}
	if len(want) == 0 && !removed {
		return nil // what a power cut takes of them, the next start makes again
	}
	for arn, target := range want {
		if err := a.linkFunction(filepath.Join(a.layout.lambdas(), arn), target); err != nil {
			return err
		}
	}
	return a.Disk.SyncDir(a.layout.lambdas())
}

func (a *Agent) linkFunction(name, target string) error {
	if info, err := a.Disk.Lstat(name); err == nil && info.Mode()&fs.ModeSymlink == 0 {
		if err := a.putAway(name, filepath.Join("lambda", filepath.Base(name))); err != nil {
			return err
		}
	}
	return disk.ReplaceLink(a.Disk, target, name)
}

// keepForeign puts a group.json away that another core software wrote, before a
// switch replaces it: a group can be recovered from it.
func (a *Agent) keepForeign() error {
	if a.current != nil || !a.foreign() {
		return nil
	}
	return a.putAway(a.layout.group(), filepath.Join("group", "group.json"))
}

// foreign reports whether group.json is of another core software. Where nothing is
// deployed, that is one with a core of which the store has no artifact: the
// agent's own are copies of what the store has.
func (a *Agent) foreign() bool {
	data, err := disk.ReadFile(a.Disk, a.layout.group(), depot.MaxDocument)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	if g, err := bundle.ParseGroup(data); err == nil && len(g.Cores) == 0 {
		return false
	}
	sum := sha256.Sum256(data)
	_, err = a.Disk.Lstat(a.depot.Path(hex.EncodeToString(sum[:])))
	return err != nil
}

// putAway moves something that is not the agent's out of the way. What was put
// away before stays.
func (a *Agent) putAway(name, as string) error {
	to := filepath.Join(a.layout.before(), as)
	there, err := disk.Exists(a.Disk, to)
	if err != nil {
		return err
	}
	if there {
		return a.Disk.RemoveAll(name)
	}
	if err := disk.MakeFolderOn(a.Disk, filepath.Dir(to), private); err != nil {
		return err
	}
	a.Logger.Info("Something from before this core software is kept.", slog.String("from", name), slog.String("to", to))
	if err := a.Disk.Rename(name, to); err != nil {
		return err
	}
	return a.Disk.SyncDir(filepath.Dir(to))
}
