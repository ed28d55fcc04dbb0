// Package cloud is the control plane as a library: New opens the data folder and
// the listeners, Run serves until its context ends. It wires the services below
// it together and holds no rule of its own.
package cloud

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/fescue-edge/fescue/cloud/audit"
	"github.com/fescue-edge/fescue/cloud/backup"
	"github.com/fescue-edge/fescue/cloud/broker"
	"github.com/fescue-edge/fescue/cloud/buckets"
	"github.com/fescue-edge/fescue/cloud/bulk"
	"github.com/fescue-edge/fescue/cloud/changes"
	"github.com/fescue-edge/fescue/cloud/console"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/edge"
	"github.com/fescue-edge/fescue/cloud/events"
	"github.com/fescue-edge/fescue/cloud/forward"
	"github.com/fescue-edge/fescue/cloud/history"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/cloud/jobs"
	"github.com/fescue-edge/fescue/cloud/mqttfront"
	"github.com/fescue-edge/fescue/cloud/retention"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/inbound"
	"github.com/fescue-edge/fescue/pki"
	"github.com/fescue-edge/fescue/policy"
)

// Server is a running control plane.
type Server struct {
	o        Options
	db       *store.DB
	broker   *broker.Broker
	front    *mqttfront.Front
	engine   *deploy.Engine
	changes  *changes.Feed
	jobs     *jobs.Service
	events   *events.Service
	forward  *forward.Service
	presence *cores.Presence
	fleet    *cores.Fleet
	live     *console.Live // open pages of the console
	// recentRoom is whether there was room on the disk a moment ago.
	recentRoom roomCache
	// documents are the policies of certificates, as far as they are in memory.
	documents policy.Documents
	// retention removes what is old.
	retention *retention.Sweeper
	// history takes samples for the console's plots.
	history *history.Service
	buckets *buckets.Service
	bulk    *bulk.Service
	keys    *identity.Keys
	audit   *audit.Service
	metrics *metrics
	master  *pki.MasterKey
	ring    keyring

	api, device, mqtt *inbound.Listener
	ops               *inbound.Listener         // nil without an address for operators
	apiTLS            *pki.ListenerCertificates // nil for plain HTTP
	deviceTLS         *pki.ListenerCertificates
	apiHandler        http.Handler
	console           http.Handler // nil on a server without one
	opsHandler        http.Handler
	// httpsWanted answers clients of the API that speak plain HTTP to a TLS port.
	httpsWanted http.Handler
	edge        *edge.Handler
	// stopping says that the server is about to end.
	stopping  atomic.Bool
	authority *pki.Authority

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
	keysAdoptedName  = "keys-adopted"
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
	if err := disk.MakeFolder(s.o.DataDir, 0o700); err != nil {
		return fmt.Errorf("make data folder: %w", err)
	}
	if err := keepPrivate(s.o.DataDir, s.o.Logger); err != nil {
		return err
	}
	if err := disk.MakeFolder(s.path(spoolName), 0o700); err != nil {
		return fmt.Errorf("make data folder: %w", err)
	}
	unlock, err := lock(s.path(lockName))
	if err != nil {
		return err
	}
	s.onClose(unlock)
	if err := s.clearSpool(); err != nil {
		return err
	}
	if s.master, s.db, err = s.o.state().open(ctx, s.o.Logger); err != nil {
		return err
	}
	s.onClose(s.db.Close)
	if err := s.keepPlace(ctx); err != nil {
		return err
	}
	if err := s.keepBrokerForm(ctx); err != nil {
		return err
	}
	s.keys = accessKeys(s.db, s.master, s.o.Now)
	s.ring = keyring{s.db.ServerKeys(), s.master, s.o.Now}
	if s.authority, err = s.ring.authority(ctx, listenerAuthority, "Fescue listener authority", pki.RSA); err != nil {
		return err
	}
	if err := disk.WriteFile(s.path(authorityPEMName), s.authority.PEM(), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", s.path(authorityPEMName), err)
	}
	return s.seedKey(ctx)
}

// clearSpool removes what a server that was killed left of what it was copying. The
// lock is held: nobody else has files there.
func (s *Server) clearSpool() error {
	left, err := os.ReadDir(s.path(spoolName))
	for _, file := range left {
		err = errors.Join(err, os.Remove(filepath.Join(s.path(spoolName), file.Name())))
	}
	if err != nil {
		return fmt.Errorf("clear the spool folder: %w", err)
	}
	return nil
}

// APIAddr, DeviceAddr and MQTTAddr are where the server listens, "host:port".
func (s *Server) APIAddr() string { return s.api.Addr().String() }

// DeviceAddr is the address of the HTTPS listener for devices.
func (s *Server) DeviceAddr() string { return s.device.Addr().String() }

// MQTTAddr is the address of the MQTT listener.
func (s *Server) MQTTAddr() string { return s.mqtt.Addr().String() }

// OpsAddr is the address of the operator's listener, empty for none.
func (s *Server) OpsAddr() string {
	if s.ops == nil {
		return ""
	}
	return s.ops.Addr().String()
}

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

// OwnAPICertificate reports whether callers of the API have to be made to trust
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
