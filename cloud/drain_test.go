package cloud_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// onMessage calls f for each record with a message that begins so.
type onMessage struct {
	slog.Handler
	begins string
	f      func()
}

func (h *onMessage) Handle(_ context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, h.begins) {
		h.f()
	}
	return nil
}

func (h *onMessage) Enabled(context.Context, slog.Level) bool { return true }
func (h *onMessage) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h *onMessage) WithGroup(string) slog.Handler            { return h }

// A server that is told to stop says that it is not ready before it sends anybody away, and
// still answers.
func TestDrain(t *testing.T) {
	t.Parallel()
	var s *server
	var mill core
	var asked atomic.Bool
	o := options(t.TempDir())
	o.Drain = patience
	o.Logger = slog.New(&onMessage{slog.DiscardHandler, "the server stops", func() {
		asked.Store(true)
		for path, want := range map[string]int{"/readyz": http.StatusServiceUnavailable, "/healthz": http.StatusOK} {
			if status, text, _ := s.send(http.MethodGet, path); status != want {
				t.Errorf("%s while it stops: %d %s", path, status, text)
			}
		}
		if _, err := s.link(mill).SigningKeys(t.Context()); err != nil {
			t.Errorf("the device port while it stops: %v", err)
		}
	}})
	s = start(t, o)
	mill = s.provision("us-east-1", "mill")
	client := s.mqttClient(mill)
	if status, text, _ := s.send(http.MethodGet, "/readyz"); status != http.StatusOK {
		t.Errorf("/readyz before: %d %s", status, text)
	}
	s.stop()
	if !asked.Load() {
		t.Error("nothing was said of the end")
	}
	select {
	case <-client.lost:
	case <-time.After(patience):
		t.Error("the client is still connected")
	}
	o.Drain = -1
	if text := refused(t, o); !strings.Contains(text, "--drain -1ns is less than nothing") {
		t.Error(text)
	}
}
