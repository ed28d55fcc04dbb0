package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/cores"
)

// Cores keep what is known of each core beside its deployments: connectivity,
// telemetry, what it is, when it was last seen, and which group owns it.
type Cores struct{ db *DB }

// Cores is that part of the database.
func (db *DB) Cores() Cores { return Cores{db} }

// Connectivity reads where client devices reach a core.
func (s Cores) Connectivity(ctx context.Context, p fescue.Partition, thing string) (cores.Connectivity, error) {
	var c cores.Connectivity
	var info string
	var updated int64
	err := one(s.db.read.QueryRowContext(ctx, `
		SELECT version, info_json, updated_at FROM core_connectivity WHERE partition = $1 AND thing = $2`,
		p.Key(), thing), &c.Version, &info, &updated)
	if err == nil {
		c.UpdatedAt = fromMillis(updated)
		err = fromJSON(info, &c.Info)
	}
	if err != nil {
		return cores.Connectivity{}, fmt.Errorf("connectivity of core %s: %w", thing, err)
	}
	return c, nil
}

// PutConnectivity replaces a core's connectivity.
func (s Cores) PutConnectivity(ctx context.Context, p fescue.Partition, thing string, c cores.Connectivity) error {
	return s.db.update(ctx, func(tx transaction) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO core_connectivity (partition, thing, version, info_json, updated_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (partition, thing) DO UPDATE
			SET version = excluded.version, info_json = excluded.info_json, updated_at = excluded.updated_at`,
			p.Key(), thing, c.Version, toJSON(c.Info), millis(c.UpdatedAt))
		return err
	})
}

// Telemetry reads what a core is to do about telemetry and what it last said it
// does, each empty when nobody said so.
func (s Cores) Telemetry(ctx context.Context, p fescue.Partition, thing string) (desired, reported fescue.Telemetry, err error) {
	err = one(s.db.read.QueryRowContext(ctx, `
		SELECT desired, reported FROM core_telemetry WHERE partition = $1 AND thing = $2`, p.Key(), thing), &desired, &reported)
	if errors.Is(err, fescue.ErrNotFound) {
		return "", "", nil
	}
	return desired, reported, err
}

// DesireTelemetry keeps what a core is to do.
func (s Cores) DesireTelemetry(ctx context.Context, p fescue.Partition, thing string, t fescue.Telemetry) error {
	return s.db.update(ctx, func(tx transaction) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO core_telemetry (partition, thing, desired, reported) VALUES ($1, $2, $3, '')
			ON CONFLICT (partition, thing) DO UPDATE SET desired = excluded.desired`, p.Key(), thing, t)
		return err
	})
}

// ReportTelemetry keeps what a core says it does.
func (s Cores) ReportTelemetry(ctx context.Context, p fescue.Partition, thing string, t fescue.Telemetry) error {
	return s.db.update(ctx, func(tx transaction) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO core_telemetry (partition, thing, desired, reported) VALUES ($1, $2, '', $3)
			ON CONFLICT (partition, thing) DO UPDATE SET reported = excluded.reported`, p.Key(), thing, t)
		return err
	})
}
