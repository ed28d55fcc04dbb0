package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/fescue-edge/fescue"
)

// Servers on one PostgreSQL database notify each other in the transaction itself
// what waits for a core, so that the one to which the core is connected wakes it.
// A notification arrives within milliseconds or not at all: each server sends
// itself one now and then, and while it does not receive that, it looks for offers
// once a second.

// Timing of notifications.
const (
	heartbeat = 5 * time.Second
	lookAgain = time.Second
	// skew is how far back a look goes beyond the last one, for the clocks of
	// other servers and transactions that took a while.
	skew = 5 * time.Second
	// mostOffers bounds one look. Cores find what it leaves out by themselves.
	mostOffers = 1000
)

// peers is how a server is notified by others.
type peers struct {
	config  *pgx.ConnConfig
	channel string
	self    string
	logger  *slog.Logger
}

func newPeers(config *pgx.ConnConfig, schema string, logger *slog.Logger) *peers {
	// Notifications are of a database; the servers of one schema are meant.
	return &peers{config, fmt.Sprintf("fescue_%08x", crc32.ChecksumIEEE([]byte(schema))), fescue.NewID(), logger}
}

// notice is what one server sends the others. Without a core it is a heartbeat.
type notice struct {
	From       string `json:"from"`
	Partition  string `json:"partition,omitempty"`
	Core       string `json:"core,omitempty"`
	Group      string `json:"group,omitempty"`
	Deployment string `json:"deployment,omitempty"`
	Epoch      int64  `json:"epoch,omitempty"`
}

const notify = `SELECT pg_notify($1, $2)`

// announce notifies the other servers of a deployment's step that concerns its core,
// once the transaction is committed.
func (db *DB) announce(ctx context.Context, tx transaction, d fescue.Deployment) error {
	if db.peers == nil || d.CoreThing == "" {
		return nil
	}
	_, err := tx.ExecContext(ctx, notify, db.peers.channel, toJSON(notice{
		db.peers.self, d.Partition.Key(), d.CoreThing, d.GroupID, d.ID, d.Epoch,
	}))
	return err
}

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
