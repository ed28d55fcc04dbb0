package iot

import (
	"context"
	"errors"
	"net/http"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
)

// Headers that name the other end of an attachment.
const (
	thingPrincipal  = "X-Amzn-Principal"
	policyPrincipal = "X-Amzn-Iot-Principal"
	policyOf        = "X-Amzn-Iot-Policy"
)

func (a *API) attachmentOperations() []restjson.Operation {
	const (
		thing     = "/things/{thingName}/principals"
		target    = "/target-policies/{policyName}"
		principal = "/principal-policies/{policyName}"
	)
	attachPolicy, detachPolicy := a.registry.AttachPolicy, a.registry.DetachPolicy
	return []restjson.Operation{
		{Name: "AttachThingPrincipal", Method: http.MethodPut, Path: thing, Handle: withPrincipal("thingName", thingPrincipal, a.registry.AttachThing)},
		{Name: "DetachThingPrincipal", Method: http.MethodDelete, Path: thing, Handle: withPrincipal("thingName", thingPrincipal, a.registry.DetachThing)},
		{Name: "ListThingPrincipals", Method: http.MethodGet, Path: thing, Handle: a.listThingPrincipals},
		{Name: "ListPrincipalThings", Method: http.MethodGet, Path: "/principals/things", Handle: a.listPrincipalThings},
		{Name: "AttachPolicy", Method: http.MethodPut, Path: target, Handle: withTarget(attachPolicy)},
		{Name: "DetachPolicy", Method: http.MethodPost, Path: target, Handle: withTarget(quietly(detachPolicy))},
		{Name: "AttachPrincipalPolicy", Method: http.MethodPut, Path: principal, Handle: withPrincipal("policyName", policyPrincipal, attachPolicy)},
		{Name: "DetachPrincipalPolicy", Method: http.MethodDelete, Path: principal, Handle: withPrincipal("policyName", policyPrincipal, detachPolicy)},
		{Name: "ListAttachedPolicies", Method: http.MethodPost, Path: "/attached-policies/{target}", Handle: a.listAttachedPolicies},
		{Name: "ListPrincipalPolicies", Method: http.MethodGet, Path: "/principal-policies", Handle: a.listPrincipalPolicies},
		{Name: "ListPolicyPrincipals", Method: http.MethodGet, Path: "/policy-principals", Handle: a.listPolicyPrincipals},
		{Name: "ListTargetsForPolicy", Method: http.MethodPost, Path: "/policy-targets/{policyName}", Handle: a.listTargetsForPolicy},
	}
}

// attachment makes or undoes an attachment of a certificate to what a name
// stands for.
type attachment func(ctx context.Context, p fescue.Partition, name, certificateID string) error

// quietly undoes an attachment also when one of its ends does not exist:
// DetachPolicy has no error for that (API model), while DetachPrincipalPolicy
// has.
func quietly(undo attachment) attachment {
	return func(ctx context.Context, p fescue.Partition, name, certificateID string) error {
		if err := undo(ctx, p, name, certificateID); !errors.Is(err, fescue.ErrNotFound) {
			return err
		}
		return nil
	}
}

// withPrincipal answers the operations that name the certificate in a header.
func withPrincipal(label, header string, do attachment) restjson.Handler {
	return func(ctx context.Context, r *restjson.Request) (any, error) {
		if t := r.Query.Get("thingPrincipalType"); t != "" && t != "NON_EXCLUSIVE_THING" {
			return nil, invalid("thingPrincipalType %.64q is not served: attachments are NON_EXCLUSIVE_THING.", t)
		}
		id, err := certificateOf(r.Partition, header, r.Header.Get(header))
		if err != nil {
			return nil, err
		}
		return nil, do(ctx, r.Partition, r.Label(label), id)
	}
}

// withTarget answers the operations that name the certificate in the body.
func withTarget(do attachment) restjson.Handler {
	return func(ctx context.Context, r *restjson.Request) (any, error) {
		var in struct {
			Target string `json:"target"`
		}
		if err := restjson.Decode(r.Body, &in); err != nil {
			return nil, malformed(err.Error())
		}
		id, err := certificateOf(r.Partition, "target", in.Target)
		if err != nil {
			return nil, err
		}
		return nil, do(ctx, r.Partition, r.Label("policyName"), id)
	}
}

func (a *API) listThingPrincipals(ctx context.Context, r *restjson.Request) (any, error) {
	ids, next, err := byToken.names(r, func(page fescue.Page) ([]string, error) {
		return a.registry.ThingCertificates(ctx, r.Partition, r.Label("thingName"), page)
	})
	if err != nil {
		return nil, err
	}
	return struct {
		Principals []string `json:"principals"`
		NextToken  string   `json:"nextToken,omitempty"`
	}{listed(ids, r.Partition.CertificateARN), next}, nil
}

func (a *API) listPrincipalThings(ctx context.Context, r *restjson.Request) (any, error) {
	id, err := certificateOf(r.Partition, thingPrincipal, r.Header.Get(thingPrincipal))
	if err != nil {
		return nil, err
	}
	names, next, err := byToken.names(r, func(page fescue.Page) ([]string, error) {
		return a.registry.CertificateThings(ctx, r.Partition, id, page)
	})
	if err != nil {
		return nil, err
	}
	return struct {
		Things    []string `json:"things"`
		NextToken string   `json:"nextToken,omitempty"`
	}{listed(names, func(name string) string { return name }), next}, nil
}

func (a *API) listAttachedPolicies(ctx context.Context, r *restjson.Request) (any, error) {
	// recursive asks for the policies of a certificate's thing groups too, of
	// which there are none.
	if _, err := flag(r, "recursive"); err != nil {
		return nil, err
	}
	return a.policiesOf(ctx, r, "target", r.Label("target"))
}

func (a *API) listPrincipalPolicies(ctx context.Context, r *restjson.Request) (any, error) {
	return a.policiesOf(ctx, r, policyPrincipal, r.Header.Get(policyPrincipal))
}

func (a *API) policiesOf(ctx context.Context, r *restjson.Request, member, arn string) (any, error) {
	id, err := certificateOf(r.Partition, member, arn)
	if err != nil {
		return nil, err
	}
	names, next, err := byMarker.names(r, func(page fescue.Page) ([]string, error) {
		return a.registry.CertificatePolicies(ctx, r.Partition, id, page)
	})
	if err != nil {
		return nil, err
	}
	return listOfPolicies(r.Partition, names, next), nil
}

func (a *API) listPolicyPrincipals(ctx context.Context, r *restjson.Request) (any, error) {
	arns, next, err := a.targetsOf(ctx, r, r.Header.Get(policyOf))
	if err != nil {
		return nil, err
	}
	return struct {
		Principals []string `json:"principals"`
		NextMarker string   `json:"nextMarker,omitempty"`
	}{arns, next}, nil
}

func (a *API) listTargetsForPolicy(ctx context.Context, r *restjson.Request) (any, error) {
	arns, next, err := a.targetsOf(ctx, r, r.Label("policyName"))
	if err != nil {
		return nil, err
	}
	return struct {
		Targets    []string `json:"targets"`
		NextMarker string   `json:"nextMarker,omitempty"`
	}{arns, next}, nil
}

func (a *API) targetsOf(ctx context.Context, r *restjson.Request, policyName string) (arns []string, next string, err error) {
	ids, next, err := byMarker.names(r, func(page fescue.Page) ([]string, error) {
		return a.registry.PolicyCertificates(ctx, r.Partition, policyName, page)
	})
	return listed(ids, r.Partition.CertificateARN), next, err
}
