package registry

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"regexp"
	"strings"

	"github.com/fescue-edge/fescue"
)

// Limits of things (AWS IoT API model; AWS General Reference for the number of
// attributes, which is enforced whether or not the thing has a type).
const (
	maxAttributes     = 50
	maxAttributeValue = 800
)

var (
	attributeName  = regexp.MustCompile(`^[a-zA-Z0-9_.,@/:#-]{1,128}$`)
	attributeValue = regexp.MustCompile(`^[a-zA-Z0-9_.,@/:#=\[\]-]*$`)
)

// ThingChange is what UpdateThing changes.
type ThingChange struct {
	// Attributes replace the present ones, or with Merge are added to them; nil
	// leaves them. An attribute whose value is empty is removed.
	Attributes map[string]string
	Merge      bool
	// Type is the new type; empty leaves it, unless RemoveType is set.
	Type       string
	RemoveType bool
	// ExpectedVersion is nil for any.
	ExpectedVersion *int64
}

// ThingFilter chooses things in a list.
type ThingFilter struct {
	// Type is a type's name, empty for any.
	Type string
	// Attribute is the name of an attribute that the thing must have, empty for
	// no such condition; Value is the attribute's value, or with ValuePrefix how
	// it begins, nil for any.
	Attribute   string
	Value       *string
	ValuePrefix bool
}

// CreateThing makes a thing. The same call again yields the same thing; with
// another type or other attributes it is ErrThingDiffers. The type must have been
// made.
func (s *Service) CreateThing(ctx context.Context, p fescue.Partition, name, thingType string, attributes map[string]string) (fescue.Thing, error) {
	if attributes == nil {
		attributes = map[string]string{}
	}
	t := fescue.Thing{Name: name, ID: fescue.NewID(), Type: thingType, Attributes: attributes, Version: 1}
	if err := cmp.Or(checkThingName(name), checkThingType(thingType), checkAttributes(attributes)); err != nil {
		return fescue.Thing{}, err
	}
	found, err := s.store.Things.CreateThing(ctx, p, t, s.now().UTC())
	if errors.Is(err, fescue.ErrExists) {
		if found.Type == t.Type && maps.Equal(found.Attributes, t.Attributes) {
			return found, nil
		}
		return fescue.Thing{}, &Refusal{Reason: ErrThingDiffers, Name: name, ARN: p.ThingARN(name)}
	}
	return found, typed(err, p, thingType)
}

// Thing reads a thing.
func (s *Service) Thing(ctx context.Context, p fescue.Partition, name string) (fescue.Thing, error) {
	if err := checkThingName(name); err != nil {
		return fescue.Thing{}, err
	}
	return s.store.Things.Thing(ctx, p, name)
}

// updateAttempts bounds how often an update is worked out anew because another
// one came first.
const updateAttempts = 10

// UpdateThing changes a thing and raises its version.
func (s *Service) UpdateThing(ctx context.Context, p fescue.Partition, name string, c ThingChange) error {
	if err := cmp.Or(checkThingName(name), checkThingType(c.Type), checkAttributes(c.Attributes)); err != nil {
		return err
	}
	if c.RemoveType && c.Type != "" {
		return invalid("removeThingType and thingTypeName exclude each other, send one of them")
	}
	for attempt := 1; ; attempt++ {
		t, err := s.store.Things.Thing(ctx, p, name)
		if err != nil {
			return err
		}
		if c.ExpectedVersion != nil && *c.ExpectedVersion != t.Version {
			return &Refusal{Reason: ErrThingVersion, Name: name, ARN: p.ThingARN(name)}
		}
		t = c.apply(t)
		if err := checkAttributes(t.Attributes); err != nil {
			return err
		}
		certificates, err := s.store.Things.ReplaceThing(ctx, p, t)
		switch {
		case err == nil:
			s.notify(certificates...)
			return nil
		case !errors.Is(err, fescue.ErrConflict) || attempt == updateAttempts:
			return refuseAs(typed(err, p, c.Type), fescue.ErrConflict, ErrThingVersion, name, p.ThingARN(name))
		}
	}
}

func (c *ThingChange) apply(t fescue.Thing) fescue.Thing {
	t.Version++
	switch {
	case c.RemoveType:
		t.Type = ""
	case c.Type != "":
		t.Type = c.Type
	}
	if c.Attributes == nil {
		return t
	}
	attributes := make(map[string]string, len(t.Attributes)+len(c.Attributes))
	if c.Merge {
		maps.Copy(attributes, t.Attributes)
	}
	maps.Copy(attributes, c.Attributes)
	maps.DeleteFunc(attributes, func(_, value string) bool { return value == "" })
	t.Attributes = attributes
	return t
}

// DeleteThing removes a thing that has no certificates. One that is not there
// is a success.
func (s *Service) DeleteThing(ctx context.Context, p fescue.Partition, name string, expectedVersion *int64) error {
	if err := checkThingName(name); err != nil {
		return err
	}
	var version int64
	if expectedVersion != nil {
		if version = *expectedVersion; version < 1 {
			version = -1 // no thing has it, and 0 would mean any
		}
	}
	err := s.store.Things.DeleteThing(ctx, p, name, version)
	if errors.Is(err, fescue.ErrNotFound) {
		return nil
	}
	err = refuseAs(err, fescue.ErrInUse, ErrThingAttached, name, p.ThingARN(name))
	return refuseAs(err, fescue.ErrConflict, ErrThingVersion, name, p.ThingARN(name))
}

// How many things a list with an attribute filter looks at: in one read, and in
// one call.
const (
	scanBatch = 500
	scanLimit = 10_000
)

// Things lists things by name. It returns at most page.Limit of them and, when
// there may be more, the name after which to go on: with a filter a page may be
// short, even empty, and not be the last.
func (s *Service) Things(ctx context.Context, p fescue.Partition, f ThingFilter, page fescue.Page) (list []fescue.Thing, next string, err error) {
	if err := f.check(); err != nil {
		return nil, "", err
	}
	want := page.Limit
	batch := want + 1
	if f.Attribute != "" {
		batch = scanBatch
	}
	for scanned := 0; ; scanned += batch {
		things, err := s.store.Things.Things(ctx, p, f.Type, fescue.Page{After: page.After, Limit: batch})
		if err != nil {
			return nil, "", err
		}
		for _, t := range things {
			if f.fits(t) {
				if len(list) == want {
					return list, page.After, nil
				}
				list = append(list, t)
			}
			page.After = t.Name
		}
		if len(things) < batch {
			return list, "", nil
		}
		if scanned+batch >= scanLimit {
			return list, page.After, nil
		}
	}
}

func (f *ThingFilter) check() error {
	if f.Attribute == "" && f.Value != nil {
		return invalid("attributeValue needs attributeName beside it")
	}
	if f.Attribute != "" && !attributeName.MatchString(f.Attribute) {
		return invalid("attributeName %.128q is not 1 to 128 characters of a-z, A-Z, 0-9 and _.,@/:#-", f.Attribute)
	}
	return checkThingType(f.Type)
}

func (f *ThingFilter) fits(t fescue.Thing) bool {
	if f.Attribute == "" {
		return true
	}
	value, ok := t.Attributes[f.Attribute]
	switch {
	case !ok || f.Value == nil:
		return ok
	case f.ValuePrefix:
		return strings.HasPrefix(value, *f.Value)
	default:
		return value == *f.Value
	}
}

// AttachThing attaches a certificate to a thing; again is a success.
func (s *Service) AttachThing(ctx context.Context, p fescue.Partition, thing, certificateID string) error {
	if err := cmp.Or(checkThingName(thing), checkCertificateID(certificateID)); err != nil {
		return err
	}
	if err := s.store.Things.AttachThing(ctx, p, thing, certificateID); err != nil {
		return err
	}
	s.notify(certificateID)
	return nil
}

// DetachThing undoes AttachThing; again is a success.
func (s *Service) DetachThing(ctx context.Context, p fescue.Partition, thing, certificateID string) error {
	if err := cmp.Or(checkThingName(thing), checkCertificateID(certificateID)); err != nil {
		return err
	}
	if err := s.store.Things.DetachThing(ctx, p, thing, certificateID); err != nil {
		return err
	}
	s.notify(certificateID)
	return nil
}

// ThingCertificates lists the ids of the certificates attached to a thing.
func (s *Service) ThingCertificates(ctx context.Context, p fescue.Partition, thing string, page fescue.Page) ([]string, error) {
	if _, err := s.Thing(ctx, p, thing); err != nil {
		return nil, err
	}
	return s.store.Things.ThingCertificates(ctx, p, thing, page)
}

// CertificateThings lists the names of the things that a certificate is attached
// to.
func (s *Service) CertificateThings(ctx context.Context, p fescue.Partition, certificateID string, page fescue.Page) ([]string, error) {
	if _, err := s.Certificate(ctx, p, certificateID); err != nil {
		return nil, err
	}
	return s.store.Things.CertificateThings(ctx, p, certificateID, page)
}

func checkThingName(name string) error {
	if !fescue.ValidThingName(name) {
		return invalid("thing name %.128q is not 1 to 128 characters of a-z, A-Z, 0-9, colon, underscore and hyphen", name)
	}
	return nil
}

func checkThingType(name string) error {
	if name != "" && !fescue.ValidThingName(name) {
		return invalid("thing type name %.128q is not 1 to 128 characters of a-z, A-Z, 0-9, colon, underscore and hyphen", name)
	}
	return nil
}

func checkAttributes(attributes map[string]string) error {
	if len(attributes) > maxAttributes {
		return invalid("a thing has at most %d attributes, not %d", maxAttributes, len(attributes))
	}
	for name, value := range attributes {
		if !attributeName.MatchString(name) {
			return invalid("attribute name %.128q is not 1 to 128 characters of a-z, A-Z, 0-9 and _.,@/:#-", name)
		}
		if len(value) > maxAttributeValue || !attributeValue.MatchString(value) {
			return invalid("the value of attribute %s is not at most %d characters of a-z, A-Z, 0-9 and _.,@/:#=[]-", name, maxAttributeValue)
		}
	}
	return nil
}
