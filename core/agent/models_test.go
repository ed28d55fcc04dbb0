package agent_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/plan/plantest"
	"github.com/fescue-edge/fescue/testkit"
	"github.com/fescue-edge/fescue/testkit/archive"
)

// TestModels: the archives of resources are unpacked beside the functions' code, and
// go to those who may use them.
func TestModels(t *testing.T) {
	t.Parallel()
	arn := functionARN("hello", 1)
	weights := archive.Zip(t, archive.Member{Name: "model/weights", Content: "tears"})
	var broken bytes.Buffer
	z := gzip.NewWriter(&broken)
	if _, err := z.Write(bytes.Repeat([]byte("no tar"), 200)); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	owned := func(group, permission string) *fescue.OwnerSetting {
		return &fescue.OwnerSetting{GroupOwner: group, GroupPermission: permission}
	}
	type model struct {
		id      string
		owner   *fescue.OwnerSetting
		content []byte
		packing bundle.Packing
		// forgotten ones are not in the manifest.
		forgotten bool
	}
	for _, tc := range []struct {
		name    string
		models  []model
		gateway func(*gateway)
		code    fescue.FailureCode
		want    string
	}{
		{name: "with an owner", models: []model{{id: "a", owner: owned("1234", "rw"), content: weights}}, gateway: people},
		{name: "of two resources with one content", models: []model{{id: "a", owner: owned("1234", "ro"), content: weights}, {id: "b", owner: owned("1234", "ro"), content: weights}}, gateway: people},
		{name: "without an archive", models: []model{{id: "a", owner: owned("1234", "ro"), content: weights, forgotten: true}}, gateway: rootly,
			code: fescue.ManifestIncomplete, want: arn},
		{name: "that is no archive", models: []model{{id: "a", owner: owned("1234", "ro"), content: broken.Bytes(), packing: bundle.TarGz}}, gateway: rootly,
			code: fescue.ArtifactUnpack, want: "unable to download the artifact a: Error while processing. Error while unpacking the file: the archive cannot be unpacked: it cannot be read as tar"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			g := newGateway(t, p)
			tc.gateway(g)
			g.run()
			r := simple(t, 1, 1)
			r.edit = func(group *bundle.Group) {
				for _, m := range tc.models {
					owner := m.owner
					if g.accounts == (plantest.Ordinary{}) && tc.code == "" {
						owner = owned("1000", m.owner.GroupPermission)
					}
					group.GroupDefinitions.Resources.Content = append(group.GroupDefinitions.Resources.Content, bundle.Resource{
						Id: m.id, Type: "ML_MODEL_S3_OBJECT", Data: bundle.ResourceData{S3Arn: "arn:aws:s3:::b:" + m.id, DestinationPath: "/ml/" + m.id, OwnerSetting: owner},
					})
					plantest.Lambda(func(l *bundle.LambdaConfiguration) {
						l.Environment.ResourceAccessPolicies = append(l.Environment.ResourceAccessPolicies, fescue.ResourceAccessPolicy{ResourceId: m.id})
					})(group)
				}
			}
			r.manifest = func(manifest *bundle.Manifest) {
				for _, m := range tc.models {
					if packing := m.packing; !m.forgotten {
						if packing == "" {
							packing = bundle.Zip
						}
						hash, size := p.put(m.content)
						manifest.Artifacts = append(manifest.Artifacts, bundle.ModelArtifact(m.id, hash, size, packing))
					}
				}
			}
			if tc.code != "" {
				end := p.expect(p.offer(r.build(p)), fescue.Failure)
				if len(end.ErrorDetails) != 1 || end.ErrorDetails[0].DetailedErrorCode != string(tc.code) || !strings.Contains(end.ErrorDetails[0].DetailedErrorMessage, tc.want) {
					t.Errorf("details %q; want %s with %q", end.ErrorDetails, tc.code, tc.want)
				}
				return
			}
			p.expect(p.offer(r.build(p)), fescue.Success)
			plan := g.last()
			if len(plan.Models) != 1 || len(plan.Functions[0].Links) != len(tc.models) || plan.Functions[0].ResourceFolder == "" {
				t.Fatalf("models %+v, links %v in %q", plan.Models, plan.Functions[0].Links, plan.Functions[0].ResourceFolder)
			}
			for _, m := range tc.models {
				folder := string(plan.Functions[0].Links["/ml/"+m.id])
				if data, err := os.ReadFile(filepath.Join(folder, "model", "weights")); err != nil || string(data) != "tears" {
					t.Errorf("the model of %s holds %q, %v", m.id, data, err)
				}
				if info, err := os.Stat(filepath.Dir(folder)); err != nil || info.Mode().Perm() != 0o700 {
					t.Errorf("the model of %s lies behind %v, %v", m.id, info, err)
				}
			}

			// The next deployment has none, and the one after it nothing to go back to.
			for epoch := int64(2); epoch <= 3; epoch++ {
				p.expect(p.offer(simple(t, epoch, 1).build(p)), fescue.Success)
			}
			testkit.Eventually(t, "the model is removed", func() error {
				left, err := filepath.Glob(g.path(".store", "*.model"))
				if err == nil && len(left) > 0 {
					err = fmt.Errorf("%s is left", left)
				}
				return err
			})
		})
	}
}

// rootly makes a gateway whose core is root.
func rootly(g *gateway) { g.accounts = plantest.Known }
