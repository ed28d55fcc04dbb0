//go:build linux

package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/greengrass"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/shadow"
)

// shadower is a Python function that asks GGShadowService for what it is sent, as the
// Core SDK does, and publishes the answer.
const shadower = greeter + `
from greengrass_common.env_vars import SHADOW_FUNCTION_ARN

def handler(event, context):
    subject = "$aws/things/%s/shadow/%s" % (event["thing"], event["op"])
    said = base64.b64encode(json.dumps({"custom": {"subject": subject}}).encode())
    payload = json.dumps(event["payload"]).encode() if "payload" in event else b""
    id = ipc.post_work(SHADOW_FUNCTION_ARN, payload, said, "RequestResponse")
    result = ipc.get_work_result(SHADOW_FUNCTION_ARN, id)
    publish("%s %s" % (event["op"], (result.func_err or "") + result.payload.decode()))
`

// shadow is what a get on the core answers a device that listens for it, without a delta;
// empty for none. What came before it is passed over.
func (c *client) shadow(prefix string) (string, error) {
	token := strconv.FormatInt(time.Now().UnixNano(), 36)
	if sent := c.Publish(prefix+"get", 1, false, `{"clientToken":"`+token+`"}`); !sent.WaitTimeout(patience) || sent.Error() != nil {
		return "", fmt.Errorf("publish: %w", sent.Error())
	}
	deadline := time.After(patience)
	for {
		select {
		case m := <-c.messages:
			if !strings.HasPrefix(m.Topic(), prefix+"get/") || !strings.Contains(string(m.Payload()), token) {
				continue
			}
			if strings.HasSuffix(m.Topic(), "/rejected") {
				return "", nil
			}
			d, err := shadow.ParseGot(m.Payload())
			data, _ := json.Marshal(d.State())
			return string(data), err
		case <-deadline:
			return "", errors.New("no answer to a get")
		}
	}
}

// TestLocalShadows has a device, a function and the cloud share shadows by a core, with
// and without a line.
func TestLocalShadows(t *testing.T) {
	t.Parallel()
	whole := t
	h := startServer(t).site(region)
	l := h.serveDevices(t, "Shadow_Core")
	l.syncShadow = true
	line := l.through(t)
	l.run(t)
	lamp, button := h.provision(t, "Lamp"), h.provision(t, "Button")
	lamp.syncShadow = true
	arn := h.python(t, "Shadower", shadower)
	viewer := h.connect(t, "Viewer")
	viewer.subscribe(t, "seen/#")
	const p = "$aws/things/Lamp/shadow/"
	rows := []route{
		{lamp.thingARN, p + "#", "GGShadowService"},
		{"GGShadowService", p + "#", lamp.thingARN},
		{button.thingARN, p + "update", "GGShadowService"},
		{"GGShadowService", p + "update/rejected", button.thingARN},
		{"cloud", "ask", arn},
		{arn, "seen/function", "cloud"},
	}
	l.deployWith(t, []function{{arn: arn, pinned: true, variables: map[string]string{"OUT": "seen/function"}}}, rows, lamp, button)
	lit, pushed := l.join(t, lamp), l.join(t, button)
	lit.listen(t, p+"#")
	pushed.listen(t, "$aws/things/#")

	// expect waits for a message to the lamp on each of topics, in their order.
	expect := func(t *testing.T, topics ...string) (last map[string]any) {
		t.Helper()
		for _, want := range topics {
			m := lit.nextAny(t)
			if m.Topic() != p+want {
				t.Fatalf("%s on %s, want it on %s", m.Payload(), m.Topic(), want)
			}
			if err := json.Unmarshal(m.Payload(), &last); err != nil {
				t.Fatal(err)
			}
		}
		return last
	}
	cloudClient := corelink.NewClient(h.device, lamp.tls(t))
	t.Cleanup(cloudClient.Close)
	cloud := corelink.Shadows{Client: cloudClient, Timeout: patience}
	update := func(t *testing.T, id shadow.ID, payload string) {
		t.Helper()
		u, err := shadow.ParseUpdate([]byte(payload), shadow.CloudLimits)
		if err == nil {
			_, err = cloud.UpdateShadow(t.Context(), id, u)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	classic, night, own := shadow.ID{Thing: "Lamp"}, shadow.ID{Thing: "Lamp", Name: "night"}, shadow.ID{Thing: l.thing}
	// says waits until the cloud's document is so; empty for none.
	says := func(t *testing.T, id shadow.ID, want string) {
		t.Helper()
		eventually(t, fmt.Sprintf("the cloud's shadow %v says %s", id, want), func() error {
			d, err := cloud.Shadow(t.Context(), id)
			if err != nil {
				return err
			}
			got := ""
			if d.Exists() {
				data, _ := json.Marshal(d.State())
				got = string(data)
			}
			if got != want {
				return fmt.Errorf("it says %s", got)
			}
			return nil
		})
	}
	here := func(prefix string) (string, error) { return lit.shadow(prefix) }
	both := func(t *testing.T, id shadow.ID, want string) {
		t.Helper()
		eventually(t, fmt.Sprintf("the core's shadow %v says %s", id, want), func() error {
			got, err := here(id.Topic(""))
			if err == nil && got != want {
				err = fmt.Errorf("it says %s", got)
			}
			return err
		})
		says(t, id, want)
	}
	publish := func(t *testing.T, c *client, topic, payload string) {
		t.Helper()
		await(t, "publish", c.Publish(topic, 1, false, payload))
	}

	t.Run("get, update, versions and refusals, as in the cloud", func(t *testing.T) {
		publish(t, lit, p+"get", "")
		if got := expect(t, "get/rejected"); got["code"] != 404.0 || got["message"] != "No shadow exists with name: 'Lamp'" {
			t.Errorf("%v", got)
		}
		publish(t, lit, p+"update", `{"state":{"desired":{"on":true},"reported":{"on":false}},"clientToken":"t"}`)
		if got := expect(t, "update/delta", "update/documents", "update/accepted"); got["version"] != 1.0 || got["clientToken"] != "t" {
			t.Errorf("%v", got)
		}
		publish(t, lit, p+"update", `{"state":{},"version":7}`)
		if got := expect(t, "update/rejected"); got["code"] != 409.0 {
			t.Errorf("%v", got)
		}
		publish(t, lit, p+"update", `{`)
		if got := expect(t, "update/rejected"); got["message"] != "Invalid JSON" {
			t.Errorf("%v", got)
		}
		publish(t, lit, p+"get", `{"clientToken":"g"}`)
		if got := expect(t, "get/accepted"); fmt.Sprint(got["state"]) != "map[delta:map[on:true] desired:map[on:true] reported:map[on:false]]" || got["clientToken"] != "g" {
			t.Errorf("%v", got)
		}
		says(t, classic, `{"desired":{"on":true},"reported":{"on":false}}`)
	})
	t.Run("another one's by its row, and no further", func(t *testing.T) {
		publish(t, pushed, p+"get", "")
		publish(t, pushed, p+"delete", "")
		publish(t, pushed, "$aws/things/Button/shadow/update", `{"state":{}}`)
		publish(t, pushed, p+"update", `{"state":[]}`)
		// Answers go to all that have a row for them.
		for _, want := range []string{"Version conflict", "Invalid JSON", "State node must be an object"} {
			if m := pushed.nextAny(t); m.Topic() != p+"update/rejected" || !strings.Contains(string(m.Payload()), want) {
				t.Errorf("%s on %s", m.Payload(), m.Topic())
			}
		}
		publish(t, pushed, p+"update", `{"state":{"desired":{"on":null,"dim":5}}}`)
		expect(t, "update/rejected", "update/delta", "update/documents", "update/accepted")
		both(t, classic, `{"desired":{"dim":5},"reported":{"on":false}}`)
		if d, err := cloud.Shadow(t.Context(), shadow.ID{Thing: "Button"}); err != nil || d.Exists() || len(pushed.messages) > 0 {
			t.Errorf("%+v, %v, and %d messages", d, err, len(pushed.messages))
		}
	})
	t.Run("the cloud's change comes down as a delta", func(t *testing.T) {
		update(t, classic, `{"state":{"desired":{"dim":6}}}`)
		if got := expect(t, "update/delta"); fmt.Sprint(got["state"]) != "map[dim:6]" {
			t.Errorf("%v", got)
		}
	})
	t.Run("a function's calls", func(t *testing.T) {
		call := func(t *testing.T, op, thing, payload, want string) {
			t.Helper()
			asked := fmt.Sprintf(`{"op":%q,"thing":%q`, op, thing)
			if payload != "" {
				asked += `,"payload":` + payload
			}
			publish(t, viewer, "ask", asked+"}")
			if m := viewer.next(t, op+" "); !strings.Contains(string(m.Payload()), want) {
				t.Errorf("%s, want it with %s", m.Payload(), want)
			}
		}
		call(t, "update", "Lamp", `{"state":{"reported":{"dim":6}},"clientToken":"f"}`, `"clientToken":"f"`)
		call(t, "get", "Lamp", "", `"state":{"desired":{"dim":6},"reported":{"dim":6,"on":false}}`)
		call(t, "get", "Nobody", "", `get {"code":404`)
		call(t, "update", "Lamp", `{"state":{},"version":99}`, `{"code":409,"message":"Version conflict"`)
		call(t, "update", l.thing, `{"state":{"reported":{"up":true}}}`, `"version":1`)
		says(t, own, `{"reported":{"up":true}}`)
		call(t, "delete", l.thing, "{}", `"version":1`)
		says(t, own, "")
	})
	t.Run("a named one", func(t *testing.T) {
		publish(t, lit, night.Topic("update"), `{"state":{"reported":{"dim":1}}}`)
		both(t, night, `{"reported":{"dim":1}}`)
	})
	t.Run("both sides change without a line, and the core is killed", func(t *testing.T) {
		update(t, classic, `{"state":{"desired":{"dim":1,"color":"red"},"reported":{"dim":1,"on":true}}}`)
		both(t, classic, `{"desired":{"color":"red","dim":1},"reported":{"dim":1,"on":true}}`)
		line.pull()
		publish(t, lit, p+"update", `{"state":{"desired":{"dim":2},"reported":{"dim":2}}}`)
		update(t, classic, `{"state":{"desired":{"dim":3,"color":"blue"},"reported":{"dim":3}}}`)
		update(t, shadow.ID{Thing: "Lamp", Name: "made"}, `{"state":{"desired":{"far":1}}}`)
		if got, err := here(p); err != nil || got != `{"desired":{"color":"red","dim":2},"reported":{"dim":2,"on":true}}` {
			t.Fatalf("%s, %v", got, err)
		}
		l.process.Kill()
		l.run(whole)
		lit = l.join(whole, lamp)
		lit.listen(t, p+"#")
		publish(t, lit, p+"update", `{"state":{"reported":{"warm":true}}}`)
		publish(t, lit, night.Topic("update"), `{"state":{"reported":{"dim":2}}}`)
		if got, err := here(p); err != nil || got != `{"desired":{"color":"red","dim":2},"reported":{"dim":2,"on":true,"warm":true}}` {
			t.Fatalf("%s, %v", got, err)
		}
		back := time.Now()
		line.plug(t)
		says(t, classic, `{"desired":{"color":"blue","dim":3},"reported":{"dim":2,"on":true,"warm":true}}`)
		says(t, night, `{"reported":{"dim":2}}`)
		t.Logf("in step %s after the line's return", time.Since(back))
		both(t, classic, `{"desired":{"color":"blue","dim":3},"reported":{"dim":2,"on":true,"warm":true}}`)
		both(t, shadow.ID{Thing: "Lamp", Name: "made"}, `{"desired":{"far":1}}`)
	})
	t.Run("deleted on either side", func(t *testing.T) {
		line.pull()
		publish(t, lit, night.Topic("delete"), "")
		if got, err := here(night.Topic("")); err != nil || got != "" {
			t.Fatalf("%s, %v", got, err)
		}
		d, err := cloud.Shadow(t.Context(), classic)
		if err == nil {
			err = cloud.DeleteShadow(t.Context(), classic, d.Version)
		}
		if err != nil {
			t.Fatal(err)
		}
		line.plug(t)
		both(t, night, "")
		both(t, classic, "")
	})
	t.Run("not in step any more, then reset", func(t *testing.T) {
		publish(t, lit, p+"update", `{"state":{"reported":{"a":1}}}`)
		both(t, classic, `{"reported":{"a":1}}`)
		lamp.syncShadow = false
		l.deployWith(t, nil, rows[:2], lamp)
		publish(t, lit, p+"update", `{"state":{"reported":{"a":2}}}`)
		if got, err := here(p); err != nil || got != `{"reported":{"a":2}}` {
			t.Errorf("%s, %v", got, err)
		}
		says(t, classic, `{"reported":{"a":1}}`)
		reset, err := l.greengrass.ResetDeployments(t.Context(), &greengrass.ResetDeploymentsInput{GroupId: &l.group})
		if err != nil {
			t.Fatal(err)
		}
		l.await(t, l.group, *reset.DeploymentId, fescue.Success)
		l.deployWith(t, nil, rows[:2], lamp)
		lit = l.join(t, lamp)
		lit.listen(t, p+"#")
		if got, err := here(p); err != nil || got != "" {
			t.Errorf("%s, %v", got, err)
		}
		says(t, classic, `{"reported":{"a":1}}`)
	})
}
