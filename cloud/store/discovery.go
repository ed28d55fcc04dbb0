package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/fescue-edge/fescue"
)

// Memberships lists the groups whose last deployment that succeeded has a client
// device, in ascending order of their ids, at most limit. A group that has the
// thing with several certificates is listed with each.
func (s Holdings) Memberships(ctx context.Context, p fescue.Partition, thing string, limit int) ([]fescue.Membership, error) {
	scan := func(rows *sql.Rows) (m fescue.Membership, err error) {
		return m, rows.Scan(&m.GroupID, &m.CoreThing, &m.CertificateARN)
	}
	list, err := all(ctx, s.db.read, scan, `
		SELECT c.group_id, d.core_thing, c.certificate_arn FROM client_device c
		JOIN deployment d ON d.partition = c.partition AND d.group_id = c.group_id AND d.number = c.number
		WHERE c.partition = $1 AND c.thing = $2 AND d.status = 'Success'
		ORDER BY c.group_id, c.certificate_arn LIMIT $3`, p.Key(), thing, limit)
	if err != nil {
		return nil, fmt.Errorf("groups of client device %s: %w", thing, err)
	}
	return list, nil
}
