package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/fescue-edge/fescue"
)

// Memberships lists the groups whose last deployment that succeeded has a client
// device, in ascending order of their ids, at most limit. A group that has the
// thing with several certificates is listed with each.
func (s Holdings) Memberships(ctx context.Context, p fescue.Partition, thing string, limit int) ([]fescue.Membership, error) {
	scan := columns(func(m *fescue.Membership) []any { return []any{&m.GroupID, &m.CoreThing, &m.CertificateARN} })
	// That a group has an id leads SQLite to the index of things.
	list, err := all(ctx, s.db.read, scan, `
		SELECT c.group_id, d.core_thing, c.certificate_arn FROM client_device c
		JOIN deployment d ON d.partition = c.partition AND d.group_id = c.group_id AND d.number = c.number
		WHERE c.partition = $1 AND c.thing = $2 AND c.group_id > '' AND d.status = 'Success'
		ORDER BY c.group_id, c.certificate_arn LIMIT $3`, p.Key(), thing, limit)
	if err != nil {
		return nil, fmt.Errorf("groups of client device %s: %w", thing, err)
	}
	return list, nil
}

// RevokedDevices lists the ids of certificates that are not to be taken from client
// devices of what was offered to a group's core: those that are not ACTIVE, or not
// registered any more. devices is how many there are in all.
func (s Holdings) RevokedDevices(ctx context.Context, p fescue.Partition, groupID string) (devices int, revoked []string, err error) {
	type row struct{ arn, status string }
	list, err := all(ctx, s.db.read, columns(func(r *row) []any { return []any{&r.arn, &r.status} }), `
		SELECT c.certificate_arn, coalesce(t.status, '') FROM client_device c
		LEFT JOIN certificate t ON t.id = substr(c.certificate_arn, length(c.certificate_arn) - 63) AND t.partition = c.partition
		WHERE c.partition = $1 AND c.group_id = $2`, p.Key(), groupID)
	if err != nil {
		return 0, nil, fmt.Errorf("certificates of the client devices of group %s: %w", groupID, err)
	}
	// In place of DISTINCT and ORDER BY, for which SQLite reads the devices of all groups.
	slices.SortFunc(list, func(a, b row) int { return strings.Compare(a.arn, b.arn) })
	list = slices.Compact(list)
	for _, r := range list {
		if r.status != string(fescue.CertificateActive) {
			revoked = append(revoked, r.arn[max(0, len(r.arn)-64):])
		}
	}
	return len(list), revoked, nil
}

// CoresOfDevices lists the cores to which client devices with certificates were offered, each
// once.
func (s Holdings) CoresOfDevices(ctx context.Context, p fescue.Partition, certificateARNs []string) ([]string, error) {
	if len(certificateARNs) == 0 {
		return nil, nil
	}
	// BETWEEN leads SQLite to the index of certificates.
	list, err := all(ctx, s.db.read, column[string], `WITH wanted (arn) AS (`+s.db.engine.listed+`)
		SELECT DISTINCT d.core_thing FROM wanted CROSS JOIN client_device c
		JOIN deployment d ON d.partition = c.partition AND d.group_id = c.group_id AND d.number = c.number
		WHERE c.partition = $2 AND c.certificate_arn BETWEEN wanted.arn AND wanted.arn ORDER BY d.core_thing`, toJSON(certificateARNs), p.Key())
	if err != nil {
		return nil, fmt.Errorf("cores of the client devices with %d certificates: %w", len(certificateARNs), err)
	}
	return list, nil
}
