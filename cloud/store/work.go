package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/fescue-edge/fescue"
)

// With a synchronous standby a commit is answered when the standby has it, and nobody sees
// before what it did. PostgreSQL ends that wait when the statement is cancelled, when the
// session is terminated, or when it crashes and starts again: then all see what is on the
// primary alone, and may be lost with it.
//
// So Fescue never cancels a commit, not even by giving up its connection, as it does where
// another server took over from one that does not answer. And where somebody else did, nobody
// is told that something is done for having found it done: a transaction that wrote nothing
// writes a mark to the log, by which its own commit waits for the standby, which then has all
// that came before.

// longestCommit is after what time a commit is answered as uncertain. It goes on, as long as
// connections lead to its server.
const longestCommit = time.Minute

// settle writes a mark for a transaction that wrote nothing, where there are synchronous standbys.
const settle = `
	SELECT pg_logical_emit_message(TRUE, 'fescue', '')
	WHERE current_setting('synchronous_standby_names') <> '' AND pg_current_xact_id_if_assigned() IS NULL`

// do implements writer. Who gives up while f runs has done nothing. A commit goes on whoever
// waits for it.
func (p *pool) do(ctx context.Context, f func(tx transaction) error) error {
	err := p.transact(ctx, f)
	if errors.Is(err, fescue.ErrExists) {
		if unsettled := p.transact(ctx, func(transaction) error { return nil }); unsettled != nil {
			return unsettled
		}
	}
	return err
}

func (p *pool) transact(ctx context.Context, f func(tx transaction) error) error {
	w, err := p.begin(ctx)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	defer w.rollback(ctx)
	if err := f(transaction{w}); err != nil {
		return p.broken(err)
	}
	if !w.guard.wrote.Load() {
		if _, err := w.ExecContext(ctx, settle); err != nil {
			return p.broken(err)
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("commit: %w", ctx.Err())
	}
	return w.commit()
}

// work is a transaction that is under way.
type work struct {
	*sql.Conn
	pool *pool
	tx   pgx.Tx
	// guard is the connection's.
	guard *commitGuard
	// over says that the transaction was committed, or is being committed.
	over bool
}

// begin waits for a connection, and for the database to begin a transaction on it.
func (p *pool) begin(ctx context.Context) (*work, error) {
	waiting, done := context.WithTimeout(ctx, longestWait)
	defer done()
	select {
	case p.writing <- struct{}{}:
	case <-waiting.Done():
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w: as many transactions as there may be were under way for %v", fescue.ErrBusy, longestWait)
	}
	if !p.under.begin() {
		<-p.writing
		return nil, errClosed
	}
	w := &work{pool: p}
	var err error
	if w.Conn, err = p.Conn(ctx); err != nil {
		p.under.done()
		<-p.writing
		return nil, p.broken(err)
	}
	beginning, done := context.WithTimeout(ctx, longestWait)
	defer done()
	err = w.Raw(func(conn any) (err error) {
		c := conn.(*stdlib.Conn).Conn()
		w.guard = guardOf(c.PgConn())
		w.guard.wrote.Store(false)
		w.tx, err = c.Begin(beginning)
		return err
	})
	switch {
	case err == nil:
		return w, nil
	case beginning.Err() != nil && ctx.Err() == nil: // nor do the others answer, most likely
		p.connections.Reset()
		err = fmt.Errorf("%w: no answer for %v: %w", fescue.ErrAway, longestWait, err)
	default:
		err = p.broken(err)
	}
	w.release()
	return nil, err
}

// release gives the connection back, or up where the transaction did not end.
func (w *work) release() {
	w.Close()
	w.pool.under.done()
	<-w.pool.writing
}

// rollback undoes what was not committed. A connection that does not answer is closed.
func (w *work) rollback(ctx context.Context) {
	if w.over {
		return
	}
	undoing, done := context.WithTimeout(context.WithoutCancel(ctx), longestWait)
	defer done()
	w.Raw(func(any) error { return w.tx.Rollback(undoing) })
	w.release()
}

// commit returns when the commit is answered, or was not for too long: its connection is kept then
// until it is.
func (w *work) commit() error {
	w.over = true
	longest := time.Duration(w.pool.longestCommit.Load())
	answer := make(chan error, 1)
	go func() {
		var err error
		w.Raw(func(any) error {
			err = w.committed(longest)
			return nil
		})
		w.release()
		answer <- err
	}()
	timer := time.NewTimer(longest)
	defer timer.Stop()
	select {
	case err := <-answer:
		return err
	case <-timer.C:
		return fmt.Errorf("commit: %w: no answer for %v", fescue.ErrUncertain, longest)
	}
}

// committed returns when the commit is answered, or can not be any more: its connection broke, or
// it was not answered for longest and connections lead to another server by now.
func (w *work) committed(longest time.Duration) error {
	conn, guard := w.tx.Conn().PgConn(), w.guard
	guard.committing.Store(true)
	giveUp := func() { conn.Conn().Close() }
	stop := context.AfterFunc(w.pool.life, giveUp)
	waiting, answered := context.WithCancel(w.pool.life)
	watched := make(chan struct{})
	watch := time.AfterFunc(longest, func() {
		defer close(watched)
		if w.pool.moved(waiting, guard.server) {
			w.pool.connections.Reset() // whatever else leads to the old one
			giveUp()
		}
	})
	err := w.tx.Commit(context.Background())
	stop()
	answered()
	if !watch.Stop() {
		<-watched
	}
	if !conn.IsClosed() {
		guard.committing.Store(false)
	}
	warning := guard.warning.Swap(nil)
	_, said := errors.AsType[*pgconn.PgError](err)
	switch {
	case err == nil && warning != nil:
		return fmt.Errorf("commit: %w: %s: %s", fescue.ErrUncertain, warning.Message, warning.Detail)
	case err == nil:
		return nil
	case pgconn.SafeToRetry(err): // it was not sent
		return fmt.Errorf("commit: %w", w.pool.broken(err))
	case errors.Is(err, pgx.ErrTxCommitRollback), said && !away(err):
		return fmt.Errorf("commit: %w", known(err))
	default:
		w.pool.lost(err)
		return fmt.Errorf("commit: %w: %w", fescue.ErrUncertain, err)
	}
}

// commitGuard keeps the driver from cancelling a commit: it sends a cancel request, on another
// connection, whenever it gives one up.
type commitGuard struct {
	// server is which one the connection leads to.
	server     string
	committing atomic.Bool
	// wrote says that a statement of the transaction changed rows, see tracer.
	wrote atomic.Bool
	// warning is what the database said of the commit: that its wait for a standby was ended.
	warning atomic.Pointer[pgconn.Notice]
}

const guardName = "commits"

// guardCommits gives a connection that is to be made its guard.
func guardCommits(_ context.Context, config *pgx.ConnConfig) error {
	guard := new(commitGuard)
	dial, valid, connected := config.DialFunc, config.ValidateConnect, config.AfterConnect
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		if guard.committing.Load() {
			return nil, errors.New("a commit is not cancelled")
		}
		return dial(ctx, network, address)
	}
	config.ValidateConnect = func(ctx context.Context, conn *pgconn.PgConn) (err error) {
		if valid != nil {
			if err := valid(ctx, conn); err != nil {
				return err
			}
		}
		guard.server, err = serverOf(ctx, conn)
		return err
	}
	config.OnNotice = func(_ *pgconn.PgConn, notice *pgconn.Notice) {
		if guard.committing.Load() && notice.SeverityUnlocalized == "WARNING" {
			guard.warning.Store(notice)
		}
	}
	config.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		conn.CustomData()[guardName] = guard
		if connected != nil {
			return connected(ctx, conn)
		}
		return nil
	}
	return nil
}

// guardOf is nil for a connection that is not of the pool.
func guardOf(conn *pgconn.PgConn) *commitGuard {
	guard, _ := conn.CustomData()[guardName].(*commitGuard)
	return guard
}

// underWay counts the transactions of a pool.
type underWay struct {
	mu    sync.Mutex
	count int
	// ended is made by end, and closed when there are none from then on.
	ended chan struct{}
}

// begin counts one more, unless end was called.
func (u *underWay) begin() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended != nil {
		return false
	}
	u.count++
	return true
}

func (u *underWay) done() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.count--; u.count == 0 && u.ended != nil {
		close(u.ended)
	}
}

// end refuses further ones, and returns what is closed when those that began are done.
func (u *underWay) end() <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended == nil {
		u.ended = make(chan struct{})
		if u.count == 0 {
			close(u.ended)
		}
	}
	return u.ended
}
