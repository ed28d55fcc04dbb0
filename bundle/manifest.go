package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/fescue-edge/fescue"
)

// ManifestFormat is the version of the manifest that this package writes and
// the only one that it reads.
const ManifestFormat = 1

// Manifest says what one deployment to one core consists of. Everything in it
// is named by its hash, so that two deployments share what they have in common.
type Manifest struct {
	Format int `json:"format"`
	// AWS, Account and Region are the partition.
	AWS     string `json:"aws"`
	Account string `json:"account"`
	Region  string `json:"region"`

	GroupID        string                `json:"groupId"`
	GroupVersionID string                `json:"groupVersionId,omitempty"`
	DeploymentID   string                `json:"deploymentId"`
	DeploymentType fescue.DeploymentType `json:"deploymentType"`
	// CoreThingArn is the only core that may apply the manifest.
	CoreThingArn string `json:"coreThingArn"`
	// Epoch rises strictly for a core. A lower one than was applied is a replay.
	Epoch     int64     `json:"epoch"`
	CreatedAt time.Time `json:"createdAt"`
	// Group is group.json. It is absent from a reset.
	Group *Artifact `json:"group,omitempty"`
	// Functions are the code packages, one for each function version that has
	// code of its own, in the order of their ARNs.
	Functions []FunctionArtifact `json:"functions,omitempty"`
}

// Artifact is a piece of content, named by its SHA-256 in lowercase hexadecimal.
type Artifact struct {
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"` // bytes
}

// FunctionArtifact is the zip of a function version.
type FunctionArtifact struct {
	// FunctionArn is qualified with a version number.
	FunctionArn string `json:"functionArn"`
	Artifact
}

// ErrManifest is wrapped by every refusal of a manifest.
var ErrManifest = errors.New("manifest refused")

// Partition is where the deployment lies.
func (m Manifest) Partition() fescue.Partition {
	return fescue.Partition{AWS: m.AWS, Account: m.Account, Region: m.Region}
}

// Artifacts lists everything to be downloaded, each hash once.
func (m Manifest) Artifacts() []Artifact {
	var all []Artifact
	seen := make(map[string]bool)
	add := func(a Artifact) {
		if !seen[a.SHA256] {
			seen[a.SHA256] = true
			all = append(all, a)
		}
	}
	if m.Group != nil {
		add(*m.Group)
	}
	for _, f := range m.Functions {
		add(f.Artifact)
	}
	return all
}

// Encode is the manifest as it is signed.
func (m Manifest) Encode() ([]byte, error) {
	if err := m.validate(); err != nil {
		return nil, err
	}
	data, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	return data, nil
}

// ParseManifest reads a manifest whose signature has been verified. Unknown
// members are refused: what a core does not understand it must not apply.
func ParseManifest(data []byte) (Manifest, error) {
	var m Manifest
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		return Manifest{}, fmt.Errorf("%w: it does not parse: %w", ErrManifest, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return Manifest{}, fmt.Errorf("%w: data after the document", ErrManifest)
	}
	if err := m.validate(); err != nil {
		return Manifest{}, err
	}
	return m, nil
}

func (m Manifest) validate() error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrManifest, fmt.Sprintf(format, args...))
	}
	if m.Format != ManifestFormat {
		return refuse("format %d, this version reads %d", m.Format, ManifestFormat)
	}
	if err := m.Partition().Validate(); err != nil {
		return refuse("%v", err)
	}
	if !fescue.ValidID(m.GroupID) || !fescue.ValidID(m.DeploymentID) {
		return refuse("group id %q or deployment id %q is not a UUID", m.GroupID, m.DeploymentID)
	}
	if m.GroupVersionID != "" && !fescue.ValidID(m.GroupVersionID) {
		return refuse("group version id %q is not a UUID", m.GroupVersionID)
	}
	if m.Epoch < 1 {
		return refuse("epoch %d is not positive", m.Epoch)
	}
	arn, err := fescue.ParseARN(m.CoreThingArn)
	if err != nil {
		return refuse("core thing: %v", err)
	}
	if name, ok := arn.ThingName(); !ok || !fescue.ValidThingName(name) || arn.Partition() != m.Partition() {
		return refuse("core thing %q is not a thing of %s", m.CoreThingArn, m.Partition())
	}
	switch m.DeploymentType {
	case fescue.NewDeployment, fescue.Redeployment:
		if m.Group == nil {
			return refuse("a %s without a group document", m.DeploymentType)
		}
	case fescue.ResetDeployment, fescue.ForceResetDeployment:
		if m.Group != nil || len(m.Functions) > 0 {
			return refuse("a %s with artifacts", m.DeploymentType)
		}
	default:
		return refuse("deployment type %q is unknown", m.DeploymentType)
	}
	sizes := make(map[string]int64)
	for _, a := range m.Artifacts() {
		if !fescue.ValidHash(a.SHA256) || a.Size < 0 {
			return refuse("artifact %q of %d bytes is malformed", a.SHA256, a.Size)
		}
		sizes[a.SHA256] = a.Size
	}
	for _, f := range m.Functions {
		if f.Size != sizes[f.SHA256] {
			return refuse("artifact %q has %d bytes and %d bytes", f.SHA256, sizes[f.SHA256], f.Size)
		}
		arn, err := fescue.ParseARN(f.FunctionArn)
		if err != nil {
			return refuse("function: %v", err)
		}
		if _, version, ok := arn.Function(); !ok || version == "" {
			return refuse("%q is not a function version", f.FunctionArn)
		}
	}
	return nil
}
