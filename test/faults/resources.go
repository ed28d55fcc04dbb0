//go:build linux

package faults

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
)

// resource is one sort of resource that the function of a version is given.
type resource struct {
	name string
	// contained says that only functions in containers can be given it, root that only a
	// core that runs as root gives it, disk that the core needs a disk of its own.
	contained, root, disk bool
	// fails is what a deployment fails with for it; empty for a resource that is in order.
	fails string
	// make makes what lies behind it for a version. expects is what the function finds:
	// "file", "device" or "secret" and a name.
	make func(ctx context.Context, g *group, tag string) (data types.ResourceDataContainer, expects string, err error)
}

// resources are all sorts of them.
var resources = []resource{
	{name: "volume", contained: true, make: func(_ context.Context, g *group, tag string) (types.ResourceDataContainer, string, error) {
		folder := filepath.Join(g.dir, "volume-"+tag)
		err := os.Mkdir(folder, 0o755)
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, "tag"), []byte(tag), 0o644)
		}
		return volume(folder), "file /volume/tag", err
	}},
	{name: "device", contained: true, make: func(context.Context, *group, string) (types.ResourceDataContainer, string, error) {
		return types.ResourceDataContainer{LocalDeviceResourceData: &types.LocalDeviceResourceData{SourcePath: aws.String("/dev/zero")}}, "device /dev/zero", nil
	}},
	{name: "secret", make: func(ctx context.Context, g *group, tag string) (types.ResourceDataContainer, string, error) {
		name := "greengrass-" + tag
		made, err := g.secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: &name, SecretString: aws.String(secretPrefix + tag)})
		if err != nil {
			return types.ResourceDataContainer{}, "", err
		}
		return secret(*made.ARN), "secret " + name, nil
	}},
	{name: "model", root: true, make: func(ctx context.Context, g *group, tag string) (types.ResourceDataContainer, string, error) {
		data, err := g.model(ctx, tag, 100_000)
		return data, "file /ml/model/tag", err
	}},
	{name: "volume that is not there", contained: true, fails: string(fescue.ResourceSource), make: func(_ context.Context, g *group, tag string) (types.ResourceDataContainer, string, error) {
		return volume(filepath.Join(g.dir, "nothing-"+tag)), "", nil
	}},
	{name: "secret that is not there", fails: string(fescue.SecretNotFound), make: func(_ context.Context, g *group, tag string) (types.ResourceDataContainer, string, error) {
		arn, err := fescue.ParseARN(g.thingARN)
		return secret(arn.Partition().SecretARN("greengrass-none-"+tag, "AbCdEf")), "", err
	}},
	{name: "model that is not there", root: true, fails: string(fescue.ModelObject), make: func(_ context.Context, _ *group, tag string) (types.ResourceDataContainer, string, error) {
		return modelAt("none-" + tag), "", nil
	}},
	{name: "model that is too large", root: true, disk: true, fails: "disk is full", make: func(ctx context.Context, g *group, tag string) (types.ResourceDataContainer, string, error) {
		data, err := g.model(ctx, "huge-"+tag, 2*diskSize)
		return data, "", err
	}},
}

// secretPrefix begins every secret, so that none can lie on the core's disk unseen.
const secretPrefix = "shibboleth-of-"

func volume(folder string) types.ResourceDataContainer {
	return types.ResourceDataContainer{LocalVolumeResourceData: &types.LocalVolumeResourceData{SourcePath: &folder, DestinationPath: aws.String("/volume")}}
}

func secret(arn string) types.ResourceDataContainer {
	return types.ResourceDataContainer{SecretsManagerSecretResourceData: &types.SecretsManagerSecretResourceData{ARN: &arn}}
}

// modelOwner is a group that no function runs as.
const modelOwner = "43210"

func modelAt(key string) types.ResourceDataContainer {
	return types.ResourceDataContainer{S3MachineLearningModelResourceData: &types.S3MachineLearningModelResourceData{
		S3Uri: aws.String("s3://" + modelBucket + "/" + key), DestinationPath: aws.String("/ml"),
		OwnerSetting: &types.ResourceDownloadOwnerSetting{GroupOwner: aws.String(modelOwner), GroupPermission: types.PermissionRo},
	}}
}

const modelBucket = "models"

// model puts a model into the bucket: the tag, and zeros beside it.
func (g *group) model(ctx context.Context, tag string, zeros int) (types.ResourceDataContainer, error) {
	var archive bytes.Buffer
	z := gzip.NewWriter(&archive)
	w := tar.NewWriter(z)
	for _, file := range []struct {
		name    string
		content []byte
	}{{"model/tag", []byte(tag)}, {"model/zeros", make([]byte, zeros)}} {
		err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: file.name, Mode: 0o644, Size: int64(len(file.content))})
		if err == nil {
			_, err = w.Write(file.content)
		}
		if err != nil {
			return types.ResourceDataContainer{}, err
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		return types.ResourceDataContainer{}, err
	}
	_, err := g.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(modelBucket), Key: &tag, Body: bytes.NewReader(archive.Bytes())})
	return modelAt(tag), err
}

// drawResources draws what a version's function is given, of what can be given here: at
// most one of a sort. One that is not in order, which one version in eight has, comes
// only to a version that is, so that its deployment fails for that alone.
func (v *version) drawResources(r *rand.Rand, s *site) {
	bad := r.IntN(8) == 0 && v.kind == &kinds[0]
	for i := range resources {
		given := r.IntN(3) == 0
		res := &resources[i]
		switch {
		case !given, (res.fails != "") != bad, v.again, v.reset, v.unknown,
			res.contained && !v.contained, res.root && os.Geteuid() != 0, res.disk && !s.mounted:
			continue
		}
		v.given = append(v.given, res)
		if bad {
			v.kind = &kind{name: "given a " + res.name, ends: fescue.Failure, says: res.fails}
			return
		}
	}
}

// define makes the resources of a version and attaches them to its function, and gives the
// ARN of their definition; empty where there are none.
func (g *group) define(ctx context.Context, v *version, f *types.Function) (arn string, err error) {
	environment := f.FunctionConfiguration.Environment
	var list []types.Resource
	for _, res := range v.given {
		data, expects, err := res.make(ctx, g, v.tag)
		if err != nil {
			return "", fmt.Errorf("make a %s: %w", res.name, err)
		}
		id := fmt.Sprintf("r%d", len(list))
		list = append(list, types.Resource{Id: &id, Name: &id, ResourceDataContainer: &data})
		policy := types.ResourceAccessPolicy{ResourceId: &id, Permission: types.PermissionRo}
		if data.S3MachineLearningModelResourceData != nil && !v.contained {
			policy.Permission = "" // its owner's counts
		}
		environment.ResourceAccessPolicies = append(environment.ResourceAccessPolicies, policy)
		environment.Variables["GIVEN"] += expects + "\n"
	}
	if list == nil {
		return "", nil
	}
	made, err := g.greengrass.CreateResourceDefinition(ctx, &greengrass.CreateResourceDefinitionInput{InitialVersion: &types.ResourceDefinitionVersion{Resources: list}})
	if err != nil {
		return "", err
	}
	return *made.LatestVersionArn, nil
}

// models checks that the models of a manifest lie on the disk, behind their doors.
func (m *model) models(folder string, manifest bundle.Manifest) error {
	for _, a := range manifest.Artifacts {
		if a.Kind != bundle.ModelArchive {
			continue
		}
		name := filepath.Join(folder, ".store", a.SHA256+".model", "files", "model", "tag")
		if _, err := os.Stat(name); err != nil {
			return fmt.Errorf("the model of %s: %w", a.Name, err)
		}
	}
	return nil
}

// sealed finds secrets in clear on the core's disk.
func (m *model) sealed() error {
	return filepath.WalkDir(m.site.root, func(name string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && !e.Type().IsRegular() {
			return nil
		}
		if err != nil {
			return err
		}
		data, err := os.ReadFile(name)
		if bytes.Contains(data, []byte(secretPrefix)) {
			return fmt.Errorf("%s holds a secret in clear", name)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}
