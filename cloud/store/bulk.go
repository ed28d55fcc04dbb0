package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/bulk"
)

// Bulk keeps bulk deployments and the records of their input.
type Bulk struct{ db *DB }

// Bulk is that part of the database.
func (db *DB) Bulk() Bulk { return Bulk{db} }

// CreateBulkDeployment writes a bulk deployment that is to be read. While another
// of the partition has not ended it is fescue.ErrConflict. Tokens are as for
// CreateDefinition.
func (s Bulk) CreateBulkDeployment(ctx context.Context, b bulk.BulkDeployment, token fescue.Token) (bulk.BulkDeployment, error) {
	err := s.db.update(ctx, func(tx transaction) error {
		id, replayed, err := claimToken(ctx, tx, b.Partition, token, b.ID, millis(b.CreatedAt))
		if err != nil {
			return err
		}
		if replayed {
			b, err = findBulkDeployment(ctx, tx, b.Partition, id)
			return err
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO bulk_deployment (partition, id, number, status, execution_role, bucket, object_key, tags_json,
				error_message, details_json, records_processed, invalid_records, retry_attempts, reports, created_at)
			SELECT $1, $2, coalesce(max(number), 0) + 1, $3, $4, $5, $6, $7, '', '', 0, 0, 0, 0, $8
			FROM bulk_deployment WHERE partition = $1`,
			b.Partition.Key(), b.ID, b.Status, b.ExecutionRoleARN, b.Bucket, b.Key, tagsJSON(b.Tags), millis(b.CreatedAt))
		if isUnique(err) {
			return fmt.Errorf("another bulk deployment has not ended: %w", fescue.ErrConflict)
		}
		return err
	})
	if err != nil {
		return bulk.BulkDeployment{}, fmt.Errorf("create bulk deployment: %w", err)
	}
	return b, nil
}

const selectBulkDeployment = `SELECT id, status, execution_role, bucket, object_key, tags_json, error_message, details_json,
	records_processed, invalid_records, retry_attempts, created_at`

func scanBulkDeployment(p fescue.Partition, row interface{ Scan(...any) error }, more ...any) (bulk.BulkDeployment, error) {
	b := bulk.BulkDeployment{Partition: p}
	var tags, details string
	var created int64
	err := row.Scan(append([]any{&b.ID, &b.Status, &b.ExecutionRoleARN, &b.Bucket, &b.Key, &tags, &b.ErrorMessage, &details,
		&b.RecordsProcessed, &b.InvalidRecords, &b.RetryAttempts, &created}, more...)...)
	if err != nil {
		return b, err
	}
	b.CreatedAt = fromMillis(created)
	err = errors.Join(fromJSON(tags, &b.Tags), fromJSON(details, &b.ErrorDetails))
	return b, err
}

func findBulkDeployment(ctx context.Context, q querier, p fescue.Partition, id string) (bulk.BulkDeployment, error) {
	b, err := scanBulkDeployment(p, q.QueryRowContext(ctx, selectBulkDeployment+`
		FROM bulk_deployment WHERE partition = $1 AND id = $2`, p.Key(), id))
	if errors.Is(err, sql.ErrNoRows) {
		err = fescue.ErrNotFound
	}
	if err != nil {
		return b, fmt.Errorf("bulk deployment %s: %w", id, err)
	}
	return b, nil
}

// BulkDeployment reads a bulk deployment.
func (s Bulk) BulkDeployment(ctx context.Context, p fescue.Partition, id string) (bulk.BulkDeployment, error) {
	return findBulkDeployment(ctx, s.db.read, p, id)
}

// BulkDeployments lists those of a partition, newest first. The page's key is an
// id.
func (s Bulk) BulkDeployments(ctx context.Context, p fescue.Partition, page fescue.Page) ([]bulk.BulkDeployment, error) {
	before, err := pageStart(ctx, s.db.read, page, `SELECT number FROM bulk_deployment WHERE partition = $1 AND id = $2`, p.Key(), page.After)
	if err != nil {
		return nil, err
	}
	scan := func(rows *sql.Rows) (bulk.BulkDeployment, error) { return scanBulkDeployment(p, rows) }
	return all(ctx, s.db.read, scan, selectBulkDeployment+`
		FROM bulk_deployment WHERE partition = $1 AND number < $2 ORDER BY number DESC LIMIT $3`, p.Key(), before, page.Limit)
}

// ActiveBulkDeployments lists those of all partitions that have not ended.
func (s Bulk) ActiveBulkDeployments(ctx context.Context, aws string) ([]bulk.BulkDeployment, error) {
	scan := func(rows *sql.Rows) (bulk.BulkDeployment, error) {
		var key string
		b, err := scanBulkDeployment(fescue.Partition{}, rows, &key)
		b.Partition = partitionOf(aws, key)
		return b, err
	}
	return all(ctx, s.db.read, scan, selectBulkDeployment+`, partition
		FROM bulk_deployment WHERE status IN ('Initializing', 'Running', 'Stopping')`)
}

// MoveBulkDeployment brings a bulk deployment from its status in b to another,
// with what is said of a failure. If it is no longer there it is
// fescue.ErrConflict.
func (s Bulk) MoveBulkDeployment(ctx context.Context, b bulk.BulkDeployment, to bulk.BulkStatus, message string, details []fescue.ErrorDetail) error {
	err := s.db.update(ctx, func(tx transaction) error {
		return changed(ctx, tx, `
			UPDATE bulk_deployment SET status = $1, error_message = $2, details_json = $3
			WHERE partition = $4 AND id = $5 AND status = $6`,
			to, message, toJSON(details), b.Partition.Key(), b.ID, b.Status)
	})
	if errors.Is(err, fescue.ErrNotFound) {
		err = fescue.ErrConflict
	}
	if err != nil {
		return fmt.Errorf("bulk deployment %s from %s to %s: %w", b.ID, b.Status, to, err)
	}
	return nil
}

// ReplaceBulkTags writes the tags of a bulk deployment if they still are old,
// else fescue.ErrConflict.
func (s Bulk) ReplaceBulkTags(ctx context.Context, p fescue.Partition, id string, old, tags map[string]string) error {
	return s.db.update(ctx, func(tx transaction) error {
		err := changed(ctx, tx, `
			UPDATE bulk_deployment SET tags_json = $1 WHERE partition = $2 AND id = $3 AND tags_json = $4`,
			tagsJSON(tags), p.Key(), id, tagsJSON(old))
		if !errors.Is(err, fescue.ErrNotFound) {
			return err
		}
		if _, err := findBulkDeployment(ctx, tx, p, id); err != nil {
			return err
		}
		return fescue.ErrConflict
	})
}

// AddBulkRecords writes lines of the input.
func (s Bulk) AddBulkRecords(ctx context.Context, b bulk.BulkDeployment, records []bulk.BulkRecord) error {
	return s.db.update(ctx, func(tx transaction) error {
		for _, r := range records {
			_, err := tx.ExecContext(ctx, `
				INSERT INTO bulk_record (partition, bulk_id, line, group_id, group_version_id, attempts, due_at, report,
					deployment_id, error_message, details_json, reported_at)
				VALUES ($1, $2, $3, $4, $5, 0, 0, 0, '', '', '', 0)`,
				b.Partition.Key(), b.ID, r.Line, r.GroupID, r.GroupVersionID)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// ClearBulkRecords forgets the lines that were not reported, and returns how many
// of at most limit there were.
func (s Bulk) ClearBulkRecords(ctx context.Context, b bulk.BulkDeployment, limit int) (n int64, err error) {
	err = s.db.update(ctx, func(tx transaction) error {
		res, err := tx.ExecContext(ctx, `
			DELETE FROM bulk_record WHERE partition = $1 AND bulk_id = $2 AND report = 0 AND line IN (
				SELECT line FROM bulk_record WHERE partition = $1 AND bulk_id = $2 AND report = 0 LIMIT $3)`,
			b.Partition.Key(), b.ID, limit)
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		return err
	})
	return n, err
}

// DueBulkRecords lists the records to be tried now, in the order in which they
// are due. pending reports whether there are any at all, now or later.
func (s Bulk) DueBulkRecords(ctx context.Context, b bulk.BulkDeployment, limit int) (due []bulk.BulkRecord, pending bool, err error) {
	type dated struct {
		bulk.BulkRecord
		due int64
	}
	scan := columns(func(r *dated) []any { return []any{&r.Line, &r.GroupID, &r.GroupVersionID, &r.Attempts, &r.due} })
	list, err := all(ctx, s.db.read, scan, `
		SELECT line, group_id, group_version_id, attempts, due_at FROM bulk_record
		WHERE partition = $1 AND bulk_id = $2 AND report = 0 ORDER BY due_at, line LIMIT $3`, b.Partition.Key(), b.ID, limit)
	now := millis(s.db.now())
	for _, r := range list {
		if r.due <= now {
			due = append(due, r.BulkRecord)
		}
	}
	return due, len(list) > 0, err
}

// FinishBulkRecords writes down what came of one try of each of some records, with the
// counts of their bulk deployment, and numbers the reports in their order. What meanwhile
// was tried or reported by another stays as that wrote it.
func (s Bulk) FinishBulkRecords(ctx context.Context, b bulk.BulkDeployment, tries []bulk.BulkTry) error {
	err := s.db.update(ctx, func(tx transaction) error {
		// Read by a change, so that one after the other counts.
		var reports int64
		err := one(tx.QueryRowContext(ctx, `
			UPDATE bulk_deployment SET reports = reports WHERE partition = $1 AND id = $2 RETURNING reports`, b.Partition.Key(), b.ID), &reports)
		if err != nil {
			return err
		}
		var first, invalid, retried int64
		for _, t := range tries {
			report, tried := int64(0), 1
			if t.RetryAt.IsZero() {
				report = reports + 1
			}
			if t.Held {
				tried = 0
			}
			err := changed(ctx, tx, `
				UPDATE bulk_record SET attempts = attempts + $11, due_at = $1, report = $2, deployment_id = $3, error_message = $4,
					details_json = $5, reported_at = $6
				WHERE partition = $7 AND bulk_id = $8 AND line = $9 AND attempts = $10 AND report = 0`,
				millis(t.RetryAt), report, t.DeploymentID, t.ErrorMessage, toJSON(t.ErrorDetails), millis(t.At),
				b.Partition.Key(), b.ID, t.Line, t.Attempts, tried)
			if err != nil && !errors.Is(err, fescue.ErrNotFound) {
				return fmt.Errorf("line %d: %w", t.Line, err)
			}
			if err != nil || t.Held {
				continue
			}
			if t.Attempts == 0 {
				first++
			}
			if t.Invalid {
				invalid++
			}
			if report == 0 {
				retried++
			} else {
				reports = report
			}
		}
		return changed(ctx, tx, `
			UPDATE bulk_deployment SET records_processed = records_processed + $1, invalid_records = invalid_records + $2,
				retry_attempts = retry_attempts + $3, reports = $4
			WHERE partition = $5 AND id = $6`, first, invalid, retried, reports, b.Partition.Key(), b.ID)
	})
	if err != nil {
		return fmt.Errorf("records of bulk deployment %s: %w", b.ID, err)
	}
	return nil
}

// StartedBulkRecords lists the records that are not reported although they have
// become deployments, with the deployments' ids: their tokens, of operation, are
// the bulk deployment's id, a slash and the line.
func (s Bulk) StartedBulkRecords(ctx context.Context, b bulk.BulkDeployment, operation string) (map[string]bulk.BulkRecord, error) {
	started := make(map[string]bulk.BulkRecord)
	scan := func(rows *sql.Rows) (r bulk.BulkRecord, err error) {
		var deployment string
		if err := rows.Scan(&r.Line, &r.GroupID, &r.GroupVersionID, &r.Attempts, &deployment); err != nil {
			return r, err
		}
		started[deployment] = r
		return r, nil
	}
	_, err := all(ctx, s.db.read, scan, `
		SELECT r.line, r.group_id, r.group_version_id, r.attempts, t.subject FROM bulk_record AS r
		JOIN client_token AS t ON t.partition = r.partition AND t.operation = $1
			AND t.value = r.bulk_id || '/' || CAST(r.line AS TEXT)
		WHERE r.partition = $2 AND r.bulk_id = $3 AND r.report = 0`, operation, b.Partition.Key(), b.ID)
	return started, err
}

// BulkReports lists the records that have become deployments or failed, newest
// first, with the deployments' present state. The page's key is a number.
func (s Bulk) BulkReports(ctx context.Context, p fescue.Partition, id string, page fescue.Page) ([]bulk.BulkReport, error) {
	before := int64(1) << 62
	if page.After != "" {
		var err error
		if before, err = strconv.ParseInt(page.After, 10, 64); err != nil {
			return nil, fmt.Errorf("page after %q: %w", page.After, err)
		}
	}
	scan := func(rows *sql.Rows) (r bulk.BulkReport, err error) {
		var details, statusDetails string
		var at int64
		err = rows.Scan(&r.Number, &r.Line, &r.GroupID, &r.GroupVersionID, &r.Attempts, &r.DeploymentID, &r.ErrorMessage,
			&details, &at, &r.Status, &r.StatusMessage, &statusDetails)
		if err != nil {
			return r, err
		}
		r.At = fromMillis(at)
		err = errors.Join(fromJSON(details, &r.ErrorDetails), fromJSON(statusDetails, &r.StatusDetails))
		return r, err
	}
	return all(ctx, s.db.read, scan, `
		SELECT r.report, r.line, r.group_id, r.group_version_id, r.attempts, r.deployment_id, r.error_message, r.details_json,
			r.reported_at, coalesce(d.status, ''), coalesce(d.error_message, ''), coalesce(d.details_json, '')
		FROM bulk_record AS r LEFT JOIN deployment AS d ON d.partition = r.partition AND d.id = r.deployment_id
		WHERE r.partition = $1 AND r.bulk_id = $2 AND r.report > 0 AND r.report < $3 ORDER BY r.report DESC LIMIT $4`,
		p.Key(), id, before, page.Limit)
}

// BuildingDeployments counts the deployments that a bulk deployment of a partition waits for:
// all of the partition that are being built, and those of others that no builder has said
// anything of yet. What it says something of, such as that models are copied, holds up nobody
// else's.
func (s Bulk) BuildingDeployments(ctx context.Context, p fescue.Partition) (n int64, err error) {
	err = one(s.db.read.QueryRowContext(ctx, `
		SELECT count(*) FROM deployment WHERE status = 'Building' AND (partition = $1 OR progress_json = '')`, p.Key()), &n)
	return n, err
}

// BulkProgress is how far a bulk deployment has come, and why records failed, in no order of
// causes.
func (s Bulk) BulkProgress(ctx context.Context, p fescue.Partition, id string) (progress bulk.Progress, err error) {
	if progress.BulkDeployment, err = s.BulkDeployment(ctx, p, id); err != nil {
		return progress, err
	}
	progress.States = make(map[fescue.DeploymentStatus]int)
	const records = ` FROM bulk_record AS r LEFT JOIN deployment AS d ON d.partition = r.partition AND d.id = r.deployment_id`
	const of = ` WHERE r.partition = $1 AND r.bulk_id = $2`
	counted := func(rows *sql.Rows) (_ struct{}, err error) {
		var reported bool
		var status fescue.DeploymentStatus
		var n int
		if err = rows.Scan(&reported, &status, &n); err != nil {
			return
		}
		if progress.Records += n; reported {
			progress.Reported += n
			progress.States[status] += n
		}
		return
	}
	if _, err = all(ctx, s.db.read, counted, `
		SELECT r.report > 0, CASE WHEN r.report > 0 AND r.deployment_id = '' THEN $3 ELSE coalesce(d.status, '') END AS status, count(*)`+
		records+of+` GROUP BY 1, 2`, p.Key(), id, fescue.Failure); err != nil {
		return progress, fmt.Errorf("progress of bulk deployment %s: %w", id, err)
	}
	failed := func(rows *sql.Rows) (_ struct{}, err error) {
		var f bulk.FailedRecord
		var message, text string
		if err = rows.Scan(&f.Line, &f.GroupID, &f.GroupName, &f.DeploymentID, &message, &text); err != nil {
			return
		}
		var details []fescue.ErrorDetail
		if err = fromJSON(text, &details); err != nil {
			return
		}
		f.Detail.DetailedErrorMessage = message
		if len(details) > 0 {
			f.Detail = details[0]
		}
		progress.Add(f)
		return
	}
	_, err = all(ctx, s.db.read, failed, `
		SELECT r.line, r.group_id, coalesce(g.name, ''), r.deployment_id, coalesce(d.error_message, r.error_message), coalesce(d.details_json, r.details_json)`+
		records+` LEFT JOIN definition AS g ON g.partition = r.partition AND g.kind = $3 AND g.id = r.group_id`+
		of+` AND r.report > 0 AND (r.deployment_id = '' OR d.status = $4) ORDER BY r.report DESC LIMIT $5`,
		p.Key(), id, fescue.GroupKind.Segment, fescue.Failure, bulk.MaxCounted)
	if err != nil {
		return progress, fmt.Errorf("failures of bulk deployment %s: %w", id, err)
	}
	return progress, nil
}
