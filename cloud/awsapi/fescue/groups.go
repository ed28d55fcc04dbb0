package fescue

import (
	"context"
	"net/http"
	"unicode/utf8"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/definitions"
)

// GroupSummary is a group in a list.
type GroupSummary struct {
	Id                string
	Name              string
	LatestVersion     string `json:",omitempty"`
	CreationTimestamp string
	Tags              map[string]string `json:",omitempty"`
}

// GroupList is the answer of ListGroupsByName.
type GroupList struct {
	Groups    []GroupSummary
	NextToken string `json:",omitempty"`
}

func (a *API) listGroups(ctx context.Context, r *restjson.Request, _ nothing) (out GroupList, err error) {
	out.Groups = []GroupSummary{}
	by := definitions.GroupFilter{Text: r.Query.Get("Contains")}
	if utf8.RuneCountInString(by.Text) > maxContains {
		return out, refuse(http.StatusBadRequest, badRequest, "Contains has more than %d characters.", maxContains)
	}
	pg, err := page(r)
	if err != nil {
		return out, err
	}
	if scope := r.Caller.Scope; scope != nil {
		var limited bool
		if by.Tag, by.Value, limited = scope.Tag(); !limited {
			return out, nil // such a limit covers no group
		}
	}
	list, err := a.o.Definitions.Groups(ctx, r.Partition, by, pg)
	if err != nil {
		return out, err
	}
	list, out.NextToken = restjson.Cut(list, pg, func(d fescue.Definition) string { return d.ID })
	for _, d := range list {
		if r.Caller.Scope != nil && !r.Caller.Scope.Tagged(d.Tags) {
			continue
		}
		out.Groups = append(out.Groups, GroupSummary{d.ID, d.Name, d.LatestVersion, timestamp(d.CreatedAt), d.Tags})
	}
	return out, nil
}
