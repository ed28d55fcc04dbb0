package iot

import (
	"context"
	"net/http"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/registry"
)

func (a *API) policyOperations() []restjson.Operation {
	const (
		policies = "/policies"
		policy   = policies + "/{policyName}"
		versions = policy + "/version"
		version  = versions + "/{policyVersionId}"
	)
	return []restjson.Operation{
		{Name: "CreatePolicy", Method: http.MethodPost, Path: policy, Handle: a.createPolicy},
		{Name: "GetPolicy", Method: http.MethodGet, Path: policy, Handle: a.getPolicy},
		{Name: "DeletePolicy", Method: http.MethodDelete, Path: policy, Handle: a.deletePolicy},
		{Name: "ListPolicies", Method: http.MethodGet, Path: policies, Handle: a.listPolicies},
		{Name: "CreatePolicyVersion", Method: http.MethodPost, Path: versions, Handle: a.createPolicyVersion},
		{Name: "ListPolicyVersions", Method: http.MethodGet, Path: versions, Handle: a.listPolicyVersions},
		{Name: "GetPolicyVersion", Method: http.MethodGet, Path: version, Handle: a.getPolicyVersion},
		{Name: "SetDefaultPolicyVersion", Method: http.MethodPatch, Path: version, Handle: a.setDefaultPolicyVersion},
		{Name: "DeletePolicyVersion", Method: http.MethodDelete, Path: version, Handle: a.deletePolicyVersion},
	}
}

func document(r *restjson.Request) (string, error) {
	var in struct {
		PolicyDocument string `json:"policyDocument"`
	}
	if err := restjson.Decode(r.Body, &in); err != nil {
		return "", malformed(err.Error())
	}
	if in.PolicyDocument == "" {
		return "", invalid("policyDocument is missing: it holds the policy as JSON text.")
	}
	return in.PolicyDocument, nil
}

func (a *API) createPolicy(ctx context.Context, r *restjson.Request) (any, error) {
	text, err := document(r)
	if err != nil {
		return nil, err
	}
	p, err := a.registry.CreatePolicy(ctx, r.Partition, r.Label("policyName"), text)
	if err != nil {
		return nil, err
	}
	return struct {
		PolicyName      string `json:"policyName"`
		PolicyArn       string `json:"policyArn"`
		PolicyDocument  string `json:"policyDocument"`
		PolicyVersionID string `json:"policyVersionId"`
	}{p.Name, r.Partition.PolicyARN(p.Name), p.Document, p.DefaultVersionID}, nil
}

func (a *API) getPolicy(ctx context.Context, r *restjson.Request) (any, error) {
	p, err := a.registry.Policy(ctx, r.Partition, r.Label("policyName"))
	if err != nil {
		return nil, err
	}
	arn := r.Partition.PolicyARN(p.Name)
	return struct {
		PolicyName       string  `json:"policyName"`
		PolicyArn        string  `json:"policyArn"`
		PolicyDocument   string  `json:"policyDocument"`
		DefaultVersionID string  `json:"defaultVersionId"`
		CreationDate     seconds `json:"creationDate"`
		LastModifiedDate seconds `json:"lastModifiedDate"`
		GenerationID     string  `json:"generationId"`
	}{p.Name, arn, p.Document, p.DefaultVersionID, seconds(p.CreatedAt), seconds(p.UpdatedAt), generation(arn, p.UpdatedAt)}, nil
}

func (a *API) deletePolicy(ctx context.Context, r *restjson.Request) (any, error) {
	return nil, a.registry.DeletePolicy(ctx, r.Partition, r.Label("policyName"))
}

// policyItem is a policy in a list.
type policyItem struct {
	PolicyName string `json:"policyName"`
	PolicyArn  string `json:"policyArn"`
}

// policyList is the answer of the operations that list policies.
type policyList struct {
	Policies   []policyItem `json:"policies"`
	NextMarker string       `json:"nextMarker,omitempty"`
}

func listOfPolicies(p fescue.Partition, names []string, next string) policyList {
	return policyList{listed(names, func(name string) policyItem { return policyItem{name, p.PolicyARN(name)} }), next}
}

func (a *API) listPolicies(ctx context.Context, r *restjson.Request) (any, error) {
	list, next, err := byAge(r, func(after position, ascending bool, limit int) ([]registry.Policy, error) {
		return a.registry.Policies(ctx, r.Partition, registry.Policy{Name: after.Key, CreatedAt: after.time()}, ascending, limit)
	}, func(p registry.Policy) position { return position{p.Name, p.CreatedAt.UnixMilli()} })
	if err != nil {
		return nil, err
	}
	return listOfPolicies(r.Partition, listed(list, func(p registry.Policy) string { return p.Name }), next), nil
}

func (a *API) createPolicyVersion(ctx context.Context, r *restjson.Request) (any, error) {
	text, err := document(r)
	if err != nil {
		return nil, err
	}
	makeDefault, err := flag(r, "setAsDefault")
	if err != nil {
		return nil, err
	}
	name := r.Label("policyName")
	v, err := a.registry.CreatePolicyVersion(ctx, r.Partition, name, text, makeDefault)
	if err != nil {
		return nil, err
	}
	return struct {
		PolicyArn        string `json:"policyArn"`
		PolicyDocument   string `json:"policyDocument"`
		PolicyVersionID  string `json:"policyVersionId"`
		IsDefaultVersion bool   `json:"isDefaultVersion"`
	}{r.Partition.PolicyARN(name), v.Document, v.ID, v.Default}, nil
}

func (a *API) getPolicyVersion(ctx context.Context, r *restjson.Request) (any, error) {
	name := r.Label("policyName")
	v, err := a.registry.PolicyVersion(ctx, r.Partition, name, r.Label("policyVersionId"))
	if err != nil {
		return nil, err
	}
	arn := r.Partition.PolicyARN(name)
	return struct {
		PolicyArn        string  `json:"policyArn"`
		PolicyName       string  `json:"policyName"`
		PolicyDocument   string  `json:"policyDocument"`
		PolicyVersionID  string  `json:"policyVersionId"`
		IsDefaultVersion bool    `json:"isDefaultVersion"`
		CreationDate     seconds `json:"creationDate"`
		LastModifiedDate seconds `json:"lastModifiedDate"`
		GenerationID     string  `json:"generationId"`
	}{arn, name, v.Document, v.ID, v.Default, seconds(v.CreatedAt), seconds(v.CreatedAt), generation(arn+":"+v.ID, v.CreatedAt)}, nil
}

func (a *API) listPolicyVersions(ctx context.Context, r *restjson.Request) (any, error) {
	list, err := a.registry.PolicyVersions(ctx, r.Partition, r.Label("policyName"))
	if err != nil {
		return nil, err
	}
	type item struct {
		VersionID        string  `json:"versionId"`
		IsDefaultVersion bool    `json:"isDefaultVersion"`
		CreateDate       seconds `json:"createDate"`
	}
	return struct {
		PolicyVersions []item `json:"policyVersions"`
	}{listed(list, func(v registry.PolicyVersion) item { return item{v.ID, v.Default, seconds(v.CreatedAt)} })}, nil
}

func (a *API) setDefaultPolicyVersion(ctx context.Context, r *restjson.Request) (any, error) {
	return nil, a.registry.SetDefaultPolicyVersion(ctx, r.Partition, r.Label("policyName"), r.Label("policyVersionId"))
}

func (a *API) deletePolicyVersion(ctx context.Context, r *restjson.Request) (any, error) {
	return nil, a.registry.DeletePolicyVersion(ctx, r.Partition, r.Label("policyName"), r.Label("policyVersionId"))
}
