package buckets

import (
	"cmp"
	"context"
	"errors"
	"io"
	"time"

	"github.com/google/uuid"

	"github.com/fescue-edge/fescue"
)

const (
	// grace is how long a blob outlives its last name, for readers under way.
	grace = time.Hour
	// hold is how long a blob may take from its announcement to its name.
	hold = 6 * time.Hour
)

// Put is an object to be kept.
type Put struct {
	ObjectSettings
	// MD5, if not nil, is what the content must have.
	MD5 []byte
	// Checksum is what the content must have; with an algorithm and no value it is
	// computed. Without an algorithm it is CRC64NVME.
	Checksum Checksum
	// OnlyNew refuses to replace an object, OnlyETag to replace one with another
	// ETag.
	OnlyNew  bool
	OnlyETag string
}

// Put keeps an object in the place of the one that is there. The content is read
// from its start, more than once.
func (s *Service) Put(ctx context.Context, p fescue.Partition, bucket, key string, content io.ReadSeeker, put Put) (Object, error) {
	if err := checkPlace(bucket, key); err != nil {
		return Object{}, err
	}
	if err := checkSettings(put.ObjectSettings); err != nil {
		return Object{}, err
	}
	part, err := measure(ctx, content, put.MD5, put.Checksum, cmp.Or(put.Checksum.Algorithm, CRC64NVME))
	if err != nil {
		return Object{}, err
	}
	var o Object
	err = retry(ctx, func() error {
		now := s.now()
		part.Number, part.ModifiedAt = 1, now
		o = Object{
			Key: key, ContentID: uuid.NewString(), Size: part.Size, ETag: part.ETag, ModifiedAt: now,
			Checksum: part.Checksum, ObjectSettings: put.ObjectSettings,
		}
		held, err := s.keep(ctx, part.Hash, content)
		if err != nil {
			return err
		}
		w := s.write(put.OnlyNew, put.OnlyETag)
		w.Hold = held
		err = s.o.Store.PutObject(ctx, p, bucket, o, part, w)
		return s.notWritten(ctx, p, bucket, key, err)
	})
	return o, err
}

func (s *Service) write(onlyNew bool, onlyETag string) ObjectWrite {
	now := s.now()
	return ObjectWrite{OnlyNew: onlyNew, OnlyETag: onlyETag, LookAt: now.Add(grace), HoldUntil: now.Add(hold)}
}

// notWritten is what the caller gets when an object was not written.
func (s *Service) notWritten(ctx context.Context, p fescue.Partition, bucket, key string, err error) error {
	switch {
	case errors.Is(err, fescue.ErrNotFound):
		return noBucket(bucket)
	case errors.Is(err, fescue.ErrPrecondition):
		if _, err := s.Object(ctx, p, bucket, key); err != nil {
			return err
		}
		return fescue.Refuse(fescue.ErrPrecondition, "At least one of the pre-conditions you specified did not hold.")
	}
	return err
}

func checkSettings(o ObjectSettings) error {
	size := 0
	for name, value := range o.Metadata {
		size += len(name) + len(value)
	}
	if size > MaxMetadata {
		return fescue.Refuse(ErrMetadata, "Your metadata headers exceed the maximum allowed metadata size: %d of %d bytes.", size, MaxMetadata)
	}
	return nil
}

// keep puts a blob, announced so that it is not collected before it is named; it
// returns the announcement.
func (s *Service) keep(ctx context.Context, hash string, content io.ReadSeeker) (held string, err error) {
	held, err = s.o.Store.HoldBlob(ctx, hash, s.now().Add(hold))
	if err != nil {
		return "", err
	}
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	return held, s.o.Blobs.Put(ctx, hash, content)
}

// Object finds an object.
func (s *Service) Object(ctx context.Context, p fescue.Partition, bucket, key string) (Object, error) {
	if err := checkPlace(bucket, key); err != nil {
		return Object{}, err
	}
	o, err := s.o.Store.Object(ctx, p, bucket, key)
	if errors.Is(err, fescue.ErrNotFound) {
		err = s.missing(ctx, p, bucket, key)
	}
	return o, err
}

// Range is a part of a content, in bytes.
type Range struct{ Offset, Length int64 }

// Read opens an object from the range that choose answers for it; the error of
// choose ends it. The reader ends with ctx, and the caller closes it.
func (s *Service) Read(ctx context.Context, p fescue.Partition, bucket, key string, choose func(Object) (Range, error)) (o Object, r io.ReadCloser, err error) {
	err = retry(ctx, func() (err error) {
		if o, err = s.Object(ctx, p, bucket, key); err != nil {
			return err
		}
		want, err := choose(o)
		if err != nil {
			return err
		}
		if want.Offset < 0 || want.Length < 0 || want.Length > o.Size-want.Offset {
			return fescue.Refuse(ErrRange, "The requested range is not satisfiable.")
		}
		r, err = s.open(ctx, p, o, want)
		return err
	})
	return o, r, err
}

// Open opens the whole of an object and returns its size. What is not there is
// fescue.ErrNotFound.
func (s *Service) Open(ctx context.Context, p fescue.Partition, bucket, key string) (io.ReadCloser, int64, error) {
	o, r, err := s.Read(ctx, p, bucket, key, whole)
	return r, o.Size, err
}

func whole(o Object) (Range, error) { return Range{Length: o.Size}, nil }

// Delete removes an object. One that is not there is no error.
func (s *Service) Delete(ctx context.Context, p fescue.Partition, bucket, key string) error {
	if err := checkPlace(bucket, key); err != nil {
		return err
	}
	err := s.o.Store.DeleteObject(ctx, p, bucket, key, s.now().Add(grace))
	if errors.Is(err, fescue.ErrNotFound) {
		_, err = s.Bucket(ctx, p, bucket)
	}
	return err
}

// Copy is an object to be made of another.
type Copy struct {
	FromBucket, FromKey string
	Bucket, Key         string
	// Settings replaces those of the source.
	Settings *ObjectSettings
	// Allow, if not nil, may refuse the source.
	Allow func(source Object) error
	// OnlyNew and OnlyETag are those of Put.
	OnlyNew  bool
	OnlyETag string
}

// Copy makes an object with the content of another: nothing is read, the blobs
// get another name. ETag and checksum are the source's.
func (s *Service) Copy(ctx context.Context, p fescue.Partition, c Copy) (Object, error) {
	if err := checkPlace(c.Bucket, c.Key); err != nil {
		return Object{}, err
	}
	if c.Settings != nil {
		if err := checkSettings(*c.Settings); err != nil {
			return Object{}, err
		}
	} else if c.FromBucket == c.Bucket && c.FromKey == c.Key {
		return Object{}, fescue.Refuse(ErrSelfCopy, "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata.")
	}
	var o Object
	err := retry(ctx, func() (err error) {
		if o, err = s.Object(ctx, p, c.FromBucket, c.FromKey); err != nil {
			return err
		}
		if c.Allow != nil {
			if err := c.Allow(o); err != nil {
				return err
			}
		}
		from := o.ContentID
		o.Key, o.ContentID, o.ModifiedAt = c.Key, uuid.NewString(), s.now()
		if c.Settings != nil {
			o.ObjectSettings = *c.Settings
		}
		err = s.o.Store.CopyObject(ctx, p, c.Bucket, o, from, s.write(c.OnlyNew, c.OnlyETag))
		return s.notWritten(ctx, p, c.Bucket, c.Key, err)
	})
	return o, err
}
