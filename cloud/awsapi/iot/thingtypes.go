package iot

import (
	"context"
	"errors"
	"net/http"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/registry"
)

func (a *API) thingTypeOperations() []restjson.Operation {
	const types, one = "/thing-types", "/thing-types/{thingTypeName}"
	return []restjson.Operation{
		{Name: "CreateThingType", Method: http.MethodPost, Path: one, Handle: a.createThingType},
		{Name: "DescribeThingType", Method: http.MethodGet, Path: one, Handle: a.describeThingType},
		{Name: "UpdateThingType", Method: http.MethodPatch, Path: one, Handle: a.updateThingType},
		{Name: "DeprecateThingType", Method: http.MethodPost, Path: one + "/deprecate", Handle: a.deprecateThingType},
		{Name: "DeleteThingType", Method: http.MethodDelete, Path: one, Handle: a.deleteThingType},
		{Name: "ListThingTypes", Method: http.MethodGet, Path: types, Handle: a.listThingTypes},
	}
}

// typeProperties are a thing type's in requests and answers.
type typeProperties struct {
	Description          string   `json:"thingTypeDescription,omitempty"`
	SearchableAttributes []string `json:"searchableAttributes,omitempty"`
}

// thingTypeRequest is the body of CreateThingType and UpdateThingType.
func thingTypeRequest(r *restjson.Request) (registry.ThingType, error) {
	var in struct {
		Properties struct {
			typeProperties
			MQTT5 any `json:"mqtt5Configuration"`
		} `json:"thingTypeProperties"`
		Tags []any `json:"tags"`
	}
	if err := restjson.Decode(r.Body, &in); err != nil {
		return registry.ThingType{}, malformed(err.Error())
	}
	switch {
	case in.Properties.MQTT5 != nil:
		return registry.ThingType{}, invalid("Attributes of things are not propagated to messages. Leave mqtt5Configuration out.")
	case len(in.Tags) > 0:
		return registry.ThingType{}, invalid("Tags of AWS IoT's resources are not served. Leave tags out.")
	}
	return registry.ThingType{
		Name: r.Label("thingTypeName"), Description: in.Properties.Description, SearchableAttributes: in.Properties.SearchableAttributes,
	}, nil
}

func (a *API) createThingType(ctx context.Context, r *restjson.Request) (any, error) {
	in, err := thingTypeRequest(r)
	if err != nil {
		return nil, err
	}
	made, err := a.registry.CreateThingType(ctx, r.Partition, in)
	return struct {
		Name string `json:"thingTypeName"`
		ARN  string `json:"thingTypeArn"`
		ID   string `json:"thingTypeId"`
	}{made.Name, r.Partition.ThingTypeARN(made.Name), made.ID}, err
}

// typeDescription is a thing type in lists; DescribeThingType has its id, too.
type typeDescription struct {
	Name       string         `json:"thingTypeName"`
	ID         string         `json:"thingTypeId,omitempty"`
	ARN        string         `json:"thingTypeArn"`
	Properties typeProperties `json:"thingTypeProperties"`
	Metadata   struct {
		Deprecated   bool     `json:"deprecated"`
		DeprecatedAt *seconds `json:"deprecationDate,omitempty"`
		CreatedAt    seconds  `json:"creationDate"`
	} `json:"thingTypeMetadata"`
}

func describedType(p fescue.Partition, t registry.ThingType) typeDescription {
	d := typeDescription{
		Name: t.Name, ARN: p.ThingTypeARN(t.Name), Properties: typeProperties{t.Description, t.SearchableAttributes},
	}
	d.Metadata.CreatedAt = seconds(t.CreatedAt)
	if !t.DeprecatedAt.IsZero() {
		at := seconds(t.DeprecatedAt)
		d.Metadata.Deprecated, d.Metadata.DeprecatedAt = true, &at
	}
	return d
}

func (a *API) describeThingType(ctx context.Context, r *restjson.Request) (any, error) {
	t, err := a.registry.ThingType(ctx, r.Partition, r.Label("thingTypeName"))
	if err != nil {
		return nil, err
	}
	d := describedType(r.Partition, t)
	d.ID = t.ID
	return d, nil
}

func (a *API) updateThingType(ctx context.Context, r *restjson.Request) (any, error) {
	in, err := thingTypeRequest(r)
	if err != nil {
		return nil, err
	}
	return nil, a.registry.UpdateThingType(ctx, r.Partition, in)
}

func (a *API) deprecateThingType(ctx context.Context, r *restjson.Request) (any, error) {
	var in struct {
		Undo bool `json:"undoDeprecate"`
	}
	if err := restjson.Decode(r.Body, &in); err != nil {
		return nil, malformed(err.Error())
	}
	return nil, a.registry.DeprecateThingType(ctx, r.Partition, r.Label("thingTypeName"), in.Undo)
}

func (a *API) deleteThingType(ctx context.Context, r *restjson.Request) (any, error) {
	return nil, a.registry.DeleteThingType(ctx, r.Partition, r.Label("thingTypeName"))
}

func (a *API) listThingTypes(ctx context.Context, r *restjson.Request) (any, error) {
	limit, after, err := byToken.read(r)
	if err != nil {
		return nil, err
	}
	list, err := a.thingTypes(ctx, r, fescue.Page{After: after.Key, Limit: limit + 1})
	if err != nil {
		return nil, err
	}
	list, next := cut(list, limit, func(t registry.ThingType) position { return position{Key: t.Name} })
	return struct {
		Types     []typeDescription `json:"thingTypes"`
		NextToken string            `json:"nextToken,omitempty"`
	}{listed(list, func(t registry.ThingType) typeDescription { return describedType(r.Partition, t) }), next}, nil
}

// thingTypes are all, or the one that the request names, which need not be there.
func (a *API) thingTypes(ctx context.Context, r *restjson.Request, page fescue.Page) ([]registry.ThingType, error) {
	name := r.Query.Get("thingTypeName")
	if name == "" {
		return a.registry.ThingTypes(ctx, r.Partition, page)
	}
	t, err := a.registry.ThingType(ctx, r.Partition, name)
	if errors.Is(err, fescue.ErrNotFound) {
		return nil, nil
	}
	return []registry.ThingType{t}, err
}
