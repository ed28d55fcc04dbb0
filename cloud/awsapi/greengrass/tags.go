package greengrass

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/restjson"
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

// tagged finds what the path's ARN names. Only groups and definitions have tags:
// versions, deployments and authorities have none (AWS IoT Greengrass developer
// guide). What lies in another partition is simply not there.
func tagged(r *restjson.Request) (k fescue.Kind, id string, missing *awsapi.Error, err error) {
	text := r.Label("resource-arn")
	arn, err := fescue.ParseARN(text)
	if err == nil && arn.Service == "greengrass" {
		for _, k := range append([]fescue.Kind{fescue.GroupKind}, fescue.DefinitionKinds...) {
			id, ok := strings.CutPrefix(text, arn.Partition().DefinitionARN(k, ""))
			if !ok || !fescue.ValidID(id) {
				continue
			}
			missing := unknown(kindTexts[k.Segment].other)
			if arn.Partition() != r.Partition {
				return k, "", missing, missing
			}
			return k, id, missing, nil
		}
	}
	return k, "", nil, refuse(http.StatusBadRequest, badRequest,
		"%.300q is not the ARN of a group or a definition, as their Get operations tell it.", text)
}

func (a *API) listTags(ctx context.Context, r *restjson.Request) (any, error) {
	k, id, missing, err := tagged(r)
	if err != nil {
		return nil, err
	}
	d, err := a.definitions.Definition(ctx, r.Partition, k, id)
	if err != nil {
		return nil, notFoundAs(err, missing)
	}
	return struct {
		Tags map[string]string `json:"tags"`
	}{d.Tags}, nil
}

func (a *API) tag(ctx context.Context, r *restjson.Request) (any, error) {
	k, id, missing, err := tagged(r)
	if err != nil {
		return nil, err
	}
	var in struct {
		Tags tagMap `json:"tags"`
	}
	if err := restjson.Decode(r.Body, &in); err != nil {
		return nil, malformed(err.Error())
	}
	return nil, notFoundAs(a.definitions.Tag(ctx, r.Partition, k, id, in.Tags), missing)
}

func (a *API) untag(ctx context.Context, r *restjson.Request) (any, error) {
	k, id, missing, err := tagged(r)
	if err != nil {
		return nil, err
	}
	keys := slices.DeleteFunc(r.Query["tagKeys"], func(key string) bool { return key == "" })
	return nil, notFoundAs(a.definitions.Untag(ctx, r.Partition, k, id, keys), missing)
}
