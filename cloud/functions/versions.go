package functions

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/fescue-edge/fescue"
)

// Publication asks for a version of what $LATEST is now.
type Publication struct {
	// Function is a FunctionName, with no qualifier but $LATEST.
	Function string
	// Description, if not nil, is the version's instead of $LATEST's.
	Description *string
	// CodeSHA256, if not empty, must be that of $LATEST, in base64.
	CodeSHA256 string
	// RevisionID, if not empty, must be the present one of $LATEST.
	RevisionID string
}

// Publish makes a version of $LATEST under the next number; numbers are never
// given twice. If nothing changed since the last publication it answers that
// one's version.
func (s *Service) Publish(ctx context.Context, p fescue.Partition, pub Publication) (version fescue.FunctionVersion, err error) {
	name, err := changeable(p, pub.Function)
	if err != nil {
		return fescue.FunctionVersion{}, err
	}
	if pub.Description != nil {
		var shape checks
		shape.length("description", *pub.Description, maxDescription)
		if err := shape.err(); err != nil {
			return fescue.FunctionVersion{}, err
		}
	}
	err = retry(p.FunctionARN(name), func() error {
		latest, err := s.latest(ctx, p, name, pub.RevisionID)
		if err != nil {
			return err
		}
		if present := CodeSHA256(latest); pub.CodeSHA256 != "" && pub.CodeSHA256 != present {
			return fescue.Refuse(ErrInvalid, "CodeSHA256 (%.64s) is different from current CodeSHA256 in $LATEST (%s). Please try again with the CodeSHA256 in $LATEST.", pub.CodeSHA256, present)
		}
		next := publication(latest, pub.Description)
		next.UpdatedAt = s.now().UTC()
		version, err = s.store.PublishFunction(ctx, p, next, latest.RevisionID)
		return functionNotFound(err, p, name, "")
	})
	return version, err
}

// publication is a version like $LATEST, without its number.
func publication(latest fescue.FunctionVersion, description *string) fescue.FunctionVersion {
	v := latest
	v.Version, v.RevisionID = "", newRevision()
	set(&v.Description, description)
	return v
}

// CodeSHA256 is a version's code hash as Lambda writes it: in base64.
func CodeSHA256(v fescue.FunctionVersion) string {
	sum, err := hex.DecodeString(v.CodeHash)
	if err != nil {
		return "" // the store holds only hashes that Put took
	}
	return base64.StdEncoding.EncodeToString(sum)
}

// Get reads the version that a reference means, $LATEST without a qualifier.
func (s *Service) Get(ctx context.Context, p fescue.Partition, ref Reference) (fescue.FunctionVersion, error) {
	version := ref.Qualifier
	switch {
	case version == "":
		version = fescue.LatestVersion
	case version != fescue.LatestVersion && !isNumber(version):
		alias, err := s.store.FunctionAlias(ctx, p, ref.Name, version)
		if err != nil {
			return fescue.FunctionVersion{}, functionNotFound(err, p, ref.Name, ref.Qualifier)
		}
		version = alias.FunctionVersion
	}
	v, err := s.store.FunctionVersion(ctx, p, ref.Name, version)
	return v, functionNotFound(err, p, ref.Name, ref.Qualifier)
}

// Resolve finds the published version that a function's ARN means at this
// moment, by number or by alias, and that version's ARN. ErrUnqualified and
// ErrLatest refuse ARNs that do not mean a published version;
// fescue.ErrNotFound, what the partition does not hold, another partition's
// functions included; fescue.ErrARN, what is no function's ARN.
func (s *Service) Resolve(ctx context.Context, p fescue.Partition, functionARN string) (fescue.FunctionVersion, string, error) {
	fail := func(err error) (fescue.FunctionVersion, string, error) {
		return fescue.FunctionVersion{}, "", fmt.Errorf("function %.300q: %w", functionARN, err)
	}
	arn, err := fescue.ParseARN(functionARN)
	if err != nil {
		return fail(fescue.ErrARN)
	}
	name, qualifier, ok := arn.Function()
	switch {
	case !ok || !namePattern.MatchString(name):
		return fail(fescue.ErrARN)
	case qualifier == "" && strings.HasSuffix(functionARN, ":"+name):
		return fail(ErrUnqualified)
	case !qualifierPattern.MatchString(qualifier):
		return fail(fescue.ErrARN)
	case qualifier == fescue.LatestVersion:
		return fail(ErrLatest)
	case arn.Partition() != p:
		return fail(fescue.ErrNotFound)
	}
	v, err := s.Get(ctx, p, Reference{Name: name, Qualifier: qualifier})
	if errors.Is(err, fescue.ErrNotFound) {
		return fail(fescue.ErrNotFound)
	}
	if err != nil {
		return fail(err)
	}
	if v.Version == fescue.LatestVersion {
		return fail(ErrLatest)
	}
	return v, qualified(p, name, v.Version), nil
}

// Delete removes a function with all its versions and aliases, or one version
// when the reference has its number. A version that an alias points to is
// fescue.ErrInUse; one that is not there is no error, as with AWS Lambda.
func (s *Service) Delete(ctx context.Context, p fescue.Partition, ref Reference) error {
	switch {
	case ref.Qualifier == "":
		return functionNotFound(s.store.DeleteFunction(ctx, p, ref.Name), p, ref.Name, "")
	case ref.Qualifier == fescue.LatestVersion:
		return fescue.Refuse(ErrInvalid, "$LATEST version cannot be deleted without deleting the function.")
	case !isNumber(ref.Qualifier):
		return fescue.Refuse(ErrInvalid, "Deletion of aliases is not currently supported.")
	}
	if _, err := s.store.FunctionVersion(ctx, p, ref.Name, fescue.LatestVersion); err != nil {
		return functionNotFound(err, p, ref.Name, "")
	}
	err := s.store.DeleteFunctionVersion(ctx, p, ref.Name, ref.Qualifier)
	switch {
	case errors.Is(err, fescue.ErrNotFound):
		return nil
	case errors.Is(err, fescue.ErrInUse):
		return s.errPointedTo(ctx, p, ref)
	}
	return err
}

// errPointedTo names the aliases that keep a version.
func (s *Service) errPointedTo(ctx context.Context, p fescue.Partition, ref Reference) error {
	aliases, err := s.store.FunctionAliases(ctx, p, ref.Name, ref.Qualifier, "", maxPage)
	if err != nil {
		return err
	}
	names := make([]string, len(aliases))
	for i, a := range aliases {
		names[i] = a.Name
	}
	return fescue.Refuse(fescue.ErrInUse, "Unable to delete version because the following aliases reference it: [%s]", strings.Join(names, ", "))
}
