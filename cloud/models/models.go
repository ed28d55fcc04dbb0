// Package models brings machine learning models from buckets to the artifacts that
// cores fetch by hash, each content once.
//
// It knows what an archive looks like from outside; that what is in it can be laid
// out is for the core to find.
package models

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/cloud/artifacts"
	"github.com/fescue-edge/fescue/cloud/buckets"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/disk"
)

// Buckets are where models lie; buckets.Service is them. A refusal is a
// *fescue.Refusal, of what is not there one of fescue.ErrNotFound.
type Buckets interface {
	Object(ctx context.Context, p fescue.Partition, bucket, key string) (buckets.Object, error)
	Open(ctx context.Context, p fescue.Partition, bucket, key string) (io.ReadCloser, int64, error)
}

// Blobs are the artifacts.
type Blobs interface {
	Put(ctx context.Context, hash string, r io.Reader) error
	Stat(ctx context.Context, hash string) (artifacts.Info, error)
}

// Options is what a Service is made of. All but Jobs are needed.
type Options struct {
	Buckets Buckets
	Blobs   Blobs
	// SpoolDir holds a model, of at most bundle.MaxModel bytes, while it is copied.
	SpoolDir string
	// Jobs are the models of SageMaker's training jobs: s3:// URIs by the jobs' ARNs.
	Jobs map[string]string
}

// Service brings models.
type Service struct {
	Options
	// copies is the place of a model that is copied.
	copies *semaphore.Weighted

	mu sync.Mutex
	// known are models by the names of the contents that they were made of, which
	// change with each write.
	known map[string]deploy.Model
}

// New makes a Service.
func New(o Options) *Service {
	return &Service{Options: o, copies: semaphore.NewWeighted(1), known: make(map[string]deploy.Model)}
}

// maxKnown bounds the models that are remembered.
const maxKnown = 10_000

// Job implements deploy.Models.
func (s *Service) Job(arn string) (uri string, ok bool) {
	uri, ok = s.Jobs[arn]
	return uri, ok
}

// Model implements deploy.Models.
func (s *Service) Model(ctx context.Context, p fescue.Partition, uri string) (deploy.Model, error) {
	bucket, key, err := Place(uri)
	if err != nil {
		return deploy.Model{}, err
	}
	object, err := s.Buckets.Object(ctx, p, bucket, key)
	if err != nil {
		return deploy.Model{}, err
	}
	if object.Size > bundle.MaxModel {
		return deploy.Model{}, fescue.Refuse(deploy.ErrModel, "it has %d bytes, at most %d are accepted", object.Size, int64(bundle.MaxModel))
	}
	s.mu.Lock()
	m, known := s.known[object.ContentID]
	s.mu.Unlock()
	if known {
		if _, err := s.Blobs.Stat(ctx, m.SHA256); err == nil {
			m.ModifiedAt = object.ModifiedAt
			return m, nil
		}
	}
	if err := s.copies.Acquire(ctx, 1); err != nil {
		return deploy.Model{}, err
	}
	defer s.copies.Release(1)
	if m, err = s.copy(ctx, p, bucket, key); err != nil {
		return m, err
	}
	m.ModifiedAt = object.ModifiedAt
	// What was written between the two looks is not remembered.
	if after, err := s.Buckets.Object(ctx, p, bucket, key); err == nil && after.ContentID == object.ContentID {
		s.remember(object.ContentID, m)
	}
	return m, nil
}

func (s *Service) remember(content string, m deploy.Model) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) >= maxKnown {
		clear(s.known)
	}
	s.known[content] = m
}

// copy copies an object to the artifacts, by a file: its hash is known at its end.
func (s *Service) copy(ctx context.Context, p fescue.Partition, bucket, key string) (m deploy.Model, err error) {
	r, _, err := s.Buckets.Open(ctx, p, bucket, key)
	if err != nil {
		return m, err
	}
	defer r.Close()
	spool, err := os.CreateTemp(s.SpoolDir, "model-*")
	if err != nil {
		return m, fmt.Errorf("spool a model: %w", err)
	}
	defer func() { err = errors.Join(err, spool.Close(), os.Remove(spool.Name())) }()
	sum := sha256.New()
	m.Size, err = io.Copy(io.MultiWriter(spool, sum), disk.Reader(ctx, io.LimitReader(r, bundle.MaxModel+1)))
	if err != nil {
		return m, fmt.Errorf("read the model s3://%s/%s: %w", bucket, key, err)
	}
	if m.Size > bundle.MaxModel {
		return m, fescue.Refuse(deploy.ErrModel, "it has more than the %d bytes that are accepted", int64(bundle.MaxModel))
	}
	head := make([]byte, 4)
	n, err := spool.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return m, err
	}
	if m.Packing = packing(head[:n]); m.Packing == bundle.Plain {
		return m, fescue.Refuse(deploy.ErrModel, "it is neither a .tar.gz nor a .zip archive")
	}
	m.SHA256 = hex.EncodeToString(sum.Sum(nil))
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return m, err
	}
	if err := s.Blobs.Put(ctx, m.SHA256, spool); err != nil {
		return m, fmt.Errorf("store the model s3://%s/%s: %w", bucket, key, err)
	}
	return m, nil
}

// packing tells an archive by its first bytes, whatever it is called; Plain for none.
func packing(head []byte) bundle.Packing {
	switch {
	case strings.HasPrefix(string(head), "\x1f\x8b"):
		return bundle.TarGz
	case strings.HasPrefix(string(head), "PK\x03\x04"), strings.HasPrefix(string(head), "PK\x05\x06"):
		return bundle.Zip
	}
	return bundle.Plain
}

// Place is the bucket and the key of an s3:// URI. The error is a *fescue.Refusal.
func Place(uri string) (bucket, key string, err error) {
	rest, ok := strings.CutPrefix(uri, "s3://")
	bucket, key, cut := strings.Cut(rest, "/")
	if !ok || !cut || bucket == "" || key == "" {
		return "", "", fescue.Refuse(deploy.ErrModel, "%.300q is not an s3://BUCKET/KEY", uri)
	}
	return bucket, key, nil
}
