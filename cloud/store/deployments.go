package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/deploy"
)

// Deployments keep deployments, their timelines, and what their cores say of their
// progress.
type Deployments struct{ tokens }

// Deployments is that part of the database.
func (db *DB) Deployments() Deployments { return Deployments{tokens{db}} }

// CreateDeployment writes a deployment that is to be built. A group of which
// another deployment is being built is fescue.ErrConflict. Tokens are as for
// CreateDefinition.
func (s Deployments) CreateDeployment(ctx context.Context, d fescue.Deployment, token fescue.Token) (fescue.Deployment, error) {
	var made fescue.Deployment
	err := s.db.update(ctx, func(tx transaction) (err error) {
		made, err = createDeployment(ctx, tx, deploy.Request{Deployment: d, Token: token})
		return err
	})
	if err != nil {
		return fescue.Deployment{}, fmt.Errorf("create deployment of group %s: %w", d.GroupID, err)
	}
	return made, nil
}

// How long CreateDeployments waits for what another transaction has. Whoever writes a list one by
// one, as one of it is locked, has others behind each of them.
const (
	longestHold = time.Second
	singleHold  = 50 * time.Millisecond
)

// CreateDeployments is CreateDeployment for each of a list, all in one transaction. What is
// refused is said in its place; with an error none is written. It is fescue.ErrLocked soon when
// another transaction has what one of them changes, sooner for a list of one.
func (s Deployments) CreateDeployments(ctx context.Context, list []deploy.Request) ([]deploy.Answer, error) {
	answers := make([]deploy.Answer, len(list))
	err := s.db.update(ctx, func(tx transaction) error {
		if hurry := s.db.engine.hurry; hurry != "" {
			hold := longestHold
			if len(list) == 1 {
				hold = singleHold
			}
			if _, err := tx.ExecContext(ctx, hurry, strconv.FormatInt(hold.Milliseconds(), 10)); err != nil {
				return err
			}
		}
		for i, r := range list {
			made, err := createDeployment(ctx, tx, r)
			switch {
			case errors.Is(err, fescue.ErrConflict): // and its token stands for nothing
				if err := forgetToken(ctx, tx, r.Deployment.Partition, r.Token, r.Deployment.ID); err != nil {
					return err
				}
			case errors.Is(err, fescue.ErrTokenReused), errors.Is(err, fescue.ErrNotFound): // nothing was written
			case err != nil:
				return fmt.Errorf("of group %s: %w", r.Deployment.GroupID, err)
			}
			answers[i] = deploy.Answer{Deployment: made, Err: err}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("create deployments: %w", err)
	}
	return answers, nil
}

// createDeployment is the step of CreateDeployment. After fescue.ErrConflict the token is claimed.
func createDeployment(ctx context.Context, tx transaction, r deploy.Request) (fescue.Deployment, error) {
	d := r.Deployment
	id, replayed, err := claimToken(ctx, tx, d.Partition, r.Token, d.ID, millis(d.CreatedAt))
	if err != nil {
		return d, err
	}
	if replayed {
		return findDeployment(ctx, tx, d.Partition, d.GroupID, id)
	}
	err = changed(ctx, tx, `
		INSERT INTO deployment (partition, id, group_id, group_version_id, type, status, phase, core_thing, epoch,
			group_tag, error_message, details_json, number, revision, leased_until, created_at, updated_at)
		SELECT $1, $2, $3, $4, $5, $6, $7, '', 0, $8, '', '', coalesce(max(number), 0) + 1, 1, $9, $10, $10
		FROM deployment WHERE partition = $1 AND group_id = $3
		ON CONFLICT DO NOTHING`,
		d.Partition.Key(), d.ID, d.GroupID, d.GroupVersionID, d.Type, d.Status, d.Phase, d.GroupTag, millis(r.LeasedUntil), millis(d.CreatedAt))
	if errors.Is(err, fescue.ErrNotFound) {
		return d, fmt.Errorf("another deployment of the group is being built: %w", fescue.ErrConflict)
	}
	if err != nil {
		return d, err
	}
	d.Revision = 1
	if err := insertStep(ctx, tx, d, fescue.CloudActor, fescue.DeploymentStep{Event: "Created", At: d.CreatedAt}); err != nil {
		return d, err
	}
	return d, insertEvent(ctx, tx, d)
}

// Deployment reads a deployment of a group. Under another group it is not found.
func (s Deployments) Deployment(ctx context.Context, p fescue.Partition, groupID, id string) (fescue.Deployment, error) {
	return findDeployment(ctx, s.db.read, p, groupID, id)
}

// DeploymentStatus reads no more of a deployment than its status, which is asked
// for more often than everything else together: each column costs. Under another
// group it is not found.
func (s Deployments) DeploymentStatus(ctx context.Context, p fescue.Partition, groupID, id string) (fescue.CurrentStatus, error) {
	var c fescue.CurrentStatus
	var details string
	var updated int64
	err := one(s.db.read.QueryRowContext(ctx, `
		SELECT type, status, error_message, details_json, updated_at FROM deployment
		WHERE partition = $1 AND id = $2 AND group_id = $3`, p.Key(), id, groupID),
		&c.Type, &c.Status, &c.ErrorMessage, &details, &updated)
	if err != nil {
		return c, fmt.Errorf("status of deployment %s of group %s: %w", id, groupID, err)
	}
	c.UpdatedAt = fromMillis(updated)
	err = fromJSON(details, &c.ErrorDetails)
	return c, err
}

// State numbers the states of the database: what is read between two calls that return the
// same number is what there was throughout. It is not known while a transaction is
// committed, nor on a database that several servers write; of what another program writes
// into a SQLite file it does not know.
func (s Deployments) State() (number uint64, known bool) { return s.db.write.state() }

// Deployments lists the deployments of a group, newest first. The page's key is
// a deployment id.
func (s Deployments) Deployments(ctx context.Context, p fescue.Partition, groupID string, page fescue.Page) ([]fescue.Deployment, error) {
	before, err := pageStart(ctx, s.db.read, page, `SELECT number FROM deployment WHERE partition = $1 AND group_id = $2 AND id = $3`,
		p.Key(), groupID, page.After)
	if err != nil {
		return nil, err
	}
	return all(ctx, s.db.read, scanDeployment(p), selectDeployment+`
		WHERE partition = $1 AND group_id = $2 AND number < $3 ORDER BY number DESC LIMIT $4`,
		p.Key(), groupID, before, page.Limit)
}

const deploymentColumns = `id, group_id, group_version_id, type, status, phase, core_thing, epoch, group_tag,
	error_message, details_json, revision, cancel_requested_at, created_at, updated_at`

const selectDeployment = `SELECT ` + deploymentColumns + ` FROM deployment`

func findDeployment(ctx context.Context, q querier, p fescue.Partition, groupID, id string) (fescue.Deployment, error) {
	row := q.QueryRowContext(ctx, selectDeployment+` WHERE partition = $1 AND id = $2 AND group_id = $3`, p.Key(), id, groupID)
	d, err := scanDeploymentRow(p, row)
	if errors.Is(err, sql.ErrNoRows) {
		err = fescue.ErrNotFound
	}
	if err != nil {
		return d, fmt.Errorf("deployment %s of group %s: %w", id, groupID, err)
	}
	return d, nil
}

func scanDeployment(p fescue.Partition) func(*sql.Rows) (fescue.Deployment, error) {
	return func(rows *sql.Rows) (fescue.Deployment, error) { return scanDeploymentRow(p, rows) }
}

// scanAnywhere scans deploymentColumns and the partition.
func scanAnywhere(aws string) func(*sql.Rows) (fescue.Deployment, error) {
	return func(rows *sql.Rows) (fescue.Deployment, error) {
		var key string
		d, err := scanDeploymentRow(fescue.Partition{}, rows, &key)
		d.Partition = partitionOf(aws, key)
		return d, err
	}
}

func scanDeploymentRow(p fescue.Partition, row interface{ Scan(...any) error }, more ...any) (fescue.Deployment, error) {
	d := fescue.Deployment{Partition: p}
	var details string
	var cancel, created, updated int64
	err := row.Scan(append([]any{&d.ID, &d.GroupID, &d.GroupVersionID, &d.Type, &d.Status, &d.Phase, &d.CoreThing, &d.Epoch, &d.GroupTag,
		&d.ErrorMessage, &details, &d.Revision, &cancel, &created, &updated}, more...)...)
	if err != nil {
		return d, err
	}
	d.CancelRequestedAt, d.CreatedAt, d.UpdatedAt = fromMillis(cancel), fromMillis(created), fromMillis(updated)
	err = fromJSON(details, &d.ErrorDetails)
	return d, err
}

// FreeBuilding ends all leases of deployments that are being built.
func (s Deployments) FreeBuilding(ctx context.Context) error {
	return s.db.update(ctx, func(tx transaction) error {
		_, err := tx.ExecContext(ctx, `UPDATE deployment SET leased_until = 0 WHERE status = 'Building' AND leased_until > 0`)
		return err
	})
}

// LeaseBuilding hands out deployments that are to be built and that nobody else builds
// until then, at most limit, those before all others that no builder has had yet. It leaves out
// those that another transaction has just now.
func (s Deployments) LeaseBuilding(ctx context.Context, aws string, until time.Time, limit int) (leased []fescue.Deployment, err error) {
	const waiting = ` FROM deployment WHERE status = 'Building' AND (leased_until < $1 OR leased_until > $2)`
	now := s.db.now()
	latest := absurd(now, until)
	var some bool
	if err := one(s.db.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1`+waiting+`)`, millis(now), latest), &some); err != nil || !some {
		return nil, err
	}
	err = s.db.update(ctx, func(tx transaction) (err error) {
		leased, err = all(ctx, tx, scanAnywhere(aws), `
			WITH free AS MATERIALIZED (
				SELECT partition AS place, id AS name`+waiting+` ORDER BY leased_until, created_at LIMIT $3`+s.db.engine.free+`)
			UPDATE deployment SET leased_until = $4 FROM free WHERE partition = place AND id = name RETURNING `+deploymentColumns+`, partition`,
			millis(now), latest, limit, millis(until))
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(leased, func(x, y fescue.Deployment) int { return x.CreatedAt.Compare(y.CreatedAt) })
	return leased, nil
}

// KeepBuilding prolongs the lease of a deployment that is being built, which ends at
// held, and writes down what its builder does. The error is fescue.ErrConflict when it
// is not being built any more, or another builder has it.
func (s Deployments) KeepBuilding(ctx context.Context, d fescue.Deployment, held, until time.Time, progress fescue.Progress) error {
	err := s.db.update(ctx, func(tx transaction) error {
		return changed(ctx, tx, `
			UPDATE deployment SET leased_until = $1, progress_json = $2
			WHERE partition = $3 AND id = $4 AND status = 'Building' AND leased_until = $5`,
			millis(until), toJSON(progress), d.Partition.Key(), d.ID, millis(held))
	})
	if errors.Is(err, fescue.ErrNotFound) {
		return fmt.Errorf("deployment %s is not built here any more: %w", d.ID, fescue.ErrConflict)
	}
	return err
}

// ApplyStep moves a deployment by a step that actor caused, if it has not
// changed since d was read: otherwise fescue.ErrConflict, and the caller reads
// again. The errors of fescue.Deployment.After come through.
func (s Deployments) ApplyStep(ctx context.Context, d fescue.Deployment, actor fescue.Actor, step fescue.DeploymentStep) (fescue.Deployment, error) {
	var next fescue.Deployment
	err := s.db.update(ctx, func(tx transaction) (err error) {
		// The core's row before its deployments', always: of two that want both,
		// one waits.
		if err := moveCore(ctx, tx, d, step.Event); err != nil {
			return err
		}
		next, err = applyStep(ctx, tx, d, actor, step)
		return err
	})
	if err == nil && actor == fescue.CloudActor {
		s.db.announce(next)
	}
	return next, err
}

// moveCore does to a deployment's core what an event of the deployment means for
// it.
func moveCore(ctx context.Context, tx transaction, d fescue.Deployment, event fescue.DeploymentEvent) error {
	if event.RaisesEpoch() {
		// Another group may have the core by now, and its epoch is higher.
		if _, err := raiseEpoch(ctx, tx, d, d.CoreThing); err != nil && !errors.Is(err, fescue.ErrInUse) {
			return err
		}
	}
	switch {
	case event == fescue.EventClaimed && !d.Type.Reset():
		return takeCore(ctx, tx, d)
	case event == fescue.EventSucceeded && d.Type.Reset():
		_, err := freeCore(ctx, tx, d, d.CoreThing)
		return err
	case event == fescue.EventOutdated:
		return nil // the core may run it
	case event.Fails() && d.Held():
		return giveBackCore(ctx, tx, d)
	}
	return nil
}

// takeCore gives a deployment's core to its group. A group owns one core at most:
// one that it had before is free.
func takeCore(ctx context.Context, tx transaction, d fescue.Deployment) error {
	// Two statements, as SQLite reads all cores of the partition for one with OR.
	_, err := tx.ExecContext(ctx, `
		UPDATE core SET group_id = '' WHERE partition = $1 AND group_id = $2 AND thing <> $3`, d.Partition.Key(), d.GroupID, d.CoreThing)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `
		UPDATE core SET group_id = $1 WHERE partition = $2 AND thing = $3`, d.GroupID, d.Partition.Key(), d.CoreThing)
	return err
}

// busyForOthers reports whether a thing that is not the core of a deployment's group
// has a deployment of another one in hand: of a group that moved on to its next core,
// say.
func busyForOthers(ctx context.Context, tx transaction, d fescue.Deployment, thing string) (busy bool, err error) {
	err = one(tx.QueryRowContext(ctx, `
		SELECT NOT EXISTS (SELECT 1 FROM core WHERE partition = $1 AND thing = $2 AND group_id = $3)
			AND EXISTS (SELECT 1 FROM deployment
				WHERE partition = $1 AND core_thing = $2 AND group_id <> $3 AND status = 'InProgress')`,
		d.Partition.Key(), thing, d.GroupID), &busy)
	return busy, err
}

// freeCore takes a core from the deployment's group, and reports whether that owned
// it.
func freeCore(ctx context.Context, tx transaction, d fescue.Deployment, thing string) (bool, error) {
	err := changed(ctx, tx, `
		UPDATE core SET group_id = '' WHERE partition = $1 AND thing = $2 AND group_id = $3`, d.Partition.Key(), thing, d.GroupID)
	if errors.Is(err, fescue.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// giveBackCore frees the core of a deployment that is about to fail, unless the core
// runs what succeeded of the group before, or has more of the group in hand. The
// group owns the core again that it had then, if nobody else has taken it.
func giveBackCore(ctx context.Context, tx transaction, d fescue.Deployment) error {
	var last fescue.Deployment
	err := one(tx.QueryRowContext(ctx, `
		SELECT type, core_thing, epoch FROM deployment
		WHERE partition = $1 AND group_id = $2 AND status = 'Success' ORDER BY number DESC LIMIT 1`,
		d.Partition.Key(), d.GroupID), &last.Type, &last.CoreThing, &last.Epoch)
	if err != nil && !errors.Is(err, fescue.ErrNotFound) {
		return err
	}
	if last.Type.Reset() {
		last.CoreThing = ""
	}
	if last.CoreThing == d.CoreThing {
		return nil
	}
	var held int
	err = tx.QueryRowContext(ctx, `
		SELECT count(*) FROM deployment
		WHERE partition = $1 AND group_id = $2 AND status = 'InProgress' AND core_thing = $3 AND phase <> $4 AND id <> $5`,
		d.Partition.Key(), d.GroupID, d.CoreThing, fescue.Offered, d.ID).Scan(&held)
	if err != nil || held > 0 {
		return err
	}
	freed, err := freeCore(ctx, tx, d, d.CoreThing)
	if err != nil || !freed || last.CoreThing == "" {
		return err
	}
	_, err = tx.ExecContext(ctx, `
		UPDATE core SET group_id = $1 WHERE partition = $2 AND thing = $3 AND group_id = ''
		AND NOT EXISTS (SELECT 1 FROM deployment WHERE partition = $2 AND core_thing = $3 AND epoch > $4 AND status = 'Success')`,
		d.GroupID, d.Partition.Key(), last.CoreThing, last.Epoch)
	return err
}

func applyStep(ctx context.Context, tx transaction, d fescue.Deployment, actor fescue.Actor, step fescue.DeploymentStep) (fescue.Deployment, error) {
	step = d.Dated(step)
	next, err := d.After(actor, step)
	if err != nil {
		return d, err
	}
	err = changed(ctx, tx, `
		UPDATE deployment SET status = $1, phase = $2, core_thing = $3, epoch = $4, error_message = $5,
			details_json = $6, revision = $7, updated_at = $8, cancel_requested_at = $9,
			progress_json = CASE WHEN status = 'Building' THEN '' ELSE progress_json END
		WHERE partition = $10 AND id = $11 AND revision = $12`,
		next.Status, next.Phase, next.CoreThing, next.Epoch, next.ErrorMessage, toJSON(next.ErrorDetails),
		next.Revision, millis(next.UpdatedAt), millis(next.CancelRequestedAt), d.Partition.Key(), d.ID, d.Revision)
	if errors.Is(err, fescue.ErrNotFound) {
		return d, fmt.Errorf("deployment %s changed meanwhile: %w", d.ID, fescue.ErrConflict)
	}
	if err != nil {
		return d, err
	}
	if err := insertStep(ctx, tx, next, actor, step); err != nil || next.Status == d.Status {
		return next, err
	}
	if next.Status.Final() {
		if err := forgetOffer(ctx, tx, next); err != nil {
			return next, err
		}
	}
	return next, insertEvent(ctx, tx, next)
}

// forgetOffer forgets what was kept for the core of a deployment that has ended.
// What a forced reset leaves for the core to find is written after its end.
func forgetOffer(ctx context.Context, tx transaction, d fescue.Deployment) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM manifest WHERE partition = $1 AND deployment_id = $2`, d.Partition.Key(), d.ID)
	if err != nil {
		return err
	}
	return settleContents(ctx, tx, d)
}

// insertStep writes the step down that led to d.
func insertStep(ctx context.Context, tx transaction, d fescue.Deployment, actor fescue.Actor, step fescue.DeploymentStep) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO deployment_step (partition, deployment_id, number, event, actor, note, fetched, warnings_json, at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		d.Partition.Key(), d.ID, d.Revision, step.Event, actor, step.Note, step.Fetched, toJSON(step.Warnings), millis(step.At))
	return err
}

// GroupCore is the thing of the core that a group owns, or has a deployment
// waiting for. The error is fescue.ErrNotFound when there is none.
func (s Cores) GroupCore(ctx context.Context, p fescue.Partition, groupID string) (thing string, err error) {
	err = one(s.db.read.QueryRowContext(ctx, `
		SELECT thing FROM core WHERE partition = $1 AND group_id = $2
		UNION ALL
		SELECT core_thing FROM deployment WHERE partition = $1 AND group_id = $2 AND status = 'InProgress'
		LIMIT 1`, p.Key(), groupID), &thing)
	return thing, err
}

// Unfinished reports whether a deployment of the group is Building or
// InProgress.
func (s Deployments) Unfinished(ctx context.Context, p fescue.Partition, groupID string) (bool, error) {
	var n int
	err := s.db.read.QueryRowContext(ctx, `
		SELECT (SELECT count(*) FROM deployment WHERE partition = $1 AND group_id = $2 AND status = 'Building')
		     + (SELECT count(*) FROM deployment WHERE partition = $1 AND group_id = $2 AND status = 'InProgress')`, p.Key(), groupID).Scan(&n)
	return n > 0, err
}

func partitionOf(aws, key string) fescue.Partition {
	p := fescue.Partition{AWS: aws}
	for i := range key {
		if key[i] == '/' {
			p.Account, p.Region = key[:i], key[i+1:]
			break
		}
	}
	return p
}
