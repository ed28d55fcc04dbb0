// Package buckets keeps buckets and their objects: the part of Amazon S3 that
// scripts for Greengrass use. Rows lie in the store, contents as blobs under
// their SHA-256. It must not know how requests arrive. Nothing of a key ever
// becomes a file name: blobs are named by their hashes alone.
package buckets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/semaphore"

	"github.com/fescue-edge/fescue"
)

// Store keeps buckets, objects, uploads and the names of blobs. What is not there
// is fescue.ErrNotFound; what another write came before, fescue.ErrConflict.
type Store interface {
	// CreateBucket writes a bucket. A name that is taken is fescue.ErrExists, a
	// partition that has limit buckets already fescue.ErrQuota.
	CreateBucket(ctx context.Context, p fescue.Partition, b Bucket, limit int) error
	Buckets(ctx context.Context, p fescue.Partition) ([]Bucket, error)
	Bucket(ctx context.Context, p fescue.Partition, name string) (Bucket, error)
	// DeleteBucket removes a bucket with the uploads in it. One that holds objects
	// is fescue.ErrInUse.
	DeleteBucket(ctx context.Context, p fescue.Partition, name string, lookAt time.Time) error

	Object(ctx context.Context, p fescue.Partition, bucket, key string) (Object, error)
	// Objects lists objects by key, from a key on, without the one called except.
	Objects(ctx context.Context, p fescue.Partition, bucket, from, except string, limit int) ([]Object, error)
	// PutObject writes an object of one piece in the place of the one that is
	// there; a condition of w that does not hold is fescue.ErrPrecondition.
	PutObject(ctx context.Context, p fescue.Partition, bucket string, o Object, part ObjectPart, w ObjectWrite) error
	// CopyObject writes an object with the pieces of the content called from.
	CopyObject(ctx context.Context, p fescue.Partition, bucket string, o Object, from string, w ObjectWrite) error
	DeleteObject(ctx context.Context, p fescue.Partition, bucket, key string, lookAt time.Time) error
	// ObjectParts lists the pieces of a content by number, after a number.
	ObjectParts(ctx context.Context, p fescue.Partition, content string, after, limit int) ([]ObjectPart, error)

	CreateUpload(ctx context.Context, p fescue.Partition, bucket string, u ObjectUpload) error
	Upload(ctx context.Context, p fescue.Partition, bucket, id string) (ObjectUpload, error)
	// Uploads lists uploads by key and id, after both, from the key from on.
	Uploads(ctx context.Context, p fescue.Partition, bucket, from, afterKey, afterID string, limit int) ([]ObjectUpload, error)
	PutPart(ctx context.Context, p fescue.Partition, bucket, id string, part ObjectPart, w ObjectWrite) error
	// CompleteUpload makes the object o of the upload called o.ContentID, from the
	// chosen ones of its parts.
	CompleteUpload(ctx context.Context, p fescue.Partition, bucket string, o Object, chosen []ObjectPart, w ObjectWrite) error
	AbortUpload(ctx context.Context, p fescue.Partition, bucket, id string, lookAt time.Time) error
	// AbortOldUploads forgets some uploads that began before a time.
	AbortOldUploads(ctx context.Context, before time.Time, limit int, lookAt time.Time) (int, error)

	// HoldBlob announces a blob before it is put; while it is being removed it is
	// fescue.ErrConflict.
	HoldBlob(ctx context.Context, hash string, until time.Time) (hold string, err error)
	// BlobsToLookAt lists blobs that may be garbage and whose time has come.
	BlobsToLookAt(ctx context.Context, now time.Time, limit int) ([]BlobLook, error)
	// CondemnBlob announces that a blob is going to be removed.
	CondemnBlob(ctx context.Context, b BlobLook, until time.Time) error
	ForgetBlob(ctx context.Context, b BlobLook) error
}

// Blobs keeps contents by their SHA-256 in lowercase hexadecimal. They belong to
// this package alone: it removes what no object names.
type Blobs interface {
	Put(ctx context.Context, hash string, r io.Reader) error
	Open(ctx context.Context, hash string, offset int64) (io.ReadCloser, error)
	Delete(ctx context.Context, hash string) error
}

// Limits, as Amazon S3 has them.
const (
	// MaxPut is the most that one put or one part may bring, in bytes.
	MaxPut = 5 << 30
	// MinPart is the least that a part but the last may have, in bytes.
	MinPart = 5 << 20
	// MaxObject is the most that an object may have, in bytes.
	MaxObject = 5 << 40
	// MaxKey is the most that a key may have, in bytes.
	MaxKey = 1024
	// MaxMetadata bounds the user's metadata, in bytes.
	MaxMetadata = 2 << 10
	// MaxBuckets bounds the buckets of a partition.
	MaxBuckets = 100
)

// Kinds of refusal, beside those of package fescue.
var (
	ErrNoBucket     = fmt.Errorf("bucket %w", fescue.ErrNotFound)
	ErrNoKey        = fmt.Errorf("key %w", fescue.ErrNotFound)
	ErrNoUpload     = fmt.Errorf("upload %w", fescue.ErrNotFound)
	ErrBucketName   = errors.New("invalid bucket name")
	ErrKey          = errors.New("invalid key")
	ErrKeyTooLong   = errors.New("key too long")
	ErrMetadata     = errors.New("too much metadata")
	ErrTooLarge     = errors.New("content too large")
	ErrDigest       = errors.New("content does not have the checksum that was sent")
	ErrAlgorithm    = errors.New("invalid checksum request")
	ErrPart         = errors.New("part not found or different")
	ErrPartNumber   = errors.New("invalid part number")
	ErrPartOrder    = errors.New("parts out of order")
	ErrPartTooSmall = errors.New("part too small")
	ErrSelfCopy     = errors.New("copy onto itself without a change")
	ErrRange        = errors.New("range outside of the object")
	// ErrBusy means that the server could not do it just now; the same call again
	// may succeed.
	ErrBusy = errors.New("busy")
)

// Options is what a Service is made from; all of it is required.
type Options struct {
	Store Store
	Blobs Blobs
	// SpoolDir holds what is copied between objects.
	SpoolDir string
	Now      func() time.Time
	Logger   *slog.Logger
}

// Service is the buckets of all partitions.
type Service struct {
	o Options
	// copies are places for parts that are copied, each through a file.
	copies *semaphore.Weighted
}

// maxCopies bounds the parts that are copied at once.
const maxCopies = 2

// New makes a Service.
func New(o Options) *Service { return &Service{o, semaphore.NewWeighted(maxCopies)} }

func (s *Service) now() time.Time { return s.o.Now().UTC().Truncate(time.Millisecond) }

// namePattern is what a bucket may be called (Amazon S3 user guide, "General
// purpose bucket naming rules").
var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

var addressPattern = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$`)

// CheckName refuses what cannot be a bucket's name.
func CheckName(name string) error {
	if !namePattern.MatchString(name) || strings.Contains(name, "..") || addressPattern.MatchString(name) {
		return fescue.Refuse(ErrBucketName, "The specified bucket is not valid: %.100q. A name has 3 to 63 lower-case letters, digits, dots and hyphens, begins and ends with a letter or digit, and is no IP address.", name)
	}
	return nil
}

func checkKey(key string) error {
	switch {
	case len(key) > MaxKey:
		return fescue.Refuse(ErrKeyTooLong, "Your key is too long: it has %d bytes, at most %d are allowed.", len(key), MaxKey)
	case key == "" || !utf8.ValidString(key) || strings.ContainsRune(key, 0):
		return fescue.Refuse(ErrKey, "The key must be UTF-8 text of at least one character, without NUL.")
	}
	return nil
}

func checkPlace(bucket, key string) error {
	if err := CheckName(bucket); err != nil {
		return err
	}
	return checkKey(key)
}

func noBucket(name string) error {
	return fescue.Refuse(ErrNoBucket, "The specified bucket does not exist: %s.", name)
}

func noKey(key string) error { return fescue.Refuse(ErrNoKey, "The specified key does not exist.") }

// CreateBucket makes a bucket. One that the partition has already is
// fescue.ErrExists.
func (s *Service) CreateBucket(ctx context.Context, p fescue.Partition, name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	err := s.o.Store.CreateBucket(ctx, p, Bucket{Name: name, CreatedAt: s.now()}, MaxBuckets)
	switch {
	case errors.Is(err, fescue.ErrExists):
		return fescue.Refuse(fescue.ErrExists, "Your previous request to create the named bucket succeeded and you already own it.")
	case errors.Is(err, fescue.ErrQuota):
		return fescue.Refuse(fescue.ErrQuota, "You have attempted to create more buckets than allowed: %d. Delete one first.", MaxBuckets)
	}
	return err
}

// Buckets lists a partition's buckets by name.
func (s *Service) Buckets(ctx context.Context, p fescue.Partition) ([]Bucket, error) {
	return s.o.Store.Buckets(ctx, p)
}

// Bucket finds a bucket.
func (s *Service) Bucket(ctx context.Context, p fescue.Partition, name string) (Bucket, error) {
	if err := CheckName(name); err != nil {
		return Bucket{}, err
	}
	b, err := s.o.Store.Bucket(ctx, p, name)
	if errors.Is(err, fescue.ErrNotFound) {
		err = noBucket(name)
	}
	return b, err
}

// DeleteBucket removes a bucket without objects; uploads under way in it end.
func (s *Service) DeleteBucket(ctx context.Context, p fescue.Partition, name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	err := s.o.Store.DeleteBucket(ctx, p, name, s.now().Add(grace))
	switch {
	case errors.Is(err, fescue.ErrNotFound):
		return noBucket(name)
	case errors.Is(err, fescue.ErrInUse):
		return fescue.Refuse(fescue.ErrInUse, "The bucket you tried to delete is not empty: %s. Delete its objects first.", name)
	}
	return err
}

// missing is the refusal for an object that was not found: its key, or the whole
// bucket, is not there.
func (s *Service) missing(ctx context.Context, p fescue.Partition, bucket, key string) error {
	if _, err := s.Bucket(ctx, p, bucket); err != nil {
		return err
	}
	return noKey(key)
}

// attempts bounds how often a change is tried again because another one came
// between.
const attempts = 16

// retry runs a round until no other write comes between.
func retry(ctx context.Context, round func() error) error {
	for attempt := range attempts {
		var refusal *fescue.Refusal
		err := round()
		if !errors.Is(err, fescue.ErrConflict) || errors.As(err, &refusal) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(attempt) * 20 * time.Millisecond):
		}
	}
	return fescue.Refuse(ErrBusy, "Please reduce your request rate: other writes to the same object came between %d times.", attempts)
}
