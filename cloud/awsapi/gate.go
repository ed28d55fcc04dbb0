package awsapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/policy"
)

// Target is what a call is about to do.
type Target struct {
	// Operation is the API's name of it, for example "CreateDeployment".
	Operation string
	// Resource is the ARN that it acts on; empty stands for none in particular.
	Resource string
	// RequestTags are the tags of what is to be made or tagged; nil when there are
	// none. They are asked for only when the caller's policies are conditional or
	// the caller is limited.
	RequestTags func() map[string]string
	// RemovedTags are the keys of the tags that the resource is to lose.
	RemovedTags []string
}

// OwnPath begins the paths of operations that the original did not have.
const OwnPath = "/fescue/v1/"

// action is what a call does, as policies name it.
func action(service string, t Target) string {
	return wire.Find(service).Action(t.Operation)
}

// authorize decides by the caller's policies, default deny. The error is the
// refusal in the service's form.
func (h *Handler) authorize(ctx context.Context, service, act string, r *http.Request, call *Call, t Target) error {
	if slices.Contains(wire.Find(service).Open, t.Operation) {
		return nil
	}
	resource := t.Resource
	if resource == "" {
		resource = "*"
	}
	variables, err := h.variables(ctx, r, call, t)
	if err != nil {
		return err
	}
	decision := policy.ImplicitDeny // of a caller without policies
	for _, set := range call.Caller.Policies {
		if decision = set.Evaluate(policy.Request{Action: act, Resource: resource, Variables: variables}); decision != policy.Allowed {
			break
		}
	}
	if decision == policy.Allowed {
		return h.within(ctx, service, act, call, resource, t)
	}
	return h.denied(service, act, resource, call, decision)
}

// denied is the refusal of a call that the caller's policies do not allow.
func (h *Handler) denied(service, act, resource string, call *Call, decision policy.Decision) *Error {
	reason := "because no identity-based policy allows the " + act + " action"
	if decision == policy.ExplicitDeny {
		reason = "with an explicit deny in an identity-based policy"
	}
	return h.refusal(service, act, call, resource, reason)
}

func (h *Handler) refusal(service, act string, call *Call, resource, reason string) *Error {
	limited := ""
	if call.Caller.Scope != nil {
		limited = ", limited to " + call.Caller.Scope.String()
	}
	return refuseIn(wire.Denied, service, fmt.Sprintf("User: %s is not authorized to perform: %s on resource: %s %s (access key %s has the access level %s%s)",
		call.Caller.ARN(h.AWS, call.Partition.Account), act, resource, reason, call.KeyID, call.Caller.Access, limited))
}

// notCovered is why a limited caller is refused.
const notCovered = "because the limit of the access key does not cover it"

// within decides by the caller's limit what its policies allow.
func (h *Handler) within(ctx context.Context, service, act string, call *Call, resource string, t Target) error {
	if call.Caller.Scope == nil {
		return nil
	}
	allowed, err := call.Caller.Scope.Allows(ctx, h.Inventory, call.Partition, identity.Act{
		Action: act, Resource: resource, Changes: changes(service, t), RequestTags: t.RequestTags, RemovedTags: t.RemovedTags,
	})
	if err != nil || allowed {
		return err
	}
	return h.refusal(service, act, call, resource, notCovered)
}

// variables are what the conditions of policies may ask about.
func (h *Handler) variables(ctx context.Context, r *http.Request, call *Call, t Target) (map[string][]string, error) {
	if !call.Caller.Conditional {
		return nil, nil
	}
	v := map[string][]string{
		policy.KeyPrincipalARN:     {call.Caller.ARN(h.AWS, call.Partition.Account)},
		policy.KeyPrincipalAccount: {call.Partition.Account},
		policy.KeyRequestedRegion:  {call.Partition.Region},
		policy.KeySourceIP:         {source(r)},
		policy.KeySecureTransport:  {strconv.FormatBool(r.TLS != nil)},
		policy.KeyUserAgent:        {r.UserAgent()},
	}
	if user, ok := strings.CutPrefix(call.Caller.Identity, "user/"); ok {
		v[policy.KeyUserName] = []string{user}
	}
	if t.RequestTags != nil {
		for key, value := range t.RequestTags() {
			v[policy.KeyRequestTag(key)] = []string{value}
			v[policy.KeyTagKeys] = append(v[policy.KeyTagKeys], key)
		}
	}
	v[policy.KeyTagKeys] = append(v[policy.KeyTagKeys], t.RemovedTags...)
	_, rest, ok := strings.Cut(t.Resource, ":/greengrass/groups/")
	if !ok || h.Inventory == nil {
		return v, nil
	}
	id, _, _ := strings.Cut(rest, "/")
	tags, err := h.Inventory.DefinitionTags(ctx, call.Partition, fescue.GroupKind, id)
	if err != nil && !errors.Is(err, fescue.ErrNotFound) {
		return nil, fmt.Errorf("tags of group %s: %w", id, err)
	}
	for key, value := range tags {
		v[policy.KeyResourceTag(key)] = []string{value}
	}
	return v, nil
}

// Private reports whether nobody on the way can read a request and its answer: it came over
// TLS, or from this machine.
func Private(r *http.Request) bool {
	return r.TLS != nil || net.ParseIP(source(r)).IsLoopback()
}

// source is the address that a request comes from, without its port.
func source(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
