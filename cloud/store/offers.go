package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/fescue-edge/fescue"
)

// Timing of notifications. They arrive within milliseconds or not at all: each server sends
// itself one now and then, and while it does not receive that, it looks for offers once a
// second.
const (
	heartbeat = 5 * time.Second
	lookAgain = time.Second
	// skew is how far back a look goes beyond the last one, for the clocks of
	// other servers and transactions that took a while.
	skew = 5 * time.Second
	// mostOffers bounds one look. Cores find what it leaves out by themselves.
	mostOffers = 1000
)

// Offers keep what is there for each core to take: a signed manifest, and the
// epoch by which a core knows what is new.
type Offers struct{ db *DB }

// Offers is that part of the database.
func (db *DB) Offers() Offers { return Offers{db} }

// WatchOffers calls wake for each step by which another server on the database
// left something for a core to do, until ctx ends. Of the deployment wake gets
// the partition, the core, the ids and the epoch. It may be called again for the
// same step. On SQLite there is no other server.
func (s Offers) WatchOffers(ctx context.Context, aws string, wake func(fescue.Deployment)) {
	if s.db.peers == nil {
		<-ctx.Done()
		return
	}
	w := &watch{db: s.db, aws: aws, wake: wake, since: s.db.now()}
	for {
		err := w.listen(ctx)
		if ctx.Err() != nil {
			return
		}
		if !w.cut {
			w.cut = true
			s.db.peers.logger.Warn("notifications of other servers do not arrive; looking for offers once a second", "error", err)
		}
		if err := w.look(ctx); err != nil && ctx.Err() == nil {
			s.db.peers.logger.Debug("offers of other servers could not be read", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(lookAgain):
		}
	}
}

// watch is how one server learns of others' offers.
type watch struct {
	db    *DB
	aws   string
	wake  func(fescue.Deployment)
	cut   bool            // notifications do not arrive
	since time.Time       // what was offered before is known
	seen  map[string]bool // what the last look found
}

// listen receives notifications until they fail to arrive.
func (w *watch) listen(ctx context.Context) error {
	p := w.db.peers
	conn, err := pgx.ConnectConfig(ctx, p.config)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), heartbeat)
		defer cancel()
		conn.Close(closing)
	}()
	if _, err := conn.Exec(ctx, `LISTEN `+p.channel); err != nil {
		return err
	}
	beat := toJSON(notice{From: p.self})
	if _, err := conn.Exec(ctx, notify, p.channel, beat); err != nil {
		return err
	}
	for awaited := true; ; {
		n, err := receive(ctx, conn)
		switch {
		case errors.Is(err, errQuiet) && awaited:
			return err
		case errors.Is(err, errQuiet):
			if _, err := conn.Exec(ctx, notify, p.channel, beat); err != nil {
				return err
			}
			awaited = true
		case err != nil:
			return err
		default:
			if awaited && n.From == p.self && n.Core == "" {
				if err := w.arriving(ctx); err != nil {
					return err
				}
				awaited = false
			}
			w.since = w.db.now()
			if n.From != p.self && n.Core != "" {
				w.wake(fescue.Deployment{
					Partition: partitionOf(w.aws, n.Partition), CoreThing: n.Core, GroupID: n.Group, ID: n.Deployment, Epoch: n.Epoch,
				})
			}
		}
	}
}

// arriving is called when notifications arrive, to look for what did not.
func (w *watch) arriving(ctx context.Context) error {
	if w.cut {
		w.cut = false
		w.db.peers.logger.Info("notifications of other servers arrive")
	}
	return w.look(ctx)
}

// errQuiet means that nothing arrived for a heartbeat.
var errQuiet = errors.New("no notification arrived, not even this server's own")

func receive(ctx context.Context, conn *pgx.Conn) (n notice, err error) {
	wait, cancel := context.WithTimeout(ctx, heartbeat)
	defer cancel()
	arrived, err := conn.WaitForNotification(wait)
	if err != nil {
		if wait.Err() != nil && ctx.Err() == nil && !conn.IsClosed() {
			return n, errQuiet
		}
		return n, err
	}
	err = json.Unmarshal([]byte(arrived.Payload), &n)
	return n, err
}

// look finds the offers since the last look or notification, and the checks that
// wait.
func (w *watch) look(ctx context.Context) error {
	now := w.db.now()
	list, err := all(ctx, w.db.read, scanAnywhere(w.aws), `
		SELECT `+deploymentColumns+`, partition FROM deployment
		WHERE status = 'InProgress' AND phase = $1 AND updated_at >= $2 ORDER BY updated_at LIMIT $3`,
		fescue.Offered, millis(w.since.Add(-skew)), mostOffers)
	if err != nil {
		return err
	}
	waiting, err := w.db.Checks().waitingChecks(ctx, w.aws, now)
	if err != nil {
		return err
	}
	seen := make(map[string]bool, len(list)+len(waiting))
	for _, d := range append(list, waiting...) {
		seen[d.ID] = true
		if !w.seen[d.ID] {
			w.wake(d)
		}
	}
	w.seen, w.since = seen, now
	return nil
}

// Offer moves a built deployment to InProgress: it raises the core's epoch, has
// the manifest signed for it, and supersedes what the core has not claimed yet,
// all in one transaction. A core that another group holds, or has a deployment
// waiting for that whoever created d may not touch, is fescue.ErrInUse.
// It returns the deployment and those that it superseded.
func (s Offers) Offer(ctx context.Context, d fescue.Deployment, coreThing string, at time.Time, superseded fescue.DeploymentStep,
	sign func(epoch int64) (fescue.Offering, error),
) (fescue.Deployment, []fescue.Deployment, error) {
	var next fescue.Deployment
	var replaced []fescue.Deployment
	err := s.db.update(ctx, func(tx transaction) error {
		replaced = nil
		epoch, err := raiseEpoch(ctx, tx, d, coreThing)
		if err != nil {
			return err
		}
		if replaced, err = endUnfinished(ctx, tx, d, coreThing, superseded); err != nil {
			return err
		}
		next, err = publish(ctx, tx, d, fescue.DeploymentStep{
			Event: fescue.EventBuilt, At: at, Epoch: epoch, CoreThing: coreThing,
		}, sign)
		return err
	})
	if err != nil {
		return d, nil, fmt.Errorf("offer deployment %s to core %s: %w", d.ID, coreThing, err)
	}
	s.db.announce(next)
	return next, replaced, nil
}

// endUnfinished ends what a core or, on whatever core, a group has not finished, by
// EventSuperseded only what is not claimed.
func endUnfinished(ctx context.Context, tx transaction, by fescue.Deployment, coreThing string, step fescue.DeploymentStep) ([]fescue.Deployment, error) {
	list, err := all(ctx, tx, scanDeployment(by.Partition), selectDeployment+`
		WHERE partition = $1 AND core_thing = $2 AND epoch > 0 AND status = 'InProgress'
		UNION ALL `+selectDeployment+`
		WHERE partition = $1 AND group_id = $3 AND status = 'InProgress' AND core_thing <> $2`,
		by.Partition.Key(), coreThing, by.GroupID)
	if err != nil {
		return nil, err
	}
	var ended []fescue.Deployment
	for _, d := range list {
		if d.Phase != fescue.Offered && step.Event == fescue.EventSuperseded {
			continue
		}
		if err := mayTouch(ctx, tx, by, d.GroupID); err != nil {
			return nil, err
		}
		step.Note = "by deployment " + by.ID
		d, err := applyStep(ctx, tx, d, fescue.CloudActor, step)
		if errors.Is(err, fescue.ErrConflict) { // its core was faster
			err = errAgain
		}
		if err != nil {
			return nil, err
		}
		ended = append(ended, d)
	}
	return ended, nil
}

// publish takes a deployment out of Building with the manifest that sign makes.
func publish(ctx context.Context, tx transaction, d fescue.Deployment, step fescue.DeploymentStep, sign func(epoch int64) (fescue.Offering, error)) (fescue.Deployment, error) {
	offering, err := sign(step.Epoch)
	if err != nil {
		return d, err
	}
	step.Note, step.Warnings = offering.Note, offering.Warnings
	next, err := applyStep(ctx, tx, d, fescue.CloudActor, step)
	if err != nil {
		return d, err
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO manifest (partition, deployment_id, envelope, artifacts_json, document, document_hash) VALUES ($1, $2, $3, $4, $5, $6)`,
		d.Partition.Key(), d.ID, string(offering.Envelope), toJSON(offering.Artifacts), string(offering.Document), hashOf(offering.Document))
	if err != nil {
		return next, err
	}
	return next, insertContents(ctx, tx, next, offering)
}

// ForceReset ends a forced reset in Success without waiting for the core: it ends
// what the group's core has not finished, takes the core from the group, and leaves
// the signed manifest for the core to find. Without a core, and where the group only
// waits for one that has another's deployment in hand, it ends the group's own
// deployments alone.
func (s Offers) ForceReset(ctx context.Context, d fescue.Deployment, coreThing string, at time.Time, ended fescue.DeploymentStep,
	sign func(epoch int64) (fescue.Offering, error),
) (fescue.Deployment, []fescue.Deployment, error) {
	var next fescue.Deployment
	var replaced []fescue.Deployment
	err := s.db.update(ctx, func(tx transaction) (err error) {
		step := fescue.DeploymentStep{Event: fescue.EventForceReset, At: at, CoreThing: coreThing}
		busy, err := busyForOthers(ctx, tx, d, coreThing)
		if err != nil {
			return err
		}
		if coreThing == "" || busy {
			if replaced, err = endUnfinished(ctx, tx, d, "", ended); err != nil {
				return err
			}
			step.CoreThing, step.Note = "", "the group has no core"
			next, err = applyStep(ctx, tx, d, fescue.CloudActor, step)
			return err
		}
		if step.Epoch, err = raiseEpoch(ctx, tx, d, coreThing); err != nil {
			return err
		}
		if replaced, err = endUnfinished(ctx, tx, d, coreThing, ended); err != nil {
			return err
		}
		if next, err = publish(ctx, tx, d, step, sign); err != nil {
			return err
		}
		_, err = freeCore(ctx, tx, next, coreThing)
		return err
	})
	if err != nil {
		return d, nil, fmt.Errorf("force reset %s of group %s: %w", d.ID, d.GroupID, err)
	}
	s.db.announce(next)
	return next, replaced, nil
}

func raiseEpoch(ctx context.Context, tx transaction, d fescue.Deployment, coreThing string) (int64, error) {
	var epoch int64
	var owner string
	err := tx.QueryRowContext(ctx, `
		INSERT INTO core (partition, thing, epoch, group_id) VALUES ($1, $2, 1, '')
		ON CONFLICT (partition, thing) DO UPDATE SET epoch = core.epoch + 1
		RETURNING epoch, group_id`, d.Partition.Key(), coreThing).Scan(&epoch, &owner)
	if err != nil {
		return 0, err
	}
	if owner != "" && owner != d.GroupID {
		return 0, fmt.Errorf("core %s belongs to group %s: %w", coreThing, owner, fescue.ErrInUse)
	}
	return epoch, nil
}

// Waiting is what a core has to do next: the unfinished deployment, or forced
// reset, with the lowest epoch above after, with its signed manifest. The error is
// fescue.ErrNotFound when there is none.
func (s Offers) Waiting(ctx context.Context, p fescue.Partition, coreThing string, after int64) (fescue.Deployment, []byte, error) {
	var envelope string
	row := s.db.read.QueryRowContext(ctx, `SELECT `+deploymentColumns+`, envelope FROM deployment
		JOIN manifest ON manifest.partition = deployment.partition AND manifest.deployment_id = deployment.id
		WHERE deployment.partition = $1 AND core_thing = $2 AND epoch > $3
			AND (status = 'InProgress' OR type = 'ForceResetDeployment') AND status IN ('InProgress', 'Success')
		ORDER BY epoch LIMIT 1`, p.Key(), coreThing, after)
	d, err := scanDeploymentRow(p, row, &envelope)
	if errors.Is(err, sql.ErrNoRows) {
		err = fescue.ErrNotFound
	}
	return d, []byte(envelope), err
}

// Epoch is the highest epoch that a core was given, 0 for none.
func (s Offers) Epoch(ctx context.Context, p fescue.Partition, coreThing string) (int64, error) {
	var epoch int64
	err := one(s.db.read.QueryRowContext(ctx, `
		SELECT epoch FROM core WHERE partition = $1 AND thing = $2`, p.Key(), coreThing), &epoch)
	if errors.Is(err, fescue.ErrNotFound) {
		return 0, nil
	}
	return epoch, err
}

// OfferedArtifacts lists the hashes that a deployment's core may fetch, while
// the deployment has not ended.
func (s Offers) OfferedArtifacts(ctx context.Context, d fescue.Deployment) ([]string, error) {
	var text string
	err := one(s.db.read.QueryRowContext(ctx, `
		SELECT artifacts_json FROM manifest JOIN deployment ON deployment.partition = manifest.partition AND deployment.id = manifest.deployment_id
		WHERE manifest.partition = $1 AND manifest.deployment_id = $2 AND status = 'InProgress'`,
		d.Partition.Key(), d.ID), &text)
	if err != nil {
		return nil, err
	}
	var hashes []string
	err = json.Unmarshal([]byte(text), &hashes)
	return hashes, err
}

// Document is what is kept with a manifest under its hash, while its deployment has not ended.
// The error is fescue.ErrNotFound when there is none.
func (s Offers) Document(ctx context.Context, hash string) ([]byte, error) {
	var text string
	err := one(s.db.read.QueryRowContext(ctx, `
		SELECT document FROM manifest WHERE document_hash = $1 AND document_hash <> '' LIMIT 1`, hash), &text)
	return []byte(text), err
}

// hashOf is by what a document is found; empty for none.
func hashOf(document []byte) string {
	if len(document) == 0 {
		return ""
	}
	sum := sha256.Sum256(document)
	return hex.EncodeToString(sum[:])
}
