package buckets

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/google/uuid"

	"github.com/fescue-edge/fescue"
)

func noUpload() error {
	return fescue.Refuse(ErrNoUpload, "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.")
}

// CreateUpload begins a multipart upload. checksum is what CheckUpload answered.
func (s *Service) CreateUpload(ctx context.Context, p fescue.Partition, bucket, key string, checksum Checksum, settings ObjectSettings) (ObjectUpload, error) {
	u := ObjectUpload{ID: uuid.NewString(), Key: key, CreatedAt: s.now(), Checksum: checksum, ObjectSettings: settings}
	if err := checkPlace(bucket, key); err != nil {
		return u, err
	}
	if err := checkSettings(settings); err != nil {
		return u, err
	}
	err := s.o.Store.CreateUpload(ctx, p, bucket, u)
	if errors.Is(err, fescue.ErrNotFound) {
		err = noBucket(bucket)
	}
	return u, err
}

// Upload finds an upload under way, by its id and the key that it is for.
func (s *Service) Upload(ctx context.Context, p fescue.Partition, bucket, key, id string) (ObjectUpload, error) {
	if err := checkPlace(bucket, key); err != nil {
		return ObjectUpload{}, err
	}
	u, err := s.o.Store.Upload(ctx, p, bucket, id)
	if err == nil && u.Key == key {
		return u, nil
	}
	if err != nil && !errors.Is(err, fescue.ErrNotFound) {
		return u, err
	}
	if _, err := s.Bucket(ctx, p, bucket); err != nil {
		return u, err
	}
	return u, noUpload()
}

// Uploads asks for a page of a bucket's uploads, by key and id.
type Uploads struct {
	Prefix            string
	AfterKey, AfterID string
	Limit             int
}

// Uploads lists uploads under way, one more than Limit if there are more.
func (s *Service) Uploads(ctx context.Context, p fescue.Partition, bucket string, q Uploads) ([]ObjectUpload, error) {
	if _, err := s.Bucket(ctx, p, bucket); err != nil {
		return nil, err
	}
	list, err := s.o.Store.Uploads(ctx, p, bucket, q.Prefix, q.AfterKey, q.AfterID, q.Limit+1)
	for i, u := range list {
		if !strings.HasPrefix(u.Key, q.Prefix) {
			return list[:i], err
		}
	}
	return list, err
}

// Parts lists an upload's parts by number, after a number, one more than limit
// if there are more.
func (s *Service) Parts(ctx context.Context, p fescue.Partition, u ObjectUpload, after, limit int) ([]ObjectPart, error) {
	return s.o.Store.ObjectParts(ctx, p, u.ID, after, limit+1)
}

// PutPart keeps a part in the place of the one of its number.
func (s *Service) PutPart(ctx context.Context, p fescue.Partition, bucket, key, id string, number int, content io.ReadSeeker, wantMD5 []byte, want Checksum) (ObjectPart, error) {
	if err := CheckPartNumber(number); err != nil {
		return ObjectPart{}, err
	}
	u, err := s.Upload(ctx, p, bucket, key, id)
	if err != nil {
		return ObjectPart{}, err
	}
	part, err := measure(ctx, content, wantMD5, want, u.Checksum.Algorithm)
	if err != nil {
		return part, err
	}
	part.Number = number
	err = retry(ctx, func() error {
		part.ModifiedAt = s.now()
		held, err := s.keep(ctx, part.Hash, content)
		if err != nil {
			return err
		}
		w := s.write(false, "")
		w.Hold = held
		err = s.o.Store.PutPart(ctx, p, bucket, id, part, w)
		if errors.Is(err, fescue.ErrNotFound) {
			return noUpload()
		}
		return err
	})
	return part, err
}

// CheckPartNumber refuses what cannot be a part's number.
func CheckPartNumber(number int) error {
	if number < 1 || number > MaxObjectParts {
		return fescue.Refuse(ErrPartNumber, "Part number must be an integer between 1 and %d, inclusive.", MaxObjectParts)
	}
	return nil
}

// PartCopy is a part to be made of an object.
type PartCopy struct {
	FromBucket, FromKey string
	Choose              func(Object) (Range, error)
	Bucket, Key, ID     string
	Number              int
}

// CopyPart keeps a range of an object as a part.
func (s *Service) CopyPart(ctx context.Context, p fescue.Partition, c PartCopy) (part ObjectPart, err error) {
	_, r, err := s.Read(ctx, p, c.FromBucket, c.FromKey, func(o Object) (Range, error) {
		want, err := c.Choose(o)
		if err == nil && want.Length > MaxPut {
			err = fescue.Refuse(ErrTooLarge, "The specified copy source is larger than the maximum allowable size for a copy source: %d bytes.", int64(MaxPut))
		}
		return want, err
	})
	if err != nil {
		return part, err
	}
	defer r.Close()
	if err := s.copies.Acquire(ctx, 1); err != nil {
		return part, err
	}
	defer s.copies.Release(1)
	f, err := os.CreateTemp(s.o.SpoolDir, "copy-*")
	if err != nil {
		return part, fmt.Errorf("spool a copy: %w", err)
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return part, fmt.Errorf("spool a copy: %w", err)
	}
	if _, err := io.Copy(f, r); err != nil {
		return part, fmt.Errorf("spool a copy: %w", err)
	}
	return s.PutPart(ctx, p, c.Bucket, c.Key, c.ID, c.Number, f, nil, Checksum{})
}

// ChosenPart is what the caller of Complete says about a part.
type ChosenPart struct {
	Number int
	ETag   string
	// Checksum, if its value is not empty, must be the part's.
	Checksum Checksum
}

// Complete makes an object of an upload's parts. Completing twice answers what
// the first time made, as long as it is there.
func (s *Service) Complete(ctx context.Context, p fescue.Partition, bucket, key, id string, chosen []ChosenPart, put Put) (o Object, err error) {
	for i, c := range chosen {
		if i > 0 && c.Number <= chosen[i-1].Number {
			return o, fescue.Refuse(ErrPartOrder, "The list of parts was not in ascending order. The parts list must be specified in order by part number.")
		}
	}
	err = retry(ctx, func() error {
		u, err := s.Upload(ctx, p, bucket, key, id)
		if errors.Is(err, ErrNoUpload) {
			if made, lookErr := s.Object(ctx, p, bucket, key); lookErr == nil && made.ContentID == id {
				o = made
				return nil
			}
		}
		if err != nil {
			return err
		}
		present, err := s.o.Store.ObjectParts(ctx, p, id, 0, MaxObjectParts)
		if err != nil {
			return err
		}
		parts, err := pick(present, chosen)
		if err != nil {
			return err
		}
		if o, err = assemble(u, parts); err != nil {
			return err
		}
		o.ModifiedAt = s.now()
		if want := put.Checksum.Value; want != "" && o.Checksum.Algorithm == put.Checksum.Algorithm && want != o.Checksum.Value {
			return differs(put.Checksum, o.Checksum.Value)
		}
		err = s.o.Store.CompleteUpload(ctx, p, bucket, o, parts, s.write(put.OnlyNew, put.OnlyETag))
		if errors.Is(err, fescue.ErrNotFound) {
			return fescue.ErrConflict // looked at again: it is gone, or was completed
		}
		return s.notWritten(ctx, p, bucket, key, err)
	})
	return o, err
}

// pick finds the chosen parts among those that are there.
func pick(present []ObjectPart, chosen []ChosenPart) ([]ObjectPart, error) {
	byNumber := make(map[int]ObjectPart, len(present))
	for _, part := range present {
		byNumber[part.Number] = part
	}
	parts := make([]ObjectPart, 0, len(chosen))
	for i, c := range chosen {
		part, ok := byNumber[c.Number]
		sameSum := c.Checksum.Value == "" || c.Checksum.Algorithm != part.Checksum.Algorithm || c.Checksum.Value == part.Checksum.Value
		if !ok || part.ETag != c.ETag || !sameSum {
			return nil, fescue.Refuse(ErrPart, "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag: part %d.", c.Number)
		}
		if i < len(chosen)-1 && part.Size < MinPart {
			return nil, fescue.Refuse(ErrPartTooSmall, "Your proposed upload is smaller than the minimum allowed size: part %d has %d bytes, all parts but the last need %d.", c.Number, part.Size, MinPart)
		}
		parts = append(parts, part)
	}
	return parts, nil
}

// assemble is the object that parts make.
func assemble(u ObjectUpload, parts []ObjectPart) (Object, error) {
	o := Object{Key: u.Key, ContentID: u.ID, PartCount: len(parts), ObjectSettings: u.ObjectSettings}
	sums := md5.New()
	for _, part := range parts {
		o.Size += part.Size
		sum, err := hex.DecodeString(part.ETag)
		if err != nil {
			return o, fmt.Errorf("part %d of upload %s: ETag: %w", part.Number, u.ID, err)
		}
		sums.Write(sum)
	}
	if o.Size > MaxObject {
		return o, fescue.Refuse(ErrTooLarge, "Your proposed upload exceeds the maximum allowed size: %d bytes.", int64(MaxObject))
	}
	o.ETag = fmt.Sprintf("%x-%d", sums.Sum(nil), len(parts))
	var err error
	o.Checksum, err = join(u.Checksum, parts)
	return o, err
}

// Abort forgets an upload and its parts.
func (s *Service) Abort(ctx context.Context, p fescue.Partition, bucket, key, id string) error {
	if _, err := s.Upload(ctx, p, bucket, key, id); err != nil {
		return err
	}
	err := s.o.Store.AbortUpload(ctx, p, bucket, id, s.now().Add(grace))
	if errors.Is(err, fescue.ErrNotFound) {
		return noUpload()
	}
	return err
}
