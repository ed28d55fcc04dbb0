package definitions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fescue-edge/fescue"
)

// NamedBy is Named of a version of a group that is kept. One that is not there names
// nothing.
func (s *Service) NamedBy(ctx context.Context, p fescue.Partition, groupID, version string) ([]string, error) {
	v, err := s.Version(ctx, p, fescue.GroupKind, groupID, version)
	if errors.Is(err, fescue.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return s.Named(ctx, p, fescue.GroupKind, v.Body)
}

// Named lists what fescue.Named finds in the body of a version; of a group version
// it is that of every definition version that it refers to. A reference that leads
// nowhere names nothing: it is refused for that.
func (s *Service) Named(ctx context.Context, p fescue.Partition, k fescue.Kind, body json.RawMessage) ([]string, error) {
	if k != fescue.GroupKind {
		return fescue.Named(p, k, body), nil
	}
	var g fescue.GroupVersion
	if json.Unmarshal(body, &g) != nil {
		return nil, nil
	}
	var list []string
	for _, k := range fescue.DefinitionKinds {
		id, version, err := p.ParseVersionARN(k, g.Reference(k))
		if err != nil {
			continue
		}
		v, err := s.Store.Version(ctx, p, k, id, version)
		if errors.Is(err, fescue.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("what %s version %s names: %w", k.Name, version, err)
		}
		list = append(list, fescue.Named(p, k, v.Body)...)
	}
	return list, nil
}
