package mqttfront_test

import (
	"fmt"
	"net"
	"sync/atomic"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/mqtt/mqtttest"
)

// TestStandard holds the front to MQTT 3.1.1, in a partition for each row.
func TestStandard(t *testing.T) {
	t.Parallel()
	c := start(t, nil)
	var partitions atomic.Int64
	mqtttest.Run(t, mqtttest.Server{Open: func(testing.TB) func(string) net.Conn {
		own := fescue.Partition{AWS: "aws", Account: fmt.Sprintf("%012d", partitions.Add(1)), Region: home.Region}
		ids := make(map[string]keyPair)
		for _, name := range mqtttest.Clients {
			ids[name] = c.device(own, allowAll)
		}
		return func(client string) net.Conn { return c.dial(ids[client]) }
	}})
}
