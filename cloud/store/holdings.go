package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/identity"
)

// What is offered to a core has client devices, and what else the group holds by it.
const (
	insertDevice = `
		INSERT INTO client_device (partition, group_id, number, thing, certificate_arn)
		SELECT partition, group_id, number, $3, $4 FROM deployment WHERE partition = $1 AND id = $2
		ON CONFLICT DO NOTHING`
	insertHolding = `
		INSERT INTO holding (partition, group_id, number, arn)
		SELECT partition, group_id, number, $3 FROM deployment WHERE partition = $1 AND id = $2
		ON CONFLICT DO NOTHING`
)

// insertContents keeps what a group has by what is offered.
func insertContents(ctx context.Context, tx transaction, d fescue.Deployment, o fescue.Offering) error {
	devices, holdings := make([][]any, 0, len(o.Devices)), make([][]any, 0, len(o.Holds))
	for _, device := range o.Devices {
		devices = append(devices, []any{device.Thing, device.CertificateARN})
	}
	for _, arn := range o.Holds {
		holdings = append(holdings, []any{arn})
	}
	return errors.Join(insertEach(ctx, tx, insertDevice, d, devices), insertEach(ctx, tx, insertHolding, d, holdings))
}

// insertEach inserts rows of a deployment, whose partition and id come first.
func insertEach(ctx context.Context, tx transaction, query string, d fescue.Deployment, rows [][]any) error {
	for _, row := range rows {
		if _, err := tx.ExecContext(ctx, query, append([]any{d.Partition.Key(), d.ID}, row...)...); err != nil {
			return fmt.Errorf("what deployment %s gives to its group: %v: %w", d.ID, row, err)
		}
	}
	return nil
}

// settleContents forgets what a deployment's end leaves in no group: its own when it
// failed, that of the deployments before it when it succeeded. A reset has none of
// its own.
func settleContents(ctx context.Context, tx transaction, d fescue.Deployment) error {
	forget := func(queries ...string) error {
		for _, query := range queries {
			if _, err := tx.ExecContext(ctx, query, d.Partition.Key(), d.GroupID, d.ID); err != nil {
				return err
			}
		}
		return nil
	}
	switch d.Status {
	case fescue.Success:
		return forget(`
			DELETE FROM client_device WHERE partition = $1 AND group_id = $2
			AND number < (SELECT number FROM deployment WHERE partition = $1 AND id = $3)`, `
			DELETE FROM holding WHERE partition = $1 AND group_id = $2
			AND number < (SELECT number FROM deployment WHERE partition = $1 AND id = $3)`)
	case fescue.Failure:
		return forget(`
			DELETE FROM client_device WHERE partition = $1 AND group_id = $2
			AND number = (SELECT number FROM deployment WHERE partition = $1 AND id = $3)`, `
			DELETE FROM holding WHERE partition = $1 AND group_id = $2
			AND number = (SELECT number FROM deployment WHERE partition = $1 AND id = $3)`)
	}
	return nil
}

// Holdings keep what groups have by what was deployed: client devices, and the
// ARNs of what else.
type Holdings struct{ db *DB }

// Holdings is that part of the database.
func (db *DB) Holdings() Holdings { return Holdings{db} }

// Hold keeps what a group has by a deployment that ended before holdings were
// kept.
func (s Holdings) Hold(ctx context.Context, d fescue.Deployment, arns []string) error {
	return s.db.update(ctx, func(tx transaction) error { return insertContents(ctx, tx, d, fescue.Offering{Holds: arns}) })
}

// HolderTags are the tags of the groups whose last deployment that succeeded has a
// thing, function, secret, bucket or definition: each distinct set once.
func (s Holdings) HolderTags(ctx context.Context, p fescue.Partition, arn string) ([]map[string]string, error) {
	scan := func(rows *sql.Rows) (tags map[string]string, err error) {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		err = fromJSON(text, &tags)
		return tags, err
	}
	list, err := all(ctx, s.db.read, scan, `
		SELECT DISTINCT coalesce(g.tags_json, '') FROM holding h
		JOIN deployment d ON d.partition = h.partition AND d.group_id = h.group_id AND d.number = h.number
		LEFT JOIN definition g ON g.partition = h.partition AND g.kind = $1 AND g.id = h.group_id
		WHERE h.partition = $2 AND h.arn = $3 AND d.status = 'Success'`, fescue.GroupKind.Segment, p.Key(), arn)
	if err != nil {
		return nil, fmt.Errorf("groups that hold %s: %w", arn, err)
	}
	return list, nil
}

// Running lists the last deployment that succeeded of every group, unless it was a
// reset.
func (s Deployments) Running(ctx context.Context, aws string) ([]fescue.Deployment, error) {
	list, err := all(ctx, s.db.read, scanAnywhere(aws), `SELECT `+deploymentColumns+`, partition FROM deployment
		WHERE status = 'Success' AND group_version_id <> '' AND number = (
			SELECT max(number) FROM deployment later
			WHERE later.partition = deployment.partition AND later.group_id = deployment.group_id AND later.status = 'Success')`)
	if err != nil {
		return nil, fmt.Errorf("what every group runs: %w", err)
	}
	return list, nil
}

// mayTouch is fescue.ErrInUse for a group that whoever created a deployment may not
// touch.
func mayTouch(ctx context.Context, tx transaction, by fescue.Deployment, groupID string) error {
	if by.GroupTag == "" || groupID == by.GroupID {
		return nil
	}
	group, err := findDefinition(ctx, tx, by.Partition, fescue.GroupKind, groupID)
	if err != nil && !errors.Is(err, fescue.ErrNotFound) {
		return err
	}
	if !(identity.Limit{GroupTag: by.GroupTag}).Tagged(group.Tags) {
		return fmt.Errorf("group %s waits for the core and is not one of %s: %w", groupID, by.GroupTag, fescue.ErrInUse)
	}
	return nil
}
