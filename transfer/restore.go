package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/client"
	"github.com/fescue-edge/fescue/recovery"
)

// Restore makes a group with everything that it refers to in a partition, whose the
// client's key is, as far as it is not there. Making each part is idempotent, so a
// run that was cut short is repeated. Where something is taken by something else it
// changes nothing; with dry it never does. It reports what became of each part, also of
// those before a failure.
func Restore(ctx context.Context, api *client.Client, group *recovery.Group, p fescue.Partition, dry bool) ([]Outcome, error) {
	return (&restorer{api, group, p}).run(ctx, dry)
}

type restorer struct {
	*client.Client
	group     *recovery.Group
	partition fescue.Partition
}

// part is one thing that is made by itself.
type part struct {
	what string
	// present returns whether the part is there. One that is there with other
	// content is errDiffers.
	present func(context.Context) (bool, error)
	make    func(context.Context) error
}

// errDiffers means that a name or an id is taken by something else.
var errDiffers = errors.New("is there with other content")

// Outcome is what became of a part.
type Outcome struct {
	What  string `json:"what"`
	State State  `json:"state"`
}

// State is what became of a part.
type State string

// The states. Missing is for a run that changes nothing.
const (
	Present  State = "present"
	Restored State = "restored"
	Missing  State = "missing"
)

// run looks at all parts, and then makes those that are missing, in their order.
func (r *restorer) run(ctx context.Context, dry bool) ([]Outcome, error) {
	parts := r.parts()
	outcomes := make([]Outcome, len(parts))
	var taken []error
	for i, p := range parts {
		there, err := p.present(ctx)
		switch {
		case errors.Is(err, errDiffers):
			taken = append(taken, fmt.Errorf("%s %w", p.what, err))
		case err != nil:
			return nil, err
		}
		outcomes[i] = Outcome{p.what, Missing}
		if there {
			outcomes[i].State = Present
		}
	}
	if len(taken) > 0 {
		return nil, fmt.Errorf("nothing was changed: %w", errors.Join(taken...))
	}
	for i, p := range parts {
		if dry || outcomes[i].State == Present {
			continue
		}
		if err := p.make(ctx); err != nil {
			return outcomes, fmt.Errorf("restore %s: %w. Run this again to go on", p.what, err)
		}
		outcomes[i].State = Restored
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
	parts = append(parts, r.models()...)
	for _, c := range append(r.group.Definitions[:len(r.group.Definitions):len(r.group.Definitions)], r.group.Group) {
		for _, v := range c.Versions {
			parts = append(parts, r.version(c, v))
		}
	}
	for _, t := range r.group.Things {
		if t.Epoch > 0 {
			parts = append(parts, r.epoch(t))
		}
	}
	return parts
}

// epoch has the first deployment of a core lie above those that it has been through on
// another server, which it takes no more.
func (r *restorer) epoch(t recovery.Thing) part {
	path := "/fescue/v1/cores/" + url.PathEscape(t.ThingName) + "/epoch"
	return part{
		what: fmt.Sprintf("epoch %d of core %s", t.Epoch, t.ThingName),
		present: func(ctx context.Context) (bool, error) {
			var known struct{ Epoch int64 }
			err := r.Call(ctx, "greengrass", "GetCoreEpoch", http.MethodGet, path, nil, &known)
			return known.Epoch >= t.Epoch, err
		},
		make: func(ctx context.Context) error {
			return r.Call(ctx, "greengrass", "RestoreCoreEpoch", http.MethodPut, path, struct{ Epoch int64 }{t.Epoch}, nil)
		},
	}
}

// get reads something; what is not there is false.
func (r *restorer) get(ctx context.Context, service, operation, path string, out any) (bool, error) {
	err := r.Call(ctx, service, operation, http.MethodGet, path, nil, out)
	if client.IsStatus(err, http.StatusNotFound) {
		return false, nil
	}
	return err == nil, err
}

// unless forgives an error that says that the thing has been made meanwhile.
func unless(err error, code string) error {
	if client.IsCode(err, code) {
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
			return unless(r.Call(ctx, "iot", "CreatePolicy", http.MethodPost, path, map[string]string{"policyDocument": p.PolicyDocument}, nil),
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
			return unless(r.Call(ctx, "iot", "RegisterCertificateWithoutCA", http.MethodPost, "/certificate/register-no-ca",
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
			have, err := attachedPolicies(ctx, r.Client, arn)
			if client.IsStatus(err, http.StatusNotFound) {
				return false, nil
			}
			return c.Assumed && len(have) > 0 || slices.Contains(have, name), err
		},
		make: func(ctx context.Context) error {
			return r.Call(ctx, "iot", "AttachPolicy", http.MethodPut, "/target-policies/"+url.PathEscape(name), map[string]string{"target": arn}, nil)
		},
	}
}

// attachedPolicies are the names of a certificate's policies.
func attachedPolicies(ctx context.Context, c *client.Client, certificateARN string) (names []string, err error) {
	err = c.Pages(ctx, "iot", "ListAttachedPolicies", http.MethodPost, "/attached-policies/"+url.PathEscape(certificateARN), "marker", func(answer json.RawMessage) error {
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
			return unless(r.Call(ctx, "iot", "CreateThingType", http.MethodPost, path, in, nil), "ResourceAlreadyExistsException")
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
			return unless(r.Call(ctx, "iot", "CreateThing", http.MethodPost, path, in, nil), "ResourceAlreadyExistsException")
		},
	}
}

func (r *restorer) thingAttachment(t recovery.Thing, certificateID string) part {
	arn := r.partition.CertificateARN(certificateID)
	return part{
		what: "certificate " + certificateID + " on thing " + t.ThingName,
		present: func(ctx context.Context) (bool, error) {
			have, err := principals(ctx, r.Client, t.ThingName)
			if client.IsStatus(err, http.StatusNotFound) {
				return false, nil
			}
			return slices.Contains(have, arn), err
		},
		make: func(ctx context.Context) error {
			return r.Call(ctx, "iot", "AttachThingPrincipal", http.MethodPut, "/things/"+url.PathEscape(t.ThingName)+"/principals", nil, nil, "x-amzn-principal", arn)
		},
	}
}

// principals are the ARNs of a thing's certificates.
func principals(ctx context.Context, c *client.Client, thing string) (arns []string, err error) {
	err = c.Pages(ctx, "iot", "ListThingPrincipals", http.MethodGet, "/things/"+url.PathEscape(thing)+"/principals", "nextToken", func(answer json.RawMessage) error {
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
			there, err := r.get(ctx, "greengrass", "Get"+k.Container()+"Version", versionPath(c.Kind, c.Id, v.Version), &have)
			if there && !recovery.SameJSON(have.Definition, v.Definition) {
				err = errDiffers
			}
			return there, err
		},
		make: func(ctx context.Context) error {
			return r.Call(ctx, "greengrass", "RestoreVersion", http.MethodPut, "/fescue/v1/definitions/"+c.Kind+"/"+c.Id+"/versions/"+v.Version, map[string]any{
				"Name": c.Name, "tags": c.Tags, "CreationTimestamp": c.CreationTimestamp, "LastUpdatedTimestamp": c.LastUpdatedTimestamp,
				"Version": map[string]any{"CreationTimestamp": v.CreationTimestamp, "Definition": v.Definition},
			}, nil)
		},
	}
}

// Changes counts the parts that were made.
func Changes(outcomes []Outcome) (n int) {
	for _, o := range outcomes {
		if o.State == Restored {
			n++
		}
	}
	return n
}
