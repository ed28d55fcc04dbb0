package functions

import (
	"context"
	"errors"
	"regexp"

	"github.com/fescue-edge/fescue"
)

// restorable is a version's number: the digits of a number above 0.
var restorable = regexp.MustCompile(`^[1-9][0-9]{0,17}$`)

// Restore publishes a version under a number that the caller chose, as another
// store, or a core, had it. It is checked as Create checks a function. Where the
// function is missing it is made, with the same $LATEST; where it is there, its
// $LATEST stays. Restore reports whether it made the version: the same one is left
// alone, one that differs is fescue.ErrExists, as versions never change.
func (s *Service) Restore(ctx context.Context, p fescue.Partition, version string, c Creation) (v fescue.FunctionVersion, made bool, err error) {
	name, err := c.check(p)
	if err != nil {
		return v, false, err
	}
	if !restorable.MatchString(version) {
		var shape checks
		shape.add("version", version, "Member must be the number of a published version, 1 or above")
		return v, false, shape.err()
	}
	latest, err := s.initial(ctx, name, c)
	if err != nil {
		return v, false, err
	}
	v = publication(latest, nil)
	v.Version = version
	made, err = s.store.RestoreFunctionVersion(ctx, p, latest, v)
	if errors.Is(err, fescue.ErrExists) {
		return v, false, fescue.Refuse(fescue.ErrExists, "Version %s of %s exists with other code or settings. A published version never changes.", version, p.FunctionARN(name))
	}
	return v, made, err
}
