package store

import (
	"context"
	"fmt"
	"hash/crc32"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/fescue-edge/fescue"
)

// Servers on one PostgreSQL database notify each other of what waits for a core, so that the
// one to which the core is connected wakes it within milliseconds. That is a hint, which is
// sent when the transaction is committed: of all transactions that notify, PostgreSQL commits
// one at a time, and keeps the next waiting until the disk and the standby have it. A hint may
// be lost; what it was of is found among the changes then, see package changes, and the core
// is reminded.

const (
	// mostHints is how many hints wait to be sent; further ones are lost.
	mostHints = 1000
	// longestHints is how long their statement may take.
	longestHints = 10 * time.Second
)

// peers is how a server is notified by others, and notifies them.
type peers struct {
	config  *pgx.ConnConfig
	channel string
	self    string
	logger  *slog.Logger

	mu      sync.Mutex
	waiting []string // notices that are to be sent
	sending bool
	closed  bool
	// life ends when nothing is to be sent any more; sent when nothing is sent any more.
	life context.Context
	end  context.CancelFunc
	sent sync.WaitGroup
}

func newPeers(config *pgx.ConnConfig, schema string, logger *slog.Logger) *peers {
	// Notifications are of a database; the servers of one schema are meant.
	p := &peers{config: config, channel: fmt.Sprintf("fescue_%08x", crc32.ChecksumIEEE([]byte(schema))), self: fescue.NewID(), logger: logger}
	p.life, p.end = context.WithCancel(context.Background())
	return p
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

// announce notifies the other servers of a deployment's step that concerns its core, which is
// committed. It waits for nothing: whatever has come together while the last hints were sent
// is sent next, at once.
func (db *DB) announce(d fescue.Deployment) {
	p := db.peers
	if p == nil || d.CoreThing == "" {
		return
	}
	hint := toJSON(notice{p.self, d.Partition.Key(), d.CoreThing, d.GroupID, d.ID, d.Epoch})
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	if len(p.waiting) == mostHints {
		p.logger.Debug("other servers are not told of what waits for a core; they find it among the changes", "core", d.CoreThing, "deployment", d.ID)
		return
	}
	if p.waiting = append(p.waiting, hint); !p.sending {
		p.sending = true
		p.sent.Go(func() { p.send(db.read) })
	}
}

// send sends what waits, until nothing does.
func (p *peers) send(db querier) {
	for {
		p.mu.Lock()
		hints := p.waiting
		if p.waiting = nil; len(hints) == 0 {
			p.sending = false
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		if err := p.sendAll(db, hints); err != nil && p.life.Err() == nil {
			p.logger.Debug("other servers are not told of what waits for cores; they find it among the changes", "hints", len(hints), "error", err)
		}
	}
}

// sendAll sends hints in one statement. As a query it is carried out again where its connection
// has broken.
func (p *peers) sendAll(db querier, hints []string) error {
	ctx, cancel := context.WithTimeout(p.life, longestHints)
	defer cancel()
	rows, err := db.QueryContext(ctx, `SELECT pg_notify($1, hint) FROM unnest($2::TEXT[]) AS hint`, p.channel, hints)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
	}
	return rows.Err()
}

// Close has what waits be sent, within a moment, and refuses further hints; nil is closed.
func (p *peers) Close() error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	late := time.AfterFunc(goodbye, p.end)
	defer late.Stop()
	p.sent.Wait()
	p.end()
	return nil
}
