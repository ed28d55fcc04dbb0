package cloud

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/fescue-edge/fescue/inbound"
	"github.com/fescue-edge/fescue/pki"
)

// Timing of the listeners. How slowly a body may come and an answer be read is the
// pace's.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	shutdownTimeout   = 10 * time.Second
	// maxHeader bounds the head of a request in bytes.
	maxHeader = 64 << 10
	// setUpsEach is how many connections of devices each processor sets up at the same time.
	// One takes about 10 ms of it, so all of them have ended before a client gives up, on a
	// slow machine too; and there is one to work on while others wait for their clients.
	setUpsEach = 32
	// longestLine is how long a device's connection may wait to be set up: half of the time
	// after which cores, and SDKs as they come, give up.
	longestLine = 5 * time.Second
	// clientSilence is how long a client that is silent while it is set up counts.
	clientSilence = time.Second
)

// listen opens the listeners and their certificates.
func (s *Server) listen() (err error) {
	shares := inbound.Share(s.o.Descriptors)
	mqttAddr := s.o.MQTTAddr
	if s.o.onePort() {
		mqttAddr, shares.Device = "", shares.Device+shares.MQTT
	}
	// Cores and devices come all at once when a server or a network is back; callers of the
	// API do not, and are not to wait for them.
	gate := inbound.NewGate(inbound.GateOptions{Most: setUpsEach * runtime.GOMAXPROCS(0), Wait: longestLine, Silence: clientSilence}, s.o.Logger)
	s.metrics.watchGate(gate.Stats)
	for _, l := range []struct {
		into       **inbound.Listener
		name, addr string
		max        int
		gate       *inbound.Gate
	}{
		{&s.api, "api", s.o.APIAddr, shares.API, nil}, {&s.device, "device", s.o.DeviceAddr, shares.Device, gate},
		{&s.mqtt, "mqtt", mqttAddr, shares.MQTT, gate}, {&s.ops, "ops", s.o.OpsAddr, shares.Ops, nil},
	} {
		if l.addr == "" {
			continue
		}
		open, err := net.Listen("tcp", l.addr)
		if err != nil {
			return fmt.Errorf("cannot listen on %s: %w; choose another address with --%s", l.addr, errors.Unwrap(err), l.name)
		}
		*l.into = inbound.Limit(open, l.max, l.name, l.gate, s.o.Logger)
		s.metrics.watchListener(l.name, *l.into, l.max)
		s.onClose(open.Close)
	}
	s.device.BoundIdle(shares.IdleDevice)
	if s.mqtt == nil {
		s.mqtt = s.device
	}
	s.deviceTLS, err = s.certificates(s.o.DeviceCertFile, s.o.DeviceKeyFile)
	if err != nil {
		return err
	}
	if s.o.APICertFile == "" && (loopback(s.api.Addr()) || s.o.InsecureHTTP) {
		return nil
	}
	s.apiTLS, err = s.certificates(s.o.APICertFile, s.o.APIKeyFile)
	return err
}

func (s *Server) certificates(certFile, keyFile string) (*pki.ListenerCertificates, error) {
	if certFile != "" {
		return pki.FileCertificates(certFile, keyFile, s.o.Now, s.o.Logger)
	}
	return pki.OwnCertificates(s.authority, s.o.certificateHosts(), s.o.Now, s.o.Logger)
}

// Run serves until stopping ends, then sends the devices away, finishes what is under way
// and closes everything. A listener that fails ends it with that error.
func (s *Server) Run(stopping context.Context) error {
	stopping, stop := context.WithCancel(stopping)
	defer stop()
	ctx, cancel := context.WithCancel(context.WithoutCancel(stopping))
	defer cancel()
	var running sync.WaitGroup
	for _, run := range []func(context.Context){
		s.deviceTLS.Run, s.changes.Run, s.engine.Run, s.watchHealth, s.buckets.Run, s.bulk.Run, s.jobs.Run, s.presence.Run, s.events.Run, s.forwarding, s.retention.Run, s.history.Run, s.audit.Run,
	} {
		running.Go(func() { run(ctx) })
	}
	if s.apiTLS != nil {
		running.Go(func() { s.apiTLS.Run(ctx) })
	}
	services := s.services(ctx)
	failures := make(chan error, len(services))
	for _, l := range services {
		running.Go(func() {
			if err := l.serve(); err != nil && !errors.Is(err, http.ErrServerClosed) && ctx.Err() == nil {
				failures <- fmt.Errorf("%s listener: %w", l.name, err)
				stop()
			}
		})
	}

	<-stopping.Done()
	s.stopping.Store(true)
	s.o.Logger.Info("the server stops: it is not ready any more, and ends the MQTT sessions of devices", "sessions", s.front.Stats().Connections, "within", s.o.Drain)
	s.live.End()
	s.front.Drain(s.o.Drain)
	cancel()
	last, done := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer done()
	for _, l := range services {
		if l.server != nil && l.server.Shutdown(last) != nil {
			l.server.Close()
		}
	}
	s.live.Wait(last)
	running.Wait()
	close(failures)
	return errors.Join(<-failures, s.Close())
}

// service is one protocol on one listener.
type service struct {
	name   string
	server *http.Server // nil for MQTT
	serve  func() error
}

// services are what is served. What comes in plain text to a port of TLS is answered
// so, in the form that its client reads.
func (s *Server) services(ctx context.Context) []service {
	var list []service
	overHTTP := func(name string, l net.Listener, h http.Handler) {
		server := s.httpServer(s.o.Pace.Handler(h, 0))
		inbound.Watch(server)
		list = append(list, service{name, server, func() error { return server.Serve(l) }})
	}
	secure := func(name string, l net.Listener, wanted http.Handler) net.Listener {
		secure, plain := inbound.Split(l, readHeaderTimeout)
		overHTTP("plain "+name, plain, wanted)
		return secure
	}
	behind := func(name string, l net.Listener) net.Listener {
		seldom := rate.Sometimes{First: 10, Interval: time.Minute}
		return inbound.Proxied(l, s.o.balancers, readHeaderTimeout, func(from net.Addr, err error) {
			seldom.Do(func() {
				s.o.Logger.Warn("a connection is closed; --proxy-protocol says whose connections begin with a header", "listener", name, "remote", from, "cause", err)
			})
		})
	}
	api := behind("API", s.api)
	if s.apiTLS == nil {
		overHTTP("API", api, s.apiHandler)
	} else {
		overHTTP("API", tls.NewListener(secure("API", api, s.httpsWanted), pki.ServerTLS(s.apiTLS)), s.apiHandler)
	}
	if s.ops != nil {
		overHTTP("operator", s.ops, s.opsHandler)
	}
	device, server := secure("device", behind("device", s.device), tlsWanted("HTTPS with a client certificate: the URL begins with https://")), s.httpServer(nil)
	overMQTT := func(name string, l net.Listener) {
		list = append(list, service{name, nil, func() error { return s.front.Serve(ctx, l) }})
	}
	messages, requests := inbound.ByProtocol(device, s.edge.TLS(s.deviceTLS), mqttProtocol, readHeaderTimeout, func(from net.Addr, err error) {
		s.o.Logger.Debug("TLS handshake failed", "listener", "device", "remote", from, "error", err)
	})
	list = append(list, service{"device", server, func() error { return s.edge.Serve(server, requests) }})
	overMQTT("device MQTT", messages)
	if s.mqtt != s.device {
		mqtt := secure("MQTT", behind("MQTT", s.mqtt), tlsWanted("MQTT over TLS with a client certificate"))
		overMQTT("MQTT", inbound.Negotiate(mqtt, pki.DeviceTLS(s.deviceTLS.Get, s.edge.Verify), mqttProtocol))
	}
	return list
}

// mqttProtocol is what clients negotiate by ALPN for MQTT on a port that speaks
// HTTPS too (AWS IoT Core developer guide, "Device communication protocols").
const mqttProtocol = "x-amzn-mqtt-ca"

// onePort reports whether devices' HTTPS and MQTT are to share one port.
func (o *Options) onePort() bool {
	_, port, err := net.SplitHostPort(o.MQTTAddr)
	return o.MQTTAddr == o.DeviceAddr && err == nil && port != "0"
}

// tlsWanted answers plain HTTP on a port that speaks something else.
func tlsWanted(spoken string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		http.Error(w, "This port speaks "+spoken+".", http.StatusBadRequest)
	})
}

// httpServer makes a server whose requests end when the process is to stop, so
// that long polls do not hold it up.
func (s *Server) httpServer(h http.Handler) *http.Server {
	base, cancel := context.WithCancel(context.Background())
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(s.o.Logger.Handler(), slog.LevelDebug),
	}
	srv.RegisterOnShutdown(cancel)
	return srv
}
