package lambda

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/functions"
)

// Buckets opens objects; buckets.Service does.
type Buckets interface {
	// Open opens an object and returns its size. A refusal is a *fescue.Refusal.
	Open(ctx context.Context, p fescue.Partition, bucket, key string) (io.ReadCloser, int64, error)
}

// source is where code may come from besides ZipFile.
type source struct {
	S3Bucket, S3Key, S3ObjectVersion, ImageUri string
}

// maxFetches bounds the zips that are read from buckets at once; each takes up to
// bundle.MaxUnpacked of the disk.
const maxFetches = 4

// fetch reads the zip that a request names in a bucket into the upload, in a file
// of its own. A source that names nothing changes nothing.
func (a *API) fetch(ctx context.Context, call *awsapi.Call, s source, zip *upload) error {
	switch {
	case s.ImageUri != "":
		return invalid("Container images are not supported: a Greengrass core runs functions from zips. Send the code as ZipFile, or name it in a bucket.")
	case s == (source{}):
		return nil
	case zip.file != nil:
		return invalid("Please do not provide other FunctionCode parameters when providing a ZipFile.")
	case s.S3Bucket == "" || s.S3Key == "":
		return invalid("Code in a bucket is named by both S3Bucket and S3Key.")
	case s.S3ObjectVersion != "" && s.S3ObjectVersion != "null":
		return invalid("S3ObjectVersion names a version, and this server keeps no versions of objects. Leave it out.")
	}
	if err := call.Covers(ctx, call.Partition.BucketARN(s.S3Bucket)); err != nil {
		return err
	}
	if err := a.fetches.Acquire(ctx, 1); err != nil {
		return err
	}
	defer a.fetches.Release(1)
	r, size, err := a.options.Buckets.Open(ctx, call.Partition, s.S3Bucket, s.S3Key)
	if refusal := (*fescue.Refusal)(nil); errors.As(err, &refusal) {
		return invalid("Error occurred while GetObject of s3://%.100s/%.300s: %s", s.S3Bucket, s.S3Key, refusal)
	}
	if err != nil {
		return fmt.Errorf("open function code in bucket %s: %w", s.S3Bucket, err)
	}
	defer r.Close()
	if size > bundle.MaxUnpacked {
		return fescue.Refuse(functions.ErrTooLarge, "The zip of %d bytes is larger than the %d bytes that Lambda takes.", size, bundle.MaxUnpacked)
	}
	if zip.file, err = os.CreateTemp(a.options.SpoolDir, "zip-*"); err != nil {
		return fmt.Errorf("spool function code: %w", err)
	}
	zip.stored = true
	if zip.size, err = io.Copy(zip.file, r); err != nil {
		return fmt.Errorf("read function code from bucket %s: %w", s.S3Bucket, err)
	}
	return nil
}
