package models_test

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/cloud/artifacts"
	"github.com/fescue-edge/fescue/cloud/buckets"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/models"
)

var home = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}

// counted are buckets whose reads are counted, with objects by their keys.
type counted struct {
	objects map[string]string
	opened  int
}

func (c *counted) Object(_ context.Context, _ fescue.Partition, bucket, key string) (buckets.Object, error) {
	content, ok := c.objects[bucket+"/"+key]
	if !ok {
		return buckets.Object{}, fescue.Refuse(buckets.ErrNoKey, "The specified key does not exist.")
	}
	return buckets.Object{Key: key, ContentID: content, Size: int64(len(content)), ModifiedAt: time.Unix(7, 0)}, nil
}

func (c *counted) Read(ctx context.Context, p fescue.Partition, bucket, key string, choose func(buckets.Object) (buckets.Range, error)) (o buckets.Object, r io.ReadCloser, err error) {
	if o, err = c.Object(ctx, p, bucket, key); err != nil {
		return o, nil, err
	}
	want, err := choose(o)
	if err != nil {
		return o, nil, err
	}
	if want.Length > 4 {
		c.opened++
	}
	content := c.objects[bucket+"/"+key]
	return o, io.NopCloser(strings.NewReader(content[want.Offset : want.Offset+want.Length])), nil
}

func TestModel(t *testing.T) {
	t.Parallel()
	blobs, err := artifacts.OpenFolder(filepath.Join(t.TempDir(), "artifacts"))
	if err != nil {
		t.Fatal(err)
	}
	from := &counted{objects: map[string]string{"b/zip": "PK\x03\x04 and so on", "b/tar.gz": "\x1f\x8b and so on", "b/empty.zip": "PK\x05\x06", "b/text": "hello", "b/nothing": ""}}
	s := models.New(models.Options{Buckets: from, Blobs: blobs, SpoolDir: t.TempDir(), Jobs: map[string]string{"arn:job": "s3://b/zip"}})
	for _, tc := range []struct {
		uri     string
		packing bundle.Packing
		refused error
	}{
		{"s3://b/zip", bundle.Zip, nil}, {"s3://b/tar.gz", bundle.TarGz, nil}, {"s3://b/empty.zip", bundle.Zip, nil},
		{"s3://b/text", "", deploy.ErrModel}, {"s3://b/nothing", "", deploy.ErrModel}, {"s3://b/none", "", fescue.ErrNotFound},
		{"s3://b", "", deploy.ErrModel}, {"s3:///k", "", deploy.ErrModel}, {"s3://b/", "", deploy.ErrModel}, {"https://b/k", "", deploy.ErrModel}, {"", "", deploy.ErrModel},
	} {
		looked, err := s.Model(t.Context(), home, tc.uri)
		if err == nil && (looked.SHA256 != "" || looked.Packing != tc.packing) {
			t.Errorf("%s: %+v before it is copied", tc.uri, looked)
		}
		m, copyErr := s.Copy(t.Context(), home, tc.uri, func(int64) {})
		if (err == nil) != (copyErr == nil) {
			t.Errorf("%s: %v when it is looked at, %v when it is copied", tc.uri, err, copyErr)
		}
		var refusal *fescue.Refusal
		if tc.refused != nil {
			if !errors.As(err, &refusal) || !errors.Is(err, tc.refused) {
				t.Errorf("%s: %v, want a refusal of %v", tc.uri, err, tc.refused)
			}
			continue
		}
		if err != nil || m.Packing != tc.packing || !m.ModifiedAt.Equal(time.Unix(7, 0)) {
			t.Errorf("%s: %+v, %v", tc.uri, m, err)
			continue
		}
		if info, err := blobs.Stat(t.Context(), m.SHA256); err != nil || info.Size != m.Size {
			t.Errorf("%s: the artifact is %+v, %v", tc.uri, info, err)
		}
	}
	opened := from.opened
	m, err := s.Copy(t.Context(), home, "s3://b/zip", func(int64) {})
	if err != nil || from.opened != opened {
		t.Errorf("what has not changed was read again: %v", err)
	}
	if looked, err := s.Model(t.Context(), home, "s3://b/zip"); err != nil || looked != m {
		t.Errorf("what was copied is %+v, %v, not %+v", looked, err, m)
	}
	if err := blobs.Delete(t.Context(), m.SHA256); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Copy(t.Context(), home, "s3://b/zip", func(int64) {}); err != nil || from.opened != opened+1 {
		t.Errorf("what was lost was not read again: %v", err)
	}
	if uri, ok := s.Job("arn:job"); !ok || uri != "s3://b/zip" {
		t.Error(uri, ok)
	}
	if _, ok := s.Job("arn:other"); ok {
		t.Error("an unknown job has a model")
	}
}
