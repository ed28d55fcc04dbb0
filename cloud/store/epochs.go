package store

import (
	"context"
	"errors"

	"github.com/fescue-edge/fescue"
)

// Passed lists the deployments of a core that have not ended although their epoch
// is not above epoch, in their order.
func (s Offers) Passed(ctx context.Context, p fescue.Partition, coreThing string, epoch int64) ([]fescue.Deployment, error) {
	return all(ctx, s.db.read, scanDeployment(p), selectDeployment+`
		WHERE partition = $1 AND core_thing = $2 AND status = 'InProgress' AND epoch <= $3 ORDER BY epoch`,
		p.Key(), coreThing, epoch)
}

// CatchUp raises a core's epoch to one that the core has seen, so that the next
// one given out lies above it. A lower epoch changes nothing.
func (s Offers) CatchUp(ctx context.Context, p fescue.Partition, coreThing string, epoch int64) (raised bool, err error) {
	err = s.db.update(ctx, func(tx transaction) error {
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

// SetEpoch sets a core's epoch to what choose makes of the one before, which is 0 for a
// thing that was no core so far, but not below that of a deployment of it. Its errors are
// those of choose, and fescue.ErrNotFound for what is neither a core nor a thing.
func (s Offers) SetEpoch(ctx context.Context, p fescue.Partition, coreThing string, choose func(before int64) (int64, error)) (before, now int64, err error) {
	err = s.db.update(ctx, func(tx transaction) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO core (partition, thing, epoch, group_id) SELECT partition, name, 0, '' FROM thing WHERE partition = $1 AND name = $2
			ON CONFLICT (partition, thing) DO NOTHING`, p.Key(), coreThing)
		if err != nil {
			return err
		}
		// Read by a change, so that no other transaction comes between.
		err = one(tx.QueryRowContext(ctx, `UPDATE core SET epoch = epoch WHERE partition = $1 AND thing = $2 RETURNING epoch`, p.Key(), coreThing), &before)
		if err != nil {
			return err
		}
		var last int64
		err = one(tx.QueryRowContext(ctx, `
			SELECT COALESCE(MAX(epoch), 0) FROM deployment WHERE partition = $1 AND core_thing = $2`, p.Key(), coreThing), &last)
		if err != nil {
			return err
		}
		epoch, err := choose(before)
		if err != nil {
			return err
		}
		now = max(epoch, last)
		return changed(ctx, tx, `UPDATE core SET epoch = $1 WHERE partition = $2 AND thing = $3`, now, p.Key(), coreThing)
	})
	return before, now, err
}
