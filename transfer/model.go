package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/fescue-edge/fescue/recovery"
)

// models are the models, each after the bucket that its resource names.
func (r *restorer) models() (parts []part) {
	made := make(map[string]bool)
	for _, m := range r.group.Models {
		if !made[m.Bucket] {
			parts = append(parts, r.bucket(m.Bucket))
		}
		made[m.Bucket] = true
		parts = append(parts, r.model(m))
	}
	return parts
}

func (r *restorer) bucket(name string) part {
	buckets := r.S3()
	return part{
		what: "bucket " + name,
		present: func(ctx context.Context) (bool, error) {
			_, err := buckets.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &name})
			return found(err)
		},
		make: func(ctx context.Context) error {
			_, err := buckets.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name})
			return err
		},
	}
}

// model is a model in its bucket. An object that is there is taken for it, whatever it
// holds: who has the original's archive puts that there.
func (r *restorer) model(m recovery.Model) part {
	buckets := r.S3()
	return part{
		what: fmt.Sprintf("model s3://%s/%s of resource %s", m.Bucket, m.Key, m.Resource),
		present: func(ctx context.Context) (bool, error) {
			_, err := buckets.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &m.Bucket, Key: &m.Key})
			return found(err)
		},
		make: func(ctx context.Context) error { return putModel(ctx, buckets, m) },
	}
}

// found is whether a look at something found it.
func found(err error) (bool, error) {
	var missing *types.NotFound
	if errors.As(err, &missing) {
		return false, nil
	}
	return err == nil, err
}

// putModel packs a model on the disk, which has room for what memory has not.
func putModel(ctx context.Context, buckets *s3.Client, m recovery.Model) (err error) {
	packed, err := os.CreateTemp("", "fescue-model-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, packed.Close(), os.Remove(packed.Name())) }()
	if err := m.Pack(packed); err != nil {
		return err
	}
	if _, err := packed.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err = buckets.PutObject(ctx, &s3.PutObjectInput{Bucket: &m.Bucket, Key: &m.Key, Body: packed})
	return err
}
