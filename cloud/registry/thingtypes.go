package registry

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/fescue-edge/fescue"
)

// ThingType is what things have in common.
type ThingType struct {
	Name string
	// ID is a UUID that AWS IoT calls thingTypeId.
	ID          string
	Description string
	// SearchableAttributes are names of attributes, at most three. They are kept
	// and shown.
	SearchableAttributes []string
	CreatedAt            time.Time
	// DeprecatedAt is since when no thing can become of the type; zero is not.
	DeprecatedAt time.Time
}

// ThingTypeStore keeps thing types.
type ThingTypeStore interface {
	// CreateThingType writes a thing type. When the name is taken the error wraps
	// fescue.ErrExists and the type returned is the one that is there.
	CreateThingType(ctx context.Context, p fescue.Partition, t ThingType) (ThingType, error)
	ThingType(ctx context.Context, p fescue.Partition, name string) (ThingType, error)
	ThingTypes(ctx context.Context, p fescue.Partition, page fescue.Page) ([]ThingType, error)
	// UpdateThingType replaces description and searchable attributes.
	UpdateThingType(ctx context.Context, p fescue.Partition, name, description string, searchable []string) error
	// DeprecateThingType with the zero time undoes it.
	DeprecateThingType(ctx context.Context, p fescue.Partition, name string, at time.Time) error
	// DeleteThingType removes a thing type. One that is not deprecated is
	// fescue.ErrPrecondition, one that things are of fescue.ErrInUse.
	DeleteThingType(ctx context.Context, p fescue.Partition, name string) error
}

// Limits of thing types (AWS IoT API model).
const (
	maxSearchable      = 3
	maxTypeDescription = 2028
)

var typeDescription = regexp.MustCompile(`^[\p{L}\p{M}\p{N}\p{P}\p{S}\x20]*$`)

// CreateThingType makes a thing type of name, description and searchable
// attributes. The same call again yields the same type; with others it is
// ErrTypeDiffers.
func (s *Service) CreateThingType(ctx context.Context, p fescue.Partition, t ThingType) (ThingType, error) {
	if err := checkThingTypeProperties(t); err != nil {
		return ThingType{}, err
	}
	t.ID, t.CreatedAt, t.DeprecatedAt = fescue.NewID(), s.now().UTC(), time.Time{}
	made, err := s.store.ThingTypes.CreateThingType(ctx, p, t)
	if errors.Is(err, fescue.ErrExists) {
		if made.Description == t.Description && slices.Equal(made.SearchableAttributes, t.SearchableAttributes) {
			return made, nil
		}
		return ThingType{}, &Refusal{Reason: ErrTypeDiffers, Name: t.Name, ARN: p.ThingTypeARN(t.Name)}
	}
	return made, err
}

// ThingType reads a thing type.
func (s *Service) ThingType(ctx context.Context, p fescue.Partition, name string) (ThingType, error) {
	if err := checkThingTypeName(name); err != nil {
		return ThingType{}, err
	}
	return s.store.ThingTypes.ThingType(ctx, p, name)
}

// ThingTypes lists thing types by name.
func (s *Service) ThingTypes(ctx context.Context, p fescue.Partition, page fescue.Page) ([]ThingType, error) {
	return s.store.ThingTypes.ThingTypes(ctx, p, page)
}

// UpdateThingType replaces description and searchable attributes.
func (s *Service) UpdateThingType(ctx context.Context, p fescue.Partition, t ThingType) error {
	if err := checkThingTypeProperties(t); err != nil {
		return err
	}
	return s.store.ThingTypes.UpdateThingType(ctx, p, t.Name, t.Description, t.SearchableAttributes)
}

// DeprecateThingType keeps things from becoming of the type, or lets them again.
// Those that are of it stay so.
func (s *Service) DeprecateThingType(ctx context.Context, p fescue.Partition, name string, undo bool) error {
	if err := checkThingTypeName(name); err != nil {
		return err
	}
	var at time.Time
	if !undo {
		at = s.now().UTC()
	}
	return s.store.ThingTypes.DeprecateThingType(ctx, p, name, at)
}

// DeleteThingType removes a deprecated thing type that no thing is of.
func (s *Service) DeleteThingType(ctx context.Context, p fescue.Partition, name string) error {
	if err := checkThingTypeName(name); err != nil {
		return err
	}
	err := s.store.ThingTypes.DeleteThingType(ctx, p, name)
	err = refuseAs(err, fescue.ErrInUse, ErrTypeHasThings, name, p.ThingTypeARN(name))
	return refuseAs(err, fescue.ErrPrecondition, ErrTypeNotDeprecated, name, p.ThingTypeARN(name))
}

func checkThingTypeName(name string) error {
	if name == "" {
		return invalid("the thing type's name is missing")
	}
	return checkThingType(name)
}

func checkThingTypeProperties(t ThingType) error {
	if err := checkThingTypeName(t.Name); err != nil {
		return err
	}
	if utf8.RuneCountInString(t.Description) > maxTypeDescription || !typeDescription.MatchString(t.Description) {
		return invalid("thingTypeDescription is not at most %d printable characters", maxTypeDescription)
	}
	if len(t.SearchableAttributes) > maxSearchable {
		return invalid("searchableAttributes has %d names, at most %d are allowed", len(t.SearchableAttributes), maxSearchable)
	}
	for _, name := range t.SearchableAttributes {
		if !attributeName.MatchString(name) {
			return invalid("the searchable attribute %.128q is not 1 to 128 characters of a-z, A-Z, 0-9 and _.,@/:#-", name)
		}
	}
	return nil
}

// typed maps what the store says of a thing's new type.
func typed(err error, p fescue.Partition, thingType string) error {
	return refuseAs(err, fescue.ErrPrecondition, ErrTypeDeprecated, thingType, p.ThingTypeARN(thingType))
}

// Why the registry refuses thing types.
var (
	// ErrTypeDiffers means that the name is taken by a type with other properties.
	ErrTypeDiffers = errors.New("already exists with other properties")
	// ErrTypeDeprecated means that no thing can become of the type.
	ErrTypeDeprecated = errors.New("is deprecated")
	// ErrTypeNotDeprecated means that the type must be deprecated first.
	ErrTypeNotDeprecated = errors.New("is not deprecated")
	// ErrTypeHasThings means that things are of the type.
	ErrTypeHasThings = errors.New("has things")
)
