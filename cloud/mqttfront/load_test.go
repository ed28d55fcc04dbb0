package mqttfront_test

import (
	"testing"

	"github.com/fescue-edge/fescue/mqtt"
)

// BenchmarkThroughFront passes messages of 128 bytes from one device to another,
// with up to 64 under way: through TLS, policies and the broker, both ways.
func BenchmarkThroughFront(b *testing.B) {
	for _, qos := range []byte{0, 1} {
		b.Run([]string{"QoS0", "QoS1"}[qos], func(b *testing.B) {
			c := start(b, nil)
			out, _, err := c.raw(c.device(home, quickStart), mqtt.Connect{ClientID: "out", CleanSession: true})
			if err != nil {
				b.Fatal(err)
			}
			in, _, err := c.raw(c.device(home, quickStart), mqtt.Connect{ClientID: "in", CleanSession: true})
			if err != nil {
				b.Fatal(err)
			}
			_ = in.Send(&mqtt.Subscribe{ID: 1, Filters: []mqtt.Subscription{{Filter: "load/+", QoS: qos}}})
			read[*mqtt.Suback](b, in)
			go func() {
				for {
					if _, err := out.Read(); err != nil {
						return
					}
				}
			}()
			window := make(chan struct{}, 64)
			payload := make([]byte, 128)
			b.ResetTimer()
			go func() {
				for i := range b.N {
					window <- struct{}{}
					p := &mqtt.Publish{Topic: "load/x", Payload: payload, QoS: qos}
					if qos > 0 {
						p.ID = uint16(i%60_000 + 1)
					}
					if out.Send(p) != nil {
						return
					}
				}
			}()
			for range b.N {
				p := read[*mqtt.Publish](b, in)
				if qos > 0 {
					_ = in.Send(&mqtt.Puback{ID: p.ID})
				}
				<-window
			}
		})
	}
}
