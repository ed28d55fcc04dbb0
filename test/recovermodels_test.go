//go:build linux

package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue/bundle"
)

// TestRecoverModels: a group whose models are nowhere but on its core is recovered with
// them, from a folder as the original's and from one of Fescue's, and runs.
func TestRecoverModels(t *testing.T) {
	t.Parallel()
	needPython(t)
	const job = "arn:aws:sagemaker:" + region + ":" + account + ":training-job/wear"
	old := startServer(t, "--sagemaker-model", job+"=s3://models/wear.tar.gz").site(region)
	old.put(t, "models", "seeds/seed.zip", string(zipOf(t, map[string][]byte{"model/weights": []byte("seeds")})))
	old.put(t, "models", "wear.tar.gz", string(packed(t, "tears")))
	g := old.contained(t, "Mill_Core")
	g.resources = []types.Resource{
		resource("seed", types.ResourceDataContainer{S3MachineLearningModelResourceData: &types.S3MachineLearningModelResourceData{
			S3Uri: aws.String("s3://models/seeds/seed.zip"), DestinationPath: aws.String("/ml/seed")}}),
		resource("wear", types.ResourceDataContainer{SageMakerMachineLearningModelResourceData: &types.SageMakerMachineLearningModelResourceData{
			SageMakerJobArn: aws.String(job), DestinationPath: aws.String("/ml/wear"),
			OwnerSetting: &types.ResourceDownloadOwnerSetting{GroupOwner: aws.String(fmt.Sprint(millers)), GroupPermission: types.PermissionRo}}}),
	}
	arn := old.python(t, "Model", user)
	group, version := g.groupVersion(t, "", []function{{
		arn: arn, pinned: true, memory: aws.Int32(65536), variables: out(g.thing, "model"),
		resources: []types.ResourceAccessPolicy{{ResourceId: aws.String("seed"), Permission: types.PermissionRo}, {ResourceId: aws.String("wear"), Permission: types.PermissionRo}},
	}}, []route{{arn, g.thing + "/out", "cloud"}, {"cloud", g.thing + "/in", arn}})
	g.awaitContained(t, group, version)
	if err := g.process.interrupt(t); err != nil {
		t.Fatal(err)
	}
	legacy := legacyFolder(t, g.root)
	legacyModels(t, g.root, legacy)
	old.Kill()

	for name, root := range map[string]string{"the original's": legacy, "Fescue's": g.root} {
		t.Run("a folder as "+name, func(t *testing.T) {
			h := startServer(t).site(region)
			r := h.restore(t, "recover", root)
			if len(r.CannotRun) != 0 {
				t.Fatalf("%+v", r)
			}
			if again := h.restore(t, "recover", root); again.Changed != 0 {
				t.Errorf("again: %+v", again)
			}
			viewer := h.connect(t, "Viewer")
			viewer.subscribe(t, "Mill_Core/out")
			g := &gateway{site: h, thing: "Mill_Core", root: root}
			forgetServer(t, root)
			g.process = startProgram(t, edgeBin, nil, "--root", root, "--iot-host", local(h.mqtt), "--gg-host", local(h.device), "--ca", filepath.Join(h.data, "ca.pem"))
			g.awaitContained(t, r.GroupID, r.GroupVersionID)
			for file, text := range map[string]string{"/ml/seed/model/weights": "seeds", "/ml/wear/model/latest": "tears"} {
				await(t, "publish", viewer.Publish("Mill_Core/in", 1, false, fmt.Sprintf(`{"use":%q}`, file)))
				viewer.next(t, fmt.Sprintf("model read %s: b'%s'", file, text))
			}
		})
	}
}

// legacyModels lays the models of a core out as the original did: one is called as its
// resource, the other, which has an owner, as its download.
func legacyModels(t *testing.T, root, legacy string) {
	t.Helper()
	var document struct {
		GroupDefinitions struct {
			Resources bundle.Section[bundle.Resource]
		}
	}
	if err := json.Unmarshal(readFile(t, filepath.Join(root, "ggc/deployment/group/group.json")), &document); err != nil {
		t.Fatal(err)
	}
	folders, err := filepath.Glob(filepath.Join(root, "ggc/deployment/.store/*.model/files"))
	if err != nil || len(folders) != 2 {
		t.Fatalf("%v %v", folders, err)
	}
	for _, folder := range folders {
		name := "mlmodel/seed"
		if strings.HasPrefix(string(readFile(t, filepath.Join(folder, "model/weights"))), "tears") {
			for _, res := range document.GroupDefinitions.Resources.Content {
				if res.Id == "wear" {
					name = "mlmodel_public/" + path.Base(res.ArtifactArn)
				}
			}
		}
		if err := os.CopyFS(filepath.Join(legacy, "ggc/deployment", name), os.DirFS(folder)); err != nil {
			t.Fatal(err)
		}
	}
}
