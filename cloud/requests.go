package cloud

import (
	"context"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/mqttfront"
	"github.com/fescue-edge/fescue/cloud/shadows"
)

// serveShadows makes the shadow service, which hears what devices publish.
func (s *Server) serveShadows() *shadows.Service {
	service := shadows.New(shadows.Options{Store: s.store, Publisher: s.front, Now: s.o.Now, Logger: s.o.Logger})
	s.front.Handle(service)
	return service
}

// asking publishes for callers of the API, whose messages may be requests.
type asking struct{ *mqttfront.Front }

// Publish implements iotdata.Publisher.
func (a asking) Publish(ctx context.Context, p fescue.Partition, topic string, payload []byte, qos byte, retain bool) error {
	return a.Ask(ctx, p, topic, payload, qos, retain)
}
