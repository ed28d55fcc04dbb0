package iotdata

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/topic"
)

// MaxPayload is the largest payload in bytes (AWS General Reference, "AWS IoT
// Core endpoints and quotas").
const MaxPayload = 128 << 10

func (a *API) publish(ctx context.Context, r *restjson.Request) (any, error) {
	name := r.Label("topic")
	if err := topic.ValidName(name); err != nil {
		return nil, err
	}
	qos, err := quality(r)
	if err != nil {
		return nil, err
	}
	retain, err := retained(r)
	if err != nil {
		return nil, err
	}
	if err := reserved(name, retain); err != nil {
		return nil, err
	}
	if len(r.Body) > MaxPayload {
		return nil, refuse(http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException",
			"The payload has %d bytes; at most %d are allowed.", len(r.Body), MaxPayload)
	}
	if err := a.publisher.Publish(ctx, r.Partition, name, r.Body, qos, retain); err != nil {
		return nil, fmt.Errorf("publish to %q: %w", name, err)
	}
	return struct {
		Message string `json:"message"`
		TraceID string `json:"traceId"`
	}{"OK", r.RequestID}, nil
}

func quality(r *restjson.Request) (byte, error) {
	switch text := r.Query.Get("qos"); text {
	case "", "0":
		return 0, nil
	case "1":
		return 1, nil
	default:
		return 0, invalid("qos %.32q is not 0 or 1.", text)
	}
}

func retained(r *restjson.Request) (bool, error) {
	switch text := r.Query.Get("retain"); text {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, invalid("retain %.32q is not true or false.", text)
	}
}

const thingTopics = "$aws/things/"

// reserved refuses the topics that begin with $, but for those of a thing whose
// readers may expect anybody behind them. Devices are held to the same rules.
func reserved(name string, retain bool) error {
	if !strings.HasPrefix(name, "$") {
		return nil
	}
	rest, ok := strings.CutPrefix(name, thingTopics)
	levels := strings.Split(rest, "/")
	switch {
	case !ok || len(levels) < 2 || levels[0] == "":
		return invalid("Topic %q is reserved. Of the topics that begin with $ only those below %s<thing>/ can be published to.", name, thingTopics)
	case retain:
		return invalid("Topic %q keeps no retained message, since it begins with $. Publish without retain.", name)
	}
	if service := topic.AnsweredBy(name); service != "" {
		return invalid("Topic %q is for the %s service alone to publish to.", name, service)
	}
	return nil
}
