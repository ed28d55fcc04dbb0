package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/recovery"
)

// restorer makes a group with everything that it refers to through a server's
// API, as far as it is not there. Making each part is idempotent, so a run that
// was cut short is repeated.
type restorer struct {
	*apiClient
	group     *recovery.Group
	partition fescue.Partition
}

// part is one thing that is made by itself.
type part struct {
	what string
	// present tells whether the part is there. One that is there with other
	// content is errDiffers.
	present func(context.Context) (bool, error)
	make    func(context.Context) error
}

// errDiffers means that a name or an id is taken by something else.
var errDiffers = errors.New("is there with other content")

// outcome is what became of a part.
type outcome struct {
	What string `json:"what"`
	// State is "present", "restored", or "missing" when nothing is to be changed.
	State string `json:"state"`
}

// The states of an outcome.
const (
	statePresent  = "present"
	stateRestored = "restored"
	stateMissing  = "missing"
)

// run looks at all parts, and then makes those that are missing, in their order.
// Where something is taken by something else it changes nothing. It tells what
// became of each part, also of those before a failure.
func (r *restorer) run(ctx context.Context, dry bool) ([]outcome, error) {
	parts := r.parts()
	outcomes := make([]outcome, len(parts))
	var taken []error
	for i, p := range parts {
		there, err := p.present(ctx)
		switch {
		case errors.Is(err, errDiffers):
			taken = append(taken, fmt.Errorf("%s %w", p.what, err))
		case err != nil:
			return nil, err
		}
		outcomes[i] = outcome{p.what, stateMissing}
		if there {
			outcomes[i].State = statePresent
		}
	}
	if len(taken) > 0 {
		return nil, fmt.Errorf("nothing was changed: %w", errors.Join(taken...))
	}
	for i, p := range parts {
		if dry || outcomes[i].State == statePresent {
			continue
		}
		if err := p.make(ctx); err != nil {
			return outcomes, fmt.Errorf("restore %s: %w. Run this again to go on", p.what, err)
		}
		outcomes[i].State = stateRestored
	}
	return outcomes, nil
}

// parts are all parts, each after those that it needs.
func (r *restorer) parts() []part {
	var parts []part
	for _, p := range r.group.Policies {
		parts = append(parts, r.policy(p))
	}
	for _, c := range r.group.Certificates {
		parts = append(parts, r.certificate(c))
		for _, name := range c.Policies {
			parts = append(parts, r.policyAttachment(c, name))
		}
	}
	for _, t := range r.group.TypesOfThings() {
		parts = append(parts, r.thingType(t))
	}
	for _, t := range r.group.Things {
		parts = append(parts, r.thing(t))
		for _, id := range t.Principals {
			parts = append(parts, r.thingAttachment(t, id))
		}
	}
	for _, f := range r.group.Functions {
		parts = append(parts, r.function(f))
		for _, a := range f.Aliases {
			parts = append(parts, r.alias(f, a))
		}
	}
	for _, c := range append(r.group.Definitions[:len(r.group.Definitions):len(r.group.Definitions)], r.group.Group) {
		for _, v := range c.Versions {
			parts = append(parts, r.version(c, v))
		}
	}
	return parts
}

// get reads something; what is not there is false.
func (r *restorer) get(ctx context.Context, service, operation, path string, out any) (bool, error) {
	err := r.call(ctx, service, operation, http.MethodGet, path, nil, out)
	if isStatus(err, http.StatusNotFound) {
		return false, nil
	}
	return err == nil, err
}

// unless forgives an error that says that the thing has been made meanwhile.
func unless(err error, code string) error {
	if isCode(err, code) {
		return nil
	}
	return err
}

func (r *restorer) policy(p recovery.Policy) part {
	path := "/policies/" + url.PathEscape(p.PolicyName)
	return part{
		what: "policy " + p.PolicyName,
		present: func(ctx context.Context) (bool, error) {
			var have struct{ PolicyDocument string }
			there, err := r.get(ctx, "iot", "GetPolicy", path, &have)
			if there && !p.Assumed && have.PolicyDocument != p.PolicyDocument {
				err = errDiffers
			}
			return there, err
		},
		make: func(ctx context.Context) error {
			return unless(r.call(ctx, "iot", "CreatePolicy", http.MethodPost, path, map[string]string{"policyDocument": p.PolicyDocument}, nil),
				"ResourceAlreadyExistsException")
		},
	}
}

func (r *restorer) certificate(c recovery.Certificate) part {
	return part{
		what: "certificate " + c.CertificateId,
		present: func(ctx context.Context) (bool, error) {
			return r.get(ctx, "iot", "DescribeCertificate", "/certificates/"+c.CertificateId, nil)
		},
		make: func(ctx context.Context) error {
			return unless(r.call(ctx, "iot", "RegisterCertificateWithoutCA", http.MethodPost, "/certificate/register-no-ca",
				map[string]string{"certificatePem": c.CertificatePem, "status": string(c.Status)}, nil), "ResourceAlreadyExistsException")
		},
	}
}

// policyAttachment attaches a policy. A certificate that has policies already is
// not given one that is only assumed.
func (r *restorer) policyAttachment(c recovery.Certificate, name string) part {
	arn := r.partition.CertificateARN(c.CertificateId)
	return part{
		what: "policy " + name + " on certificate " + c.CertificateId,
		present: func(ctx context.Context) (bool, error) {
			have, err := r.attachedPolicies(ctx, arn)
			if isStatus(err, http.StatusNotFound) {
				return false, nil
			}
			return c.Assumed && len(have) > 0 || slices.Contains(have, name), err
		},
		make: func(ctx context.Context) error {
			return r.call(ctx, "iot", "AttachPolicy", http.MethodPut, "/target-policies/"+url.PathEscape(name), map[string]string{"target": arn}, nil)
		},
	}
}

// attachedPolicies are the names of a certificate's policies.
func (c *apiClient) attachedPolicies(ctx context.Context, certificateARN string) (names []string, err error) {
	err = c.pages(ctx, "iot", "ListAttachedPolicies", http.MethodPost, "/attached-policies/"+url.PathEscape(certificateARN), "marker", func(answer json.RawMessage) error {
		var page struct{ Policies []struct{ PolicyName string } }
		err := json.Unmarshal(answer, &page)
		for _, p := range page.Policies {
			names = append(names, p.PolicyName)
		}
		return err
	})
	return names, err
}

func (r *restorer) thingType(t recovery.ThingType) part {
	path := "/thing-types/" + url.PathEscape(t.ThingTypeName)
	return part{
		what: "thing type " + t.ThingTypeName,
		present: func(ctx context.Context) (bool, error) {
			return r.get(ctx, "iot", "DescribeThingType", path, nil)
		},
		make: func(ctx context.Context) error {
			in := map[string]any{"thingTypeProperties": map[string]any{
				"thingTypeDescription": t.ThingTypeDescription, "searchableAttributes": t.SearchableAttributes,
			}}
			return unless(r.call(ctx, "iot", "CreateThingType", http.MethodPost, path, in, nil), "ResourceAlreadyExistsException")
		},
	}
}

func (r *restorer) thing(t recovery.Thing) part {
	path := "/things/" + url.PathEscape(t.ThingName)
	return part{
		what: "thing " + t.ThingName,
		present: func(ctx context.Context) (bool, error) {
			return r.get(ctx, "iot", "DescribeThing", path, nil)
		},
		make: func(ctx context.Context) error {
			in := map[string]any{}
			if t.ThingTypeName != "" {
				in["thingTypeName"] = t.ThingTypeName
			}
			if len(t.Attributes) > 0 {
				in["attributePayload"] = map[string]any{"attributes": t.Attributes}
			}
			return unless(r.call(ctx, "iot", "CreateThing", http.MethodPost, path, in, nil), "ResourceAlreadyExistsException")
		},
	}
}

func (r *restorer) thingAttachment(t recovery.Thing, certificateID string) part {
	arn := r.partition.CertificateARN(certificateID)
	return part{
		what: "certificate " + certificateID + " on thing " + t.ThingName,
		present: func(ctx context.Context) (bool, error) {
			have, err := r.principals(ctx, t.ThingName)
			if isStatus(err, http.StatusNotFound) {
				return false, nil
			}
			return slices.Contains(have, arn), err
		},
		make: func(ctx context.Context) error {
			return r.call(ctx, "iot", "AttachThingPrincipal", http.MethodPut, "/things/"+url.PathEscape(t.ThingName)+"/principals", nil, nil, "x-amzn-principal", arn)
		},
	}
}

// principals are the ARNs of a thing's certificates.
func (c *apiClient) principals(ctx context.Context, thing string) (arns []string, err error) {
	err = c.pages(ctx, "iot", "ListThingPrincipals", http.MethodGet, "/things/"+url.PathEscape(thing)+"/principals", "nextToken", func(answer json.RawMessage) error {
		var page struct{ Principals []string }
		err := json.Unmarshal(answer, &page)
		arns = append(arns, page.Principals...)
		return err
	})
	return arns, err
}

// versionPath is where a version of a group or definition is read.
func versionPath(kind, id, version string) string {
	if kind == fescue.GroupKind.Segment {
		return "/greengrass/groups/" + id + "/versions/" + version
	}
	return "/greengrass/definition/" + kind + "/" + id + "/versions/" + version
}

func (r *restorer) version(c recovery.Container, v recovery.Version) part {
	k := recovery.KindOf(c)
	return part{
		what: fmt.Sprintf("%s %s version %s", k.Segment, c.Id, v.Version),
		present: func(ctx context.Context) (bool, error) {
			var have struct{ Definition json.RawMessage }
			there, err := r.get(ctx, "greengrass", "Get"+k.Name+"DefinitionVersion", versionPath(c.Kind, c.Id, v.Version), &have)
			if there && !recovery.SameJSON(have.Definition, v.Definition) {
				err = errDiffers
			}
			return there, err
		},
		make: func(ctx context.Context) error {
			return r.call(ctx, "greengrass", "RestoreVersion", http.MethodPut, "/fescue/v1/definitions/"+c.Kind+"/"+c.Id+"/versions/"+v.Version, map[string]any{
				"Name": c.Name, "tags": c.Tags, "CreationTimestamp": c.CreationTimestamp, "LastUpdatedTimestamp": c.LastUpdatedTimestamp,
				"Version": map[string]any{"CreationTimestamp": v.CreationTimestamp, "Definition": v.Definition},
			}, nil)
		},
	}
}

// tellOutcomes prints what became of the parts, and in one line what that comes
// to.
func tellOutcomes(w io.Writer, outcomes []outcome) {
	counts := map[string]int{}
	for _, o := range outcomes {
		counts[o.State]++
		fmt.Fprintf(w, "%-10s %s\n", o.State, o.What)
	}
	fmt.Fprintln(w)
	switch {
	case counts[stateRestored] == len(outcomes) && len(outcomes) > 0:
		fmt.Fprintf(w, "Restored all %d parts.\n", len(outcomes))
	case counts[stateRestored] > 0:
		fmt.Fprintf(w, "Restored %d of %d parts; the others were there.\n", counts[stateRestored], len(outcomes))
	case counts[stateMissing] > 0:
		fmt.Fprintf(w, "Nothing was changed. %d of %d parts are missing; without --dry-run they are restored.\n", counts[stateMissing], len(outcomes))
	default:
		fmt.Fprintf(w, "Nothing changed: all %d parts were there.\n", len(outcomes))
	}
}

// changes counts the parts that were made.
func changes(outcomes []outcome) (n int) {
	for _, o := range outcomes {
		if o.State == stateRestored {
			n++
		}
	}
	return n
}
