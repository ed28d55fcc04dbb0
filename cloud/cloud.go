// Package cloud is the control plane as a library: New opens the data folder and
// the listeners, Run serves until its context ends. It wires the services below
// it together and holds no rule of its own.
package cloud

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/fescue-edge/fescue/cloud/accesskeys"
	"github.com/fescue-edge/fescue/cloud/backup"
	"github.com/fescue-edge/fescue/cloud/buckets"
	"github.com/fescue-edge/fescue/cloud/bulk"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/edge"
	"github.com/fescue-edge/fescue/cloud/events"
	"github.com/fescue-edge/fescue/cloud/jobs"
	"github.com/fescue-edge/fescue/cloud/mqttfront"
	"github.com/fescue-edge/fescue/cloud/retention"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/pki"
)

// Server is a running control plane.
type Server struct {
	o        Options
	store    *store.Store
	broker   *mqttfront.Broker
	front    *mqttfront.Front
	engine   *deploy.Engine
	jobs     *jobs.Service
	events   *events.Service
	presence *cores.Presence
	// retention removes what is old.
	retention *retention.Sweeper
	buckets   *buckets.Service
	bulk      *bulk.Service
	keys      *accesskeys.Keys
	metrics   *metrics
	master    *pki.MasterKey
	ring      keyring

	api, device, mqtt net.Listener
	apiTLS            *pki.ListenerCertificates // nil for plain HTTP
	deviceTLS         *pki.ListenerCertificates
	apiHandler        http.Handler
	edge              *edge.Handler
	authority         *pki.Authority

	// MadeKey is the access key that this start made, empty on later ones.
	MadeKey AccessKey

	closers []func() error
}

// Names in the data folder.
const (
	databaseName     = backup.Database
	masterKeyName    = backup.MasterKey
	artifactsName    = backup.Artifacts
	bucketsName      = backup.Buckets
	messagesName     = "messages"
	spoolName        = "spool"
	accessKeyName    = backup.AccessKey
	authorityPEMName = "ca.pem"
	lockName         = "server.lock"
)

// Timing of the listeners.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	shutdownTimeout   = 10 * time.Second
)

// New opens the data folder, brings it up to date and listens. Close or Run must
// follow.
func New(ctx context.Context, o Options) (_ *Server, err error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	s := &Server{o: o, metrics: newMetrics()}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if err := s.openData(ctx); err != nil {
		return nil, err
	}
	if err := s.listen(); err != nil {
		return nil, err
	}
	if err := s.wire(ctx); err != nil {
		return nil, err
	}
	s.metrics.watchHealth(s)
	return s, nil
}

func (s *Server) path(name string) string { return filepath.Join(s.o.DataDir, name) }

func (s *Server) onClose(f func() error) { s.closers = append(s.closers, f) }

// openData opens what lies in the data folder.
func (s *Server) openData(ctx context.Context) error {
	for _, dir := range []string{s.o.DataDir, s.path(spoolName)} {
		if err := disk.MakeFolder(dir, 0o700); err != nil {
			return fmt.Errorf("make data folder: %w", err)
		}
	}
	unlock, err := lock(s.path(lockName))
	if err != nil {
		return err
	}
	s.onClose(unlock)
	if s.master, s.store, err = s.o.state().open(ctx, s.o.Logger); err != nil {
		return err
	}
	s.onClose(s.store.Close)
	if err := s.keepPlace(ctx); err != nil {
		return err
	}
	s.keys = accesskeys.New(s.store, s.master, s.o.Now)
	s.ring = keyring{s.store, s.master, s.o.Now}
	if s.authority, err = s.ring.authority(ctx, listenerAuthority, "Fescue listener authority", pki.RSA); err != nil {
		return err
	}
	if err := disk.WriteFile(s.path(authorityPEMName), s.authority.PEM(), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", s.path(authorityPEMName), err)
	}
	return s.seedKey(ctx)
}

// listen opens the listeners and their certificates.
func (s *Server) listen() (err error) {
	for _, l := range []struct {
		into *net.Listener
		flag string
		addr string
	}{
		{&s.api, "--api", s.o.APIAddr}, {&s.device, "--device", s.o.DeviceAddr}, {&s.mqtt, "--mqtt", s.o.MQTTAddr},
	} {
		if *l.into, err = listen(l.flag, l.addr); err != nil {
			return err
		}
		s.onClose((*l.into).Close)
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

// APIAddr, DeviceAddr and MQTTAddr are where the server listens, "host:port".
func (s *Server) APIAddr() string { return s.api.Addr().String() }

// DeviceAddr is the address of the HTTPS listener for devices.
func (s *Server) DeviceAddr() string { return s.device.Addr().String() }

// MQTTAddr is the address of the MQTT listener.
func (s *Server) MQTTAddr() string { return s.mqtt.Addr().String() }

// APIScheme is "https" or "http".
func (s *Server) APIScheme() string {
	if s.apiTLS != nil {
		return "https"
	}
	return "http"
}

// AuthorityFile is the PEM file of the authority that devices, and callers of
// the API over HTTPS, are to trust; AuthorityPEM is its content.
func (s *Server) AuthorityFile() string { return s.path(authorityPEMName) }

// AuthorityPEM is the certificate of Fescue's own authority.
func (s *Server) AuthorityPEM() []byte { return s.authority.PEM() }

// OwnAPICertificate reports whether callers of the API have to be told to trust
// Fescue's own authority.
func (s *Server) OwnAPICertificate() bool { return s.apiTLS != nil && s.o.APICertFile == "" }

// Close gives back what New took, for a server that was not run.
func (s *Server) Close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		if err := s.closers[i](); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	s.closers = nil
	return errors.Join(errs...)
}

// Run serves until ctx ends, then finishes what is under way and closes
// everything. A listener that fails ends it with that error.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	failures := make(chan error, 3) // one for each listener
	api := s.httpServer(s.apiHandler)
	device := s.httpServer(nil) // s.edge answers

	apiListener := s.api
	if s.apiTLS != nil {
		running.Go(func() { s.apiTLS.Run(ctx) })
		apiListener = tls.NewListener(s.api, pki.ServerTLS(s.apiTLS))
	}
	running.Go(func() { s.deviceTLS.Run(ctx) })
	running.Go(func() { s.engine.Run(ctx) })
	running.Go(func() { s.watchHealth(ctx) })
	running.Go(func() { s.buckets.Run(ctx) })
	running.Go(func() { s.bulk.Run(ctx) })
	running.Go(func() { s.jobs.Run(ctx) })
	running.Go(func() { s.presence.Run(ctx) })
	running.Go(func() { s.events.Run(ctx) })
	running.Go(func() { s.retention.Run(ctx) })
	serve := func(what string, f func() error) {
		running.Go(func() {
			if err := f(); err != nil && !errors.Is(err, http.ErrServerClosed) && ctx.Err() == nil {
				failures <- fmt.Errorf("%s listener: %w", what, err)
				cancel()
			}
		})
	}
	serve("API", func() error { return api.Serve(apiListener) })
	serve("device", func() error { return s.edge.Serve(device, s.device, s.deviceTLS) })
	serve("MQTT", func() error {
		return s.front.Serve(ctx, tls.NewListener(s.mqtt, pki.DeviceTLS(s.deviceTLS, s.edge.Verify)))
	})

	<-ctx.Done()
	stop, done := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer done()
	for _, srv := range []*http.Server{api, device} {
		if srv.Shutdown(stop) != nil {
			srv.Close()
		}
	}
	running.Wait()
	close(failures)
	return errors.Join(<-failures, s.Close())
}

// httpServer makes a server whose requests end when the process is to stop, so
// that long polls do not hold it up.
func (s *Server) httpServer(h http.Handler) *http.Server {
	base, cancel := context.WithCancel(context.Background())
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(s.o.Logger.Handler(), slog.LevelDebug),
	}
	srv.RegisterOnShutdown(cancel)
	return srv
}
