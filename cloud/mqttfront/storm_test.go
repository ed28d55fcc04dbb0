package mqttfront_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/testkit"
)

func TestDrain(t *testing.T) {
	t.Parallel()
	for _, most := range []time.Duration{patience, time.Nanosecond, 0} {
		t.Run(fmt.Sprintf("within %s", most), func(t *testing.T) {
			t.Parallel()
			c := start(t, nil)
			who := c.device(home, allowAll)
			watch := c.connect(who, "watch")
			watch.subscribe("wills", 1)
			var here []*client
			for i := range 10 {
				here = append(here, c.connect(who, fmt.Sprint("c", i)))
			}
			c.front.Drain(most)
			if _, err := c.try(who, "late", nil); err == nil {
				t.Error("a client was let in that came after the drain began")
			}
			if most == 0 { // all go when the front is closed
				watch.publish("wills", 1, "still here")
				watch.expect("wills still here")
				c.front.Close()
			}
			for _, cl := range append(here, watch) {
				cl.ended()
			}
			testkit.Until(t, "the front counts nobody", func() bool { return c.front.Stats().Connections == 0 })
		})
	}
}
