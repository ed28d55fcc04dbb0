package functions

import (
	"context"
	"reflect"
	"slices"

	"github.com/fescue-edge/fescue"
)

// CodeUpdate is new code for $LATEST.
type CodeUpdate struct {
	// Function is a FunctionName, with no qualifier but $LATEST.
	Function      string
	Archive       *Archive
	Architectures []string // nil leaves them
	// Publish makes a version of the result at once.
	Publish bool
	// DryRun checks everything and changes nothing.
	DryRun bool
	// RevisionID, if not empty, must be the present one of $LATEST.
	RevisionID string
}

// UpdateCode replaces the code of $LATEST and answers it, or the version that
// is published with it. The next publication makes a new version even if the
// zip is the same (recorded from AWS Lambda).
func (s *Service) UpdateCode(ctx context.Context, p fescue.Partition, u CodeUpdate) (fescue.FunctionVersion, error) {
	name, err := changeable(p, u.Function)
	if err != nil {
		return fescue.FunctionVersion{}, err
	}
	var shape checks
	shape.architectures(u.Architectures)
	if err := shape.err(); err != nil {
		return fescue.FunctionVersion{}, err
	}
	if u.Archive == nil {
		return fescue.FunctionVersion{}, errNoCode()
	}
	// The compare-and-set decides below; asking first spares the zip's checks.
	present, err := s.latest(ctx, p, name, u.RevisionID)
	if err != nil {
		return fescue.FunctionVersion{}, err
	}
	hash, err := s.keep(ctx, u.Archive)
	if err != nil {
		return fescue.FunctionVersion{}, err
	}
	apply := func(v *fescue.FunctionVersion) {
		v.CodeHash, v.CodeSize = hash, u.Archive.Size
		if u.Architectures != nil {
			v.Architectures = slices.Clone(u.Architectures)
		}
	}
	if u.DryRun {
		apply(&present)
		return present, nil
	}
	return s.change(ctx, p, name, u.RevisionID, change{apply: apply, always: true, publish: u.Publish})
}

// ConfigurationUpdate changes settings of $LATEST.
type ConfigurationUpdate struct {
	// Function is a FunctionName, with no qualifier but $LATEST.
	Function string
	Settings
	// RevisionID, if not empty, must be the present one of $LATEST.
	RevisionID string
}

// UpdateConfiguration changes the settings that are given and answers $LATEST.
func (s *Service) UpdateConfiguration(ctx context.Context, p fescue.Partition, u ConfigurationUpdate) (fescue.FunctionVersion, error) {
	name, err := changeable(p, u.Function)
	if err != nil {
		return fescue.FunctionVersion{}, err
	}
	var shape checks
	shape.configuration(u.Settings)
	if err := shape.err(); err != nil {
		return fescue.FunctionVersion{}, err
	}
	if err := checkEnvironment(u.Environment); err != nil {
		return fescue.FunctionVersion{}, err
	}
	return s.change(ctx, p, name, u.RevisionID, change{apply: u.apply})
}

// changeable is the name in a reference that means $LATEST.
func changeable(p fescue.Partition, function string) (name string, err error) {
	ref, err := ParseReference(p, function, "")
	if err != nil {
		return "", err
	}
	return ref.Name, ref.changeable()
}

// latest reads $LATEST and checks the caller's RevisionId against it.
func (s *Service) latest(ctx context.Context, p fescue.Partition, name, revisionID string) (fescue.FunctionVersion, error) {
	v, err := s.store.FunctionVersion(ctx, p, name, fescue.LatestVersion)
	if err != nil {
		return fescue.FunctionVersion{}, functionNotFound(err, p, name, "")
	}
	return v, checkRevision(revisionID, v.RevisionID)
}

// change is what happens to $LATEST.
type change struct {
	apply func(*fescue.FunctionVersion)
	// always makes it count as a change even if nothing differs.
	always  bool
	publish bool
}

func (s *Service) change(ctx context.Context, p fescue.Partition, name, revisionID string, c change) (answer fescue.FunctionVersion, err error) {
	err = retry(p.FunctionARN(name), func() error {
		before, err := s.latest(ctx, p, name, revisionID)
		if err != nil {
			return err
		}
		after := before
		c.apply(&after)
		changed := c.always || !reflect.DeepEqual(before, after)
		after.RevisionID, after.UpdatedAt = newRevision(), s.now().UTC()
		var version *fescue.FunctionVersion
		if c.publish {
			v := publication(after, nil)
			version = &v
		}
		answer, err = s.store.UpdateFunction(ctx, p, after, before.RevisionID, changed, version)
		return functionNotFound(err, p, name, "")
	})
	return answer, err
}
