package iot

import (
	"context"
	"net/http"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/registry"
)

func (a *API) thingOperations() []restjson.Operation {
	const thing = "/things/{thingName}"
	return []restjson.Operation{
		{Name: "CreateThing", Method: http.MethodPost, Path: thing, Handle: a.createThing},
		{Name: "DescribeThing", Method: http.MethodGet, Path: thing, Handle: a.describeThing},
		{Name: "UpdateThing", Method: http.MethodPatch, Path: thing, Handle: a.updateThing},
		{Name: "DeleteThing", Method: http.MethodDelete, Path: thing, Handle: a.deleteThing},
		{Name: "ListThings", Method: http.MethodGet, Path: "/things", Handle: a.listThings},
	}
}

// attributePayload is a thing's attributes in a request. A null value decodes to
// nil and is refused: the API has no such value.
type attributePayload struct {
	Attributes map[string]*string `json:"attributes"`
	Merge      bool               `json:"merge"`
}

// values is nil when the payload says nothing of attributes.
func (p *attributePayload) values() (map[string]string, error) {
	if p == nil || p.Attributes == nil {
		return nil, nil
	}
	values := make(map[string]string, len(p.Attributes))
	for name, value := range p.Attributes {
		if value == nil {
			return nil, invalid("attribute %.128q is null; send a string.", name)
		}
		values[name] = *value
	}
	return values, nil
}

func (a *API) createThing(ctx context.Context, r *restjson.Request) (any, error) {
	var in struct {
		ThingTypeName    string            `json:"thingTypeName"`
		BillingGroupName string            `json:"billingGroupName"`
		AttributePayload *attributePayload `json:"attributePayload"`
	}
	if err := restjson.Decode(r.Body, &in); err != nil {
		return nil, malformed(err.Error())
	}
	if in.BillingGroupName != "" {
		return nil, invalid("Billing groups are not served. Leave billingGroupName out.")
	}
	attributes, err := in.AttributePayload.values()
	if err != nil {
		return nil, err
	}
	t, err := a.registry.CreateThing(ctx, r.Partition, r.Label("thingName"), in.ThingTypeName, attributes)
	if err != nil {
		return nil, err
	}
	return struct {
		ThingName string `json:"thingName"`
		ThingArn  string `json:"thingArn"`
		ThingID   string `json:"thingId"`
	}{t.Name, r.Partition.ThingARN(t.Name), t.ID}, nil
}

func (a *API) describeThing(ctx context.Context, r *restjson.Request) (any, error) {
	t, err := a.registry.Thing(ctx, r.Partition, r.Label("thingName"))
	if err != nil {
		return nil, err
	}
	return struct {
		DefaultClientID string            `json:"defaultClientId"`
		ThingName       string            `json:"thingName"`
		ThingID         string            `json:"thingId"`
		ThingArn        string            `json:"thingArn"`
		ThingTypeName   string            `json:"thingTypeName,omitempty"`
		Attributes      map[string]string `json:"attributes"`
		Version         int64             `json:"version"`
	}{t.Name, t.Name, t.ID, r.Partition.ThingARN(t.Name), t.Type, t.Attributes, t.Version}, nil
}

func (a *API) updateThing(ctx context.Context, r *restjson.Request) (any, error) {
	var in struct {
		ThingTypeName    string            `json:"thingTypeName"`
		AttributePayload *attributePayload `json:"attributePayload"`
		ExpectedVersion  *int64            `json:"expectedVersion"`
		RemoveThingType  bool              `json:"removeThingType"`
	}
	if err := restjson.Decode(r.Body, &in); err != nil {
		return nil, malformed(err.Error())
	}
	attributes, err := in.AttributePayload.values()
	if err != nil {
		return nil, err
	}
	return nil, a.registry.UpdateThing(ctx, r.Partition, r.Label("thingName"), registry.ThingChange{
		Attributes: attributes, Merge: in.AttributePayload != nil && in.AttributePayload.Merge,
		Type: in.ThingTypeName, RemoveType: in.RemoveThingType,
		ExpectedVersion: in.ExpectedVersion,
	})
}

func (a *API) deleteThing(ctx context.Context, r *restjson.Request) (any, error) {
	expected, err := version(r, "expectedVersion")
	if err != nil {
		return nil, err
	}
	return nil, a.registry.DeleteThing(ctx, r.Partition, r.Label("thingName"), expected)
}

func (a *API) listThings(ctx context.Context, r *restjson.Request) (any, error) {
	limit, after, err := byToken.read(r)
	if err != nil {
		return nil, err
	}
	filter := registry.ThingFilter{Type: r.Query.Get("thingTypeName"), Attribute: r.Query.Get("attributeName")}
	if r.Query.Has("attributeValue") {
		value := r.Query.Get("attributeValue")
		filter.Value = &value
	}
	if filter.ValuePrefix, err = flag(r, "usePrefixAttributeValue"); err != nil {
		return nil, err
	}
	list, next, err := a.registry.Things(ctx, r.Partition, filter, fescue.Page{After: after.Key, Limit: limit})
	if err != nil {
		return nil, err
	}
	type item struct {
		ThingName     string            `json:"thingName"`
		ThingTypeName string            `json:"thingTypeName,omitempty"`
		ThingArn      string            `json:"thingArn"`
		Attributes    map[string]string `json:"attributes"`
		Version       int64             `json:"version"`
	}
	return struct {
		Things    []item `json:"things"`
		NextToken string `json:"nextToken,omitempty"`
	}{
		listed(list, func(t fescue.Thing) item {
			return item{t.Name, t.Type, r.Partition.ThingARN(t.Name), t.Attributes, t.Version}
		}),
		position{Key: next}.token(),
	}, nil
}
