package definitions

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/fescue-edge/fescue"
)

// Restoration is a version of a container as another store, or a core, had it.
type Restoration struct {
	// Definition is the container; it is made when it is not there, and left as it
	// is when it is. Times that are zero mean now.
	Definition fescue.Definition
	// VersionID is the version's id.
	VersionID string
	// Body is the version, checked as that of a new one is.
	Body json.RawMessage
	// CreatedAt is when the version was made; zero means now.
	CreatedAt time.Time
}

// Restore makes a version, and its container where that is missing, under ids
// that the caller chose. It reports whether anything was made: a version that is
// there with the same body is left alone. One with another body is
// fescue.ErrExists, as versions never change.
func (s *Service) Restore(ctx context.Context, p fescue.Partition, r Restoration) (made bool, err error) {
	d := r.Definition
	if err := CheckTags(d.Tags); err != nil {
		return false, err
	}
	for _, id := range []string{d.ID, r.VersionID} {
		if !fescue.ValidID(id) {
			return false, fmt.Errorf("%w: the id %.64q is not a UUID in lowercase", ErrMalformed, id)
		}
	}
	now := s.now().UTC()
	for _, at := range []*time.Time{&d.CreatedAt, &d.UpdatedAt, &r.CreatedAt} {
		if at.IsZero() {
			*at = now
		}
	}
	v, err := s.newVersion(ctx, p, d.Kind, d.ID, r.Body, r.CreatedAt)
	if err != nil {
		return false, err
	}
	v.ID = r.VersionID
	return s.Store.RestoreVersion(ctx, p, d, v)
}
