package cloud

import (
	"context"
	"maps"
	"slices"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/changes"
)

// follow has everything that waits, or keeps rights of who is connected, be told of what
// others changed in the database.
func (s *Server) follow() {
	s.changes.Follow(changes.Certificate, func(ctx context.Context, list []changes.Change) {
		all, of := make(map[string]bool), make(map[fescue.Partition][]string)
		for _, c := range list {
			if !all[c.Subject] {
				all[c.Subject] = true
				of[c.Partition] = append(of[c.Partition], c.Subject)
			}
		}
		s.certificatesChanged(slices.Collect(maps.Keys(all))...)
		for p, ids := range of {
			s.wakeCoresOf(ctx, p, ids)
		}
	}, func(context.Context) { s.front.InvalidateAll() })
	s.changes.Follow(changes.Key, func(_ context.Context, list []changes.Change) {
		for _, c := range list {
			s.unread(s.front.InvalidateKey(c.Subject))
			s.live.KeyChanged(c.Subject)
		}
	}, func(context.Context) { s.live.AllKeysChanged() })
	s.changes.Follow(changes.Deployment, func(_ context.Context, list []changes.Change) {
		type group struct {
			in fescue.Partition
			id string
		}
		of := make(map[group]bool)
		for _, c := range list {
			of[group{c.Partition, c.Subject}] = true
		}
		for g := range of {
			s.live.Changed(g.in, g.id)
		}
	}, func(context.Context) { s.live.AllChanged() })
	s.changes.Follow(changes.Presence, func(_ context.Context, list []changes.Change) {
		for _, c := range list {
			s.fleet.Changed(c.Partition)
			s.live.Changed(c.Partition, "")
		}
	}, func(context.Context) {})
	s.changes.Follow(changes.Role, func(_ context.Context, list []changes.Change) {
		in := make(map[string]bool)
		for _, c := range list {
			in[c.Partition.Account] = true
		}
		for account := range in {
			s.unread(s.front.InvalidateKeys(account))
		}
	}, func(context.Context) {})
	s.changes.Follow(changes.Policy, func(_ context.Context, list []changes.Change) {
		in := make(map[fescue.Partition]bool)
		for _, c := range list {
			in[c.Partition] = true
		}
		for p := range in {
			s.front.InvalidatePolicies(p)
		}
		s.engine.LookAll() // whether the cores that wait may go on
	}, func(context.Context) {})
	s.changes.Follow(changes.Core, func(_ context.Context, list []changes.Change) {
		for _, c := range list {
			s.engine.Changed(c.Partition, c.Subject)
		}
	}, func(context.Context) { s.engine.AllChanged() })
	s.changes.Follow(changes.Site, func(ctx context.Context, list []changes.Change) {
		for _, c := range list {
			s.engine.SiteChanged(ctx, c.Partition, c.Subject)
		}
	}, func(context.Context) {})
}

// certificatesChanged has what certificates may do be read again, and then looked at.
func (s *Server) certificatesChanged(ids ...string) {
	s.unread(s.front.Invalidate(ids...))
	for _, id := range ids {
		s.edge.CertificateChanged(id)
	}
}

// unread says that what was told to have changed could not be read.
func (s *Server) unread(err error) {
	if err != nil {
		s.o.Logger.Warn("rights of who is connected not read again; the next refresh does", "error", err)
	}
}

// askedTogether is of how many certificates the cores are looked for at once.
const askedTogether = 500

// wakeCoresOf has the cores that have client devices with certificates ask whether those are
// to be taken.
func (s *Server) wakeCoresOf(ctx context.Context, p fescue.Partition, certificateIDs []string) {
	for ids := range slices.Chunk(certificateIDs, askedTogether) {
		arns := make([]string, len(ids))
		for i, id := range ids {
			arns[i] = p.CertificateARN(id)
		}
		list, err := s.db.Holdings().CoresOfDevices(ctx, p, arns)
		if err != nil && ctx.Err() == nil {
			s.o.Logger.Warn("whose changed certificates these are could not be read; all cores that are connected are woken", "partition", p, "certificates", len(ids), "error", err)
			s.engine.AllChanged()
		}
		for _, thing := range list {
			s.engine.SiteChanged(ctx, p, thing)
		}
	}
}
