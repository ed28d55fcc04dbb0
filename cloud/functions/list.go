package functions

import (
	"context"
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/fescue-edge/fescue"
)

// maxPage is how many records one answer holds at most (AWS Lambda answers 50,
// whatever MaxItems up to 10000 asks for).
const (
	maxPage  = 50
	maxItems = 10_000
)

// Page asks for a part of a list.
type Page struct {
	// Marker is the Next of the part before; empty starts at the beginning.
	Marker string
	// MaxItems is 1 to 10000, or 0 for the default; a page has at most 50.
	MaxItems int
}

// read checks a page and finds the key after which it starts.
func (pg Page) read() (after string, limit int, err error) {
	var c checks
	if pg.MaxItems != 0 {
		c.number("maxItems", pg.MaxItems, 1, maxItems)
	}
	if err := c.err(); err != nil {
		return "", 0, err
	}
	limit = maxPage
	if pg.MaxItems > 0 && pg.MaxItems < maxPage {
		limit = pg.MaxItems
	}
	key, err := base64.RawURLEncoding.DecodeString(pg.Marker)
	if err != nil || len(pg.Marker) > longestReference {
		return "", 0, errMarker()
	}
	return string(key), limit, nil
}

func errMarker() error {
	return fescue.Refuse(ErrInvalid, "The Marker is not one that this operation gave out as NextMarker.")
}

// cut takes a page off a list that may have one record more, and marks where
// the next one starts: after the last key, so that records that come or go in
// between do not shift it.
func cut[T any](list []T, limit int, key func(T) string) (page []T, next string) {
	if len(list) <= limit {
		return list, ""
	}
	page = list[:limit]
	return page, base64.RawURLEncoding.EncodeToString([]byte(key(page[limit-1])))
}

// List lists $LATEST of all functions by name.
func (s *Service) List(ctx context.Context, p fescue.Partition, page Page) (list []fescue.FunctionVersion, next string, err error) {
	after, limit, err := page.read()
	if err != nil {
		return nil, "", err
	}
	if after != "" && !namePattern.MatchString(after) {
		return nil, "", errMarker()
	}
	list, err = s.store.Functions(ctx, p, after, limit+1)
	list, next = cut(list, limit, func(v fescue.FunctionVersion) string { return v.Name })
	return list, next, err
}

// ListAll lists all versions of all functions by name and number.
func (s *Service) ListAll(ctx context.Context, p fescue.Partition, page Page) ([]fescue.FunctionVersion, string, error) {
	return s.versions(ctx, p, "", page)
}

// ListVersions lists the versions of a function by number, $LATEST first.
func (s *Service) ListVersions(ctx context.Context, p fescue.Partition, function string, page Page) ([]fescue.FunctionVersion, string, error) {
	name, err := changeable(p, function)
	if err != nil {
		return nil, "", err
	}
	list, next, err := s.versions(ctx, p, name, page)
	if err == nil && len(list) == 0 {
		_, err = s.latest(ctx, p, name, "")
	}
	return list, next, err
}

// versions lists those of one function, or of all when the name is empty. A
// marker is a name and a version's number.
func (s *Service) versions(ctx context.Context, p fescue.Partition, name string, page Page) (list []fescue.FunctionVersion, next string, err error) {
	after, limit, err := page.read()
	if err != nil {
		return nil, "", err
	}
	afterName, number := "", int64(-1)
	if after != "" {
		var digits string
		afterName, digits, _ = strings.Cut(after, ":")
		number, err = strconv.ParseInt(digits, 10, 64)
		if err != nil || number < 0 || !namePattern.MatchString(afterName) || (name != "" && name != afterName) {
			return nil, "", errMarker()
		}
	}
	list, err = s.store.FunctionVersions(ctx, p, name, afterName, number, limit+1)
	list, next = cut(list, limit, func(v fescue.FunctionVersion) string {
		if v.Version == fescue.LatestVersion {
			return v.Name + ":0"
		}
		return v.Name + ":" + v.Version
	})
	return list, next, err
}

// ListAliases lists a function's aliases by name; a version that is not empty
// keeps those that point to it.
func (s *Service) ListAliases(ctx context.Context, p fescue.Partition, function, version string, page Page) (list []fescue.FunctionAlias, next string, err error) {
	name, err := aliasFunction(p, function)
	if err != nil {
		return nil, "", err
	}
	if version != "" {
		var shape checks
		shape.pattern("functionVersion", version, versionPattern)
		if err := shape.err(); err != nil {
			return nil, "", err
		}
	}
	after, limit, err := page.read()
	if err != nil {
		return nil, "", err
	}
	if after != "" && (!aliasPattern.MatchString(after) || len(after) > 128) {
		return nil, "", errMarker()
	}
	list, err = s.store.FunctionAliases(ctx, p, name, version, after, limit+1)
	if err != nil {
		return nil, "", err
	}
	if len(list) == 0 {
		_, err = s.latest(ctx, p, name, "")
	}
	list, next = cut(list, limit, func(a fescue.FunctionAlias) string { return a.Name })
	return list, next, err
}
