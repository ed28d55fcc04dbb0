package greengrass

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/definitions"
)

func (a *API) tagOperations() []restjson.Operation {
	const path = "/tags/{resource-arn}"
	return []restjson.Operation{
		{Name: "ListTagsForResource", Method: http.MethodGet, Path: path, Handle: a.listTags},
		{Name: "TagResource", Method: http.MethodPost, Path: path, Status: http.StatusNoContent, Handle: a.tag},
		{Name: "UntagResource", Method: http.MethodDelete, Path: path, Status: http.StatusNoContent, Handle: a.untag},
	}
}

// tagMap is a map of tags as a request brings it: values may be empty, but not
// null.
type tagMap map[string]string

// UnmarshalJSON implements json.Unmarshaler.
func (m *tagMap) UnmarshalJSON(data []byte) error {
	var values map[string]*string
	if err := json.Unmarshal(data, &values); err != nil {
		return err
	}
	tags := make(tagMap, len(values))
	for key, value := range values {
		if value == nil {
			return &json.UnmarshalTypeError{Value: "null", Field: key}
		}
		tags[key] = *value
	}
	*m = tags
	return nil
}

// tagged finds what the path's ARN names, and the answer for when it is not there.
// Groups, definitions and bulk deployments have tags: versions, deployments and
// authorities have none (AWS IoT Greengrass developer guide). What lies in another
// partition is simply not there.
func (a *API) tagged(r *restjson.Request) (resource definitions.Tagged, missing *awsapi.Error, err error) {
	text := r.Label("resource-arn")
	arn, err := fescue.ParseARN(text)
	if err != nil || arn.Service != "greengrass" {
		return nil, nil, notTagged(text)
	}
	p := arn.Partition()
	for _, k := range append([]fescue.Kind{fescue.GroupKind}, fescue.DefinitionKinds...) {
		if id, ok := strings.CutPrefix(text, p.DefinitionARN(k, "")); ok && fescue.ValidID(id) {
			resource, missing = a.definitions.Tagged(r.Partition, k, id), unknown(kindTexts[k.Segment].other)
		}
	}
	if id, ok := strings.CutPrefix(text, p.BulkDeploymentARN("")); ok && fescue.ValidID(id) {
		resource, missing = a.bulk.Tagged(r.Partition, id), unknownBulk
	}
	switch {
	case resource == nil:
		return nil, nil, notTagged(text)
	case p != r.Partition:
		return nil, nil, missing
	}
	return resource, missing, nil
}

func notTagged(text string) *awsapi.Error {
	return refuse(http.StatusBadRequest, badRequest,
		"%.300q is not the ARN of a group, a definition or a bulk deployment, as their operations tell it.", text)
}

func (a *API) listTags(ctx context.Context, r *restjson.Request) (any, error) {
	resource, missing, err := a.tagged(r)
	if err != nil {
		return nil, err
	}
	tags, err := resource.Tags(ctx)
	if err != nil {
		return nil, notFoundAs(err, missing)
	}
	return struct {
		Tags map[string]string `json:"tags"`
	}{tags}, nil
}

func (a *API) tag(ctx context.Context, r *restjson.Request) (any, error) {
	resource, missing, err := a.tagged(r)
	if err != nil {
		return nil, err
	}
	var in struct {
		Tags tagMap `json:"tags"`
	}
	if err := restjson.Decode(r.Body, &in); err != nil {
		return nil, malformed(err.Error())
	}
	return nil, notFoundAs(definitions.Tag(ctx, resource, in.Tags), missing)
}

func (a *API) untag(ctx context.Context, r *restjson.Request) (any, error) {
	resource, missing, err := a.tagged(r)
	if err != nil {
		return nil, err
	}
	keys := slices.DeleteFunc(r.Query["tagKeys"], func(key string) bool { return key == "" })
	return nil, notFoundAs(definitions.Untag(ctx, resource, keys), missing)
}
