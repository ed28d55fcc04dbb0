package events_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/cloud/events"
)

// TestTelemetry: what a core publishes on its topic becomes an event, all else is left
// alone.
func TestTelemetry(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	var log bytes.Buffer
	to := &events.Telemetry{Publisher: r, Now: func() time.Time { return time.UnixMilli(1798761600000) }, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	const detail = `{"ThingName":"Mill","Schema":"2020-06-30","ADP":[{"TS":1,"NS":"SystemMetrics","M":[{"N":"CpuUsage","Sum":1.5,"U":"<&>"}]}]}`
	for _, m := range []struct{ topic, payload string }{
		{"$aws/things/Fan-gcf/telemetry", detail}, {"$aws/things/Mill/shadow/update", detail}, {"$aws/things/Mill-gcf/telemetry", "{"},
		{"$aws/things/Mill-gcf/telemetry", detail},
	} {
		to.Receive(t.Context(), home, m.topic, []byte(m.payload))
	}
	if diff := gocmp.Diff([]string{"$aws/events/greengrass/telemetry/Mill"}, r.topics); diff != "" {
		t.Fatal(diff)
	}
	if !strings.Contains(string(r.last), `"U":"<&>"`) {
		t.Errorf("%s is longer than what came", r.last)
	}
	var got map[string]any
	if err := json.Unmarshal(r.last, &got); err != nil {
		t.Fatal(err)
	}
	var want any
	if err := json.Unmarshal([]byte(detail), &want); err != nil {
		t.Fatal(err)
	}
	if id, _ := got["id"].(string); len(id) != 36 {
		t.Errorf("id %q", id)
	}
	delete(got, "id")
	if diff := gocmp.Diff(map[string]any{
		"version": "0", "detail-type": "Greengrass Telemetry Data", "source": "aws.greengrass", "account": "123456789012", "region": "us-east-1",
		"time": "2027-01-01T00:00:00Z", "resources": []any{}, "detail": want,
	}, got); diff != "" {
		t.Error(diff)
	}
	r.failures = 3 // a broker that is away loses three events and no more, with one warning
	for range 3 {
		to.Receive(t.Context(), home, "$aws/things/Mill-gcf/telemetry", []byte(detail))
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings: %s", n, &log)
	}
	to.Receive(t.Context(), home, "$aws/things/Mill-gcf/telemetry", []byte(detail))
	if len(r.topics) != 2 {
		t.Errorf("%q", r.topics)
	}
}
