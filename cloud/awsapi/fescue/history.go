package fescue

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/history"
)

// History says how the fleet and the servers did.
type History interface {
	Fleet(ctx context.Context, p fescue.Partition, over history.Period) ([]history.FleetPoint, error)
	Requests(ctx context.Context, over history.Period) ([]history.RequestPoint, error)
}

// FleetHistory answers GetFleetHistory.
type FleetHistory struct {
	// StepSeconds is how much time each point is of.
	StepSeconds int
	Points      []FleetPoint
}

// FleetPoint is how a fleet did from a time on.
type FleetPoint struct {
	At string
	// Cores is the most cores that were known, and Connected the fewest that were
	// connected; absent where no server ran that counted them.
	Cores     *int `json:",omitempty"`
	Connected *int `json:",omitempty"`
	// Succeeded, Failed and Cancelled are the deployments that ended.
	Succeeded, Failed, Cancelled int
}

// RequestHistory answers GetRequestHistory.
type RequestHistory struct {
	// StepSeconds is how much time each point is of.
	StepSeconds int
	Points      []RequestPoint
}

// RequestPoint is how requests were answered from a time on.
type RequestPoint struct {
	At string
	// Requests is how many all servers answered in RanSeconds, which is how much of the
	// time is past and had a server that ran.
	Requests   int64
	RanSeconds int
	// MedianMicros is within how many microseconds half of them were answered, P99Micros
	// within how many 99 in a hundred, as far as buckets tell; absent without requests.
	MedianMicros int64 `json:",omitempty"`
	P99Micros    int64 `json:",omitempty"`
}

// period reads Period.
func period(r *restjson.Request) (history.Period, error) {
	name := cmp.Or(r.Query.Get("Period"), history.Periods[0].Name)
	i := slices.IndexFunc(history.Periods, func(p history.Period) bool { return p.Name == name })
	if i < 0 {
		return history.Period{}, refuse(http.StatusBadRequest, badRequest, "Period '%.64s' is none of Day and Week.", name)
	}
	return history.Periods[i], nil
}

func (a *API) getFleetHistory(ctx context.Context, r *restjson.Request, _ nothing) (out FleetHistory, err error) {
	over, err := period(r)
	if err != nil {
		return out, err
	}
	list, err := a.o.History.Fleet(ctx, r.Partition, over)
	out = FleetHistory{int(over.Step / time.Second), make([]FleetPoint, 0, len(list))}
	for _, p := range list {
		point := FleetPoint{At: timestamp(p.At), Succeeded: p.Succeeded, Failed: p.Failed, Cancelled: p.Cancelled}
		if p.Counted {
			point.Cores, point.Connected = &p.Cores, &p.Connected
		}
		out.Points = append(out.Points, point)
	}
	return out, err
}

func (a *API) getRequestHistory(ctx context.Context, r *restjson.Request, _ nothing) (out RequestHistory, err error) {
	if err := a.concerns(r); err != nil {
		return out, err
	}
	over, err := period(r)
	if err != nil {
		return out, err
	}
	list, err := a.o.History.Requests(ctx, over)
	out = RequestHistory{int(over.Step / time.Second), make([]RequestPoint, 0, len(list))}
	for _, p := range list {
		out.Points = append(out.Points, RequestPoint{
			At: timestamp(p.At), Requests: p.Requests, RanSeconds: int(p.Ran / time.Second), MedianMicros: p.Median.Microseconds(), P99Micros: p.P99.Microseconds(),
		})
	}
	return out, err
}
