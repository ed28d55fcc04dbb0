package iam

import (
	"context"
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/query"
	"github.com/fescue-edge/fescue/cloud/identity"
)

// Pages (IAM API reference): 100 items unless MaxItems says otherwise.
const (
	defaultPage = 100
	maxPage     = 1000
)

// page reads MaxItems and Marker, the key of the last item before.
func page(r *query.Request) (fescue.Page, error) {
	p := fescue.Page{Limit: defaultPage}
	if text := r.Param("MaxItems"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxPage {
			return p, invalid("MaxItems must be 1 to 1000.")
		}
		p.Limit = n
	}
	if text := r.Param("Marker"); text != "" {
		after, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || strings.ToValidUTF8(string(after), "") != string(after) || strings.ContainsRune(string(after), 0) {
			return p, invalid("Marker is not one that this API gave out.")
		}
		p.After = string(after)
	}
	p.Limit++ // one more shows whether there is a next page
	return p, nil
}

// members is a list, whose element stands there also when it is empty: clients
// take the absence of the element for the absence of the list.
type members[T any] struct {
	Members []T `xml:"member"`
}

// truncation ends every list.
type truncation struct {
	IsTruncated bool
	Marker      string `xml:",omitempty"`
}

// cut drops the item beyond the page.
func cut[T any](list []T, p fescue.Page, key func(T) string) ([]T, truncation) {
	if len(list) < p.Limit {
		return list, truncation{}
	}
	list = list[:p.Limit-1]
	return list, truncation{true, base64.RawURLEncoding.EncodeToString([]byte(key(list[len(list)-1])))}
}

// after drops what a page begins behind, of a list that is whole.
func after(list []string, p fescue.Page) []string {
	list = slices.DeleteFunc(list, func(s string) bool { return s <= p.After })
	return list[:min(len(list), p.Limit)]
}

func itself(s string) string { return s }

func (a *API) listRoles(ctx context.Context, r *query.Request) (any, error) {
	p, err := page(r)
	if err != nil {
		return nil, err
	}
	list, err := a.roles.Roles(ctx, r.Partition.Account, p)
	if err != nil {
		return nil, err
	}
	list, end := cut(list, p, func(r identity.IAMRole) string { return r.Name })
	answer := struct {
		Roles members[role]
		truncation
	}{truncation: end}
	for _, found := range list {
		if strings.HasPrefix(found.Path, r.Param("PathPrefix")) {
			answer.Roles.Members = append(answer.Roles.Members, show(r.Partition, found))
		}
	}
	return answer, nil
}

func (a *API) listRolePolicies(ctx context.Context, r *query.Request) (any, error) {
	p, err := page(r)
	if err != nil {
		return nil, err
	}
	policies, err := a.roles.RolePolicies(ctx, r.Partition.Account, r.Param("RoleName"))
	if err != nil {
		return nil, err
	}
	names, end := cut(after(slices.Sorted(maps.Keys(policies)), p), p, itself)
	return struct {
		PolicyNames members[string]
		truncation
	}{members[string]{names}, end}, nil
}

func (a *API) listAttached(ctx context.Context, r *query.Request) (any, error) {
	p, err := page(r)
	if err != nil {
		return nil, err
	}
	arns, err := a.roles.Attached(ctx, r.Partition.Account, r.Param("RoleName"))
	if err != nil {
		return nil, err
	}
	slices.Sort(arns)
	arns, end := cut(after(arns, p), p, itself)
	type attached struct{ PolicyName, PolicyArn string }
	answer := struct {
		AttachedPolicies members[attached]
		truncation
	}{truncation: end}
	for _, arn := range arns {
		answer.AttachedPolicies.Members = append(answer.AttachedPolicies.Members, attached{arn[strings.LastIndexByte(arn, '/')+1:], arn})
	}
	return answer, nil
}

func (a *API) listPolicies(ctx context.Context, r *query.Request) (any, error) {
	p, err := page(r)
	if err != nil {
		return nil, err
	}
	var list []identity.IAMPolicy
	if r.Param("Scope") != "AWS" { // those of AWS are not kept here
		if list, err = a.roles.Policies(ctx, r.Partition.Account, p); err != nil {
			return nil, err
		}
	}
	list, end := cut(list, p, func(p identity.IAMPolicy) string { return p.Name })
	answer := struct {
		Policies members[managed]
		truncation
	}{truncation: end}
	for _, found := range list {
		if strings.HasPrefix(found.Path, r.Param("PathPrefix")) {
			answer.Policies.Members = append(answer.Policies.Members, showPolicy(r.Partition, found))
		}
	}
	return answer, nil
}
