package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/fescue-edge/fescue"
)

// groupFlag names a group.
type groupFlag struct {
	Group string `required:"" placeholder:"ID|NAME" help:"The group: its id, or its name when only one group has it."`
}

// group is a group as ListGroups and GetGroup tell it.
type group struct {
	Id            string
	Name          string
	LatestVersion string
}

// errAmbiguous means that several groups have the name.
var errAmbiguous = errors.New("several groups have this name")

// find reads the group.
func (f groupFlag) find(ctx context.Context, c *apiClient) (group, error) {
	if fescue.ValidID(f.Group) {
		var g group
		err := c.call(ctx, "greengrass", "GetGroup", http.MethodGet, "/greengrass/groups/"+f.Group, nil, &g)
		return g, err
	}
	var found []group
	for token := ""; ; {
		var page struct {
			Groups    []group
			NextToken string
		}
		if err := c.call(ctx, "greengrass", "ListGroups", http.MethodGet, "/greengrass/groups?NextToken="+url.QueryEscape(token), nil, &page); err != nil {
			return group{}, err
		}
		for _, g := range page.Groups {
			if g.Name == f.Group {
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
		return group{}, fmt.Errorf("no group is named %q; aws greengrass list-groups shows the groups", f.Group)
	}
	ids := ""
	for _, g := range found {
		ids += "\n  " + g.Id
	}
	return group{}, fmt.Errorf("%w: give --group one of the ids%s", errAmbiguous, ids)
}
