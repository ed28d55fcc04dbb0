package bundle

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fescue-edge/fescue"
)

// Manifest says what one deployment to one core consists of. Everything in it
// is named by its hash, so that two deployments share what they have in common.
// It is the same whatever format it is written in, see Formats; the formats share the names
// of its members.
type Manifest struct {
	// AWS, Account and Region are the partition.
	AWS     string `json:"aws"`
	Account string `json:"account"`
	Region  string `json:"region"`

	GroupID string `json:"groupId"`
	// GroupVersionID is empty in a reset.
	GroupVersionID string                `json:"groupVersionId,omitempty"`
	DeploymentID   string                `json:"deploymentId"`
	DeploymentType fescue.DeploymentType `json:"deploymentType"`
	// CoreThingArn is the only core that may apply the manifest.
	CoreThingArn string `json:"coreThingArn"`
	// Epoch rises strictly for a core. A lower one than was applied is a replay.
	Epoch     int64     `json:"epoch"`
	CreatedAt time.Time `json:"createdAt"`
	// Artifacts is what the core needs: the group document first, then the
	// functions' packages in the order of their ARNs. A reset has none.
	Artifacts []Artifact `json:"artifacts,omitempty"`
}

// Artifact is a piece of content that a core downloads.
type Artifact struct {
	Kind ArtifactKind `json:"kind"`
	// Name says whose it is, by kind: nothing for the group document, the ARN of
	// the function version, qualified with a number, for a package, the Id of the
	// resource for a model.
	Name string `json:"name,omitempty"`
	// SHA256 is of the content as it is downloaded, in lowercase hexadecimal;
	// Size is its length in bytes.
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
	// Unpack is how the content becomes what lies on the core's disk.
	Unpack Packing `json:"unpack,omitempty"`
}

// ArtifactKind is what an artifact is for.
type ArtifactKind string

// The kinds of artifacts.
const (
	// GroupDocument is group.json.
	GroupDocument ArtifactKind = "group"
	// FunctionPackage is the code of one function version.
	FunctionPackage ArtifactKind = "function"
	// ModelArchive is the model of one machine learning resource.
	ModelArchive ArtifactKind = "model"
)

// Packing is how an artifact is packed.
type Packing string

// The packings.
const (
	// Plain content is kept as the file that it is.
	Plain Packing = ""
	// Zip and TarGz are archives that are laid out as a folder.
	Zip   Packing = "zip"
	TarGz Packing = "tar.gz"
)

// kinds is what may be in a manifest.
var kinds = map[ArtifactKind]struct {
	packings []Packing
	// name refuses what the artifact's name must not be.
	name func(string) error
}{
	GroupDocument:   {[]Packing{Plain}, noName},
	FunctionPackage: {[]Packing{Zip}, functionVersion},
	ModelArchive:    {[]Packing{Zip, TarGz}, resourceID},
}

func noName(name string) error {
	if name != "" {
		return fmt.Errorf("a group document named %q", name)
	}
	return nil
}

func functionVersion(name string) error {
	arn, err := fescue.ParseARN(name)
	if err != nil {
		return fmt.Errorf("function: %w", err)
	}
	if _, version, ok := arn.Function(); !ok || version == "" {
		return fmt.Errorf("%q is not a function version", name)
	}
	return nil
}

func resourceID(name string) error {
	if !fescue.ValidEntityID(name) {
		return fmt.Errorf("%q is not the Id of a resource", name)
	}
	return nil
}

// GroupArtifact is that of the group document. hash and size are of group.json.
func GroupArtifact(hash string, size int64) Artifact {
	return Artifact{Kind: GroupDocument, SHA256: hash, Size: size}
}

// PackageArtifact is that of a function version's zip.
func PackageArtifact(functionARN, hash string, size int64) Artifact {
	return Artifact{Kind: FunctionPackage, Name: functionARN, SHA256: hash, Size: size, Unpack: Zip}
}

// ModelArtifact is that of a resource's model.
func ModelArtifact(resource, hash string, size int64, packing Packing) Artifact {
	return Artifact{Kind: ModelArchive, Name: resource, SHA256: hash, Size: size, Unpack: packing}
}

// ErrManifest is wrapped by every refusal of a manifest.
var ErrManifest = errors.New("manifest refused")

// Partition is where the deployment lies.
func (m Manifest) Partition() fescue.Partition {
	return fescue.Partition{AWS: m.AWS, Account: m.Account, Region: m.Region}
}

// GroupDocument is the group document; false for a reset, which has none.
func (m Manifest) GroupDocument() (Artifact, bool) {
	for _, a := range m.Artifacts {
		if a.Kind == GroupDocument {
			return a, true
		}
	}
	return Artifact{}, false
}

// Package is the package of a function version; false when it has none.
func (m Manifest) Package(functionARN string) (Artifact, bool) {
	return m.named(FunctionPackage, functionARN)
}

// Model is the model of a resource; false when it has none.
func (m Manifest) Model(resource string) (Artifact, bool) { return m.named(ModelArchive, resource) }

func (m Manifest) named(kind ArtifactKind, name string) (Artifact, bool) {
	for _, a := range m.Artifacts {
		if a.Kind == kind && a.Name == name {
			return a, true
		}
	}
	return Artifact{}, false
}

// Downloads lists everything to be downloaded, each hash once, under the first of
// its names. Only what is a model and something else, too, stands there twice: it lies
// on a core's disk twice.
func (m Manifest) Downloads() []Artifact {
	var list []Artifact
	type place struct {
		hash  string
		model bool
	}
	seen := make(map[place]bool, len(m.Artifacts))
	for _, a := range m.Artifacts {
		if p := (place{a.SHA256, a.Kind == ModelArchive}); !seen[p] {
			seen[p] = true
			list = append(list, a)
		}
	}
	return list
}

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrManifest, fmt.Sprintf(format, args...))
}

// validate refuses what no core may apply, in whatever format it came.
func (m Manifest) validate() error {
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
		if _, ok := m.GroupDocument(); !ok {
			return refuse("a %s without a group document", m.DeploymentType)
		}
	case fescue.ResetDeployment, fescue.ForceResetDeployment:
		if len(m.Artifacts) > 0 {
			return refuse("a %s with artifacts", m.DeploymentType)
		}
	default:
		return refuse("deployment type %q is unknown", m.DeploymentType)
	}
	return m.validateArtifacts()
}

func (m Manifest) validateArtifacts() error {
	known := make(map[string]Artifact, len(m.Artifacts))
	type of struct {
		kind ArtifactKind
		name string
	}
	named := make(map[of]bool, len(m.Artifacts))
	for _, a := range m.Artifacts {
		kind, ok := kinds[a.Kind]
		if !ok {
			return refuse("artifact %q is of kind %q, which this version does not know", a.Name, a.Kind)
		}
		if err := kind.name(a.Name); err != nil {
			return refuse("%v", err)
		}
		if !slices.Contains(kind.packings, a.Unpack) {
			return refuse("a %s packed as %q", a.Kind, a.Unpack)
		}
		if !fescue.ValidHash(a.SHA256) || a.Size < 0 {
			return refuse("artifact %q of %d bytes is malformed", a.SHA256, a.Size)
		}
		if named[of{a.Kind, a.Name}] {
			return refuse("two artifacts are the %s %q", a.Kind, a.Name)
		}
		named[of{a.Kind, a.Name}] = true
		if k, twice := known[a.SHA256]; twice && (k.Size != a.Size || k.Unpack != a.Unpack) {
			return refuse("artifact %q has %d bytes packed as %q and %d bytes packed as %q", a.SHA256, k.Size, k.Unpack, a.Size, a.Unpack)
		}
		known[a.SHA256] = a
	}
	return nil
}
