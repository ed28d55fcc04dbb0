// Package core is the edge runtime: it joins the deployment agent, the function
// supervisor, the local HTTP API, the message router and the link to the cloud
// to what a Greengrass Core was. Each of these is a package below this one; they
// share the calls of package invoke and know nothing else of each other. Here
// they meet.
//
// The package must not know the control plane's code, only its wire (corelink
// and MQTT).
package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core/agent"
	"github.com/fescue-edge/fescue/core/cloudlink"
	"github.com/fescue-edge/fescue/core/config"
	"github.com/fescue-edge/fescue/core/credentials"
	"github.com/fescue-edge/fescue/core/footprint"
	"github.com/fescue-edge/fescue/core/invoke"
	"github.com/fescue-edge/fescue/core/ipc"
	"github.com/fescue-edge/fescue/core/lifecycle"
	"github.com/fescue-edge/fescue/core/logs"
	"github.com/fescue-edge/fescue/core/logship"
	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/core/router"
	"github.com/fescue-edge/fescue/core/sandbox"
	"github.com/fescue-edge/fescue/core/secrets"
	"github.com/fescue-edge/fescue/core/store"
	"github.com/fescue-edge/fescue/core/telemetry"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/runtimes"
	"github.com/fescue-edge/fescue/systemd"
)

// Version is the version of Greengrass Core that this core stands in for, which
// functions find in GGC_VERSION.
const Version = "1.11.6"

// stopTimeout bounds the graceful end of functions and open calls.
const stopTimeout = 15 * time.Second

// Core is one edge runtime. Make one with New.
type Core struct {
	options Options
	config  *config.Config
	cloud   *corelink.Client
	// keys are those of the group's role.
	keys    *credentials.Exchange
	shipper *logship.Shipper
	// running is nil before the core runs.
	running atomic.Pointer[parts]
	port    atomic.Int64
	// missing is what this machine lacks for containers.
	missing atomic.Pointer[[]string]
	ready   chan struct{}
}

// New reads the configuration and the certificates. It starts nothing, holds
// nothing and leaves nothing to close.
func New(o Options) (*Core, error) {
	cfg, err := o.load()
	if err != nil {
		return nil, err
	}
	if o.IPCPort != nil {
		cfg.DaemonPort = *o.IPCPort
	}
	if o.DevicesPort > 0 {
		cfg.LocalMQTTPort = o.DevicesPort
	}
	if o.HealthTimeout > 0 {
		cfg.HealthTimeout = o.HealthTimeout
	}
	if o.TelemetryInterval < 0 || o.TelemetryInterval > 0 && o.TelemetryInterval < time.Second {
		return nil, fmt.Errorf("telemetry every %v: at least 1s lies between", o.TelemetryInterval)
	}
	cloud, err := newClient(cfg, cfg.GGHTTP)
	if err != nil {
		return nil, err
	}
	c := &Core{options: o, config: cfg, cloud: cloud, ready: make(chan struct{})}
	source, err := c.credentialSource()
	if err != nil {
		return nil, err
	}
	c.keys = credentials.New(source, time.Now)
	to, err := c.logDestination()
	if err != nil {
		return nil, err
	}
	c.shipper = logship.New(to)
	return c, nil
}

// newClient makes a client of one of the control plane's endpoints for devices.
func newClient(cfg *config.Config, at config.Endpoint) (*corelink.Client, error) {
	tls, err := cfg.Credentials.TLS(at)
	if err != nil {
		return nil, err
	}
	var dial []corelink.Option
	if cfg.Proxy.For(at.Host) {
		dial = append(dial, corelink.WithDial(func(ctx context.Context, _, _ string) (net.Conn, error) {
			return cfg.Proxy.Dial(ctx, at)
		}))
	}
	return corelink.NewClient(at.String(), tls, dial...), nil
}

// Ready is closed when the functions of the deployment on disk are started and
// their API is served. It does not wait for the cloud.
func (c *Core) Ready() <-chan struct{} { return c.ready }

// IPCPort is the port of the local HTTP API; 0 before Ready.
func (c *Core) IPCPort() int { return int(c.port.Load()) }

// Missing are the things that this machine lacks for containers, each with what to do
// about it; none where functions run in them, and before Ready.
func (c *Core) Missing() []string {
	if list := c.missing.Load(); list != nil {
		return *list
	}
	return nil
}

// Connected reports whether the core has its MQTT connection to the cloud.
func (c *Core) Connected() bool {
	p := c.running.Load()
	return p != nil && p.link.Connected()
}

// Alive returns nil while the parts of a core that runs tell what they do: an error says
// that one of them hangs. Whether the cloud can be reached makes no difference.
func (c *Core) Alive(ctx context.Context) error {
	p := c.running.Load()
	if p == nil {
		return nil
	}
	if err := systemd.Answers(ctx, func() { p.activity() }); err != nil {
		return fmt.Errorf("a part of the core does not say what it does: %w", err)
	}
	return nil
}

// Run serves until ctx ends, then stops the functions, sends what is queued for
// the cloud for a moment, and returns nil. It is called once, and again only after
// ErrRunning, which means that another core has the folder.
func (c *Core) Run(ctx context.Context) (err error) {
	lock, err := lockRoot(c.config.Variable())
	if err != nil {
		return err
	}
	defer lock.Close()
	defer c.cloud.Close()
	system, user := logs.Of(nil)
	files, err := logs.Open(logs.Options{Dir: c.config.LogFolder(), System: system, User: user, Ship: c.shipper.Add})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, files.Close()) }()
	logger := c.logger(files)
	if c.options.Crashes {
		if err := files.TakeCrashes(); err != nil {
			logger.Warn("What the core says as it crashes is not written down.", slog.String("errorString", err.Error()))
		}
	}
	for _, text := range c.config.Unused {
		logger.Warn(text)
	}
	if err := c.clearApply(); err != nil {
		logger.Warn("What is left of a bundle stays.", slog.String("errorString", err.Error()))
	}
	if dir := c.config.PIDFileDirectory; dir != "" {
		remove, err := writePID(dir)
		if err != nil {
			return err
		}
		defer remove()
	}
	p, err := c.assemble(files, logger)
	if err != nil {
		logger.Error("The core cannot start.", slog.String("errorString", err.Error()))
		return err
	}
	logger.Info("The core starts.", slog.String("thing", c.config.ThingName), slog.Int("port", p.listener.Port()),
		slog.String("Group File Directory", filepath.Join(c.config.DeploymentFolder(), "group")))
	err = c.serve(ctx, p)
	if err != nil {
		logger.Error("The core stops.", slog.String("errorString", err.Error()))
	} else {
		logger.Info("The core has stopped.")
	}
	return err
}

func (c *Core) logger(files *logs.Logs) *slog.Logger {
	handler := files.Handler("runtime")
	if c.options.Output != nil {
		handler = slog.NewMultiHandler(handler, slog.NewTextHandler(c.options.Output, nil))
	}
	return slog.New(logs.Limited(handler))
}

// parts are the running pieces of a core.
type parts struct {
	logger     *slog.Logger
	started    time.Time
	sandbox    *sandbox.Sandbox
	supervisor *lifecycle.Supervisor
	router     *router.Router
	secrets    *secrets.Function
	server     *ipc.Server
	listener   *ipc.Listener
	// store is what is not lost with the process.
	store *store.DB
	link  *cloudlink.Link
	local *localMQTT
	// shadows are the core's own and those of its client devices.
	shadows *localShadows
	// wake is what the cloud wakes the core by, subscribed what the group has
	// subscribed to in the cloud, or kept where the cloud is to keep that.
	wake, subscribed, kept *cloudlink.Subscription
	agent                  *agent.Agent
	telemetry              *telemetry.Agent
	// runtimes are the machine's interpreters, as far as they are known.
	runtimes atomic.Pointer[[]fescue.CoreRuntime]
}

// assemble makes the parts and joins them. What it opened is closed again when
// it fails.
func (c *Core) assemble(files *logs.Logs, logger *slog.Logger) (_ *parts, err error) {
	p := &parts{logger: logger, started: time.Now().UTC()}
	p.runtimes.Store(new([]fescue.CoreRuntime))
	uids, err := c.functionUIDs()
	if err != nil {
		return nil, err
	}
	packages := filepath.Join(c.config.Variable(), "packages", "fescue", "runtime")
	// Functions read what lies there, whatever the core's umask is.
	if err := disk.MakeFolder(packages, 0o755); err != nil {
		return nil, err
	}
	if err := runtimes.Extract(packages); err != nil {
		return nil, err
	}
	if p.listener, err = ipc.Listen(c.config.DaemonPort); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.listener.Close())
		}
	}()
	p.store = store.New(filepath.Join(c.config.StateFolder(), store.FileName), logger)
	p.link, err = c.newLink(logger, p.store, func(connected bool) {
		if connected {
			logger.Info("Deployment agent connected to cloud")
		}
		p.agent.Wake()
		p.shadows.syncer.Line()
	})
	if err != nil {
		return nil, err
	}
	p.subscribe(c.config.ThingName)
	if p.sandbox, err = c.openSandbox(logger); err != nil {
		return nil, err
	}
	registry := invoke.NewRegistry(invoke.Options{})
	p.supervisor = lifecycle.New(lifecycle.Options{
		Logger: logger, Logs: files, Sandbox: p.sandbox, Registry: registry,
		RuntimeDir:    sandbox.HostPath(packages),
		Hidden:        c.hidden(),
		Port:          p.listener.Port(),
		Environment:   c.environment(),
		SearchPath:    c.options.searchPath(),
		MaxWorkItems:  c.config.MaxWorkItems,
		MaxConcurrent: c.config.MaxConcurrent,
	})
	// They know each other: what devices and the shadow service publish is routed, and
	// some of that to them.
	local, shadowService := new(knownLater), new(knownLater)
	p.router = router.New(map[fescue.EndpointKind]router.Endpoint{
		fescue.EndpointFunction: router.ToFunctions(p.supervisor),
		fescue.EndpointDevice:   local,
		fescue.EndpointShadow:   shadowService,
		fescue.EndpointCloud: router.ToCloud(p.link, func(m router.Message, err error) {
			logger.Warn("A message for the cloud was dropped.",
				slog.String("source", m.Source), slog.String("topic", m.Topic), slog.String("errorString", err.Error()))
		}),
	}, logger)
	if p.local, err = newLocalMQTT(c.config, c.cloud, p.router, logger); err != nil {
		return nil, err
	}
	local.Endpoint = p.local.gateway
	if p.shadows, err = c.newShadows(p, files, p.router); err != nil {
		return nil, err
	}
	shadowService.Endpoint = p.shadows.service
	registry.Register(fescue.RouterFunction.ARN(), router.Function(p.router))
	registry.Register(fescue.ShadowFunction.ARN(), p.shadows.service.Function())
	p.secrets = &secrets.Function{Logger: logger}
	registry.Register(fescue.SecretFunction.ARN(), p.secrets)
	p.server = ipc.New(ipc.Options{Calls: registry, Workers: p.supervisor, Credentials: c.keys, Logger: logger})
	p.telemetry = c.newTelemetry(p, logger)
	p.agent = agent.New(agent.Options{
		ThingARN: c.config.ThingARN, ThingName: c.config.ThingName,
		Folder:       c.config.DeploymentFolder(),
		KeyFile:      filepath.Join(c.config.CertificateFolder(), "fescue-signing.pub"),
		SecretKey:    c.config.Credentials.SecretsKeyPath,
		Cloud:        c.cloud,
		Edge:         &edge{config: c.config, parts: p, files: files, shipper: c.shipper, keys: c.keys},
		Logger:       logger,
		Connected:    p.wake.Active,
		Certificates: c.certificates,
		Info:         p.info,
		Activity:     p.activity,
		Site:         p.local.notice,
		Telemetry:    p.telemetry,
		Times:        agent.Times{MaxRetry: c.config.MaxRetryInterval},
		Plan: plan.Options{
			Missing: p.sandbox.Missing(), Private: c.hidden(), AllowRoot: c.config.AllowRoot,
			DefaultUID: number(c.options.DefaultUID), DefaultGID: number(c.options.DefaultGID), FunctionUIDs: uids,
		},
	})
	return p, nil
}

// openSandbox ends what an earlier core, killed without a chance to do it, left
// running.
func (c *Core) openSandbox(logger *slog.Logger) (*sandbox.Sandbox, error) {
	// Earlier versions wrote down here what ran.
	if err := os.RemoveAll(filepath.Join(c.config.StateFolder(), "workers")); err != nil {
		return nil, err
	}
	return sandbox.Open(sandbox.Options{
		Folder: filepath.Join(c.config.StateFolder(), "sandbox"), Logger: logger, Init: c.options.ContainerInit,
		OverlayTmpfs: c.config.OverlayTmpfs, BlockDevices: c.config.MountAllBlockDevices,
	})
}

// hidden are the core's folders, of which functions in containers see nothing but
// what they are shown. Either may be a link.
func (c *Core) hidden() []sandbox.HostPath {
	var list []sandbox.HostPath
	for _, folder := range []string{c.config.Root, c.config.Variable()} {
		list = append(list, sandbox.HostPath(folder).Real())
	}
	return list
}

// functionUIDs is nil where functions share a user.
func (c *Core) functionUIDs() (plan.FunctionUIDs, error) {
	uids := c.config.FunctionUIDs
	if uids == (config.UIDRange{}) {
		return nil, nil
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("runtime.functionUids in config.json needs a core that runs as root; run it so or leave the range out")
	}
	return newFunctionUIDs(uids, filepath.Join(c.config.StateFolder(), "function-uids.json"))
}

func number(id *uint32) *int {
	if id == nil {
		return nil
	}
	n := int(*id)
	return &n
}

// longestKeepAlive bounds the keep-alive of the link, whatever the configuration says: a
// core that waits to be woken learns that its line is dead within four minutes, and the
// control plane that the core is gone within six.
const longestKeepAlive = 240 * time.Second

// newLink makes the MQTT link.
func (c *Core) newLink(logger *slog.Logger, kept *store.DB, changed func(connected bool)) (*cloudlink.Link, error) {
	tls, err := c.config.Credentials.TLS(c.config.IoTMQTT)
	if err != nil {
		return nil, err
	}
	return cloudlink.New(cloudlink.Options{
		Address:          c.config.IoTMQTT.String(),
		TLS:              tls,
		Dial:             func(ctx context.Context) (net.Conn, error) { return c.config.Proxy.Dial(ctx, c.config.IoTMQTT) },
		ClientID:         c.config.ClientID,
		ExtraClientID:    c.config.ThingName,
		KeepAlive:        min(c.config.KeepAlive, longestKeepAlive),
		OperationTimeout: c.config.OperationTimeout,
		MaxRetry:         c.config.MaxRetryInterval,
		Spool:            kept.Queue(),
		Sessions:         kept.Sessions(),
		Logger:           logger,
		Changed:          changed,
	}), nil
}

// subscribe has what the cloud sends go to the parts, which are complete before the
// link runs.
func (p *parts) subscribe(thing string) {
	p.wake = p.link.Subscribe(func(cloudlink.Message) error {
		p.agent.Wake()
		return nil
	})
	p.wake.SetFilters(corelink.WakeTopic(thing))
	p.subscribed = p.link.Subscribe(func(m cloudlink.Message) error {
		return p.router.FromCloud(context.Background(), m.Topic, m.Payload)
	})
	p.kept = p.link.SubscribeLasting(func(m cloudlink.Message) error {
		return p.router.KeptByCloud(context.Background(), m.Topic, m.Payload)
	})
}

// serve runs the parts. They end in the order in which they need each other:
// the agent, the functions, their API, and what leads to the cloud last, so that
// it can still send what functions said at their end.
func (c *Core) serve(ctx context.Context, p *parts) error {
	c.running.Store(p)
	c.port.Store(int64(p.listener.Port()))
	c.missing.Store(new(p.sandbox.Missing()))
	failed, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	linkCtx, endLink := context.WithCancel(context.WithoutCancel(ctx))
	defer endLink()
	var outer, inner errgroup.Group
	outer.Go(func() error { return p.link.Run(linkCtx) })
	outer.Go(func() error {
		p.shadows.run(linkCtx, failed)
		return nil
	})
	outer.Go(func() error {
		c.shipper.Run(linkCtx, p.logger)
		return nil
	})
	outer.Go(func() error {
		err := p.server.Serve(p.listener)
		if err != nil {
			fail(err)
		}
		return err
	})
	p.local.start(failed)
	inner.Go(func() error {
		err := p.agent.Run(failed)
		if err != nil {
			fail(err)
		}
		return err
	})
	inner.Go(func() error {
		select {
		case <-p.agent.Ready():
			close(c.ready)
		case <-failed.Done():
		}
		return nil
	})
	inner.Go(func() error {
		p.lookForRuntimes(failed)
		return nil
	})
	inner.Go(func() error {
		footprint.Run(failed, p.logger)
		return nil
	})
	inner.Go(func() error {
		p.local.run(failed)
		return nil
	})
	inner.Go(func() error {
		p.telemetry.Run(failed)
		return nil
	})
	<-failed.Done()
	err := inner.Wait()

	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if stopped := p.supervisor.Shutdown(stopping); stopped != nil {
		p.logger.Warn("Functions did not stop gracefully.", slog.String("errorString", stopped.Error()))
	}
	if closed := p.sandbox.Close(); closed != nil {
		p.logger.Warn("The sandbox of the functions did not close.", slog.String("errorString", closed.Error()))
	}
	if stopped := p.server.Shutdown(stopping); stopped != nil {
		p.logger.Warn("The function API did not stop gracefully.", slog.String("errorString", stopped.Error()))
	}
	endLink()
	if served := outer.Wait(); served != nil {
		err = errors.Join(err, fmt.Errorf("serve: %w", served))
	}
	if closed := p.store.Close(); closed != nil {
		p.logger.Warn("The core's store did not close.", slog.String("errorString", closed.Error()))
	}
	return err
}
