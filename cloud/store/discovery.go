package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/fescue-edge/fescue"
)

// insertDevices keeps the client devices of what is offered.
func insertDevices(ctx context.Context, tx *sql.Tx, d fescue.Deployment, devices []fescue.ClientDevice) error {
	if len(devices) == 0 {
		return nil
	}
	insert, err := tx.PrepareContext(ctx, `
		INSERT INTO client_device (partition, group_id, number, thing, certificate_arn)
		SELECT partition, group_id, number, $1, $2 FROM deployment WHERE partition = $3 AND id = $4
		ON CONFLICT DO NOTHING`)
	if err != nil {
		return err
	}
	defer insert.Close()
	for _, device := range devices {
		if _, err := insert.ExecContext(ctx, device.Thing, device.CertificateARN, d.Partition.Key(), d.ID); err != nil {
			return fmt.Errorf("client device %s: %w", device.Thing, err)
		}
	}
	return nil
}

// settleDevices forgets client devices that a deployment's end leaves in no
// group: its own when it failed, those of the deployments before it when it
// succeeded. A reset has none of its own.
func settleDevices(ctx context.Context, tx *sql.Tx, d fescue.Deployment) error {
	var err error
	switch d.Status {
	case fescue.Success:
		_, err = tx.ExecContext(ctx, `
			DELETE FROM client_device WHERE partition = $1 AND group_id = $2
			AND number < (SELECT number FROM deployment WHERE partition = $1 AND id = $3)`, d.Partition.Key(), d.GroupID, d.ID)
	case fescue.Failure:
		_, err = tx.ExecContext(ctx, `
			DELETE FROM client_device WHERE partition = $1 AND group_id = $2
			AND number = (SELECT number FROM deployment WHERE partition = $1 AND id = $3)`, d.Partition.Key(), d.GroupID, d.ID)
	}
	return err
}

// Memberships lists the groups whose last deployment that succeeded has a client
// device, in ascending order of their ids, at most limit. A group that has the
// thing with several certificates is listed with each.
func (s *Store) Memberships(ctx context.Context, p fescue.Partition, thing string, limit int) ([]fescue.Membership, error) {
	scan := func(rows *sql.Rows) (m fescue.Membership, err error) {
		return m, rows.Scan(&m.GroupID, &m.CoreThing, &m.CertificateARN)
	}
	list, err := all(ctx, s.read, scan, `
		SELECT c.group_id, d.core_thing, c.certificate_arn FROM client_device c
		JOIN deployment d ON d.partition = c.partition AND d.group_id = c.group_id AND d.number = c.number
		WHERE c.partition = $1 AND c.thing = $2 AND d.status = 'Success'
		ORDER BY c.group_id, c.certificate_arn LIMIT $3`, p.Key(), thing, limit)
	if err != nil {
		return nil, fmt.Errorf("groups of client device %s: %w", thing, err)
	}
	return list, nil
}
