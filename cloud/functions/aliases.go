package functions

import (
	"context"
	"errors"

	"github.com/fescue-edge/fescue"
)

// AliasChange is a new alias or a change of one; members that are nil are left
// as they are.
type AliasChange struct {
	// Function is a FunctionName without qualifier.
	Function string
	// Name is 1 to 128 characters of [a-zA-Z0-9-_], not all of them digits.
	Name            string
	FunctionVersion *string
	Description     *string
	// RevisionID, if not empty, must be the alias's present one.
	RevisionID string
}

func (a AliasChange) check(p fescue.Partition) (function string, err error) {
	function, err = aliasFunction(p, a.Function)
	if err != nil {
		return "", err
	}
	var shape checks
	shape.alias(a.Name)
	if a.FunctionVersion != nil {
		shape.pattern("functionVersion", *a.FunctionVersion, versionPattern)
	}
	if a.Description != nil {
		shape.length("description", *a.Description, maxDescription)
	}
	return function, shape.err()
}

func aliasFunction(p fescue.Partition, function string) (string, error) {
	ref, err := ParseReference(p, function, "")
	if err != nil {
		return "", err
	}
	return ref.Name, ref.unqualified()
}

// CreateAlias makes an alias, which may point to $LATEST, though a deployment
// then refuses it. A name that is taken is fescue.ErrExists.
func (s *Service) CreateAlias(ctx context.Context, p fescue.Partition, c AliasChange) (fescue.FunctionAlias, error) {
	function, err := c.check(p)
	if err != nil {
		return fescue.FunctionAlias{}, err
	}
	if c.FunctionVersion == nil {
		var shape checks
		shape.add("functionVersion", "null", "Member must not be null")
		return fescue.FunctionAlias{}, shape.err()
	}
	a := fescue.FunctionAlias{Name: c.Name, FunctionVersion: *c.FunctionVersion, RevisionID: newRevision()}
	set(&a.Description, c.Description)
	err = s.store.CreateFunctionAlias(ctx, p, function, a)
	if errors.Is(err, fescue.ErrExists) {
		return fescue.FunctionAlias{}, fescue.Refuse(fescue.ErrExists, "Alias already exists: %s", qualified(p, function, a.Name))
	}
	if errors.Is(err, fescue.ErrNotFound) {
		return fescue.FunctionAlias{}, s.errNoVersion(ctx, p, function, a.FunctionVersion)
	}
	return a, err
}

// errNoVersion says which is missing, the function or its version.
func (s *Service) errNoVersion(ctx context.Context, p fescue.Partition, function, version string) error {
	if _, err := s.store.FunctionVersion(ctx, p, function, fescue.LatestVersion); err != nil {
		return functionNotFound(err, p, function, "")
	}
	return functionNotFound(fescue.ErrNotFound, p, function, version)
}

// Alias reads an alias.
func (s *Service) Alias(ctx context.Context, p fescue.Partition, function, name string) (fescue.FunctionAlias, error) {
	function, err := AliasChange{Function: function, Name: name}.check(p)
	if err != nil {
		return fescue.FunctionAlias{}, err
	}
	a, err := s.store.FunctionAlias(ctx, p, function, name)
	return a, aliasNotFound(err, p, function, name)
}

func aliasNotFound(err error, p fescue.Partition, function, name string) error {
	if errors.Is(err, fescue.ErrNotFound) {
		return fescue.Refuse(fescue.ErrNotFound, "Cannot find alias arn: %s", qualified(p, function, name))
	}
	return err
}

// UpdateAlias changes the members of an alias that are given.
func (s *Service) UpdateAlias(ctx context.Context, p fescue.Partition, c AliasChange) (alias fescue.FunctionAlias, err error) {
	function, err := c.check(p)
	if err != nil {
		return fescue.FunctionAlias{}, err
	}
	err = retry(qualified(p, function, c.Name), func() error {
		before, err := s.store.FunctionAlias(ctx, p, function, c.Name)
		if err != nil {
			return aliasNotFound(err, p, function, c.Name)
		}
		if err := checkRevision(c.RevisionID, before.RevisionID); err != nil {
			return err
		}
		alias = before
		set(&alias.FunctionVersion, c.FunctionVersion)
		set(&alias.Description, c.Description)
		alias.RevisionID = newRevision()
		err = s.store.UpdateFunctionAlias(ctx, p, function, alias, before.RevisionID)
		if errors.Is(err, fescue.ErrNotFound) {
			return s.errNoVersion(ctx, p, function, alias.FunctionVersion)
		}
		return err
	})
	return alias, err
}

// DeleteAlias removes an alias. One that is not there is no error as long as
// its function is, as with AWS Lambda.
func (s *Service) DeleteAlias(ctx context.Context, p fescue.Partition, function, name string) error {
	function, err := AliasChange{Function: function, Name: name}.check(p)
	if err != nil {
		return err
	}
	err = s.store.DeleteFunctionAlias(ctx, p, function, name)
	if errors.Is(err, fescue.ErrNotFound) {
		_, err = s.store.FunctionVersion(ctx, p, function, fescue.LatestVersion)
		return functionNotFound(err, p, function, "")
	}
	return err
}
