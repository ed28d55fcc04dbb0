package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/fescue-edge/fescue"
)

// ReplaceTags writes the tags of a container if they still are old, else
// fescue.ErrConflict. The container's time of update stays as it is.
func (s Definitions) ReplaceTags(ctx context.Context, p fescue.Partition, k fescue.Kind, id string, old, tags map[string]string) error {
	err := s.db.update(ctx, func(tx transaction) error {
		err := changed(ctx, tx, `
			UPDATE definition SET tags_json = $1 WHERE partition = $2 AND kind = $3 AND id = $4 AND tags_json = $5`,
			tagsJSON(tags), p.Key(), k.Segment, id, tagsJSON(old))
		if !errors.Is(err, fescue.ErrNotFound) {
			return err
		}
		if _, err := findDefinition(ctx, tx, p, k, id); err != nil {
			return err
		}
		return fescue.ErrConflict
	})
	if err != nil {
		return fmt.Errorf("tag %s %s: %w", k.Name, id, err)
	}
	return nil
}

// tagPair is a tag as it stands among others in tags_json; empty for none.
func tagPair(key, value string) string {
	if key == "" {
		return ""
	}
	text := toJSON(map[string]string{key: value})
	return text[1 : len(text)-1]
}
