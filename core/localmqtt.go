package core

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/fescue-edge/fescue/core/config"
	"github.com/fescue-edge/fescue/core/gateway"
	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/core/router"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/periodic"
)

// localMQTT is the MQTT server for client devices with what it needs: its
// certificate, its ports, and the detector that reports where it is. It listens while
// the group has client devices.
type localMQTT struct {
	gateway  *gateway.Gateway
	identity *gateway.Identity
	detector *gateway.Detector
	port     int
	logger   *slog.Logger

	// mu guards what follows. serving is nil before start and when run ends.
	mu      sync.Mutex
	serving context.Context
	running sync.WaitGroup
	wanted  bool
	// listening are the ports that are served, each with what ends that, failing
	// those that are not and should be, with why.
	listening map[int]context.CancelFunc
	failing   map[int]error
}

// extraPort is served beside the configured one when the core's connectivity
// information has it: clients behind strict firewalls use it, with ALPN.
const extraPort = 443

func newLocalMQTT(cfg *config.Config, cloud *corelink.Client, publisher gateway.Publisher, logger *slog.Logger) (*localMQTT, error) {
	key, err := cfg.Credentials.MQTTServerKey()
	if err != nil {
		return nil, err
	}
	m := &localMQTT{port: cfg.LocalMQTTPort, logger: logger, listening: make(map[int]context.CancelFunc), failing: make(map[int]error)}
	m.identity = gateway.OpenIdentity(gateway.IdentityOptions{
		Folder: filepath.Join(cfg.StateFolder(), "server"), Thing: cfg.ThingName, Issuer: cloud, Logger: logger, Key: key,
	})
	m.gateway = gateway.New(gateway.Options{Publisher: publisher, Certificate: m.identity.Certificate, Logger: logger})
	m.gateway.Revoke(m.identity.Site().Revoked)
	m.detector = gateway.NewDetector(gateway.DetectorOptions{Thing: cfg.ThingName, Port: cfg.LocalMQTTPort, Cloud: cloud, Logger: logger})
	return m, nil
}

// apply has exactly the plan's devices served.
func (m *localMQTT) apply(p plan.Plan) {
	devices := make([]gateway.Device, 0, len(p.Devices))
	for _, d := range p.Devices {
		devices = append(devices, gateway.Device(d))
	}
	m.gateway.SetDevices(devices)
	m.detector.Set(p.DetectAddresses)
	m.identity.Need(len(devices) > 0)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wanted = len(devices) > 0
	m.listen()
}

// notice takes what the control plane says of the site.
func (m *localMQTT) notice(site corelink.Site) {
	if !m.identity.Notice(site) {
		return
	}
	m.gateway.Revoke(site.Revoked)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.listen()
}

// trouble is why devices cannot connect; nil where they can, or there are none.
func (m *localMQTT) trouble() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failing[m.port]
}

// listenInterval is how often a port is tried that could not be had.
const listenInterval = 5 * time.Second

// start has devices served from now on, until ctx ends; run has to follow.
func (m *localMQTT) start(ctx context.Context) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.serving = ctx
	m.listen()
}

// run returns when ctx has ended and nothing is served any more.
func (m *localMQTT) run(ctx context.Context) {
	var parts sync.WaitGroup
	parts.Go(func() { m.identity.Run(ctx) })
	parts.Go(func() { m.detector.Run(ctx) })
	periodic.Every(ctx, listenInterval, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.listen()
	})
	m.mu.Lock()
	m.serving = nil // nothing is served anew from here on
	m.mu.Unlock()
	m.running.Wait()
	parts.Wait()
}

// listen brings the ports that are served in line with those that are to be; the
// caller holds mu.
func (m *localMQTT) listen() {
	if m.serving == nil || m.serving.Err() != nil {
		return
	}
	var ports []int
	if m.wanted {
		ports = append(ports, m.port)
		if slices.Contains(m.identity.Site().Ports, extraPort) && m.port != extraPort {
			ports = append(ports, extraPort)
		}
	}
	for port, end := range m.listening {
		if !slices.Contains(ports, port) {
			end()
			delete(m.listening, port)
		}
	}
	for _, port := range ports {
		if m.listening[port] != nil {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort("", strconv.Itoa(port)))
		if err == nil {
			delete(m.failing, port)
			m.serve(port, l)
			continue
		}
		err = fmt.Errorf("the MQTT server for client devices cannot listen on port %d: %w", port, err)
		if m.failing[port] == nil {
			m.logger.Error("A port for client devices is not served; it is tried again.", slog.String("errorString", err.Error()))
		}
		m.failing[port] = err
	}
	for port := range m.failing {
		if !slices.Contains(ports, port) {
			delete(m.failing, port)
		}
	}
}

// serve has a listener served; the caller holds mu.
func (m *localMQTT) serve(port int, l net.Listener) {
	ctx, end := context.WithCancel(m.serving)
	m.listening[port] = end
	m.logger.Info("Client devices are served.", slog.Int("port", port))
	m.running.Go(func() {
		defer end()
		if err := m.gateway.Serve(ctx, l); err != nil {
			m.logger.Error("Client devices are not served any more.", slog.Int("port", port), slog.String("errorString", err.Error()))
		}
	})
}

// knownLater is an endpoint of the router, which is made before it.
type knownLater struct{ router.Endpoint }
