package shadows_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/core/invoke"
	"github.com/fescue-edge/fescue/core/router"
	"github.com/fescue-edge/fescue/core/shadows"
	"github.com/fescue-edge/fescue/shadow"
	"github.com/fescue-edge/fescue/testkit"
)

// desk is a service, and what it publishes, as "topic payload".
type desk struct {
	*shadows.Service
	store *memory
	said  testkit.Monitor
	all   []string
}

func openDesk() *desk {
	d := &desk{store: newMemory()}
	d.Service = shadows.New(shadows.Options{
		Store: d.store, Now: func() time.Time { return time.Unix(1000, 0) }, Logger: slog.New(slog.DiscardHandler),
		Publish: func(m shadow.Message) {
			d.said.Change(func() { d.all = append(d.all, strings.TrimPrefix(m.Topic, shadow.TopicPrefix)+" "+string(m.Payload)) })
		},
	})
	return d
}

// What came of a request, by the function that made it and by those who listen.
func TestFunction(t *testing.T) {
	t.Parallel()
	subject := func(topic string) string {
		return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, `{"custom":{"subject":%q}}`, topic))
	}
	d := openDesk()
	function, ok := d.Function().(invoke.Func)
	if !ok {
		t.Fatalf("%T", d.Function())
	}
	call := func(context, payload string) (string, error) {
		outcome, err := function(t.Context(), invoke.Worker{}, invoke.Call{ClientContext: context, Payload: []byte(payload)})
		return string(outcome.Payload), err
	}
	const p = "$aws/things/Lamp/shadow/"
	for _, tc := range []struct{ name, topic, payload, answer, published string }{
		{"nothing there", p + "get", "", `{"code":404,"message":"No shadow exists with name: 'Lamp'","timestamp":1000}`, "Lamp/shadow/get/rejected"},
		{"an update", p + "update", `{"state":{"desired":{"on":true}},"clientToken":"t"}`,
			`{"state":{"desired":{"on":true}},"metadata":{"desired":{"on":{"timestamp":1000}}},"version":1,"timestamp":1000,"clientToken":"t"}`,
			"Lamp/shadow/update/delta Lamp/shadow/update/documents Lamp/shadow/update/accepted"},
		{"a version that is not there", p + "update", `{"state":{},"version":7,"clientToken":"t"}`, `{"code":409,"message":"Version conflict","timestamp":1000,"clientToken":"t"}`, "Lamp/shadow/update/rejected"},
		{"no JSON", p + "update", `{`, `{"code":400,"message":"Invalid JSON","timestamp":1000}`, "Lamp/shadow/update/rejected"},
		{"a get", p + "get", `{"clientToken":"t"}`,
			`{"state":{"delta":{"on":true},"desired":{"on":true}},"metadata":{"desired":{"on":{"timestamp":1000}}},"version":1,"timestamp":1000,"clientToken":"t"}`, "Lamp/shadow/get/accepted"},
		{"another name", p + "name/night/delete", "", `{"code":404,"message":"No shadow exists with name: 'night'","timestamp":1000}`, "Lamp/shadow/name/night/delete/rejected"},
		{"a delete", p + "delete", "", `{"version":1,"timestamp":1000}`, "Lamp/shadow/delete/accepted"},
		{"a name that no shadow can have", "$aws/things/a b/shadow/get", "", `{"code":400,"message":"Invalid thing name","timestamp":1000}`, "a b/shadow/get/rejected"},
	} {
		d.all = nil
		got, err := call(subject(tc.topic), tc.payload)
		if err != nil || got != tc.answer {
			t.Errorf("%s: %s, %v", tc.name, got, err)
		}
		var topics []string
		for _, each := range d.all {
			topic, _, _ := strings.Cut(each, " {")
			topics = append(topics, topic)
		}
		if got := strings.Join(topics, " "); got != tc.published {
			t.Errorf("%s: published %s", tc.name, got)
		}
	}
	for name, context := range map[string]string{
		"no context":           "",
		"no base64":            "%",
		"no JSON":              base64.StdEncoding.EncodeToString([]byte(`{`)),
		"no subject":           base64.StdEncoding.EncodeToString([]byte(`{"custom":{}}`)),
		"an answer's topic":    subject(p + "get/accepted"),
		"another topic":        subject("a/b"),
		"an unknown operation": subject(p + "patch"),
	} {
		if got, err := call(context, ""); !errors.Is(err, invoke.ErrInvalid) {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	t.Run("a store that fails is not the request's fault, and nobody is told of a change", func(t *testing.T) {
		d.store.fault = func() error { return errCut }
		d.all = nil
		got, err := call(subject(p+"update"), `{"state":{"desired":{"on":true}},"clientToken":"t"}`)
		if want := `{"code":500,"message":"Internal service failure","timestamp":1000,"clientToken":"t"}`; err != nil || got != want {
			t.Errorf("%s, %v", got, err)
		}
		if diff := cmp.Diff([]string{"Lamp/shadow/update/rejected " + got}, d.all); diff != "" {
			t.Error(diff)
		}
	})
}

// TestRequests has requests come as messages do.
func TestRequests(t *testing.T) {
	t.Parallel()
	reserve := func(t *testing.T, d *desk, topic, payload string) func(bool) {
		t.Helper()
		settle, err := d.Reserve(t.Context(), "GGShadowService", router.Message{Topic: topic, Payload: []byte(payload)})
		if err != nil {
			t.Fatal(err)
		}
		return settle
	}
	version := func(d *desk, thing string) int64 {
		answer, err := d.Get(t.Context(), shadow.ID{Thing: thing}, "")
		if err != nil {
			return 0
		}
		var said struct{ Version int64 }
		if err := json.Unmarshal(answer, &said); err != nil {
			t.Error(err)
		}
		return said.Version
	}
	const update = `{"state":{"reported":{"on":true}}}`
	t.Run("are carried out in order, those that were taken before the end as well", func(t *testing.T) {
		t.Parallel()
		d := openDesk()
		for n := range 50 {
			reserve(t, d, "$aws/things/Lamp/shadow/update", fmt.Sprintf(`{"state":{"reported":{"n":%d}}}`, n))(true)
		}
		reserve(t, d, "$aws/things/Lamp/shadow/update", update)(false)
		reserve(t, d, "$aws/things/Lamp/shadow/update/accepted", update)(true) // no request
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		d.Run(ctx)
		if got := version(d, "Lamp"); got != 50 {
			t.Errorf("version %d", got)
		}
		var order []string
		for _, each := range d.all {
			if topic, payload, _ := strings.Cut(each, " "); topic == "Lamp/shadow/update/accepted" {
				order = append(order, payload)
			}
		}
		for n, payload := range order {
			if !strings.Contains(payload, fmt.Sprintf(`"n":%d}`, n)) {
				t.Fatalf("%d: %s", n, payload)
			}
		}
	})
	t.Run("of many at once", func(t *testing.T) {
		t.Parallel()
		d := openDesk()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); d.Run(ctx) }()
		for n := range 20 {
			go func() {
				for range 10 {
					if settle, err := d.Reserve(ctx, "", router.Message{Topic: fmt.Sprintf("$aws/things/T%d/shadow/update", n), Payload: []byte(update)}); err == nil {
						settle(true)
					}
				}
			}()
		}
		for n := range 20 {
			testkit.Until(t, "all updates", func() bool { return version(d, fmt.Sprint("T", n)) == 10 })
		}
		if err := d.Clear(ctx); err != nil || version(d, "T0") != 0 {
			t.Errorf("after a reset version %d is there; %v", version(d, "T0"), err)
		}
		cancel()
		<-ended
	})
}
