package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
)

// Models brings the models of machine learning resources to the artifacts.
type Models interface {
	// Model looks at the archive at an s3:// URI, and does not copy it. A
	// *fescue.Refusal is one of fescue.ErrNotFound for what is not there, and of
	// ErrModel for what cannot be a model.
	Model(ctx context.Context, p fescue.Partition, uri string) (Model, error)
	// Copy is Model for one that is among the artifacts then. It calls copied, which
	// may be from several goroutines, with the bytes that are there so far.
	Copy(ctx context.Context, p fescue.Partition, uri string, copied func(bytes int64)) (Model, error)
	// Job is where the model of a training job of SageMaker's lies.
	Job(arn string) (uri string, ok bool)
}

// Model is the archive of a model.
type Model struct {
	// SHA256 is empty for one that is not known to be among the artifacts.
	SHA256     string
	Size       int64
	Packing    bundle.Packing
	ModifiedAt time.Time
}

// resolveModels looks for the models that functions are given, when nothing else is
// wrong with the group; done are those that were copied for it, by their URIs. Models
// of no function are left where they are.
func (b *builder) resolveModels(ctx context.Context, r *resolved, done map[string]copied) error {
	r.models = make(map[string]Model)
	for _, res := range r.resources {
		uri, ok := r.modelURI(b.models, res)
		if !ok {
			continue
		}
		c, known := done[uri]
		m, err := c.Model, c.refusal
		if !known {
			m, err = b.models.Model(ctx, r.deployment.Partition, uri)
		}
		var refusal *fescue.Refusal
		switch {
		case err == nil:
			r.models[res.Id] = m
			if m.SHA256 == "" && !slices.ContainsFunc(r.toCopy, func(c toCopy) bool { return c.uri == uri }) {
				r.toCopy = append(r.toCopy, toCopy{res.Id, uri, m.Size})
			}
		case !errors.As(err, &refusal):
			return fmt.Errorf("model of resource %s: %w", res.Id, err)
		case errors.Is(err, fescue.ErrNotFound):
			r.problem(fescue.ModelObject, res.Id, uri, refusal)
		default:
			r.problem(fescue.ModelArchive, res.Id, uri, refusal)
		}
	}
	return nil
}

// modelURI is where the model of a resource lies, false for one that is no model, that
// no function is given, or that nobody knows the place of, which is a problem.
func (r *resolved) modelURI(models Models, res fescue.Resource) (uri string, ok bool) {
	used := slices.ContainsFunc(r.functions, func(f function) bool {
		c := f.FunctionConfiguration
		return c != nil && c.Environment != nil && slices.ContainsFunc(c.Environment.ResourceAccessPolicies,
			func(a fescue.ResourceAccessPolicy) bool { return a.ResourceId == res.Id })
	})
	if !used {
		return "", false
	}
	if s3 := res.ResourceDataContainer.S3MachineLearningModelResourceData; s3 != nil {
		return s3.S3Uri, true
	}
	job := res.ResourceDataContainer.SageMakerMachineLearningModelResourceData
	if job == nil {
		return "", false
	}
	if uri, ok = models.Job(job.SageMakerJobArn); !ok {
		r.problem(fescue.ModelJob, res.Id, job.SageMakerJobArn)
	}
	return uri, ok
}
