package core

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core/cloudlink"
	"github.com/fescue-edge/fescue/core/logs"
	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/core/router"
	"github.com/fescue-edge/fescue/core/shadows"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/shadow"
)

// localShadows are the core's shadow service, what keeps its shadows in step with the
// cloud's, and how the latter hears of those.
type localShadows struct {
	service *shadows.Service
	syncer  *shadows.Syncer
	client  *corelink.Client
	heard   *cloudlink.Subscription
	logger  *slog.Logger
}

// probeTimeout bounds one attempt to connect to the cloud while the line is down.
const probeTimeout = 2 * time.Second

// newShadows makes them of the parts that are there: the store, the link, and a router
// that the service's messages go to.
func (c *Core) newShadows(p *parts, files *logs.Logs, messages *router.Router) (*localShadows, error) {
	client, err := newClient(c.config, c.config.IoTHTTP)
	if err != nil {
		return nil, err
	}
	component := func(name fescue.SystemFunction) *slog.Logger {
		return slog.New(logs.Limited(files.Handler(string(name))))
	}
	s := &localShadows{client: client, logger: p.logger}
	s.service = shadows.New(shadows.Options{
		Store: p.store.Shadows(), Now: time.Now, Logger: component(fescue.ShadowFunction),
		Publish: func(m shadow.Message) {
			messages.Post(context.Background(), router.Message{Source: fescue.ShadowServiceEndpoint, Topic: m.Topic, Payload: m.Payload})
		},
	})
	s.syncer = shadows.NewSyncer(shadows.SyncOptions{
		Service: s.service,
		Cloud:   corelink.Shadows{Client: client, Core: c.config.ThingName, Timeout: c.config.ShadowSyncTimeout},
		Reach: func(ctx context.Context) error {
			client.Close() // connections from before the line was cut lead nowhere
			ctx, cancel := context.WithTimeout(ctx, probeTimeout)
			defer cancel()
			conn, err := c.config.Proxy.Dial(ctx, c.config.IoTHTTP)
			if err != nil {
				return err
			}
			return conn.Close()
		},
		Reached: p.link.Retry,
		Notified: func() bool {
			return p.link.Connected() && s.heard.Active()
		},
		Logger: component(fescue.ShadowSyncFunction),
		Times:  shadows.Times{Call: c.config.ShadowSyncTimeout},
	})
	s.heard = p.link.Subscribe(func(m cloudlink.Message) error {
		s.syncer.Heard(context.Background(), m.Topic, m.Payload)
		return nil
	})
	return s, nil
}

// apply has the plan's shadows kept in step.
func (s *localShadows) apply(ctx context.Context, p plan.Plan) {
	if err := s.syncer.Set(ctx, p.SyncedThings); err != nil {
		s.logger.Warn("What was in step with the cloud's shadows could not be forgotten.", slog.String("errorString", err.Error()))
	}
	var filters []string
	for _, thing := range p.SyncedThings {
		classic, named := shadow.ID{Thing: thing}, shadow.ID{Thing: thing, Name: "+"}
		filters = append(filters, classic.Topic("update/accepted"), classic.Topic("delete/accepted"), named.Topic("+/accepted"))
	}
	s.heard.SetFilters(filters...)
}

// run carries out requests until served ends, and keeps shadows in step until synced
// does.
func (s *localShadows) run(served, synced context.Context) {
	defer s.client.Close()
	var both sync.WaitGroup
	both.Go(func() { s.service.Run(served) })
	both.Go(func() { s.syncer.Run(synced) })
	both.Wait()
}
