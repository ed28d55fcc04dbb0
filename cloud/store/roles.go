package store

import (
	"context"
	"time"

	"github.com/fescue-edge/fescue"
)

// GroupRoles keep which IAM role a group has, and which one the service has in a
// partition.
type GroupRoles struct{ db *DB }

// GroupRoles is that part of the database.
func (db *DB) GroupRoles() GroupRoles { return GroupRoles{db} }

// AssociateRole keeps the role of a group, or with an empty group id the
// partition's service role, in place of the one before. It returns when.
func (s GroupRoles) AssociateRole(ctx context.Context, p fescue.Partition, groupID, roleARN string) (time.Time, error) {
	now := s.db.now().UTC()
	err := s.db.update(ctx, func(tx transaction) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO greengrass_role (partition, group_id, role_arn, associated_at) VALUES ($1, $2, $3, $4)
			ON CONFLICT (partition, group_id) DO UPDATE SET role_arn = excluded.role_arn, associated_at = excluded.associated_at`,
			p.Key(), groupID, roleARN, millis(now))
		return err
	})
	return now, err
}

// DisassociateRole forgets the role, also when there is none. It returns when.
func (s GroupRoles) DisassociateRole(ctx context.Context, p fescue.Partition, groupID string) (time.Time, error) {
	err := s.db.update(ctx, func(tx transaction) error {
		_, err := tx.ExecContext(ctx, `
			DELETE FROM greengrass_role WHERE partition = $1 AND group_id = $2`, p.Key(), groupID)
		return err
	})
	return s.db.now().UTC(), err
}

// AssociatedRole reads the role and when it was associated.
func (s GroupRoles) AssociatedRole(ctx context.Context, p fescue.Partition, groupID string) (roleARN string, at time.Time, err error) {
	var ms int64
	err = one(s.db.read.QueryRowContext(ctx, `
		SELECT role_arn, associated_at FROM greengrass_role WHERE partition = $1 AND group_id = $2`,
		p.Key(), groupID), &roleARN, &ms)
	return roleARN, fromMillis(ms), err
}
