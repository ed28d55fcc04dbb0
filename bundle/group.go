package bundle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/fescue-edge/fescue"
)

// Group is group.json, the deployed group as a V1 core keeps it under
// ggc/deployment/group. The original never documented the schema; member names
// and nulls follow files found on real cores. Members of Cores and Devices are
// camelCase, all others PascalCase.
type Group struct {
	Schema *string `json:"$Schema"` // always null
	// Arn is the ARN of the deployed group version.
	Arn     string
	Version *string // always null after a deployment
	Region  string
	// Cores has one entry; empty means never deployed.
	Cores            []Identity
	Devices          []Identity
	GroupDefinitions Definitions
}

// Identity is a core or a client device in group.json.
type Identity struct {
	ThingArn string `json:"thingArn"`
	CertArn  string `json:"certArn"`
}

// Definitions holds the sections of group.json. Every Content list is written,
// even when it is empty, since readers of the file iterate without a guard.
type Definitions struct {
	Resources              Section[Resource]
	Lambdas                Lambdas
	Subscriptions          Section[fescue.Subscription]
	Logging                Logging
	ShadowSync             Section[ShadowSync]
	ClientCertFingerprints Fingerprints
}

// Section is a list under Content beside a ref that is always null.
type Section[T any] struct {
	Ref     *string `json:"ref"`
	Content []T
}

// Logging lists the loggers; it has no ref.
type Logging struct {
	Content []Logger
}

// Fingerprints lists the certificate ids of the client devices; it has no ref.
type Fingerprints struct {
	Content []string
}

// ShadowSync names a thing whose shadow the core keeps in sync. The original's
// entry shape is unknown; this one is Fescue's own.
type ShadowSync struct {
	ThingArn string `json:"thingArn"`
}

// Logger is a logging rule; group.json drops its Id.
type Logger struct {
	Type      string
	Component string
	Level     string
	Space     *int `json:",omitempty"` // KB
}

// Resource is a local resource, model or secret in group.json.
type Resource struct {
	Id   string
	Type string
	Data ResourceData
	// ArtifactArn stands only on resources with a download.
	ArtifactArn string `json:",omitempty"`
}

// ResourceData is the union of the data members; Class is written as "type".
type ResourceData struct {
	Class                             string                    `json:"type"`
	SourcePath                        string                    `json:",omitempty"`
	DestinationPath                   string                    `json:",omitempty"`
	GroupOwnerSetting                 *fescue.GroupOwnerSetting `json:",omitempty"`
	S3Arn                             string                    `json:",omitempty"`
	S3Metadata                        *S3Metadata               `json:",omitempty"`
	SageMakerJobArn                   string                    `json:",omitempty"`
	OwnerSetting                      *fescue.OwnerSetting      `json:",omitempty"`
	ARN                               string                    `json:",omitempty"`
	AdditionalStagingLabelsToDownload []string                  `json:",omitempty"`
}

// S3Metadata says what the archive of a model was when it was deployed.
type S3Metadata struct {
	LastModifiedTime int64   // milliseconds since 1970
	ContentMD5       *string // always null
	ContentLength    int64   // bytes
}

// Definition is the resource as its definition has it, given by the members that its
// data have: what type names stood beside them is not known of all. Its Name, which is
// not written, is its Id. It is false for data of no known kind.
func (r Resource) Definition() (fescue.Resource, bool) {
	d := r.Data
	out := fescue.Resource{Id: r.Id, Name: r.Id}
	c := &out.ResourceDataContainer
	switch {
	case d.S3Arn != "":
		c.S3MachineLearningModelResourceData = &fescue.S3ModelResourceData{DestinationPath: d.DestinationPath, OwnerSetting: d.OwnerSetting, S3Uri: s3URI(d.S3Arn)}
	case d.SageMakerJobArn != "":
		c.SageMakerMachineLearningModelResourceData = &fescue.SageMakerModelResourceData{
			DestinationPath: d.DestinationPath, OwnerSetting: d.OwnerSetting, SageMakerJobArn: d.SageMakerJobArn,
		}
	case d.ARN != "":
		c.SecretsManagerSecretResourceData = &fescue.SecretsManagerSecretResourceData{
			ARN: d.ARN, AdditionalStagingLabelsToDownload: d.AdditionalStagingLabelsToDownload,
		}
	case d.SourcePath != "" && (d.DestinationPath != "" || r.Type == fescue.LocalVolumeType.Document):
		c.LocalVolumeResourceData = &fescue.LocalVolumeResourceData{
			SourcePath: d.SourcePath, DestinationPath: d.DestinationPath, GroupOwnerSetting: d.GroupOwnerSetting,
		}
	case d.SourcePath != "":
		c.LocalDeviceResourceData = &fescue.LocalDeviceResourceData{SourcePath: d.SourcePath, GroupOwnerSetting: d.GroupOwnerSetting}
	default:
		return out, false
	}
	return out, true
}

// s3URI reads the form "arn:aws:s3:::bucket:key", which has a colon where an ARN
// of S3 has a slash.
func s3URI(arn string) string {
	_, path, _ := strings.Cut(arn, ":::")
	if i := strings.IndexAny(path, ":/"); i >= 0 {
		return "s3://" + path[:i] + "/" + path[i+1:]
	}
	return "s3://" + path
}

// Lambdas is the functions section.
type Lambdas struct {
	Ref           *string                       `json:"ref"`
	DefaultConfig *fescue.FunctionDefaultConfig // null when the group has none
	Content       []Lambda
}

// Lambda is one function, its alias resolved to a version number.
type Lambda struct {
	FunctionArn             string
	ArtifactArn             string `json:",omitempty"`
	DeploymentConfiguration LambdaConfiguration
}

// LambdaConfiguration joins what the group's definition says of a function with
// what Lambda recorded for its version. Members that the definition left out
// are absent.
type LambdaConfiguration struct {
	Priority     int    // 1 in every file seen
	Pinned       *bool  `json:",omitempty"`
	Executable   string `json:",omitempty"`
	ExecArgs     []string
	CodeSha256   string `json:",omitempty"` // base64, of the zip
	CodeSize     int64  `json:",omitempty"` // bytes of the zip
	Description  string
	Handler      string `json:",omitempty"`
	MemorySize   *int   `json:",omitempty"` // KB
	Timeout      *int   `json:",omitempty"` // seconds
	EncodingType string `json:",omitempty"`
	Runtime      string `json:",omitempty"`
	Environment  fescue.FunctionEnvironment
}

// Encode is the document as it is written to disk: compact JSON with every list
// present.
func (g Group) Encode() ([]byte, error) {
	d := &g.GroupDefinitions
	g.Cores, g.Devices = present(g.Cores), present(g.Devices)
	d.Resources.Content = present(d.Resources.Content)
	d.Subscriptions.Content = present(d.Subscriptions.Content)
	d.Logging.Content = present(d.Logging.Content)
	d.ShadowSync.Content = present(d.ShadowSync.Content)
	d.ClientCertFingerprints.Content = present(d.ClientCertFingerprints.Content)
	d.Lambdas.Content = present(slices.Clone(d.Lambdas.Content))
	for i := range d.Lambdas.Content {
		c := &d.Lambdas.Content[i].DeploymentConfiguration
		c.ExecArgs = present(c.ExecArgs)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(g); err != nil {
		return nil, fmt.Errorf("encode group.json: %w", err)
	}
	return bytes.TrimRight(buf.Bytes(), "\n"), nil
}

// ParseGroup reads group.json. A section that is missing is empty, as in the
// files of early cores; `{}` is an empty group.
func ParseGroup(data []byte) (Group, error) {
	var g Group
	if err := json.Unmarshal(data, &g); err != nil {
		return Group{}, fmt.Errorf("group.json does not parse: %w", err)
	}
	return g, nil
}

func present[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
