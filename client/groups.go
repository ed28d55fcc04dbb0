package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/fescue-edge/fescue"
)

// Group is a group as ListGroups and GetGroup return it.
type Group struct {
	Id            string
	Name          string
	LatestVersion string
}

// ErrAmbiguous means that several groups have the name.
var ErrAmbiguous = errors.New("several groups have this name")

// FindGroup reads a group by its id, or by its name when only one group has it: else
// the error is ErrAmbiguous.
func (c *Client) FindGroup(ctx context.Context, idOrName string) (Group, error) {
	if fescue.ValidID(idOrName) {
		var g Group
		err := c.Call(ctx, "greengrass", "GetGroup", http.MethodGet, "/greengrass/groups/"+idOrName, nil, &g)
		return g, err
	}
	var found []Group
	for token := ""; ; {
		var page struct {
			Groups    []Group
			NextToken string
		}
		if err := c.Call(ctx, "greengrass", "ListGroups", http.MethodGet, "/greengrass/groups?NextToken="+url.QueryEscape(token), nil, &page); err != nil {
			return Group{}, err
		}
		for _, g := range page.Groups {
			if g.Name == idOrName {
				found = append(found, g)
			}
		}
		if token = page.NextToken; token == "" {
			break
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Group{}, fmt.Errorf("no group is named %q; aws greengrass list-groups shows the groups", idOrName)
	}
	ids := ""
	for _, g := range found {
		ids += "\n  " + g.Id
	}
	return Group{}, fmt.Errorf("%w: give --group one of the ids%s", ErrAmbiguous, ids)
}
