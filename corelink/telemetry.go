package corelink

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/fescue-edge/fescue"
)

// Telemetry are figures of a core's health: the detail of the events of type
// "Greengrass Telemetry Data" (AWS IoT Greengrass V1 developer guide, "Gathering
// system health telemetry data from AWS IoT Greengrass core devices").
type Telemetry struct {
	ThingName string
	// Schema is TelemetrySchema.
	Schema string
	Points []TelemetryPoint `json:"ADP"`
}

// TelemetryPoint are the figures of one namespace at a time.
type TelemetryPoint struct {
	// At is in seconds since 1970, by the core's clock.
	At int64 `json:"TS"`
	// Namespace is SystemMetrics, CloudSpooler or the ARN of a function without its
	// version.
	Namespace string            `json:"NS"`
	Metrics   []TelemetryMetric `json:"M"`
}

// TelemetryMetric is one figure.
type TelemetryMetric struct {
	Name string `json:"N"`
	// Sum of what is counted never falls while the core runs; of what is measured, such
	// as memory, it is the value.
	Sum  float64 `json:"Sum"`
	Unit string  `json:"U"`
}

// TelemetrySchema is the one version of the format.
const TelemetrySchema = "2020-06-30"

// Bounds of telemetry, beside the size of an MQTT message.
const (
	maxTelemetryPoints  = 5000
	maxTelemetryMetrics = 100
	maxTelemetryText    = 256
)

// telemetrySuffix makes one of the topics that the developer guide's least policy of
// a core allows it, $aws/things/<core>-*. The original's own was not published.
const telemetrySuffix = "-gcf/telemetry"

// TelemetryTopic is the topic that a core publishes telemetry to.
func TelemetryTopic(coreThing string) string { return "$aws/things/" + coreThing + telemetrySuffix }

// TelemetryThing is the core whose topic it is.
func TelemetryThing(topic string) (thing string, ok bool) {
	rest, begins := strings.CutPrefix(topic, "$aws/things/")
	thing, ends := strings.CutSuffix(rest, telemetrySuffix)
	return thing, begins && ends && fescue.ValidThingName(thing)
}

// ParseTelemetry reads what a core published, and refuses what no core publishes on
// its topic.
func ParseTelemetry(coreThing string, payload []byte) (Telemetry, error) {
	var t Telemetry
	if err := json.Unmarshal(payload, &t); err != nil {
		return Telemetry{}, fmt.Errorf("telemetry does not parse: %w", err)
	}
	if t.ThingName != coreThing || t.Schema != TelemetrySchema {
		return Telemetry{}, fmt.Errorf("telemetry of the thing %.128q in schema %.32q; want %s in %s", t.ThingName, t.Schema, coreThing, TelemetrySchema)
	}
	if len(t.Points) == 0 || len(t.Points) > maxTelemetryPoints {
		return Telemetry{}, fmt.Errorf("telemetry has between 1 and %d points, not %d", maxTelemetryPoints, len(t.Points))
	}
	for _, p := range t.Points {
		if p.At < 0 || p.Namespace == "" || len(p.Namespace) > maxTelemetryText || len(p.Metrics) == 0 || len(p.Metrics) > maxTelemetryMetrics {
			return Telemetry{}, errors.New("a point of telemetry has a time, a namespace or metrics that none has")
		}
		for _, m := range p.Metrics {
			if m.Name == "" || len(m.Name) > maxTelemetryText || len(m.Unit) > maxTelemetryText {
				return Telemetry{}, errors.New("a metric of telemetry has a name or a unit that none has")
			}
		}
	}
	return t, nil
}
