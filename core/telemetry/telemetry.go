// Package telemetry gathers figures of a core's health and publishes them now and
// then (AWS IoT Greengrass V1 developer guide, "Gathering system health telemetry data
// from AWS IoT Greengrass core devices"), as long as the control plane wants it to.
//
// The package knows the machine's own figures; others are given to it as sources. It
// must not know functions, queues or MQTT.
package telemetry

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/corelink"
)

// DefaultInterval is how often telemetry is published.
const DefaultInterval = 24 * time.Hour

// gatherings is how often figures are taken between two publications: every hour.
const gatherings = 24

// maxPayload bounds one message, in bytes; more points go into several. The cloud adds
// an envelope and takes 128 KB.
const maxPayload = 100 << 10

// Source gives the figures of one or more namespaces at the moment. Their times are
// filled in.
type Source func() []corelink.TelemetryPoint

// Options are what an Agent stands on. All but Interval and Now are required.
type Options struct {
	// Thing is the core's.
	Thing   string
	Sources []Source
	// Publish sends a message once, with QoS 0, and does not keep it.
	Publish func(ctx context.Context, topic string, payload []byte) error
	Logger  *slog.Logger
	// Interval is how often figures are published, taken 24 times as often;
	// DefaultInterval if zero.
	Interval time.Duration
	Now      func() time.Time
}

// Agent gathers and publishes. Make one with New; Run owns it.
type Agent struct {
	o Options
	// turned has an element when the switch was set.
	turned chan struct{}

	mu sync.Mutex
	// switched is what the agent does, asked whether the control plane said so.
	switched fescue.Telemetry
	asked    bool
}

// New makes an agent that gathers, as the original did without being asked, and
// publishes once the control plane has said that it is to.
func New(o Options) *Agent {
	o.Interval = cmp.Or(o.Interval, DefaultInterval)
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Agent{o: o, turned: make(chan struct{}, 1), switched: fescue.TelemetryOn}
}

// Switch is what the agent does.
func (a *Agent) Switch() fescue.Telemetry {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.switched
}

// Set takes what the control plane wants, which is nothing for one that does not know of
// telemetry. It reports whether the agent does something else from now on.
func (a *Agent) Set(wanted fescue.Telemetry) (changed bool) {
	if !wanted.Valid() {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	changed = wanted != a.switched
	a.switched, a.asked = wanted, true
	if changed {
		a.o.Logger.Info("Telemetry is switched.", slog.String("telemetry", string(wanted)))
		select {
		case a.turned <- struct{}{}:
		default:
		}
	}
	return changed
}

// Run gathers and publishes until ctx ends.
func (a *Agent) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if a.Switch() == fescue.TelemetryOn {
			a.gather(ctx)
			continue
		}
		select {
		case <-ctx.Done():
		case <-a.turned:
		}
	}
}

// gather is one time of being on.
func (a *Agent) gather(ctx context.Context) {
	step := max(a.o.Interval/gatherings, time.Millisecond)
	tick := time.NewTicker(step)
	defer tick.Stop()
	// Cores that were started together do not publish together, and one that is
	// started again each day publishes all the same.
	due := 1 + rand.N(gatherings)
	var points []corelink.TelemetryPoint
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.turned:
			if a.Switch() == fescue.TelemetryOff {
				return
			}
		case <-tick.C:
			if a.Switch() == fescue.TelemetryOff {
				return // both were ready
			}
			points = append(points, a.read()...)
			if due--; due <= 0 {
				a.publish(ctx, points)
				points, due = nil, gatherings
			}
		}
	}
}

// read takes the figures of now.
func (a *Agent) read() (list []corelink.TelemetryPoint) {
	at := a.o.Now().Unix()
	for _, source := range a.o.Sources {
		for _, p := range source() {
			p.At = at
			list = append(list, p)
		}
	}
	return list
}

// publish sends points, in as many messages as they need. What cannot be sent is gone:
// figures that count go on from where they were.
func (a *Agent) publish(ctx context.Context, points []corelink.TelemetryPoint) {
	a.mu.Lock()
	asked := a.asked
	a.mu.Unlock()
	if !asked {
		return
	}
	for len(points) > 0 {
		payload, n := a.message(points)
		if err := a.o.Publish(ctx, corelink.TelemetryTopic(a.o.Thing), payload); err != nil {
			a.o.Logger.Info("Telemetry was not sent, and is dropped.", slog.Int("points", len(points)), slog.String("errorString", err.Error()))
			return
		}
		points = points[n:]
	}
}

// message is the first points as a message, and how many they are.
func (a *Agent) message(points []corelink.TelemetryPoint) (payload []byte, n int) {
	size := 0
	for n < len(points) {
		text, err := json.Marshal(points[n])
		if err != nil {
			panic(err) // texts and finite numbers always encode
		}
		if size += len(text) + 1; size > maxPayload && n > 0 {
			break
		}
		n++
	}
	payload, err := json.Marshal(corelink.Telemetry{ThingName: a.o.Thing, Schema: corelink.TelemetrySchema, Points: points[:n]})
	if err != nil {
		panic(err) // as above
	}
	return payload, n
}
