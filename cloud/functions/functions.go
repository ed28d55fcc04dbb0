// Package functions keeps Lambda functions: their code, the version that still
// changes ($LATEST), the published ones that do not, and aliases. It holds the
// rules of AWS Lambda that scripts for Greengrass rely on. It runs nothing:
// functions run on cores. It must not know how requests arrive, nor where rows
// and blobs lie.
package functions

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/google/uuid"

	"github.com/fescue-edge/fescue"
)

// Store keeps functions, versions and aliases. What is not there is
// fescue.ErrNotFound. A version is named "$LATEST" or by its number's digits.
type Store interface {
	// CreateFunction writes a function with its $LATEST and, if first is not
	// nil, its version 1. A name that is taken is fescue.ErrExists.
	CreateFunction(ctx context.Context, p fescue.Partition, latest fescue.FunctionVersion, tags map[string]string, first *fescue.FunctionVersion) error
	// FunctionVersion reads one version.
	FunctionVersion(ctx context.Context, p fescue.Partition, name, version string) (fescue.FunctionVersion, error)
	// UpdateFunction replaces $LATEST if its revision still is ifRevision, else
	// fescue.ErrConflict; changed says that the next publication makes a new
	// version. If publish is not nil it is published in the same step and
	// returned with its number.
	UpdateFunction(ctx context.Context, p fescue.Partition, latest fescue.FunctionVersion, ifRevision string, changed bool, publish *fescue.FunctionVersion) (fescue.FunctionVersion, error)
	// PublishFunction writes a version under the next number if $LATEST still
	// has the revision ifRevision, else fescue.ErrConflict. When nothing changed
	// since the last publication it returns that one's version.
	PublishFunction(ctx context.Context, p fescue.Partition, version fescue.FunctionVersion, ifRevision string) (fescue.FunctionVersion, error)
	// RestoreFunctionVersion writes a published version under the number that it
	// has; where the function is missing it is made, with latest as its $LATEST.
	// It reports whether it wrote the version; one that is there and differs is
	// fescue.ErrExists.
	RestoreFunctionVersion(ctx context.Context, p fescue.Partition, latest, version fescue.FunctionVersion) (made bool, err error)
	// DeleteFunction removes a function with all versions and aliases.
	DeleteFunction(ctx context.Context, p fescue.Partition, name string) error
	// DeleteFunctionVersion removes a published version; one that an alias
	// points to is fescue.ErrInUse.
	DeleteFunctionVersion(ctx context.Context, p fescue.Partition, name, version string) error

	// Functions lists the $LATEST of functions by name, after a name.
	Functions(ctx context.Context, p fescue.Partition, after string, limit int) ([]fescue.FunctionVersion, error)
	// FunctionVersions lists the versions of one function by number, $LATEST
	// first, after a number (-1 for all); with an empty name those of all
	// functions, by name and number, after afterName and afterNumber.
	FunctionVersions(ctx context.Context, p fescue.Partition, name, afterName string, afterNumber int64, limit int) ([]fescue.FunctionVersion, error)

	PermissionStore

	// FunctionTags reads a function's tags.
	FunctionTags(ctx context.Context, p fescue.Partition, name string) (map[string]string, error)
	// ReplaceFunctionTags writes tags if they still are old, else
	// fescue.ErrConflict.
	ReplaceFunctionTags(ctx context.Context, p fescue.Partition, name string, old, tags map[string]string) error
	// FunctionCodeNamed reports whether a version in the partition has the code.
	FunctionCodeNamed(ctx context.Context, p fescue.Partition, codeHash string) (bool, error)

	// CreateFunctionAlias writes an alias. A name that is taken is
	// fescue.ErrExists; a version that is not there, fescue.ErrNotFound.
	CreateFunctionAlias(ctx context.Context, p fescue.Partition, function string, a fescue.FunctionAlias) error
	FunctionAlias(ctx context.Context, p fescue.Partition, function, name string) (fescue.FunctionAlias, error)
	// UpdateFunctionAlias replaces an alias if its revision still is ifRevision,
	// else fescue.ErrConflict; a version that is not there, fescue.ErrNotFound.
	UpdateFunctionAlias(ctx context.Context, p fescue.Partition, function string, a fescue.FunctionAlias, ifRevision string) error
	DeleteFunctionAlias(ctx context.Context, p fescue.Partition, function, name string) error
	// FunctionAliases lists aliases by name, after a name; a version that is not
	// empty keeps those that point to it.
	FunctionAliases(ctx context.Context, p fescue.Partition, function, version, after string, limit int) ([]fescue.FunctionAlias, error)
}

// Code is where zips lie, by their SHA-256 in lowercase hexadecimal.
type Code interface {
	Put(ctx context.Context, hash string, r io.Reader) error
	Open(ctx context.Context, hash string, offset int64) (io.ReadCloser, error)
}

// Options is what a Service is made from; all of it is required.
type Options struct {
	Store Store
	Code  Code
	Now   func() time.Time
}

// Service is the functions of all partitions.
type Service struct {
	store Store
	code  Code
	now   func() time.Time
}

// New makes a Service.
func New(o Options) *Service { return &Service{store: o.Store, code: o.Code, now: o.Now} }

// Kinds of refusal, beside fescue.ErrNotFound, ErrExists, ErrInUse and
// ErrConflict.
var (
	// ErrInvalid means that a value does not fit, alone or with others.
	ErrInvalid = errors.New("invalid parameter value")
	// ErrShape means that a value lies outside of its pattern, length or range.
	ErrShape = errors.New("value out of its bounds")
	// ErrTooLarge means that a zip is larger than MaxArchive, or than bundle.MaxUnpacked
	// when it comes from a bucket.
	ErrTooLarge = errors.New("archive too large")
	// ErrPrecondition means that the caller's RevisionId is not the present one.
	ErrPrecondition = errors.New("revision does not match")
	// ErrUnqualified means that an ARN names neither version nor alias, which a
	// deployment needs.
	ErrUnqualified = errors.New("function ARN names neither a version nor an alias")
	// ErrLatest means that an ARN names $LATEST, by itself or through an alias.
	// A deployment takes published versions only.
	ErrLatest = errors.New("function ARN names $LATEST, which is not published")
)

// attempts bounds how often a change is tried again because another one came
// between reading and writing.
const attempts = 16

// errContended stands for a change that lost every attempt.
func errContended(arn string) error {
	return fescue.Refuse(fescue.ErrConflict, "The operation cannot be performed at this time. An update is in progress for resource: %s", arn)
}

// retry runs one round of read, change, compare-and-set until it does not lose
// against another writer.
func retry(arn string, round func() error) error {
	for range attempts {
		if err := round(); !lost(err) {
			return err
		}
	}
	return errContended(arn)
}

// lost reports a compare-and-set that came too late, and not a refusal for the
// caller.
func lost(err error) bool {
	var refusal *fescue.Refusal
	return errors.Is(err, fescue.ErrConflict) && !errors.As(err, &refusal)
}

// newRevision makes a RevisionId: a UUID, new with each write.
func newRevision() string { return uuid.NewString() }

// checkRevision compares the caller's RevisionId, if there is one, with the
// present one.
func checkRevision(want, present string) error {
	if want == "" || want == present {
		return nil
	}
	return fescue.Refuse(ErrPrecondition, "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id")
}

// qualified is a function's ARN with a qualifier, if there is one.
func qualified(p fescue.Partition, name, qualifier string) string {
	arn := p.FunctionARN(name)
	if qualifier != "" {
		arn += ":" + qualifier
	}
	return arn
}

// functionNotFound turns the store's ErrNotFound into Lambda's text; other
// errors pass.
func functionNotFound(err error, p fescue.Partition, name, qualifier string) error {
	if errors.Is(err, fescue.ErrNotFound) {
		return fescue.Refuse(fescue.ErrNotFound, "Function not found: %s", qualified(p, name, qualifier))
	}
	return err
}
