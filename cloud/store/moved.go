package store

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A primary that hangs, for its disk or because it was stopped, may keep its connections for as
// long as it does: its kernel answers for it. Another one that took over meanwhile is found by
// whoever connects anew, and a commit that waits for the old one would keep its place among
// those that write for nothing.

// askAgain is how long it holds where connections lead.
const askAgain = 5 * time.Second

// whereabouts is where connections lead now, asked for on one of its own: those of the pool may
// all be waiting.
type whereabouts struct {
	mu     sync.Mutex
	asked  time.Time
	server string // empty where none was reached that takes writes
}

// moved waits until connections lead to another server than the one that is named, or ctx ends.
func (p *pool) moved(ctx context.Context, from string) bool {
	if from == "" {
		return false
	}
	for {
		if server := p.leads(); server != "" && server != from {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(askAgain):
		}
	}
}

func (p *pool) leads() (server string) {
	p.now.mu.Lock()
	defer p.now.mu.Unlock()
	if time.Since(p.now.asked) < askAgain {
		return p.now.server
	}
	config := p.connections.Config().ConnConfig
	ctx, done := context.WithTimeout(p.life, time.Duration(1+len(config.Fallbacks))*config.ConnectTimeout)
	defer done()
	conn, err := pgx.ConnectConfig(ctx, config)
	if err == nil {
		standby := true
		if err = conn.QueryRow(ctx, `SELECT pg_is_in_recovery()`).Scan(&standby); err == nil && !standby {
			server, err = serverOf(ctx, conn.PgConn())
		}
		conn.Close(ctx)
	}
	if err != nil {
		server = ""
	}
	p.now.asked, p.now.server = time.Now(), server
	return server
}

// serverOf tells the server that a connection leads to from others, also from those that have
// its address before or after it.
func serverOf(ctx context.Context, conn *pgconn.PgConn) (string, error) {
	results, err := conn.Exec(ctx, `SELECT extract(epoch FROM pg_postmaster_start_time())`).ReadAll()
	if err != nil {
		return "", fmt.Errorf("ask when the database was started: %w", err)
	}
	return string(results[0].Rows[0][0]), nil
}
