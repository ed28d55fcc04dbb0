package recovery

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
)

// Model is a model of machine learning that lies in a core's folder, with the object that
// its resource names.
type Model struct {
	Resource    string
	Bucket, Key string

	pack func(io.Writer) error
}

// Pack writes the archive of the model, as a zip where the object's name ends so and as
// .tar.gz else.
func (m Model) Pack(w io.Writer) error { return m.pack(w) }

// recoveredModels is the bucket of models that had no object, but a training job.
const recoveredModels = "recovered-models"

// restoreModel restores the object that a resource names from the folder of its model.
// A training job is gone: its resource names an object in its place.
func (r *reading) restoreModel(res bundle.Resource, definition *fescue.Resource) error {
	about, d := "resource "+res.Id, &definition.ResourceDataContainer
	folder, certain, err := r.modelFolder(res)
	if err != nil {
		return fmt.Errorf("%s: %w", about, err)
	}
	model := Model{Resource: res.Id}
	if s3 := d.S3MachineLearningModelResourceData; s3 != nil {
		var ok bool
		if model.Bucket, model.Key, ok = strings.Cut(strings.TrimPrefix(s3.S3Uri, "s3://"), "/"); !ok {
			return fmt.Errorf("%s: %.256q names no object in a bucket", about, s3.S3Uri)
		}
	} else {
		model.Bucket, model.Key = recoveredModels, r.groupID+"/"+res.Id+".tar.gz"
	}
	uri := "s3://" + model.Bucket + "/" + model.Key
	if folder == "" {
		r.report.supply(about, "its model, of %s: no folder below mlmodel is known to be it. Pack it (tar -C FOLDER -zcf model.tar.gz .), and put it to %s; until then a deployment fails",
			modelSource(res), uri)
		return nil
	}
	files, err := scan(r.Deployment, folder, bundle.MaxModelUnpacked)
	if err != nil {
		return fmt.Errorf("%s: %w", about, err)
	}
	if len(files) == 0 {
		r.report.supply(about, "its model, of %s: there is nothing in %s. Put the archive to %s; until then a deployment fails", modelSource(res), folder, uri)
		return nil
	}
	write := writeTar
	if strings.HasSuffix(model.Key, ".zip") {
		write = writeZip
	}
	model.pack = func(w io.Writer) error {
		return write(&bounded{w, bundle.MaxModel}, r.Deployment, folder, files, "")
	}
	r.group.Models = append(r.group.Models, model)
	text := "the model at %s, packed anew from %s"
	if !certain {
		text += ", the only one that there is"
	}
	r.report.assume(about, text, uri, folder)
	if job := d.SageMakerMachineLearningModelResourceData; job != nil {
		r.report.assume(about, "S3MachineLearningModelResourceData in the place of the training job %s", job.SageMakerJobArn)
		d.SageMakerMachineLearningModelResourceData = nil
		d.S3MachineLearningModelResourceData = &fescue.S3ModelResourceData{DestinationPath: job.DestinationPath, OwnerSetting: job.OwnerSetting, S3Uri: uri}
	}
	return nil
}

// modelSource is what a model was made of, as group.json has it.
func modelSource(res bundle.Resource) string {
	if res.Data.SageMakerJobArn != "" {
		return res.Data.SageMakerJobArn
	}
	return res.Data.S3Arn
}

// modelFolder is where the content of a resource's model lies, empty where none is known
// to. What the original called these folders is not documented: the resource's Id and
// the id of its download are looked for, and a model that is alone is taken to be the only
// one of its group.
func (r *reading) modelFolder(res bundle.Resource) (folder string, certain bool, err error) {
	for _, a := range r.manifest.Artifacts {
		if a.Kind == bundle.ModelArchive && a.Name == res.Id {
			return ".store/" + a.SHA256 + ".model/files", true, nil
		}
	}
	var folders []string
	for _, parent := range []string{"mlmodel", "mlmodel_public"} {
		entries, err := fs.ReadDir(r.Deployment, parent)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", false, err
		}
		for _, e := range entries {
			if e.IsDir() {
				folders = append(folders, parent+"/"+e.Name())
			}
		}
	}
	for _, f := range folders {
		if name := path.Base(f); name == res.Id || res.ArtifactArn != "" && name == path.Base(res.ArtifactArn) {
			return f, true, nil
		}
	}
	models := slices.DeleteFunc(slices.Clone(r.doc.GroupDefinitions.Resources.Content), func(x bundle.Resource) bool { return modelSource(x) == "" })
	if len(models) == 1 && len(folders) == 1 {
		return folders[0], false, nil
	}
	return "", false, nil
}
