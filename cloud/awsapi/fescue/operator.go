package fescue

import (
	"context"
	"net/http"
	"time"

	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/events"
)

// Operator reports how the server does as a whole.
type Operator interface {
	// Account is whose server it is: other accounts see nothing of it.
	Account() string
	// CertificateEnds are when the certificates end that the server uses, by what for.
	CertificateEnds() map[string]time.Time
	// Metrics are in Prometheus's text format.
	Metrics() (contentType string, text []byte, err error)
	// Events are the destinations of events.
	Events(ctx context.Context) ([]events.Status, error)
}

// concerns refuses what concerns the whole server to other accounts than its own.
func (a *API) concerns(r *restjson.Request) error {
	if own := a.o.Operator.Account(); r.Partition.Account != own {
		return refuse(http.StatusForbidden, "AccessDeniedException",
			"User: %s is not authorized to perform: fescue:%s: what concerns the whole server is for its own account alone, %s.",
			r.Caller.ARN(r.Partition.AWS, r.Partition.Account), r.Operation, own)
	}
	return nil
}

func (a *API) getMetrics(_ context.Context, r *restjson.Request, _ nothing) (raw restjson.Raw, err error) {
	if err := a.concerns(r); err != nil {
		return raw, err
	}
	raw.ContentType, raw.Body, err = a.o.Operator.Metrics()
	return raw, err
}

func (a *API) getEventDestinations(ctx context.Context, r *restjson.Request, _ nothing) (EventDestinations, error) {
	if err := a.concerns(r); err != nil {
		return EventDestinations{}, err
	}
	list, err := a.o.Operator.Events(ctx)
	return EventDestinations{list}, err
}

// EventDestinations is the answer of GetEventDestinations.
type EventDestinations struct {
	Destinations []events.Status `json:"destinations"`
}
