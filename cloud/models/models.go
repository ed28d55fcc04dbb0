// Package models brings machine learning models from buckets to the artifacts that
// cores fetch by hash, each content once.
//
// It knows what an archive looks like from outside; that what is in it can be laid
// out is for the core to find.
package models

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/cloud/artifacts"
	"github.com/fescue-edge/fescue/cloud/buckets"
	"github.com/fescue-edge/fescue/cloud/deploy"
)

// Buckets are where models lie; buckets.Service is them. A refusal is a
// *fescue.Refusal, of what is not there one of fescue.ErrNotFound.
type Buckets interface {
	Object(ctx context.Context, p fescue.Partition, bucket, key string) (buckets.Object, error)
	Read(ctx context.Context, p fescue.Partition, bucket, key string, choose func(buckets.Object) (buckets.Range, error)) (buckets.Object, io.ReadCloser, error)
}

// Blobs are the artifacts.
type Blobs interface {
	Put(ctx context.Context, hash string, r io.Reader) error
	Stat(ctx context.Context, hash string) (artifacts.Info, error)
}

// Options is what a Service is made of. All but Jobs, Stall and Look are needed.
type Options struct {
	Buckets Buckets
	Blobs   Blobs
	// SpoolDir holds models, of at most bundle.MaxModel bytes each and maxCopies at
	// once, while they are copied.
	SpoolDir string
	// Jobs are the models of SageMaker's training jobs: s3:// URIs by the jobs' ARNs.
	Jobs map[string]string
	// Stall is how long a copy goes on without a byte; 0 is DefaultStall.
	Stall time.Duration
	// Look is how long it takes at most to look at a model; 0 is DefaultLook.
	Look time.Duration
}

// DefaultStall is how long a copy goes on without a byte before it fails.
const DefaultStall = 5 * time.Minute

// DefaultLook is how long it takes at most to look at a model that is not copied yet:
// it is shorter than the lease of the deployment that is built meanwhile, as others wait.
const DefaultLook = 10 * time.Second

// maxWrites bounds the times that a copy begins anew because the object was written
// while it was copied.
const maxWrites = 5

// maxCopies bounds the models that are copied at once, each through a file.
const maxCopies = 4

// Service copies models.
type Service struct {
	Options
	// places are those of models that are copied.
	places *semaphore.Weighted

	mu sync.Mutex
	// known are models by the names of the contents that they were made of, which
	// change with each write.
	known map[string]deploy.Model
	// under are the copies under way, by the same names.
	under map[string]*underWay
}

// underWay is a copy that is made; others who want the same content wait for it.
type underWay struct {
	copied atomic.Int64
	// ended is closed at the end, when model is what was copied, or err why it was not.
	ended chan struct{}
	model deploy.Model
	err   error
}

// New makes a Service.
func New(o Options) *Service {
	o.Stall, o.Look = cmp.Or(o.Stall, DefaultStall), cmp.Or(o.Look, DefaultLook)
	return &Service{Options: o, places: semaphore.NewWeighted(maxCopies), known: make(map[string]deploy.Model), under: make(map[string]*underWay)}
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
	m, _, err := s.look(ctx, p, uri)
	return m, err
}

// source is where the content of a model is read.
type source struct {
	partition   fescue.Partition
	bucket, key string
	content     string
}

// errSilent means that a bucket did not answer in time.
var errSilent = errors.New("its bucket did not answer")

// look is Model, and where to read it.
func (s *Service) look(ctx context.Context, p fescue.Partition, uri string) (m deploy.Model, from source, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.Look, errSilent)
	defer cancel()
	defer func() {
		if err != nil && errors.Is(context.Cause(ctx), errSilent) {
			err = fmt.Errorf("look at the model %s: %w within %v: %w", uri, errSilent, s.Look, err)
		}
	}()
	from.partition = p
	if from.bucket, from.key, err = Place(uri); err != nil {
		return m, from, err
	}
	object, err := s.Buckets.Object(ctx, p, from.bucket, from.key)
	if err != nil {
		return m, from, err
	}
	from.content = object.ContentID
	if object.Size > bundle.MaxModel {
		return m, from, fescue.Refuse(deploy.ErrModel, "it has %d bytes, at most %d are accepted", object.Size, int64(bundle.MaxModel))
	}
	s.mu.Lock()
	m, known := s.known[object.ContentID]
	s.mu.Unlock()
	if known {
		if _, err := s.Blobs.Stat(ctx, m.SHA256); err == nil {
			m.ModifiedAt = object.ModifiedAt
			return m, from, nil
		}
	}
	head, err := s.head(ctx, from)
	if err != nil {
		return m, from, err
	}
	m = deploy.Model{Size: object.Size, Packing: packing(head), ModifiedAt: object.ModifiedAt}
	if m.Packing == bundle.Plain {
		return deploy.Model{}, from, fescue.Refuse(deploy.ErrModel, "it is neither a .tar.gz nor a .zip archive")
	}
	return m, from, nil
}

// head is the first bytes of an object, by which archives are known.
func (s *Service) head(ctx context.Context, from source) ([]byte, error) {
	head := make([]byte, 4)
	_, r, err := s.Buckets.Read(ctx, from.partition, from.bucket, from.key, func(o buckets.Object) (buckets.Range, error) {
		head = head[:min(int64(len(head)), o.Size)]
		return buckets.Range{Length: int64(len(head))}, nil
	})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, fmt.Errorf("read the model s3://%s/%s: %w", from.bucket, from.key, err)
	}
	return head, nil
}

// Copy implements deploy.Models. One content is copied once, for all who want it; an
// object that is written again and again is a refusal.
func (s *Service) Copy(ctx context.Context, p fescue.Partition, uri string, copied func(bytes int64)) (deploy.Model, error) {
	for writes := 0; writes < maxWrites; {
		m, from, err := s.look(ctx, p, uri)
		if err != nil || m.SHA256 != "" {
			return m, err
		}
		u, mine := s.begin(from.content)
		if mine {
			m, err = s.make(ctx, u, from, m, copied)
		} else if err = u.wait(ctx, copied); err == nil {
			m, err = u.model, u.err
		}
		switch {
		case errors.Is(err, errChanged):
			writes++
		case err == nil || mine || ctx.Err() != nil:
			return m, err
		}
	}
	return deploy.Model{}, fescue.Refuse(deploy.ErrModel, "it was written %d times while it was copied. Deploy a key that is written once for each model, or when what writes it is done", maxWrites)
}

// errPanicked is what those learn who wait for a copy that panicked.
var errPanicked = errors.New("the copy of the model panicked")

// make makes a copy that has begun, and ends it however it goes.
func (s *Service) make(ctx context.Context, u *underWay, from source, m deploy.Model, copied func(int64)) (done deploy.Model, err error) {
	err = errPanicked
	defer func() { s.end(from.content, u, done, err) }()
	return s.copy(ctx, from, m, func(n int64) { u.copied.Store(n); copied(n) })
}

// begin is the copy of a content that is under way, and whether the caller is to make
// it.
func (s *Service) begin(content string) (u *underWay, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u = s.under[content]; u != nil {
		return u, false
	}
	u = &underWay{ended: make(chan struct{})}
	s.under[content] = u
	return u, true
}

// end lets those go on who wait for a copy.
func (s *Service) end(content string, u *underWay, m deploy.Model, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.under, content)
	if err == nil {
		if len(s.known) >= maxKnown {
			clear(s.known)
		}
		s.known[content] = m
	}
	u.model, u.err = m, err
	close(u.ended)
}

// watch is how often those who wait for a copy look how far it is.
const watch = 500 * time.Millisecond

// wait waits for the end of a copy that somebody else makes.
func (u *underWay) wait(ctx context.Context, copied func(int64)) error {
	tick := time.NewTicker(watch)
	defer tick.Stop()
	for {
		copied(u.copied.Load())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-u.ended:
			return nil
		case <-tick.C:
		}
	}
}

// copy copies a model to the artifacts, by a file: its hash is known at its end.
func (s *Service) copy(ctx context.Context, from source, m deploy.Model, copied func(int64)) (_ deploy.Model, err error) {
	if err := s.places.Acquire(ctx, 1); err != nil {
		return m, err
	}
	defer s.places.Release(1)
	spool, err := os.CreateTemp(s.SpoolDir, "model-*")
	if err != nil {
		return m, fmt.Errorf("spool a model: %w", err)
	}
	defer func() { err = errors.Join(err, spool.Close(), os.Remove(spool.Name())) }()
	sum := sha256.New()
	if err := s.fetch(ctx, from, m.Size, io.MultiWriter(spool, sum), copied); err != nil {
		return m, fmt.Errorf("read the model s3://%s/%s: %w", from.bucket, from.key, err)
	}
	m.SHA256 = hex.EncodeToString(sum.Sum(nil))
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return m, err
	}
	if err := s.Blobs.Put(ctx, m.SHA256, spool); err != nil {
		return m, fmt.Errorf("store the model s3://%s/%s: %w", from.bucket, from.key, err)
	}
	return m, nil
}

// packing recognizes an archive by its first bytes, whatever it is called; Plain for none.
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
