// Package definitions keeps groups and the seven kinds of definition: versioned
// containers of one shape, served by one implementation and the table of kinds
// in package fescue. It checks what can be checked when a version is made; what
// only a deployment can decide is package deploy's.
package definitions

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
)

// Store is what the service needs of the database. Reads and writes of what is
// not there are fescue.ErrNotFound.
type Store interface {
	// TokenSubject is the id of what an earlier call with the token made. A token
	// that was used for another request is fescue.ErrTokenReused.
	TokenSubject(ctx context.Context, p fescue.Partition, t fescue.Token) (id string, err error)
	CreateDefinition(ctx context.Context, p fescue.Partition, d fescue.Definition, first *fescue.DefinitionVersion, token fescue.Token) (fescue.Definition, error)
	CreateVersion(ctx context.Context, p fescue.Partition, v fescue.DefinitionVersion, token fescue.Token) (fescue.DefinitionVersion, error)
	// RestoreVersion writes a version, and its container where that is missing. It
	// returns whether it wrote one; one that is there with another body is
	// fescue.ErrExists.
	RestoreVersion(ctx context.Context, p fescue.Partition, d fescue.Definition, v fescue.DefinitionVersion) (made bool, err error)
	RenameDefinition(ctx context.Context, p fescue.Partition, k fescue.Kind, id, name string) error
	DeleteDefinition(ctx context.Context, p fescue.Partition, k fescue.Kind, id string) error
	// ReplaceTags is fescue.ErrConflict when the tags no longer are old.
	ReplaceTags(ctx context.Context, p fescue.Partition, k fescue.Kind, id string, old, tags map[string]string) error
	Definition(ctx context.Context, p fescue.Partition, k fescue.Kind, id string) (fescue.Definition, error)
	Definitions(ctx context.Context, p fescue.Partition, k fescue.Kind, page fescue.Page) ([]fescue.Definition, error)
	// Groups lists the groups that a filter lets through, by their ids.
	Groups(ctx context.Context, p fescue.Partition, f GroupFilter, page fescue.Page) ([]fescue.Definition, error)
	Version(ctx context.Context, p fescue.Partition, k fescue.Kind, definitionID, id string) (fescue.DefinitionVersion, error)
	Versions(ctx context.Context, p fescue.Partition, k fescue.Kind, definitionID string, page fescue.Page) ([]fescue.DefinitionVersion, error)
}

// GroupFilter chooses groups. The zero GroupFilter chooses all.
type GroupFilter struct {
	// Text is in the group's name, in upper or lower case, or is its id.
	Text string
	// Tag and Value, when Tag is set, are a tag that the group has.
	Tag, Value string
}

// Service creates, reads, renames and deletes containers and their versions.
type Service struct {
	Store
	now func() time.Time
}

// New makes the service.
func New(store Store, now func() time.Time) *Service {
	return &Service{Store: store, now: now}
}

// InvalidError says everything that is wrong with the body of a version.
type InvalidError struct {
	// Kind is the kind of the version.
	Kind fescue.Kind
	// Problems has one text for each problem.
	Problems []string
}

// Error joins the problems.
func (e *InvalidError) Error() string {
	return fmt.Sprintf("the %s version is invalid: %s", e.Kind.Name, strings.Join(e.Problems, "; "))
}

// ErrMalformed is wrapped when a body does not decode into its kind's shape.
var ErrMalformed = errors.New("malformed body")

// Create makes a container and, when body is not nil, its first version.
func (s *Service) Create(ctx context.Context, p fescue.Partition, k fescue.Kind, name string, body json.RawMessage, tags map[string]string, token fescue.Token) (fescue.Definition, error) {
	if err := CheckTags(tags); err != nil {
		return fescue.Definition{}, err
	}
	made, found, err := replayed(ctx, s, p, token, func(id string) (fescue.Definition, error) { return s.Store.Definition(ctx, p, k, id) })
	if found || err != nil {
		return made, err
	}
	now := s.now().UTC()
	d := fescue.Definition{Kind: k, ID: fescue.NewID(), Name: name, CreatedAt: now, UpdatedAt: now, Tags: tags}
	var first *fescue.DefinitionVersion
	if body != nil {
		v, err := s.newVersion(ctx, p, k, d.ID, body, now)
		if err != nil {
			return fescue.Definition{}, err
		}
		first = &v
	}
	return s.Store.CreateDefinition(ctx, p, d, first, token)
}

// AddVersion makes a version of a container; it becomes the latest.
func (s *Service) AddVersion(ctx context.Context, p fescue.Partition, k fescue.Kind, id string, body json.RawMessage, token fescue.Token) (fescue.DefinitionVersion, error) {
	made, found, err := replayed(ctx, s, p, token, func(version string) (fescue.DefinitionVersion, error) { return s.Store.Version(ctx, p, k, id, version) })
	if found || err != nil {
		return made, err
	}
	if _, err := s.Store.Definition(ctx, p, k, id); err != nil {
		return fescue.DefinitionVersion{}, err
	}
	v, err := s.newVersion(ctx, p, k, id, body, s.now().UTC())
	if err != nil {
		return fescue.DefinitionVersion{}, err
	}
	return s.Store.CreateVersion(ctx, p, v, token)
}

// replayed finds what an earlier call with the same token made, and is still
// there. It is answered whatever has become since of what the request names.
func replayed[T any](ctx context.Context, s *Service, p fescue.Partition, token fescue.Token, find func(id string) (T, error)) (made T, found bool, err error) {
	if token.Value == "" {
		return made, false, nil
	}
	id, err := s.Store.TokenSubject(ctx, p, token)
	if err == nil {
		made, err = find(id)
	}
	if errors.Is(err, fescue.ErrNotFound) {
		return made, false, nil
	}
	return made, err == nil, err
}

func (s *Service) newVersion(ctx context.Context, p fescue.Partition, k fescue.Kind, id string, body json.RawMessage, now time.Time) (fescue.DefinitionVersion, error) {
	shape := shapes[k.Segment]
	value := shape.make()
	if err := decode(body, value); err != nil {
		return fescue.DefinitionVersion{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	var problems []string
	if g, ok := value.(*fescue.GroupVersion); ok {
		var err error
		if problems, err = s.missingReferences(ctx, p, *g); err != nil {
			return fescue.DefinitionVersion{}, err
		}
	} else {
		problems = shape.check(value)
	}
	if len(problems) > 0 {
		return fescue.DefinitionVersion{}, &InvalidError{Kind: k, Problems: problems}
	}
	canonical, err := json.Marshal(value)
	if err != nil {
		return fescue.DefinitionVersion{}, fmt.Errorf("encode %s version: %w", k.Name, err)
	}
	return fescue.DefinitionVersion{Kind: k, DefinitionID: id, ID: fescue.NewID(), CreatedAt: now, Body: canonical}, nil
}

func decode(body []byte, v any) error {
	err := json.NewDecoder(bytes.NewReader(body)).Decode(v)
	var wrongType *json.UnmarshalTypeError
	if errors.As(err, &wrongType) {
		if wrongType.Field == "" {
			return fmt.Errorf("a version must be a JSON object, it is a %s", wrongType.Value)
		}
		return fmt.Errorf("member %q must not be a %s", wrongType.Field, wrongType.Value)
	}
	return err
}

// referenceOrder is the order in which the original listed references that do
// not resolve (moto's captures); connectors and loggers are not in its list.
var referenceOrder = []struct {
	kind fescue.Kind
	noun string
}{
	{fescue.CoreKind, "Cores"},
	{fescue.FunctionKind, "Lambda"},
	{fescue.ResourceKind, "Resource"},
	{fescue.DeviceKind, "Devices"},
	{fescue.SubscriptionKind, "Subscription"},
	{fescue.ConnectorKind, "Connector"},
	{fescue.LoggerKind, "Logger"},
}

func (s *Service) missingReferences(ctx context.Context, p fescue.Partition, g fescue.GroupVersion) ([]string, error) {
	var problems []string
	for _, ref := range referenceOrder {
		arn := g.Reference(ref.kind)
		if arn == "" {
			continue
		}
		id, version, err := p.ParseVersionARN(ref.kind, arn)
		if err == nil {
			_, err = s.Store.Version(ctx, p, ref.kind, id, version)
			if err != nil && !errors.Is(err, fescue.ErrNotFound) {
				return nil, err
			}
		}
		if err != nil {
			problems = append(problems, ref.noun+" definition reference does not exist")
		}
	}
	return problems, nil
}
