//go:build linux

package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/events"
	"github.com/fescue-edge/fescue/corelink"
)

// TestTelemetry: cores publish figures of their health, those of two cores apart, and
// no longer once the API switches one off.
func TestTelemetry(t *testing.T) {
	t.Parallel()
	needPython(t)
	h := startServer(t).site(region)
	viewer := h.connect(t, "Viewer")
	figures := h.connect(t, "Figures")
	figures.subscribe(t, events.TelemetryTopics+"+")
	raw := h.connect(t, "Raw")
	raw.subscribe(t, corelink.TelemetryTopic("Health_Core_A"))
	worked := make(map[string]string)
	for _, thing := range []string{"Health_Core_A", "Health_Core_B"} {
		g := h.provision(t, thing)
		viewer.subscribe(t, thing+"/out")
		g.process = startProgram(t, edgeBin, nil, "--root", g.root, "--telemetry-interval", "1s")
		worked[thing] = h.python(t, thing+"_Worker", worker)
		group, version := g.groupVersion(t, "", []function{{arn: worked[thing], pinned: true, variables: out(thing, thing)}},
			[]route{{worked[thing], thing + "/out", "cloud"}, {"cloud", thing + "/do", worked[thing]}})
		h.await(t, group, h.deploy(t, group, version), fescue.Success)
		viewer.next(t, "started "+thing)
	}
	switched := func(thing string, want types.Telemetry, sync types.ConfigurationSyncStatus) {
		t.Helper()
		eventually(t, thing+" is "+string(want)+", "+string(sync), func() error {
			got, err := h.greengrass.GetThingRuntimeConfiguration(t.Context(), &greengrass.GetThingRuntimeConfigurationInput{ThingName: &thing})
			if err != nil {
				return err
			}
			if c := got.RuntimeConfiguration.TelemetryConfiguration; c.Telemetry != want || c.ConfigurationSyncStatus != sync {
				return fmt.Errorf("%s, %s", c.Telemetry, c.ConfigurationSyncStatus)
			}
			return nil
		})
	}
	set := func(thing string, value types.Telemetry) {
		t.Helper()
		_, err := h.greengrass.UpdateThingRuntimeConfiguration(t.Context(), &greengrass.UpdateThingRuntimeConfigurationInput{
			ThingName: &thing, TelemetryConfiguration: &types.TelemetryConfigurationUpdate{Telemetry: value},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	// next waits for an event whose points a function wants; false goes on waiting.
	next := func(what string, want func(thing string, p corelink.TelemetryPoint) bool) {
		t.Helper()
		deadline := time.After(patience)
		for {
			select {
			case m := <-figures.messages:
				var e events.TelemetryData
				if err := json.Unmarshal(m.Payload(), &e); err != nil {
					t.Fatalf("%v: %s", err, m.Payload())
				}
				thing := strings.TrimPrefix(m.Topic(), events.TelemetryTopics)
				if e.Detail.ThingName != thing || e.DetailType != "Greengrass Telemetry Data" || e.Account != account || e.Region != region {
					t.Errorf("%s: %s", m.Topic(), m.Payload())
				}
				for _, p := range e.Detail.Points {
					if want(thing, p) {
						return
					}
				}
			case <-deadline:
				t.Fatalf("%s: not within %s", what, patience)
			}
		}
	}
	value := func(p corelink.TelemetryPoint, name string) float64 {
		for _, m := range p.Metrics {
			if m.Name == name {
				return m.Sum
			}
		}
		t.Fatalf("no %s in %+v", name, p)
		return 0
	}
	for thing := range worked {
		switched(thing, types.TelemetryOn, types.ConfigurationSyncStatusInSync)
	}
	t.Run("figures of the machine, the queue and the functions", func(t *testing.T) {
		seen := make(map[string]bool)
		next("each core's", func(thing string, p corelink.TelemetryPoint) bool {
			switch p.Namespace {
			case "SystemMetrics":
				if value(p, "SystemMemUsage") < 1 || value(p, "TotalNumberOfFDs") < 1 || value(p, "CpuUsage") < 0 {
					t.Errorf("%+v", p)
				}
			case "CloudSpooler":
				value(p, "DroppedMessageCount")
			case strings.TrimSuffix(worked[thing], ":1"):
				for _, name := range []string{"LambdaTimeout", "LambdaOutOfMemory", "LambdaUngracefullyKilled", "LambdaError"} {
					if n := value(p, name); n != 0 {
						t.Errorf("%s: %s is %v before anything failed", p.Namespace, name, n)
					}
				}
			default:
				t.Errorf("%s has the namespace %s", thing, p.Namespace)
			}
			seen[thing+" "+p.Namespace] = true
			return len(seen) == 6
		})
		got := raw.next(t, "Health_Core_A")
		if _, err := corelink.ParseTelemetry("Health_Core_A", got.Payload()); err != nil {
			t.Error(err)
		}
	})
	t.Run("what happens to a function", func(t *testing.T) {
		await(t, "publish", viewer.Publish("Health_Core_A/do", 1, false, `{"fail":1}`))
		next("the error", func(thing string, p corelink.TelemetryPoint) bool {
			counts := p.Namespace == strings.TrimSuffix(worked["Health_Core_A"], ":1")
			return counts && value(p, "LambdaError") == 1 && value(p, "LambdaUngracefullyKilled") == 0
		})
		var pid int
		eventually(t, "its process", func() error {
			out, errs, code := programIn(t, h.environment(), fescueBin, "top", "--group", "Health_Core_A", "--once", "--json")
			var a struct {
				Activity corelink.Activity `json:"activity"`
			}
			if err := json.Unmarshal([]byte(out), &a); err != nil || code != 0 || len(a.Activity.Functions) == 0 || len(a.Activity.Functions[0].Workers) == 0 {
				return errors.New(errs)
			}
			pid = a.Activity.Functions[0].Workers[0].PID
			return nil
		})
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		next("the end of its process", func(thing string, p corelink.TelemetryPoint) bool {
			counts := p.Namespace == strings.TrimSuffix(worked["Health_Core_A"], ":1")
			return counts && value(p, "LambdaError") == 1 && value(p, "LambdaUngracefullyKilled") == 1
		})
	})
	t.Run("one is switched off, and on again", func(t *testing.T) {
		set("Health_Core_A", types.TelemetryOff)
		switched("Health_Core_A", types.TelemetryOff, types.ConfigurationSyncStatusInSync)
		off := time.Now().Unix()
		next("the other core goes on", func(thing string, p corelink.TelemetryPoint) bool {
			if thing == "Health_Core_A" && p.At > off {
				t.Errorf("figures of %d, %d s after it was switched off", p.At, p.At-off)
			}
			return thing == "Health_Core_B" && p.At > off+2
		})
		set("Health_Core_A", types.TelemetryOn)
		switched("Health_Core_A", types.TelemetryOn, types.ConfigurationSyncStatusInSync)
		next("it counts on", func(thing string, p corelink.TelemetryPoint) bool {
			return p.Namespace == strings.TrimSuffix(worked["Health_Core_A"], ":1") && value(p, "LambdaError") == 1
		})
	})
}
