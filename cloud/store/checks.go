package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/fescue-edge/fescue"
)

// Checks keep what a core is asked to look at, and its answer.
type Checks struct{ db *DB }

// Checks is that part of the database.
func (db *DB) Checks() Checks { return Checks{db} }

// AskCheck leaves a check for a core, until it expires. What has expired is
// removed.
func (s Checks) AskCheck(ctx context.Context, p fescue.Partition, thing, id string, request []byte, expires time.Time) error {
	err := s.db.update(ctx, func(tx transaction) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM core_check WHERE expires_at < $1`, millis(s.db.now())); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `
			INSERT INTO core_check (partition, id, thing, request_json, answer_json, expires_at)
			VALUES ($1, $2, $3, $4, '', $5)`, p.Key(), id, thing, string(request), millis(expires))
		return err
	})
	if err == nil {
		s.db.announce(fescue.Deployment{Partition: p, CoreThing: thing, ID: id})
	}
	return err
}

// WaitingCheck is a check that a core has not answered. The error is
// fescue.ErrNotFound when there is none.
func (s Checks) WaitingCheck(ctx context.Context, p fescue.Partition, thing string) (id string, request []byte, err error) {
	var text string
	err = one(s.db.read.QueryRowContext(ctx, `
		SELECT id, request_json FROM core_check
		WHERE partition = $1 AND thing = $2 AND answer_json = '' AND expires_at > $3 ORDER BY expires_at LIMIT 1`,
		p.Key(), thing, millis(s.db.now())), &id, &text)
	return id, []byte(text), err
}

// waitingChecks are the checks, of all partitions, that no core has answered, as
// what a watch reports.
func (s Checks) waitingChecks(ctx context.Context, aws string, now time.Time) ([]fescue.Deployment, error) {
	return all(ctx, s.db.read, func(rows *sql.Rows) (d fescue.Deployment, err error) {
		var partition string
		err = rows.Scan(&partition, &d.CoreThing, &d.ID)
		d.Partition = partitionOf(aws, partition)
		return d, err
	}, `
		SELECT partition, thing, id FROM core_check WHERE answer_json = '' AND expires_at > $1 LIMIT $2`, millis(now), mostOffers)
}

// AnswerCheck keeps a core's answer. The error is fescue.ErrNotFound when nobody
// waits for it.
func (s Checks) AnswerCheck(ctx context.Context, p fescue.Partition, thing, id string, answer []byte) error {
	return s.db.update(ctx, func(tx transaction) error {
		return changed(ctx, tx, `
			UPDATE core_check SET answer_json = $1
			WHERE partition = $2 AND thing = $3 AND id = $4 AND answer_json = ''`, string(answer), p.Key(), thing, id)
	})
}

// CheckAnswer is a core's answer, nil while there is none.
func (s Checks) CheckAnswer(ctx context.Context, p fescue.Partition, id string) ([]byte, error) {
	var text string
	err := one(s.db.read.QueryRowContext(ctx, `
		SELECT answer_json FROM core_check WHERE partition = $1 AND id = $2`, p.Key(), id), &text)
	if text == "" {
		return nil, err
	}
	return []byte(text), err
}

// ForgetCheck removes a check that nobody waits for any more.
func (s Checks) ForgetCheck(ctx context.Context, p fescue.Partition, id string) error {
	return s.db.update(ctx, func(tx transaction) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM core_check WHERE partition = $1 AND id = $2`, p.Key(), id)
		return err
	})
}

// CoreOwner is the group that owns a core, empty for none.
func (s Cores) CoreOwner(ctx context.Context, p fescue.Partition, thing string) (groupID string, err error) {
	err = one(s.db.read.QueryRowContext(ctx, `
		SELECT group_id FROM core WHERE partition = $1 AND thing = $2`, p.Key(), thing), &groupID)
	if errors.Is(err, fescue.ErrNotFound) {
		return "", nil
	}
	return groupID, err
}
