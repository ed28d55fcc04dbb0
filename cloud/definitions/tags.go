package definitions

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"unicode/utf8"

	"github.com/fescue-edge/fescue"
)

// Limits of tags, counted in characters (the tagging rules that AWS services
// share).
const (
	maxTags     = 50
	maxTagKey   = 128
	maxTagValue = 256
	// reservedTag is how keys begin that only AWS sets, in any case.
	reservedTag = "aws:"
)

// retagAttempts bounds how often a change of tags is worked out anew because
// another one came first.
const retagAttempts = 10

// TagError says why tags are refused.
type TagError struct{ Text string }

// Error is the reason.
func (e *TagError) Error() string { return e.Text }

func badTags(format string, args ...any) error { return &TagError{fmt.Sprintf(format, args...)} }

func checkTags(tags map[string]string) error {
	if len(tags) > maxTags {
		return badTags("A resource can have at most %d tags; these are %d.", maxTags, len(tags))
	}
	for key, value := range tags {
		switch {
		case key == "" || utf8.RuneCountInString(key) > maxTagKey:
			return badTags("The tag key %.200q must have 1 to %d characters.", key, maxTagKey)
		case len(key) >= len(reservedTag) && strings.EqualFold(key[:len(reservedTag)], reservedTag):
			return badTags("The tag key %q begins with %s, which is reserved.", key, reservedTag)
		case utf8.RuneCountInString(value) > maxTagValue:
			return badTags("The value of the tag %q has more than %d characters.", key, maxTagValue)
		}
	}
	return nil
}

// Tag adds tags to a container and replaces those with the same keys.
func (s *Service) Tag(ctx context.Context, p fescue.Partition, k fescue.Kind, id string, tags map[string]string) error {
	if len(tags) == 0 {
		return badTags("tags must hold at least one tag.")
	}
	return s.retag(ctx, p, k, id, func(present map[string]string) { maps.Copy(present, tags) })
}

// Untag removes tags from a container; keys that it does not have are no error.
func (s *Service) Untag(ctx context.Context, p fescue.Partition, k fescue.Kind, id string, keys []string) error {
	if len(keys) == 0 {
		return badTags("tagKeys must name at least one tag key.")
	}
	return s.retag(ctx, p, k, id, func(present map[string]string) {
		for _, key := range keys {
			delete(present, key)
		}
	})
}

func (s *Service) retag(ctx context.Context, p fescue.Partition, k fescue.Kind, id string, change func(map[string]string)) error {
	for attempt := 1; ; attempt++ {
		d, err := s.Store.Definition(ctx, p, k, id)
		if err != nil {
			return err
		}
		tags := make(map[string]string, len(d.Tags))
		maps.Copy(tags, d.Tags)
		change(tags)
		if err := checkTags(tags); err != nil {
			return err
		}
		err = s.ReplaceTags(ctx, p, k, id, d.Tags, tags)
		if !errors.Is(err, fescue.ErrConflict) || attempt == retagAttempts {
			return err
		}
	}
}
