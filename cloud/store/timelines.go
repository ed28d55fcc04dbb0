package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/deploy"
)

// Steps is the timeline of a deployment, oldest step first.
func (s Deployments) Steps(ctx context.Context, p fescue.Partition, deploymentID string) ([]fescue.RecordedStep, error) {
	return all(ctx, s.db.read, func(rows *sql.Rows) (fescue.RecordedStep, error) {
		var step fescue.RecordedStep
		var at int64
		var warnings string
		err := rows.Scan(&step.Event, &step.Actor, &step.Note, &step.Fetched, &warnings, &at)
		if err == nil {
			err = fromJSON(warnings, &step.Warnings)
		}
		step.At = fromMillis(at)
		return step, err
	}, `SELECT event, actor, note, fetched, warnings_json, at FROM deployment_step
		WHERE partition = $1 AND deployment_id = $2 ORDER BY number`, p.Key(), deploymentID)
}

// SetProgress writes down what a core does for a deployment that is not over for
// it, as Deployment.Over says, else the error is fescue.ErrEnded.
func (s Deployments) SetProgress(ctx context.Context, d fescue.Deployment, progress fescue.Progress) error {
	err := s.db.update(ctx, func(tx transaction) error {
		return changed(ctx, tx, `
			UPDATE deployment SET progress_json = $1 WHERE partition = $2 AND id = $3
				AND (status = 'InProgress' OR status = 'Success' AND type = 'ForceResetDeployment')`,
			toJSON(progress), d.Partition.Key(), d.ID)
	})
	if errors.Is(err, fescue.ErrNotFound) {
		return fmt.Errorf("progress of deployment %s: %w", d.ID, fescue.ErrEnded)
	}
	return err
}

// Progress is what a deployment's core last said that it does, or its builder before.
func (s Deployments) Progress(ctx context.Context, p fescue.Partition, deploymentID string) (fescue.Progress, error) {
	var text string
	var progress fescue.Progress
	err := one(s.db.read.QueryRowContext(ctx, `
		SELECT progress_json FROM deployment WHERE partition = $1 AND id = $2`, p.Key(), deploymentID), &text)
	if err == nil {
		err = fromJSON(text, &progress)
	}
	return progress, err
}

// Overdue lists deployments, of every partition, that have been in a phase since
// before a time, the longest first.
func (s Deployments) Overdue(ctx context.Context, aws string, phase fescue.DeploymentPhase, before time.Time, limit int) ([]fescue.Deployment, error) {
	return all(ctx, s.db.read, scanAnywhere(aws), `SELECT `+deploymentColumns+`, partition FROM deployment
		WHERE status = 'InProgress' AND phase = $1 AND updated_at < $2 ORDER BY updated_at LIMIT $3`,
		phase, millis(before), limit)
}

// Redate has deployments under way that seem to have come to their phase later
// than a time have come there now, and says how many: a clock was ahead, and their
// deadlines would be that far away.
func (s Deployments) Redate(ctx context.Context, late, now time.Time, limit int) (n int, err error) {
	type key struct{ partition, id string }
	scan := columns(func(k *key) []any { return []any{&k.partition, &k.id} })
	ahead, err := all(ctx, s.db.read, scan, `
		SELECT partition, id FROM deployment
		WHERE status = 'InProgress' AND phase IN ('Offered', 'Claimed', 'Staged', 'Switched') AND updated_at > $1 LIMIT $2`, millis(late), limit)
	if err != nil || len(ahead) == 0 {
		return 0, err
	}
	err = s.db.update(ctx, func(tx transaction) error {
		n = 0
		for _, k := range ahead {
			err := changed(ctx, tx, `
				UPDATE deployment SET updated_at = $1,
					cancel_requested_at = CASE WHEN cancel_requested_at > $1 THEN $1 ELSE cancel_requested_at END
				WHERE partition = $2 AND id = $3 AND status = 'InProgress' AND updated_at > $4`, millis(now), k.partition, k.id, millis(late))
			if errors.Is(err, fescue.ErrNotFound) {
				continue // it ended
			}
			if err != nil {
				return err
			}
			n++
			if _, err := tx.ExecContext(ctx, `
				UPDATE deployment_step SET at = $1 WHERE partition = $2 AND deployment_id = $3 AND at > $1`, millis(now), k.partition, k.id); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

// DeploymentsIn lists the deployments of all groups that are in a status, newest
// first. The page's key is a deployment id.
func (s Deployments) DeploymentsIn(ctx context.Context, p fescue.Partition, status fescue.DeploymentStatus, page fescue.Page) ([]deploy.Listed, error) {
	before, err := pageStart(ctx, s.db.read, page, `SELECT created_at FROM deployment WHERE partition = $1 AND id = $2`, p.Key(), page.After)
	if err != nil {
		return nil, err
	}
	scan := func(rows *sql.Rows) (l deploy.Listed, err error) {
		l.Deployment, err = scanDeploymentRow(p, rows, &l.Last)
		return l, err
	}
	return all(ctx, s.db.read, scan, `SELECT `+deploymentColumns+`, NOT EXISTS (
			SELECT 1 FROM deployment later WHERE later.partition = d.partition AND later.group_id = d.group_id AND later.number > d.number
				AND later.status IN ('Success', 'Failure'))
		FROM deployment d
		WHERE partition = $1 AND status = $2 AND (created_at, id) < ($3, $4)
		ORDER BY created_at DESC, id DESC LIMIT $5`, p.Key(), status, before, page.After, page.Limit)
}
