package cloud

import (
	"context"
	"errors"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/groupca"
	"github.com/fescue-edge/fescue/cloud/registry"
)

// tellCores has cores hear at once of what their MQTT servers for client devices need:
// where they are reached, which authority signs, whose certificates were deactivated.
func (s *Server) tellCores(moves *cores.Service, authorities *groupca.Service, things *registry.Service) {
	moves.OnMove(s.engine.Wake)
	authorities.OnRotate(func(ctx context.Context, p fescue.Partition, groupID string) {
		thing, err := s.db.Cores().GroupCore(ctx, p, groupID)
		switch {
		case err == nil:
			s.engine.Wake(ctx, p, thing)
		case !errors.Is(err, fescue.ErrNotFound):
			s.o.Logger.Warn("a core was not woken for its group's new authority; its next poll tells it", "group", groupID, "error", err)
		}
	})
	things.OnChange(func(certificateID string) {
		ctx, cancel := context.WithTimeout(context.Background(), tellTimeout)
		defer cancel()
		if err := s.tellOfCertificate(ctx, things, certificateID); err != nil {
			s.o.Logger.Warn("cores were not woken for a changed certificate; their next polls tell them", "certificate", certificateID, "error", err)
		}
	})
}

// tellTimeout bounds the search for those who have to hear of a certificate.
const tellTimeout = 5 * time.Second

// tellOfCertificate wakes the cores that have a client device with a certificate.
func (s *Server) tellOfCertificate(ctx context.Context, things *registry.Service, certificateID string) error {
	who, err := things.Principal(ctx, certificateID)
	if errors.Is(err, fescue.ErrNotFound) {
		return nil // it was deactivated before it was deleted
	}
	if err != nil {
		return err
	}
	list, err := s.db.Holdings().CoresOfDevice(ctx, who.Partition, who.Partition.CertificateARN(certificateID))
	for _, thing := range list {
		s.engine.Wake(ctx, who.Partition, thing)
	}
	return err
}
