package deploy

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
)

// render is group.json: resources and subscriptions in the order of their Ids,
// functions in the order of their ARNs, as on the original's cores.
func (r *resolved) render() bundle.Group {
	d := r.deployment
	g := bundle.Group{
		Arn:    d.Partition.VersionARN(fescue.GroupKind, d.GroupID, d.GroupVersionID),
		Region: d.Partition.Region,
		Cores:  []bundle.Identity{{ThingArn: r.core.thingARN, CertArn: r.core.certARN}},
	}
	defs := &g.GroupDefinitions
	for _, dev := range r.devices {
		g.Devices = append(g.Devices, bundle.Identity{ThingArn: dev.thingARN, CertArn: dev.certARN})
		_, certID, _ := strings.Cut(dev.certARN, ":cert/")
		defs.ClientCertFingerprints.Content = append(defs.ClientCertFingerprints.Content, certID)
	}
	for _, id := range append([]device{r.core}, r.devices...) {
		if id.syncShadow {
			defs.ShadowSync.Content = append(defs.ShadowSync.Content, bundle.ShadowSync{ThingArn: id.thingARN})
		}
	}
	for _, res := range sorted(r.resources, func(x fescue.Resource) string { return x.Id }) {
		defs.Resources.Content = append(defs.Resources.Content, r.renderResource(res))
	}
	defs.Lambdas.DefaultConfig = r.defaults
	for _, f := range sorted(r.functions, func(x function) string { return x.versionARN }) {
		defs.Lambdas.Content = append(defs.Lambdas.Content, r.renderFunction(f))
	}
	defs.Subscriptions.Content = sorted(r.subscriptions, func(x fescue.Subscription) string { return x.Id })
	for _, l := range sorted(r.loggers, func(x fescue.Logger) string { return x.Component }) {
		defs.Logging.Content = append(defs.Logging.Content, bundle.Logger{
			Type: l.Type, Component: l.Component, Level: l.Level, Space: l.Space,
		})
	}
	return g
}

func sorted[T any](list []T, key func(T) string) []T {
	out := slices.Clone(list)
	slices.SortStableFunc(out, func(a, b T) int { return cmp.Compare(key(a), key(b)) })
	return out
}

func (r *resolved) renderResource(res fescue.Resource) bundle.Resource {
	c, d := res.ResourceDataContainer, r.deployment
	t := c.Type()
	out := bundle.Resource{Id: res.Id, Type: t.Document, Data: bundle.ResourceData{Class: t.Class}}
	if model, ok := c.Model(); ok {
		out.Data.DestinationPath, out.Data.OwnerSetting = model.Destination, model.Owner
	}
	switch {
	case c.LocalDeviceResourceData != nil:
		l := c.LocalDeviceResourceData
		out.Data.SourcePath, out.Data.GroupOwnerSetting = l.SourcePath, l.GroupOwnerSetting
	case c.LocalVolumeResourceData != nil:
		l := c.LocalVolumeResourceData
		out.Data.SourcePath, out.Data.DestinationPath, out.Data.GroupOwnerSetting = l.SourcePath, l.DestinationPath, l.GroupOwnerSetting
	case c.S3MachineLearningModelResourceData != nil:
		out.Data.S3Arn = s3ARN(d.Partition, c.S3MachineLearningModelResourceData.S3Uri)
	case c.SageMakerMachineLearningModelResourceData != nil:
		out.Data.SageMakerJobArn = c.SageMakerMachineLearningModelResourceData.SageMakerJobArn
	case c.SecretsManagerSecretResourceData != nil:
		s := c.SecretsManagerSecretResourceData
		out.Data.ARN, out.Data.AdditionalStagingLabelsToDownload = s.ARN, s.AdditionalStagingLabelsToDownload
	}
	if m, ok := r.models[res.Id]; ok {
		id := uuid.NewSHA1(uuid.NameSpaceURL, []byte(d.ID+res.Id+m.SHA256)).String()
		out.ArtifactArn = d.Partition.ArtifactARN(d.GroupID, d.ID, "resource", id)
		if out.Data.S3Arn != "" {
			out.Data.S3Metadata = &bundle.S3Metadata{LastModifiedTime: m.ModifiedAt.UnixMilli(), ContentLength: m.Size}
		}
	}
	return out
}

// s3ARN is how group.json names an S3 object: a colon after the bucket.
func s3ARN(p fescue.Partition, uri string) string {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(uri, "s3://"), "/")
	return "arn:" + p.AWS + ":s3:::" + bucket + ":" + key
}

func (r *resolved) renderFunction(f function) bundle.Lambda {
	d := r.deployment
	cfg := f.FunctionConfiguration
	if cfg == nil {
		cfg = &fescue.FunctionConfiguration{}
	}
	out := bundle.Lambda{
		FunctionArn: f.versionARN,
		DeploymentConfiguration: bundle.LambdaConfiguration{
			Priority: 1, Pinned: cfg.Pinned, Executable: cfg.Executable, ExecArgs: strings.Fields(cfg.ExecArgs),
			Description: f.code.Description, Handler: f.code.Handler, MemorySize: cfg.MemorySize, Timeout: cfg.Timeout,
			EncodingType: cfg.EncodingType, Runtime: cmp.Or(cfg.FunctionRuntimeOverride, f.code.Runtime),
		},
	}
	if env := cfg.Environment; env != nil {
		out.DeploymentConfiguration.Environment = *env
	}
	if f.system {
		return out
	}
	// The artifact's id is derived, so that building the same deployment twice
	// renders the same document.
	id := uuid.NewSHA1(uuid.NameSpaceURL, []byte(d.ID+f.code.CodeHash)).String()
	out.ArtifactArn = d.Partition.ArtifactARN(d.GroupID, d.ID, "lambda", id)
	out.DeploymentConfiguration.CodeSha256 = base64Hash(f.code.CodeHash)
	out.DeploymentConfiguration.CodeSize = f.code.CodeSize
	return out
}

// archives are the models in the manifest, in the order of their resources' Ids.
func (r *resolved) archives() []bundle.Artifact {
	var list []bundle.Artifact
	for _, id := range slices.Sorted(maps.Keys(r.models)) {
		m := r.models[id]
		list = append(list, bundle.ModelArtifact(id, m.SHA256, m.Size, m.Packing))
	}
	return list
}

// packages are the functions' code in the manifest.
func (r *resolved) packages() []bundle.Artifact {
	var list []bundle.Artifact
	for _, f := range sorted(r.functions, func(x function) string { return x.versionARN }) {
		if !f.system {
			list = append(list, bundle.PackageArtifact(f.versionARN, f.code.CodeHash, f.code.CodeSize))
		}
	}
	return list
}

// base64Hash is a hexadecimal SHA-256 as Lambda prints CodeSha256.
func base64Hash(hexHash string) string {
	raw, err := hex.DecodeString(hexHash)
	if err != nil {
		return ""
	}
	return base64.StdEncoding.EncodeToString(raw)
}
