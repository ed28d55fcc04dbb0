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
	// Model is the archive at an s3:// URI. A *fescue.Refusal is one of
	// fescue.ErrNotFound for what is not there, and of ErrModel for what cannot be a
	// model.
	Model(ctx context.Context, p fescue.Partition, uri string) (Model, error)
	// Job is where the model of a training job of SageMaker's lies.
	Job(arn string) (uri string, ok bool)
}

// Model is an archive among the artifacts.
type Model struct {
	SHA256     string
	Size       int64
	Packing    bundle.Packing
	ModifiedAt time.Time
}

// resolveModels brings the models that functions are given, when nothing else is wrong
// with the group. Those of no function are left where they are.
func (b *builder) resolveModels(ctx context.Context, r *resolved) error {
	r.models = make(map[string]Model)
	for _, res := range r.resources {
		uri, ok := r.modelURI(b.models, res)
		if !ok {
			continue
		}
		m, err := b.models.Model(ctx, r.deployment.Partition, uri)
		var refusal *fescue.Refusal
		switch {
		case err == nil:
			r.models[res.Id] = m
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
