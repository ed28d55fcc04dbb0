package cloud

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/artifacts"
	"github.com/fescue-edge/fescue/cloud/audit"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/greengrass"
	"github.com/fescue-edge/fescue/cloud/awsapi/iam"
	"github.com/fescue-edge/fescue/cloud/awsapi/iot"
	"github.com/fescue-edge/fescue/cloud/awsapi/iotdata"
	"github.com/fescue-edge/fescue/cloud/awsapi/iotjobsdata"
	"github.com/fescue-edge/fescue/cloud/awsapi/lambda"
	"github.com/fescue-edge/fescue/cloud/awsapi/s3"
	"github.com/fescue-edge/fescue/cloud/awsapi/secretsmanager"
	"github.com/fescue-edge/fescue/cloud/awsapi/sts"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/sigv4"
	"github.com/fescue-edge/fescue/cloud/broker"
	"github.com/fescue-edge/fescue/cloud/buckets"
	"github.com/fescue-edge/fescue/cloud/bulk"
	"github.com/fescue-edge/fescue/cloud/changes"
	"github.com/fescue-edge/fescue/cloud/console"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/definitions"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/discovery"
	"github.com/fescue-edge/fescue/cloud/edge"
	"github.com/fescue-edge/fescue/cloud/events"
	"github.com/fescue-edge/fescue/cloud/forward"
	"github.com/fescue-edge/fescue/cloud/functions"
	"github.com/fescue-edge/fescue/cloud/groupca"
	"github.com/fescue-edge/fescue/cloud/history"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/cloud/lease"
	"github.com/fescue-edge/fescue/cloud/logs"
	"github.com/fescue-edge/fescue/cloud/models"
	"github.com/fescue-edge/fescue/cloud/mqttfront"
	"github.com/fescue-edge/fescue/cloud/registry"
	"github.com/fescue-edge/fescue/cloud/retention"
	"github.com/fescue-edge/fescue/cloud/secrets"
	"github.com/fescue-edge/fescue/cloud/signing"
	"github.com/fescue-edge/fescue/cloud/sites"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/inbound"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/pki"
)

// mostDocument is how large a group document may be that the database keeps, where no other server
// has it; those of most groups have a few thousand bytes.
const mostDocument = 64 << 10

// wire makes the services and puts them together: store at the bottom, services,
// then what speaks to callers, devices and cores.
func (s *Server) wire(ctx context.Context) error {
	o := s.o
	blobs, contents, err := s.openArtifacts(ctx)
	if err != nil {
		return err
	}
	devices, err := s.ring.authority(ctx, deviceAuthority, "Fescue device authority", pki.RSA)
	if err != nil {
		return err
	}
	things := registry.New(registry.Options{Stores: s.db.Registry(), Authority: devices, AWS: o.AWS, Now: o.Now, Logger: o.Logger})
	s.presence = cores.NewPresence(s.db.Cores(), o.Now, o.Logger)
	s.fleet, s.live = cores.NewFleet(s.db.Cores(), s.presence), console.NewLive()
	s.metrics.watchCores(func(ctx context.Context) (known, online int, err error) {
		return s.db.Cores().CountCores(ctx, o.Now())
	})
	// Before anything is read that is kept.
	s.changes, err = changes.New(ctx, changes.Options{Store: s.db.Changes(o.AWS), Now: o.Now, Logger: o.Logger})
	if err != nil {
		return err
	}
	if err := s.startMessages(ctx, things); err != nil {
		return err
	}
	if err := s.startEvents(ctx); err != nil {
		return err
	}
	shadowService := s.serveShadows()
	s.retention = retention.New(retention.Options{Store: s.db.Retention(), Leases: s.db.Leases(), Ages: o.Retention, Now: o.Now, Logger: o.Logger})
	s.history = history.New(history.Options{Store: s.db.History(), Leases: s.db.Leases(), Now: o.Now, Logger: o.Logger})
	s.metrics.observe = s.history.Observe
	s.jobs = s.serveJobs(things)
	code := functions.New(functions.Options{Store: s.db.Functions(), Code: blobs, Now: o.Now})
	s.buckets = buckets.New(buckets.Options{
		Store: s.db.Buckets(), Blobs: contents, SpoolDir: s.path(spoolName), Now: o.Now, Logger: o.Logger,
	})

	keys := signing.New(s.db.ServerKeys(), s.master, o.Now)
	if err := keys.Prepare(ctx); err != nil {
		return err
	}
	secretService := secrets.New(s.db.Secrets(), s.master, o.Now)
	alone, inDatabase := !o.state().shared(), mostDocument
	if !alone { // servers of the version before look for it among the artifacts
		inDatabase = 0
	}
	// A server reads documents of the database in any case: the next version may write them beside it.
	offered := artifacts.WithDocuments(blobs, s.db.Offers())
	s.engine = deploy.New(deploy.Options{
		Stores: s.engineStores(), Functions: publishedFunctions{code}, Principals: things, Secrets: secretService, Artifacts: blobs, Alone: alone, MostDocument: inDatabase, Publisher: s.front,
		Models: models.New(models.Options{Buckets: s.buckets, Blobs: blobs, SpoolDir: s.path(spoolName), Jobs: o.SageMakerModels}),
		Signer: keys, AWS: o.AWS, RequireServiceRole: o.RequireServiceRole, Quotas: o.Quotas,
		Presence: s.presence, Changes: s.changes, Deadlines: o.Deadlines, Now: o.Now, Logger: o.Logger,
	})
	if err := s.keepHoldings(ctx); err != nil {
		return err
	}
	s.bulk = bulk.New(bulk.Options{
		Store: s.db.Bulk(), Leases: s.db.Leases(), Objects: s.buckets, Deployments: s.engine, AWS: o.AWS, Rate: o.BulkRate, Now: o.Now, Logger: o.Logger,
	})
	coreService, coreLogs := cores.New(s.db.Cores(), o.Now), logs.New(logs.Options{Store: s.db.Logs(), Cores: s.db.Cores(), Space: o.LogSpace, Now: o.Now})
	authorities := groupca.New(s.db.GroupAuthorities(), s.master, o.Now)
	iamRoles := identity.NewRoles(s.db.IAM(), o.Now)
	s.edge = edge.New(edge.Options{
		Exchange:   identity.Exchange{Keys: s.keys, Roles: iamRoles, GroupRoles: s.db.GroupRoles(), Cores: s.db.Cores()},
		Principals: s.front, Deployments: s.engine, Artifacts: offered, Presence: corePresence{s.presence, s.jobs}, Shadows: shadowService, SigningKeys: keys,
		Discovery: discovery.New(s.db.Holdings(), coreService, authorities), Cores: coreService, Logs: coreLogs,
		Sites: sites.New(sites.Options{Cores: s.db.Cores(), Devices: s.db.Holdings(), Connectivity: coreService, Authorities: authorities, Offline: o.OfflineSites}),
		Pace:  o.Pace, Now: o.Now, Logger: o.Logger,
	})
	things.OnChange(func(certificateID string) { s.certificatesChanged(certificateID) })
	s.follow()

	linkKey, err := s.master.Derive("links to function code")
	if err != nil {
		return err
	}
	links, err := lambda.NewCodeLinks(linkKey, code, o.Now, o.Logger)
	if err != nil {
		return err
	}
	s.audit = audit.New(s.db.Audit(), o.Logger)
	s.onClose(s.audit.Flush)
	groups := definitions.New(s.db.Definitions(), o.Now)
	greengrassAPI := greengrass.New(greengrass.Options{
		Definitions: groups, Deployments: s.engine, Roles: s.db.GroupRoles(), Cores: coreService, Authorities: authorities,
		Bulk: s.bulk, Updates: s.jobs, Logger: o.Logger,
	})
	lambdaAPI := lambda.New(lambda.Options{
		Functions: code, Buckets: s.buckets, Links: links, Scheme: s.APIScheme(), BasePath: o.BasePath, SpoolDir: s.path(spoolName), Logger: o.Logger,
	})
	var passes ownapi.Passes
	if !o.NoConsole {
		passes = s.keys
	}
	signIns, err := s.signIns(ctx)
	if err != nil {
		return err
	}
	var terminals ownapi.Provider
	var browsers console.Provider
	if signIns != nil {
		terminals, browsers = signIns, signIns
	}
	ownAPI := ownapi.New(ownapi.Options{
		Definitions: groups, Deployments: s.engine, Bulk: s.bulk, Fleet: s.fleet,
		Audit: s.audit, Operator: operator{s}, Listener: s.front, Logs: coreLogs, Certificates: things, Functions: code, AccessKeys: s.keys, History: s.history, Artifacts: offered, SigningKeys: keys, Passes: passes,
		Terminals: s.keys, Provider: terminals, Lent: []restjson.Operation{greengrassAPI.Restore(), lambdaAPI.Restore()}, Now: o.Now, Logger: o.Logger,
	})
	api := awsapi.New(awsapi.Options{
		Verifier: &sigv4.Verifier{Signers: s.keys, Now: o.Now, Regions: o.Regions},
		AWS:      o.AWS, SpoolDir: s.path(spoolName), Observer: s.metrics, Logger: o.Logger,
		DefaultRegion: o.Regions[0], Room: s.room, Space: s.space, Refusals: max(o.Refusals, 0), Calls: inbound.Share(o.Descriptors).OneOfAPI,
		Services: map[string]awsapi.Service{
			"fescue":        ownAPI,
			"greengrass":    greengrassAPI,
			"lambda":        lambdaAPI,
			"iot":           iot.New(iot.Options{Registry: things, Jobs: s.jobs, Now: o.Now, Host: o.PublicHosts[0], Logger: o.Logger}),
			"iot-jobs-data": iotjobsdata.New(iotjobsdata.Options{Jobs: s.jobs, Now: o.Now, Logger: o.Logger}),
			"iotdata": iotdata.New(iotdata.Options{
				Publisher: asking{s.front}, Shadows: shadowService, Now: o.Now, Logger: o.Logger,
			}),
			"iam":            iam.New(iamRoles, o.Logger),
			"s3":             s3.New(s3.Options{Buckets: s.buckets, Hosts: o.PublicHosts, Logger: o.Logger}),
			"secretsmanager": secretsmanager.New(secretService, o.Logger),
			"sts":            sts.New(s.keys, iamRoles, o.Logger),
		},
		Inventory: s.inventory(), Messages: s.front, WebSockets: inbound.Share(o.Descriptors).WebSockets, Audit: s.audit, Rates: o.Throttle,
	})
	if !o.NoConsole {
		if s.console, err = console.New(console.Options{
			API: api, Keys: s.keys, Provider: browsers, Live: s.live, Regions: o.Regions, BasePath: o.BasePath, Now: o.Now, Logger: o.Logger,
		}); err != nil {
			return err
		}
	}
	s.apiHandler, s.opsHandler, s.httpsWanted = s.mux(api, links, ownAPI.SignIn(api, o.Regions[0])), s.opsMux(), http.HandlerFunc(api.WantHTTPS)
	return nil
}

// principals finds who certificates are, with one document in memory for all that have it.
func (s *Server) principals(things *registry.Service) identity.Principals {
	return identity.Principals{Registry: things, Documents: &s.documents}
}

// engineStores is the database as the engine has it: what ends is counted.
func (s *Server) engineStores() deploy.Stores {
	stores := s.db.Engine()
	stores.Deployments = countedDeployments{stores.Deployments, endings{s.metrics.ended}}
	stores.Offers = countedOffers{stores.Offers, endings{s.metrics.ended}}
	return stores
}

// keepHoldings has the engine keep once what earlier versions deployed.
func (s *Server) keepHoldings(ctx context.Context) error {
	const setting = "holdings"
	kept, err := s.db.Settings().Kept(ctx, setting)
	if err != nil || kept != "" {
		return err
	}
	if err := s.engine.KeepHoldings(ctx); err != nil {
		return err
	}
	_, err = s.db.Settings().Keep(ctx, setting, "kept")
	return err
}

// inventory looks up what limited access keys are measured by.
type inventory struct {
	definitions store.Definitions
	store.Holdings
	secrets *secrets.Service
}

func (s *Server) inventory() inventory {
	return inventory{s.db.Definitions(), s.db.Holdings(), secrets.New(s.db.Secrets(), s.master, s.o.Now)}
}

// DefinitionTags implements identity.Inventory.
func (i inventory) DefinitionTags(ctx context.Context, p fescue.Partition, k fescue.Kind, id string) (map[string]string, error) {
	d, err := i.definitions.Definition(ctx, p, k, id)
	return d.Tags, err
}

// Secret implements identity.Inventory.
func (i inventory) Secret(ctx context.Context, p fescue.Partition, id string) (secrets.Secret, error) {
	return i.secrets.Find(ctx, p, id)
}

// startMessages starts the broker and the front that devices speak to.
func (s *Server) startMessages(ctx context.Context, things *registry.Service) (err error) {
	o := broker.Options{Remote: s.o.Broker, SyncAlways: s.o.SyncMessages, MaxWaiting: s.maxWaiting(), SessionExpiry: s.o.SessionExpiry, Now: s.o.Now, Logger: s.o.Logger}
	mqttfront.Bound(s.o.MQTTQuotas, &o)
	if o.Remote == nil {
		o.Dir = s.path(messagesName)
	}
	s.broker, err = broker.Start(o)
	if err != nil {
		return err
	}
	s.onClose(func() error { s.broker.Shutdown(); return nil })
	s.forward, err = forward.New(ctx, forward.Options{Queues: s.broker, Rules: s.o.forwards, Space: s.o.ForwardSpace, Shared: s.o.Broker != nil, Logger: s.o.Logger})
	if err != nil {
		return err
	}
	s.metrics.watchForwards(s.forward.Status)
	s.front, err = mqttfront.New(mqttfront.Options{
		Directory: s.principals(things), Broker: s.broker, Changes: s.changes, Presence: s.presence, Logger: s.o.Logger, Now: s.o.Now,
		Forwarder: s.forward, Keys: s.keys, Inventory: s.inventory(), Quotas: s.o.MQTTQuotas, Room: s.roomForMessage,
		SessionExpiry: s.o.SessionExpiry,
	})
	if err != nil {
		return err
	}
	s.onClose(func() error { s.front.Close(); return nil })
	s.metrics.watchFront(s.front.Stats)
	s.metrics.watchBroker(s.broker)
	return nil
}

// forwarding forwards messages: where servers share the queues one of them does, at a time.
func (s *Server) forwarding(ctx context.Context) {
	if s.o.Broker == nil {
		s.forward.Run(ctx)
		return
	}
	lease.Lease{Store: s.db.Leases(), Name: "forward", Now: s.o.Now, Logger: s.o.Logger}.Run(ctx, s.forward.Run)
}

// maxWaiting is how much of the disk messages that wait may take: a quarter of what
// is free at the start, within bounds. Elsewhere it is as much as here at most.
func (s *Server) maxWaiting() int64 {
	const least, most = 64 << 20, 4 << 30
	if s.o.Broker != nil {
		return most
	}
	room, err := s.o.Free(s.o.DataDir)
	if err != nil {
		return least
	}
	filepath.WalkDir(s.path(messagesName), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if info, err := d.Info(); err == nil {
				room += info.Size() // it is the messages' already
			}
		}
		return nil
	})
	return min(max(room/4, least), most)
}

// roomForMessage is the error of a server that cannot keep a message.
func (s *Server) roomForMessage(p fescue.Partition, m *mqtt.Publish) error {
	if s.o.Broker == nil { // else the disk is another's
		if err := s.recentRoom.room(s.room); err != nil {
			return err
		}
	}
	if !mqttfront.Retains(m) {
		return nil
	}
	return s.broker.RoomToRetain(p, m)
}

// startEvents has changes of deployments delivered to MQTT and to the webhooks.
func (s *Server) startEvents(ctx context.Context) (err error) {
	to := []events.Destination{events.Topic{Publisher: s.front}}
	for _, address := range s.o.EventURLs {
		hook, err := events.NewWebhook(address, s.o.EventSecret, s.o.Now)
		if err != nil {
			return err
		}
		to = append(to, hook)
	}
	s.events, err = events.New(ctx, events.Options{
		Store: s.db.Events(), Leases: s.db.Leases(), Destinations: to, AWS: s.o.AWS, Retention: s.o.EventRetention, Now: s.o.Now, Logger: s.o.Logger,
	})
	if err != nil {
		return err
	}
	s.metrics.watchEvents(s.events.Status)
	s.front.Handle(&events.Telemetry{Publisher: s.front, Now: s.o.Now, Logger: s.o.Logger})
	return nil
}

// publishedFunctions resolves function ARNs for the engine, in its terms.
type publishedFunctions struct{ *functions.Service }

// Resolve implements deploy.Functions.
func (f publishedFunctions) Resolve(ctx context.Context, p fescue.Partition, arn string) (fescue.FunctionVersion, string, error) {
	v, versionARN, err := f.Service.Resolve(ctx, p, arn)
	switch {
	case errors.Is(err, functions.ErrLatest), errors.Is(err, functions.ErrUnqualified):
		err = fmt.Errorf("%w: %w", deploy.ErrUnpublished, err)
	case errors.Is(err, fescue.ErrARN):
		err = fmt.Errorf("%w: %w", fescue.ErrNotFound, err)
	}
	return v, versionARN, err
}
