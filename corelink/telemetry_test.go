package corelink_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/corelink"
)

const goodTelemetry = `{"ThingName":"Mill_Core","Schema":"2020-06-30","ADP":[{"TS":1798761600,"NS":"SystemMetrics","M":[{"N":"CpuUsage","Sum":12.5,"U":"Percent"},{"N":"TotalNumberOfFDs","Sum":1024,"U":"Count"}]}]}`

func TestParseTelemetry(t *testing.T) {
	t.Parallel()
	got, err := corelink.ParseTelemetry("Mill_Core", []byte(goodTelemetry))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := json.Marshal(got); err != nil || string(text) != goodTelemetry {
		t.Errorf("%s, %v", text, err)
	}
	edit := func(old, new string) string {
		if !strings.Contains(goodTelemetry, old) {
			t.Fatalf("the sample has no %s", old)
		}
		return strings.Replace(goodTelemetry, old, new, 1)
	}
	for name, payload := range map[string]string{
		"nothing":             "",
		"half":                goodTelemetry[:40],
		"a list":              "[]",
		"another core's":      edit("Mill_Core", "Fan_Core"),
		"no thing":            edit(`"ThingName":"Mill_Core",`, ""),
		"another schema":      edit("2020-06-30", "2020-07-30"),
		"no points":           edit(`"ADP":[`, `"ADP":[],"x":[`),
		"too many points":     edit(`"ADP":[`, `"ADP":[`+strings.Repeat(`{},`, 5000)),
		"a time before 1970":  edit("1798761600", "-1"),
		"a time as text":      edit("1798761600", `"now"`),
		"no namespace":        edit("SystemMetrics", ""),
		"a long namespace":    edit("SystemMetrics", strings.Repeat("x", 257)),
		"no metrics":          edit(`"M":[`, `"M":[],"x":[`),
		"too many metrics":    edit(`"M":[`, `"M":[`+strings.Repeat(`{"N":"n"},`, 100)),
		"a metric of no name": edit("CpuUsage", ""),
		"a long name":         edit("CpuUsage", strings.Repeat("x", 257)),
		"a long unit":         edit("Percent", strings.Repeat("x", 257)),
		"a number too large":  edit("12.5", "1e999"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := corelink.ParseTelemetry("Mill_Core", []byte(payload)); err == nil {
				t.Errorf("%+v is taken", got)
			}
		})
	}
}

func TestTelemetryTopic(t *testing.T) {
	t.Parallel()
	if thing, ok := corelink.TelemetryThing(corelink.TelemetryTopic("Mill-gcf")); !ok || thing != "Mill-gcf" {
		t.Errorf("%q, %v", thing, ok)
	}
	for _, topic := range []string{"", "a", "$aws/things/-gcf/telemetry", "$aws/things/a/telemetry", "$aws/things/a-gcf/telemetry/b", "$aws/things/a/b-gcf/telemetry", "x$aws/things/a-gcf/telemetry"} {
		if thing, ok := corelink.TelemetryThing(topic); ok {
			t.Errorf("%q is %q's", topic, thing)
		}
	}
}

// What is taken can be passed on, and means the same there.
func FuzzParseTelemetry(f *testing.F) {
	for _, seed := range []string{goodTelemetry, "", "{}", `{"ADP":null}`, goodTelemetry[:90]} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		got, err := corelink.ParseTelemetry("Mill_Core", payload)
		if err != nil {
			return
		}
		text, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := corelink.ParseTelemetry("Mill_Core", text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	})
}
