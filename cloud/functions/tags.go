package functions

import (
	"context"
	"errors"
	"io"
	"maps"

	"github.com/fescue-edge/fescue"
)

// Tags reads the tags of the function that an unqualified reference names.
func (s *Service) Tags(ctx context.Context, p fescue.Partition, function string) (map[string]string, error) {
	name, err := aliasFunction(p, function)
	if err != nil {
		return nil, err
	}
	tags, err := s.store.FunctionTags(ctx, p, name)
	return tags, functionNotFound(err, p, name, "")
}

// Tag adds tags to a function, and replaces those with the same keys.
func (s *Service) Tag(ctx context.Context, p fescue.Partition, function string, tags map[string]string) error {
	if len(tags) == 0 {
		return fescue.Refuse(ErrInvalid, "Tags must name at least one tag.")
	}
	return s.retag(ctx, p, function, func(present map[string]string) { maps.Copy(present, tags) })
}

// Untag removes tags from a function; keys that it does not have are no error.
func (s *Service) Untag(ctx context.Context, p fescue.Partition, function string, keys []string) error {
	if len(keys) == 0 {
		return fescue.Refuse(ErrInvalid, "tagKeys must name at least one tag key.")
	}
	return s.retag(ctx, p, function, func(present map[string]string) {
		for _, k := range keys {
			delete(present, k)
		}
	})
}

func (s *Service) retag(ctx context.Context, p fescue.Partition, function string, apply func(map[string]string)) error {
	name, err := aliasFunction(p, function)
	if err != nil {
		return err
	}
	return retry(p.FunctionARN(name), func() error {
		before, err := s.store.FunctionTags(ctx, p, name)
		if err != nil {
			return functionNotFound(err, p, name, "")
		}
		after := maps.Clone(before)
		if after == nil {
			after = map[string]string{}
		}
		apply(after)
		if err := checkTags(after); err != nil {
			return err
		}
		return functionNotFound(s.store.ReplaceFunctionTags(ctx, p, name, before, after), p, name, "")
	})
}

// OpenCode reads a zip from an offset in bytes, if a version of the partition's
// functions has it, else fescue.ErrNotFound.
func (s *Service) OpenCode(ctx context.Context, p fescue.Partition, hash string, offset int64) (io.ReadCloser, error) {
	if !fescue.ValidHash(hash) {
		return nil, fescue.ErrNotFound
	}
	named, err := s.store.FunctionCodeNamed(ctx, p, hash)
	if err == nil && !named {
		err = fescue.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	r, err := s.code.Open(ctx, hash, offset)
	if errors.Is(err, fescue.ErrNotFound) {
		return nil, fescue.Refuse(fescue.ErrNotFound, "The code %s is gone from the artifact store: restore it from a backup, or upload it again.", hash)
	}
	return r, err
}
