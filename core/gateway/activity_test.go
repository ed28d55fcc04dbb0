package gateway_test

import (
	"errors"
	"testing"

	"github.com/fescue-edge/fescue/core/gateway"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/testkit"
)

// TestActivity: what operators see of client devices.
func TestActivity(t *testing.T) {
	t.Parallel()
	s, from, to := pair(t, gateway.Options{})
	of := func(thing string) (found corelink.DeviceActivity) {
		for _, d := range s.Activity() {
			if d.Thing == thing {
				found = d
			}
		}
		return found
	}
	if list := s.Activity(); len(list) != 2 || list[0].Thing != "from" || list[1] != (corelink.DeviceActivity{Thing: "to"}) {
		t.Errorf("before anybody came: %+v", list)
	}
	sender, receiver := s.join(t, from), s.join(t, to)
	receiver.subscribe(mqtt.Subscription{Filter: "#", QoS: 1})
	for range 3 {
		sender.publish("a", "x")
	}
	sender.send(&mqtt.Publish{Topic: "a", Payload: []byte("once")})
	for range 4 {
		receiver.read()
	}
	d := of("from")
	if !d.Connected || d.In != 4 || d.Out != 0 || d.Address != "127.0.0.1" || d.Since == nil || d.CertificateEnd == nil || !d.CertificateEnd.After(*d.Since) {
		t.Errorf("%+v", d)
	}
	if d := of("to"); d.Out != 4 || d.In != 0 || d.Waiting != 3 {
		t.Errorf("%+v", d)
	}
	sender.send(&mqtt.Disconnect{})
	testkit.Eventually(t, "it is away", func() error {
		if d := of("from"); d.Connected || d.Since == nil || d.In != 4 || d.Address == "" {
			return errors.New("not yet")
		}
		return nil
	})
}
