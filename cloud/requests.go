package cloud

import (
	"context"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/jobs"
	"github.com/fescue-edge/fescue/cloud/mqttfront"
	"github.com/fescue-edge/fescue/cloud/registry"
	"github.com/fescue-edge/fescue/cloud/shadows"
)

// serveShadows makes the shadow service, which receives what devices publish.
func (s *Server) serveShadows() *shadows.Service {
	service := shadows.New(shadows.Options{Store: s.db.Shadows(), Publisher: s.front, Now: s.o.Now, Logger: s.o.Logger})
	s.front.Handle(service)
	return service
}

// serveJobs makes the jobs service, which receives what things publish.
func (s *Server) serveJobs(things *registry.Service) *jobs.Service {
	service := jobs.New(jobs.Options{Store: s.db.Jobs(), Things: things, Publisher: s.front, AWS: s.o.AWS, Now: s.o.Now, Logger: s.o.Logger})
	s.front.Handle(service)
	return service
}

// corePresence notifies the jobs service, too, that a core asked for deployments.
type corePresence struct {
	*cores.Presence
	jobs *jobs.Service
}

// Saw implements edge.Presence.
func (s corePresence) Saw(p fescue.Partition, thing string) {
	s.Presence.Saw(p, thing)
	s.jobs.SawCore(p, thing)
}

// asking publishes for callers of the API, whose messages may be requests.
type asking struct{ *mqttfront.Front }

// Publish implements iotdata.Publisher.
func (a asking) Publish(ctx context.Context, p fescue.Partition, topic string, payload []byte, qos byte, retain bool) error {
	return a.Ask(ctx, p, topic, payload, qos, retain)
}
