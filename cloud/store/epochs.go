package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/fescue-edge/fescue"
)

// Passed lists the deployments of a core that have not ended although their epoch
// is not above epoch, in their order.
func (s *Store) Passed(ctx context.Context, p fescue.Partition, coreThing string, epoch int64) ([]fescue.Deployment, error) {
	return all(ctx, s.read, scanDeployment(p), selectDeployment+`
		WHERE partition = $1 AND core_thing = $2 AND status = 'InProgress' AND epoch <= $3 ORDER BY epoch`,
		p.Key(), coreThing, epoch)
}

// CatchUp raises a core's epoch to one that the core has seen, so that the next
// one given out lies above it. A lower epoch changes nothing.
func (s *Store) CatchUp(ctx context.Context, p fescue.Partition, coreThing string, epoch int64) (raised bool, err error) {
	err = s.update(ctx, func(tx *sql.Tx) error {
		err := changed(ctx, tx, `
			INSERT INTO core (partition, thing, epoch, group_id) VALUES ($1, $2, $3, '')
			ON CONFLICT (partition, thing) DO UPDATE SET epoch = excluded.epoch WHERE core.epoch < excluded.epoch`,
			p.Key(), coreThing, epoch)
		raised = err == nil
		if errors.Is(err, fescue.ErrNotFound) {
			return nil
		}
		return err
	})
	return raised, err
}
