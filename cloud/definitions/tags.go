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

// CheckTags says what is wrong with the tags of a resource.
func CheckTags(tags map[string]string) error {
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

// Tagged is a resource that has tags.
type Tagged interface {
	Tags(ctx context.Context) (map[string]string, error)
	// ReplaceTags writes tags if they still are old, else fescue.ErrConflict.
	ReplaceTags(ctx context.Context, old, tags map[string]string) error
}

// Tag adds tags to a resource and replaces those with the same keys.
func Tag(ctx context.Context, r Tagged, tags map[string]string) error {
	if len(tags) == 0 {
		return badTags("tags must hold at least one tag.")
	}
	return retag(ctx, r, func(present map[string]string) { maps.Copy(present, tags) })
}

// Untag removes tags from a resource; keys that it does not have are no error.
func Untag(ctx context.Context, r Tagged, keys []string) error {
	if len(keys) == 0 {
		return badTags("tagKeys must name at least one tag key.")
	}
	return retag(ctx, r, func(present map[string]string) {
		for _, key := range keys {
			delete(present, key)
		}
	})
}

func retag(ctx context.Context, r Tagged, change func(map[string]string)) error {
	for attempt := 1; ; attempt++ {
		old, err := r.Tags(ctx)
		if err != nil {
			return err
		}
		tags := make(map[string]string, len(old))
		maps.Copy(tags, old)
		change(tags)
		if err := CheckTags(tags); err != nil {
			return err
		}
		err = r.ReplaceTags(ctx, old, tags)
		if !errors.Is(err, fescue.ErrConflict) || attempt == retagAttempts {
			return err
		}
	}
}

// Tagged is a container as a resource that has tags.
func (s *Service) Tagged(p fescue.Partition, k fescue.Kind, id string) Tagged {
	return container{s, p, k, id}
}

type container struct {
	s  *Service
	p  fescue.Partition
	k  fescue.Kind
	id string
}

// Tags implements Tagged.
func (c container) Tags(ctx context.Context) (map[string]string, error) {
	d, err := c.s.Store.Definition(ctx, c.p, c.k, c.id)
	return d.Tags, err
}

// ReplaceTags implements Tagged.
func (c container) ReplaceTags(ctx context.Context, old, tags map[string]string) error {
	return c.s.Store.ReplaceTags(ctx, c.p, c.k, c.id, old, tags)
}
