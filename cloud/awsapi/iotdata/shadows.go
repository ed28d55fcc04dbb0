package iotdata

import (
	"context"
	"encoding/base64"
	"net/http"
	"strconv"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/shadow"
)

func (a *API) shadowOperations() []restjson.Operation {
	const path = "/things/{thingName}/shadow"
	return []restjson.Operation{
		{Name: "GetThingShadow", Method: http.MethodGet, Path: path, Handle: a.getThingShadow},
		{Name: "UpdateThingShadow", Method: http.MethodPost, Path: path, MaxBody: MaxPayload, Handle: a.updateThingShadow},
		{Name: "DeleteThingShadow", Method: http.MethodDelete, Path: path, Handle: a.deleteThingShadow},
		{Name: "ListNamedShadowsForThing", Method: http.MethodGet, Path: "/api/things/shadow/ListNamedShadowsForThing/{thingName}", Handle: a.listNamedShadows},
	}
}

// shadowID reads which shadow a request is about; without a name it is the
// classic one.
func shadowID(r *restjson.Request) (shadow.ID, error) {
	id := shadow.ID{Thing: r.Label("thingName"), Name: r.Query.Get("name")}
	if id.Name == "" && r.Query.Has("name") {
		return id, shadow.ErrShadowName
	}
	return id, nil
}

// document is an answer that is a shadow's own JSON.
func document(body []byte, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return restjson.Raw{ContentType: "application/json", Body: body}, nil
}

func (a *API) getThingShadow(ctx context.Context, r *restjson.Request) (any, error) {
	id, err := shadowID(r)
	if err != nil {
		return nil, err
	}
	return document(a.shadows.Get(ctx, r.Partition, id, ""))
}

func (a *API) updateThingShadow(ctx context.Context, r *restjson.Request) (any, error) {
	id, err := shadowID(r)
	if err != nil {
		return nil, err
	}
	u, err := shadow.ParseUpdate(r.Body, shadow.CloudLimits)
	if err != nil {
		return nil, err
	}
	return document(a.shadows.Update(ctx, r.Partition, id, u))
}

func (a *API) deleteThingShadow(ctx context.Context, r *restjson.Request) (any, error) {
	id, err := shadowID(r)
	if err != nil {
		return nil, err
	}
	return document(a.shadows.Delete(ctx, r.Partition, id, shadow.Request{}))
}

// Page sizes of ListNamedShadowsForThing (API model; the default is the AWS IoT
// API reference's).
const (
	maxNames     = 100
	defaultNames = 25
)

func (a *API) listNamedShadows(ctx context.Context, r *restjson.Request) (any, error) {
	page := fescue.Page{Limit: defaultNames}
	if text := r.Query.Get("pageSize"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxNames {
			return nil, invalid("pageSize %.32q is not a number from 1 to %d.", text, maxNames)
		}
		page.Limit = n
	}
	if text := r.Query.Get("nextToken"); text != "" {
		name, err := base64.RawURLEncoding.DecodeString(text)
		page.After = string(name)
		if err != nil || (shadow.ID{Thing: "any", Name: page.After}).Validate() != nil {
			return nil, invalid("nextToken is not one that this API gave out.")
		}
	}
	names, next, err := a.shadows.Names(ctx, r.Partition, r.Label("thingName"), page)
	if err != nil {
		return nil, err
	}
	if names == nil {
		names = []string{}
	}
	return struct {
		Results   []string `json:"results"`
		NextToken string   `json:"nextToken,omitempty"`
		Timestamp int64    `json:"timestamp"`
	}{names, base64.RawURLEncoding.EncodeToString([]byte(next)), a.now().Unix()}, nil
}

// shadowCodes are the exceptions of what the shadow service refuses, by its code.
var shadowCodes = map[int]string{
	http.StatusBadRequest:            invalidRequest,
	http.StatusNotFound:              "ResourceNotFoundException",
	http.StatusConflict:              "ConflictException",
	http.StatusRequestEntityTooLarge: "RequestEntityTooLargeException",
	http.StatusUnsupportedMediaType:  "UnsupportedDocumentEncodingException",
	http.StatusTooManyRequests:       "ThrottlingException",
}
