package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/audit"
)

// Audit keeps the audit record.
type Audit struct{ db *DB }

// Audit is that part of the database.
func (db *DB) Audit() Audit { return Audit{db} }

// AddAuditRecords appends records, all or none. Nothing changes one later. One that is there
// may be added again, by who does not know whether it is.
func (s Audit) AddAuditRecords(ctx context.Context, records ...audit.Record) error {
	return s.db.update(ctx, func(tx transaction) error { return addAuditRecords(ctx, tx, records) })
}

func addAuditRecords(ctx context.Context, tx transaction, records []audit.Record) error {
	for _, r := range records {
		if _, err := tx.ExecContext(ctx, `
			INSERT INTO audit_record (partition, at, id, key_id, key_name, person, source, service, operation, resource, status, code, repeats)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
			ON CONFLICT (partition, at, id) DO NOTHING`,
			r.Partition.Key(), millis(r.At), r.ID, r.KeyID, r.KeyName, r.Person, r.Source, r.Service, r.Operation, r.Resource, r.Status, r.Code, r.Repeats); err != nil {
			return fmt.Errorf("audit record %s: %w", r.ID, err)
		}
	}
	return nil
}

// AuditRecords lists records of the partition and of its account, oldest first where the
// filter does not say otherwise.
func (s Audit) AuditRecords(ctx context.Context, p fescue.Partition, f audit.Filter) ([]audit.Record, error) {
	account := fescue.Partition{AWS: p.AWS, Account: p.Account}
	scan := func(rows *sql.Rows) (audit.Record, error) {
		r := audit.Record{Partition: p}
		var partition string
		var at int64
		err := rows.Scan(&partition, &at, &r.ID, &r.KeyID, &r.KeyName, &r.Person, &r.Source, &r.Service, &r.Operation, &r.Resource, &r.Status, &r.Code, &r.Repeats)
		if r.At = fromMillis(at); partition == account.Key() {
			r.Partition = account
		}
		return r, err
	}
	to := int64(math.MaxInt64)
	if !f.To.IsZero() {
		to = millis(f.To)
	}
	if f.Newest {
		before := int64(math.MaxInt64)
		if f.AfterID != "" {
			before = millis(f.AfterAt)
		}
		return all(ctx, s.db.read, scan, `
			SELECT partition, at, id, key_id, key_name, person, source, service, operation, resource, status, code, repeats FROM audit_record
			WHERE partition IN ($1, $2) AND at >= $3 AND at < $4 AND (at < $5 OR at = $5 AND id < $6)
			AND ($7 = '' OR key_id = $7) AND ($8 = '' OR operation = $8)
			ORDER BY at DESC, id DESC LIMIT $9`,
			p.Key(), account.Key(), millis(f.From), to, before, f.AfterID, f.KeyID, f.Operation, f.Limit)
	}
	return all(ctx, s.db.read, scan, `
		SELECT partition, at, id, key_id, key_name, person, source, service, operation, resource, status, code, repeats FROM audit_record
		WHERE partition IN ($1, $2) AND at >= $3 AND at < $4 AND (at > $5 OR at = $5 AND id > $6)
		AND ($7 = '' OR key_id = $7) AND ($8 = '' OR operation = $8)
		ORDER BY at, id LIMIT $9`,
		p.Key(), account.Key(), millis(f.From), to, millis(f.AfterAt), f.AfterID, f.KeyID, f.Operation, f.Limit)
}
