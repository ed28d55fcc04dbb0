package gateway_test

import (
	"net"
	"testing"

	"github.com/fescue-edge/fescue/core/gateway"
	"github.com/fescue-edge/fescue/mqtt/mqtttest"
)

// TestStandard holds the server to MQTT 3.1.1.
func TestStandard(t *testing.T) {
	t.Parallel()
	ids := make(map[string]identity)
	for _, name := range mqtttest.Clients {
		ids[name] = device(t, name)
	}
	mqtttest.Run(t, mqtttest.Server{Core: true, Open: func(t testing.TB) func(string) net.Conn {
		s := open(t, gateway.Options{})
		var list []gateway.Device
		for _, id := range ids {
			list = append(list, id.listed())
		}
		s.SetDevices(list)
		s.routes(t, "a b #", "b a #")
		return func(client string) net.Conn {
			p, err := s.dial(t, ids[client])
			if err != nil {
				t.Fatal(err)
			}
			return p.conn
		}
	}})
}
