//go:build linux

package test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/corelink"
)

// TestShadowCommands reads and changes shadows of two things.
func TestShadowCommands(t *testing.T) {
	t.Parallel()
	h := startServer(t).site(region)
	for _, step := range []struct {
		args string
		code int
		says []string
	}{
		{"get --thing Lamp", 4, []string{"GetThingShadow", "404"}},
		{`update --thing Lamp {"state":{"desired":{"on":true}}}`, 0, []string{`"on": true`, `"version": 1`}},
		{`update --thing Lamp --name config {"state":{"reported":{"a":1}}}`, 0, []string{`"version": 1`}},
		{`update --thing Lamp {"state":{"reported":{"on":false}},"version":7}`, 5, []string{"409"}},
		{"update --thing Lamp {", 1, []string{"400"}},
		{"update --thing Lamp", 2, []string{"--file"}},
		{"get --thing Lamp", 0, []string{"{\n  \"state\"", `"delta"`, `"on": true`}},
		{"get --thing Lamp --name config", 0, []string{`"a": 1`}},
		{"get --thing Saw", 4, nil},
		{"list --thing Lamp", 0, []string{"SHADOW\nconfig\n"}},
		{"list --thing Lamp --json", 0, []string{"[\n  \"config\"\n]\n"}},
		{"list --thing Saw", 0, []string{"no named shadow"}},
		{"list --thing Saw --json", 0, []string{"[]"}},
		{"delete --thing Lamp --name config", 0, []string{`"version"`}},
		{"delete --thing Lamp --name config", 4, nil},
		{"get --thing Lamp", 0, []string{`"on": true`}},
	} {
		out, errs, code := h.program(t, append([]string{"shadow"}, strings.Fields(step.args)...)...)
		if code != step.code {
			t.Errorf("%s: exit code %d, want %d\n%s%s", step.args, code, step.code, out, errs)
		}
		for _, text := range step.says {
			if !strings.Contains(out+errs, text) {
				t.Errorf("%s does not say %q:\n%s%s", step.args, text, out, errs)
			}
		}
	}
}

// TestDevicesCommand asks a core for its client devices.
func TestDevicesCommand(t *testing.T) {
	t.Parallel()
	h := startServer(t).site(region)
	l := h.serveDevices(t, "Listed_Core")
	l.run(t)
	l.deployWith(t, nil, nil)
	h.says(t, 0, []string{"What the core runs has no client device."}, "devices", "--group", l.group)
	lamp, button := h.provision(t, "Lamp"), h.provision(t, "Button")
	l.deployWith(t, nil, []route{{button.thingARN, "#", lamp.thingARN}}, lamp, button)
	pushed := l.join(t, button)
	await(t, "publish", pushed.Publish("a", 1, false, "x"))
	out, errs, code := h.program(t, "devices", "--group", l.group, "--json")
	var list []corelink.DeviceActivity
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 || len(list) != 2 {
		t.Fatalf("exit code %d, %v: %s%s", code, err, out, errs)
	}
	if b := list[0]; b.Thing != "Button" || !b.Connected || b.In != 1 || b.Address != "127.0.0.1" || b.CertificateEnd == nil {
		t.Errorf("%+v", b)
	}
	if list[1].Thing != "Lamp" || list[1].Connected || list[1].Since != nil {
		t.Errorf("%+v", list[1])
	}
	if out, errs, code = h.program(t, "devices", "--group", l.group, "--offline"); code != 0 || !strings.Contains(out, "CERTIFICATE ENDS") || !strings.Contains(out, "never seen") || strings.Contains(out, "Button") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
	l.process.Kill()
	if out, errs, code = h.program(t, "devices", "--group", l.group); code != 3 {
		t.Errorf("exit code %d without a core: %s%s", code, out, errs)
	}
}
