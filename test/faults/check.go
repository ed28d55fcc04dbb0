//go:build linux

package faults

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
)

// model is what must be, seen from outside: which deployment is the last that
// succeeded, and so what runs.
type model struct {
	site *site
	// current is nil before the first success.
	current *attempt
	// ended are all deployments with the statuses that they must keep.
	ended []attempt
	// highest is the highest epoch that was given out, promised that of current.
	highest, promised int64
	// steady is the process of the function that never changes.
	steady   int
	identity map[string][32]byte
}

func newModel(s *site) (*model, error) {
	m := &model{site: s}
	var err error
	m.identity, err = s.identity()
	return m, err
}

// identity is what makes the core the one it is: its configuration, certificates
// and keys, by name.
func (s *site) identity() (map[string][32]byte, error) {
	files := make(map[string][32]byte)
	for _, folder := range []string{"config", "certs"} {
		err := filepath.WalkDir(filepath.Join(s.root, folder), func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			data, err := os.ReadFile(name)
			if rel, _ := filepath.Rel(s.root, name); rel != signingKey {
				files[rel] = sha256.Sum256(data)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// signingKey is the one file of the identity that comes at the first contact.
const signingKey = "certs/fescue-signing.pub"

// cleared reports whether there is nothing that could be cleared or deployed once
// more.
func (m *model) cleared() bool { return m.current == nil || m.current.reset }

// check holds everything that can be seen after a run against the model.
func (m *model) check(ctx context.Context, g *group, u run, attempts []attempt) error {
	before := m.current
	for i, a := range attempts {
		if err := permitted(a, u, i+1 < len(attempts)); err != nil {
			return err
		}
		if a.status() == fescue.Success {
			m.current = &a
		}
		m.ended = append(m.ended, a)
	}
	if err := m.timelines(ctx, g, attempts); err != nil {
		return err
	}
	if err := eventually(ctx, func() error { return m.runs() }); err != nil {
		return fmt.Errorf("what runs is not what was deployed last: %w", err)
	}
	if err := eventually(ctx, func() error { return m.disk() }); err != nil {
		return fmt.Errorf("what lies on the core's disk: %w", err)
	}
	// What the core is about to write at the first contact has another name for a moment.
	if err := eventually(ctx, m.same); err != nil {
		return err
	}
	return m.kept(before, u)
}

// permitted says whether a deployment may have ended as it did.
func permitted(a attempt, u run, followed bool) error {
	text := a.details()
	short := text[:min(len(text), 800)]
	switch status := a.status(); {
	case status == fescue.Success && a.ends == fescue.Success:
		return nil
	case status == fescue.Success:
		return fmt.Errorf("deployment %s of a version that is %s ended in Success", a.id, a.name)
	case text == "" || len(a.end.ErrorDetails) == 0:
		return fmt.Errorf("deployment %s failed without a cause", a.id)
	case followed && strings.Contains(text, string(fescue.DeploymentSuperseded)):
		return nil
	case u.cancel.after > 0 && (strings.Contains(text, string(fescue.DeploymentCancelled)) || u.cancel.force && strings.Contains(text, string(fescue.DeploymentForcedAway))):
		return nil
	case u.misled() && strings.Contains(text, string(fescue.DeploymentTimedOut)):
		return nil
	case u.suffered(killFunction):
		return nil
	case u.suffered(fillDisk) && (full(text) || a.ends == fescue.Failure):
		return nil
	case a.ends == fescue.Success && a.says != "" && strings.Contains(text, a.says):
		return nil // it ended before a core that was frozen saw that it was ready
	case a.ends == fescue.Success:
		return fmt.Errorf("deployment %s of a version that is %s failed: %s", a.id, a.name, short)
	case !strings.Contains(text, a.says):
		return fmt.Errorf("deployment %s of a version that is %s failed without saying %q: %s", a.id, a.name, a.says, short)
	}
	return nil
}

// full reports whether a text names a full disk.
func full(text string) bool {
	return strings.Contains(text, "disk is full") || strings.Contains(text, "no space left")
}

// expected are the functions that must run.
func (m *model) expected() (runs map[string]string, restless string) {
	if m.current == nil || m.current.reset {
		return nil, ""
	}
	return m.current.runs, m.current.restless
}

// runs looks at the processes: exactly one of each function of the current
// version, and no other.
func (m *model) runs() error {
	if err := errors.Join(m.site.core.ended(), m.site.running()); err != nil {
		return err
	}
	want, restless := m.expected()
	got := make(map[string]string)
	for _, f := range functions(m.site.root) {
		if _, twice := got[f.arn]; twice {
			return fmt.Errorf("function %s runs twice", f.arn)
		}
		got[f.arn] = f.tag
	}
	if _, there := got[restless]; restless != "" && !there {
		got[restless] = want[restless]
	}
	if !maps.Equal(got, want) {
		return fmt.Errorf("functions %v run, of deployment %s %v are expected", got, m.id(), want)
	}
	return nil
}

func (m *model) id() string {
	if m.current == nil {
		return ""
	}
	return m.current.id
}

// disk looks at the deployment folder.
func (m *model) disk() error {
	folder := filepath.Join(m.site.root, "ggc", "deployment")
	envelope, err := os.ReadFile(filepath.Join(folder, "manifest.dsse"))
	if errors.Is(err, fs.ErrNotExist) && m.current == nil {
		return nil
	}
	if err != nil {
		return err
	}
	key, err := m.key()
	if err != nil {
		return err
	}
	manifest, err := bundle.Open(envelope, map[string]ed25519.PublicKey{bundle.KeyID(key): key})
	if err != nil {
		return err
	}
	if manifest.DeploymentID != m.id() {
		return fmt.Errorf("the manifest is of deployment %s, not of %s", manifest.DeploymentID, m.id())
	}
	if manifest.Epoch != m.promised {
		return fmt.Errorf("the manifest has epoch %d, the deployment %d", manifest.Epoch, m.promised)
	}
	if err := errors.Join(m.state(folder, manifest), m.models(folder, manifest), m.sealed()); err != nil {
		return err
	}
	return m.links(folder, manifest)
}

func (m *model) key() (ed25519.PublicKey, error) {
	data, err := os.ReadFile(filepath.Join(m.site.root, signingKey))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("the signing key is no PEM")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if key, ok := parsed.(ed25519.PublicKey); ok {
		return key, nil
	}
	return nil, errors.Join(errors.New("the signing key is not Ed25519"), err)
}

// state checks that the core has nothing left to report and knows what it runs.
func (m *model) state(folder string, manifest bundle.Manifest) error {
	data, err := os.ReadFile(filepath.Join(folder, "state.json"))
	if err != nil {
		return err
	}
	var state struct {
		Epoch, Accepted int64
		Ended           any
	}
	if err := json.Unmarshal(data, &state); err != nil {
		return err
	}
	if state.Ended != nil || state.Accepted != manifest.Epoch || state.Epoch < manifest.Epoch {
		return fmt.Errorf("the state is %s, the manifest has epoch %d", data, manifest.Epoch)
	}
	return nil
}

// links checks what is derived from the manifest.
func (m *model) links(folder string, manifest bundle.Manifest) error {
	var want, got []string
	for _, a := range manifest.Artifacts {
		if a.Kind != bundle.FunctionPackage {
			continue
		}
		want = append(want, a.Name)
		if _, err := os.Stat(filepath.Join(folder, "lambda", a.Name, ".")); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(filepath.Join(folder, "lambda"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		got = append(got, e.Name())
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Errorf("links %v, the manifest names %v", got, want)
	}
	group, ok := manifest.GroupDocument()
	if !ok {
		return nil
	}
	document, err := os.ReadFile(filepath.Join(folder, "group", "group.json"))
	if err == nil && fmt.Sprintf("%x", sha256.Sum256(document)) != group.SHA256 {
		err = errors.New("group.json is not the manifest's")
	}
	return err
}

// same checks the core's identity.
func (m *model) same() error {
	now, err := m.site.identity()
	if err == nil && !maps.Equal(now, m.identity) {
		err = fmt.Errorf("the core's identity changed: %v, before %v", slices.Sorted(maps.Keys(now)), slices.Sorted(maps.Keys(m.identity)))
	}
	return err
}

// kept checks that the function that never changes kept its process.
func (m *model) kept(before *attempt, u run) error {
	was := m.steady
	m.steady = 0
	for _, f := range functions(m.site.root) {
		if f.tag == "steady" {
			m.steady = f.pid
		}
	}
	if before == nil || before.reset || before.runs == nil || u.restarted() || was == 0 || m.steady == 0 {
		return nil
	}
	// Only when every version on the way had it was there no reason to stop it.
	for _, v := range u.versions {
		if !v.steady && !v.again {
			return nil
		}
	}
	if m.steady != was {
		return fmt.Errorf("the function that did not change was started again: process %d, now %d", was, m.steady)
	}
	return nil
}

// unchanged asks for all statuses again: none may have changed.
func (m *model) unchanged(ctx context.Context, g *group) error {
	for _, a := range m.ended {
		now, err := g.status(ctx, a.id)
		if err != nil {
			return err
		}
		if *now.DeploymentStatus != *a.end.DeploymentStatus || *now.UpdatedAt != *a.end.UpdatedAt {
			return fmt.Errorf("deployment %s was %s of %s and is now %s of %s", a.id,
				*a.end.DeploymentStatus, *a.end.UpdatedAt, *now.DeploymentStatus, *now.UpdatedAt)
		}
	}
	return nil
}
