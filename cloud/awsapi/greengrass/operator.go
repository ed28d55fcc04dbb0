package greengrass

import (
	"context"
	"net/http"

	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/events"
)

// Operator tells how the server does as a whole.
type Operator interface {
	// Account is whose server it is: other accounts are told nothing of it.
	Account() string
	// Metrics are in Prometheus's text format.
	Metrics() (contentType string, text []byte, err error)
	// Events are the destinations of events.
	Events(ctx context.Context) ([]events.Status, error)
}

func (a *API) operatorOperations() []restjson.Operation {
	ask := func(answer func(context.Context) (any, error)) restjson.Handler {
		return func(ctx context.Context, r *restjson.Request) (any, error) {
			if own := a.operator.Account(); r.Partition.Account != own {
				return nil, refuse(http.StatusForbidden, "AccessDeniedException",
					"User: %s is not authorized to perform: fescue:%s: what concerns the whole server is told to its own account alone, %s.",
					r.Caller.ARN(r.Partition.AWS, r.Partition.Account), r.Operation, own)
			}
			return answer(ctx)
		}
	}
	return []restjson.Operation{
		{Name: "GetMetrics", Method: http.MethodGet, Path: awsapi.OwnPath + "metrics", Handle: ask(func(context.Context) (any, error) {
			contentType, text, err := a.operator.Metrics()
			return restjson.Raw{ContentType: contentType, Body: text}, err
		})},
		{Name: "GetEventDestinations", Method: http.MethodGet, Path: awsapi.OwnPath + "events", Handle: ask(func(ctx context.Context) (any, error) {
			list, err := a.operator.Events(ctx)
			return EventDestinations{list}, err
		})},
	}
}

// EventDestinations is the answer of GetEventDestinations.
type EventDestinations struct {
	Destinations []events.Status `json:"destinations"`
}
