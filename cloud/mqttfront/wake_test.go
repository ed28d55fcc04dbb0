package mqttfront_test

import (
	"context"
	"testing"

	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/mqtt"
)

// TestWakeFilter: a core that has the filter by which it is woken waits without asking, so it
// is refused the filter when it may not receive what comes, and loses its connection when it
// may not any more. That holds for this filter alone.
func TestWakeFilter(t *testing.T) {
	t.Parallel()
	c := start(t, nil)
	wake := corelink.WakeTopic("Mill")
	denial := statement("Deny", "iot:Receive", arn("topic/"+wake))
	for _, filter := range []string{wake, "$aws/things/Mill-gda/shadow/update/+", "$aws/things/Mill/#", "$aws/things/Mill-gda/x/shadow/update/delta", "x-gda/shadow/update/delta"} {
		cl := c.connect(c.device(home, allowAll, denial), "Deaf")
		code := cl.subscribe(filter, 0)
		if refused := code == mqtt.SubackFailure; refused != (filter == wake) {
			t.Errorf("%s: granted %#x", filter, code)
		}
		cl.Disconnect(0)
	}

	who := c.device(home, allowAll)
	cl, other := c.connect(who, "Mill"), c.connect(who, "Other")
	if code := cl.subscribe(wake, 0); code != 0 {
		t.Fatalf("granted %#x", code)
	}
	if code := other.subscribe("$aws/things/Mill-gda/shadow/update/+", 0); code != 0 {
		t.Fatalf("granted %#x", code)
	}
	say := func(payload string) {
		t.Helper()
		if err := c.front.Publish(context.Background(), home, wake, []byte(payload), 0, false); err != nil {
			t.Fatal(err)
		}
	}
	say("one")
	cl.expect(wake + " one")
	other.expect(wake + " one")
	set := policies(t, allowAll, denial)
	c.directory.change(who.id, func(p *identity.Principal) { p.Policies = set })
	if err := c.front.Invalidate(who.id); err != nil {
		t.Fatal(err)
	}
	say("two")
	cl.ended()
	other.publish("t", 1, "goes on")
	again := c.connect(who, "Mill")
	if code := again.subscribe(wake, 0); code != mqtt.SubackFailure {
		t.Errorf("granted %#x", code)
	}
}
