package events

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/corelink"
)

// TelemetryTopics is how the MQTT topics of cores' telemetry begin; the core's thing
// follows.
const TelemetryTopics = "$aws/events/greengrass/telemetry/"

// TelemetryData is the event of a core's telemetry.
type TelemetryData struct {
	Envelope
	Detail corelink.Telemetry `json:"detail"`
}

// Telemetry makes events of what cores publish of their health. Like what they come
// from they are not kept: who is not there does not get them.
type Telemetry struct {
	Publisher Publisher
	Now       func() time.Time
	Logger    *slog.Logger

	mu     sync.Mutex
	warned time.Time
}

// warnPause is between two warnings; what fails between them is logged for who debugs.
const warnPause = time.Minute

// level is that of the next line about telemetry that fails.
func (t *Telemetry) level() slog.Level {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := t.Now(); now.Sub(t.warned).Abs() >= warnPause {
		t.warned = now
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

// Receive implements mqttfront.Receiver.
func (t *Telemetry) Receive(ctx context.Context, p fescue.Partition, topic string, payload []byte) {
	thing, ok := corelink.TelemetryThing(topic)
	if !ok {
		return
	}
	detail, err := corelink.ParseTelemetry(thing, payload)
	if err != nil {
		t.Logger.Debug("telemetry not passed on", "core", thing, "error", err)
		return
	}
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	// As it came: escapes could make it longer than a message may be.
	e.SetEscapeHTML(false)
	if err = e.Encode(TelemetryData{envelope(p, "Greengrass Telemetry Data", t.Now()), detail}); err == nil {
		err = t.Publisher.Publish(ctx, p, TelemetryTopics+thing, bytes.TrimSuffix(body.Bytes(), []byte("\n")), 1, false)
	}
	if err != nil {
		// A core may have it fail as often as it likes.
		t.Logger.Log(ctx, t.level(), "telemetry not passed on", "core", thing, "error", err)
	}
}
