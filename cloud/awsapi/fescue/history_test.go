package fescue_test

import (
	"strings"
	"testing"
	"time"

	api "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/history"
)

func TestGetFleetHistory(t *testing.T) {
	t.Parallel()
	a := open(t)
	if err := a.store.Cores().See(t.Context(), []cores.Seen{{Partition: here, Thing: "A", Core: true, LastSeen: cores.LastSeen{SeenAt: now}}}); err != nil {
		t.Fatal(err)
	}
	if err := a.store.History().Sample(t.Context(), now.Truncate(history.Bucket).Add(-time.Hour), now); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]struct{ points, step, known int }{
		"/fescue/v1/fleet/history":             {96, 900, 91},
		"/fescue/v1/fleet/history?Period=Day":  {96, 900, 91},
		"/fescue/v1/fleet/history?Period=Week": {84, 7200, 82},
	} {
		var got api.FleetHistory
		a.get("GET", path, "", &got)
		if len(got.Points) != want.points || got.StepSeconds != want.step {
			t.Fatalf("%s: %d points of %d s", path, len(got.Points), got.StepSeconds)
		}
		for i, p := range got.Points {
			if i == want.known != (p.Cores != nil && *p.Cores == 1 && *p.Connected == 1) || i != want.known && p.Connected != nil {
				t.Errorf("%s: point %d is %+v", path, i, p)
			}
		}
		if elsewhere := a.call(there, "GET", path, ""); elsewhere.status != 200 || strings.Contains(elsewhere.text, "Connected") {
			t.Errorf("%s: another account sees %+v", path, elsewhere)
		}
	}
	a.refused("GET", "/fescue/v1/fleet/history?Period=Year", "", 400, "BadRequestException", "Period 'Year' is none of Day and Week.")
}

func TestGetRequestHistory(t *testing.T) {
	t.Parallel()
	a := open(t)
	if err := a.store.History().AddRequests(t.Context(), now.Truncate(history.Bucket).Add(-2*history.Bucket), history.Latencies{1: 30}); err != nil {
		t.Fatal(err)
	}
	var got api.RequestHistory
	a.get("GET", "/fescue/v1/metrics/requests?Period=Day", "", &got)
	want := api.RequestPoint{At: "2026-11-23T11:45:00.000Z", Requests: 30, RanSeconds: 300, MedianMicros: 500, P99Micros: 794}
	if len(got.Points) != 96 || got.Points[94] != want || got.Points[93].RanSeconds != 0 {
		t.Errorf("%+v", got.Points[90:])
	}
	a.refused("GET", "/fescue/v1/metrics/requests?Period=x", "", 400, "BadRequestException", "Period 'x' is none of Day and Week.")
	if refused := a.call(there, "GET", "/fescue/v1/metrics/requests", ""); refused.status != 403 {
		t.Errorf("another account sees %+v", refused)
	}
}
