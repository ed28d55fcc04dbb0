package functions

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/fescue-edge/fescue"
)

// What a function has when its creator says nothing else (Lambda API model).
const (
	defaultTimeout    = 3   // seconds
	defaultMemorySize = 128 // MB
)

var defaultArchitectures = []string{"x86_64"}

// Settings are the members of a function that its creator chooses; nil ones are
// left as they are.
type Settings struct {
	Runtime     *string
	Role        *string
	Handler     *string
	Description *string
	// Timeout is in seconds, 1 to 900; MemorySize in MB, 128 to 10240. Cores use
	// the group's own values instead.
	Timeout    *int
	MemorySize *int
	// Environment replaces all variables; an empty map removes them.
	Environment map[string]string
}

func (s Settings) apply(v *fescue.FunctionVersion) {
	set(&v.Runtime, s.Runtime)
	set(&v.Role, s.Role)
	set(&v.Handler, s.Handler)
	set(&v.Description, s.Description)
	set(&v.Timeout, s.Timeout)
	set(&v.MemorySize, s.MemorySize)
	if s.Environment != nil {
		v.Environment = nil
		if len(s.Environment) > 0 {
			v.Environment = maps.Clone(s.Environment)
		}
	}
}

func set[T any](member, value *T) {
	if value != nil {
		*member = *value
	}
}

// Creation is a new function.
type Creation struct {
	// Function is a FunctionName: a name, or an ARN in the caller's partition,
	// without qualifier.
	Function string
	Settings
	// Archive is the code; it is required.
	Archive *Archive
	// Architectures is one of x86_64 (which nil stands for) and arm64.
	Architectures []string
	Tags          map[string]string
	// Publish makes version 1 at once.
	Publish bool
}

func (c Creation) check(p fescue.Partition) (name string, err error) {
	ref, err := ParseReference(p, c.Function, "")
	if err != nil {
		return "", err
	}
	if err := ref.unqualified(); err != nil {
		return "", err
	}
	var shape checks
	if c.Role == nil {
		shape.add("role", "null", "Member must not be null")
	}
	shape.configuration(c.Settings)
	shape.architectures(c.Architectures)
	if err := shape.err(); err != nil {
		return "", err
	}
	if c.Runtime == nil || c.Handler == nil {
		return "", fescue.Refuse(ErrInvalid, "Runtime and Handler are mandatory parameters for functions created with deployment packages.")
	}
	if c.Archive == nil {
		return "", errNoCode()
	}
	return ref.Name, errors.Join(checkEnvironment(c.Environment), checkTags(c.Tags))
}

func errNoCode() error {
	return fescue.Refuse(ErrInvalid, "Please provide a source for function code: the zip as ZipFile.")
}

// Create makes a function and answers its $LATEST, or its version 1 when that
// is published with it. A name that is taken is fescue.ErrExists.
func (s *Service) Create(ctx context.Context, p fescue.Partition, c Creation) (fescue.FunctionVersion, error) {
	name, err := c.check(p)
	if err != nil {
		return fescue.FunctionVersion{}, err
	}
	exists := fescue.Refuse(fescue.ErrExists, "Function already exist: %s", name)
	// The unique name decides below; asking first spares the zip's checks.
	if _, err := s.store.FunctionVersion(ctx, p, name, fescue.LatestVersion); !errors.Is(err, fescue.ErrNotFound) {
		if err == nil {
			err = exists
		}
		return fescue.FunctionVersion{}, err
	}
	latest, err := s.initial(ctx, name, c)
	if err != nil {
		return fescue.FunctionVersion{}, err
	}
	answer, first := latest, (*fescue.FunctionVersion)(nil)
	if c.Publish {
		answer = publication(latest, nil)
		answer.Version = "1"
		first = &answer
	}
	err = s.store.CreateFunction(ctx, p, latest, c.Tags, first)
	if errors.Is(err, fescue.ErrExists) {
		return fescue.FunctionVersion{}, exists
	}
	return answer, err
}

// initial is the $LATEST that a new function begins with. Its code is kept.
func (s *Service) initial(ctx context.Context, name string, c Creation) (_ fescue.FunctionVersion, err error) {
	latest := fescue.FunctionVersion{
		Name: name, Version: fescue.LatestVersion,
		Timeout: defaultTimeout, MemorySize: defaultMemorySize, Architectures: defaultArchitectures,
		CodeSize: c.Archive.Size, RevisionID: newRevision(), UpdatedAt: s.now().UTC(),
	}
	c.apply(&latest)
	if c.Architectures != nil {
		latest.Architectures = slices.Clone(c.Architectures)
	}
	latest.CodeHash, err = s.keep(ctx, c.Archive)
	return latest, err
}
