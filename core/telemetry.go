package core

import (
	"log/slog"

	"github.com/fescue-edge/fescue/core/telemetry"
	"github.com/fescue-edge/fescue/corelink"
)

// newTelemetry makes what gathers and publishes figures of the parts.
func (c *Core) newTelemetry(p *parts, logger *slog.Logger) *telemetry.Agent {
	return telemetry.New(telemetry.Options{
		Thing:   c.config.ThingName,
		Sources: []telemetry.Source{telemetry.Machine("/proc"), p.spoolerFigures, p.functionFigures},
		Publish: p.link.PublishNow, Logger: logger, Interval: c.options.TelemetryInterval,
	})
}

// spoolerFigures are those of the queue to the cloud.
func (p *parts) spoolerFigures() []corelink.TelemetryPoint {
	return []corelink.TelemetryPoint{{Namespace: "CloudSpooler", Metrics: []corelink.TelemetryMetric{counted("DroppedMessageCount", p.link.Stats().Dropped)}}}
}

// functionFigures are those of the group's functions.
func (p *parts) functionFigures() (list []corelink.TelemetryPoint) {
	for _, t := range p.supervisor.Totals() {
		list = append(list, corelink.TelemetryPoint{Namespace: t.ARN, Metrics: []corelink.TelemetryMetric{
			counted("LambdaTimeout", t.Timeouts), counted("LambdaOutOfMemory", t.OutOfMemory),
			counted("LambdaUngracefullyKilled", t.Ungraceful), counted("LambdaError", t.Errors),
		}})
	}
	return list
}

func counted[N int64 | uint64](name string, n N) corelink.TelemetryMetric {
	return corelink.TelemetryMetric{Name: name, Sum: float64(n), Unit: "Count"}
}
