package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// groupCommit is SQLite's writer. A commit waits for the disk, and takes longer than most
// work; so there is one for all that waits. One goroutine begins a transaction, lets one
// piece of work after the other do its statements, each in a savepoint, commits, and
// then answers all of them. A piece that fails is undone alone.
//
// A piece runs in its caller's goroutine, which alone is at work while it has its turn:
// what panics does so where it was called. Nobody is answered before the commit, not even
// a piece that failed: it may have failed for what another one did. When the commit
// fails, nothing was done, and each piece is done again in a transaction of its own.
type groupCommit struct {
	db     *sql.DB
	queue  chan *piece
	close  func()
	closed <-chan struct{} // no further work is taken
	ended  chan struct{}   // the goroutine is at its end
	// states counts begins and ends of commits: it is odd while there is one.
	states atomic.Uint64

	// The rest is the goroutine's own.
	on    *statements // on the one connection that writes, nil while there is none
	conn  *sql.Conn
	clock *time.Timer
	// most is how long a piece of work may take.
	most time.Duration
}

// Bounds of what others wait for.
const (
	// mostQueued is how many pieces of work wait in the queue; more wait to get into it.
	mostQueued = 1024
	// mostPieces and longestBatch are how many pieces of work go into one transaction, and
	// after how long none is taken into it any more. A commit takes 0.3 ms to 10 ms, by the disk.
	mostPieces   = 256
	longestBatch = 10 * time.Millisecond
	// longestPiece is how long one piece may take. No statement of it is done after that, and
	// what it did is undone.
	longestPiece = 10 * time.Second
)

var (
	errTooLong = fmt.Errorf("a transaction was under way for longer than %v", longestPiece)
	errClosed  = errors.New("the database is closed")
	// errFled is what came of a piece of work that did not return, but panicked.
	errFled = errors.New("the work did not return")
)

// newGroupCommit has the database, of which nobody else uses a connection.
func newGroupCommit(db *sql.DB) *groupCommit {
	closed := make(chan struct{})
	g := &groupCommit{
		db: db, queue: make(chan *piece, mostQueued), close: sync.OnceFunc(func() { close(closed) }), closed: closed, ended: make(chan struct{}),
		clock: time.NewTimer(longestPiece), most: longestPiece,
	}
	go g.run()
	return g
}

// piece is a piece of work that waits or is under way.
type piece struct {
	ctx context.Context
	// claimed is whose the piece is that waits: the writer's, who gives it turns, or the
	// caller's, who leaves.
	claimed atomic.Bool
	// turns is closed when the piece is answered.
	turns  chan *turn
	answer error

	// For the goroutine that writes: what came of the last turn, and whether there can be
	// no further one.
	came error
	over bool
}

// claim reports whether nobody has claimed the piece before.
func (p *piece) claim() bool { return p.claimed.CompareAndSwap(false, true) }

// do implements writer. The goroutine waits for its turn before that comes: if it had to be
// woken for it first, behind all others that are runnable, so had everybody who writes.
func (g *groupCommit) do(ctx context.Context, f func(tx transaction) error) error {
	p := &piece{ctx: ctx, turns: make(chan *turn)}
	select {
	case g.queue <- p:
	case <-ctx.Done():
		return fmt.Errorf("begin transaction: %w", ctx.Err())
	case <-g.closed:
		return fmt.Errorf("begin transaction: %w", errClosed)
	}
	select {
	case t, ok := <-p.turns:
		if ok {
			t.take(f)
		}
	case <-ctx.Done():
		if p.claim() {
			return fmt.Errorf("begin transaction: %w", ctx.Err())
		}
	case <-g.closed:
		if p.claim() {
			return fmt.Errorf("begin transaction: %w", errClosed)
		}
	}
	for t := range p.turns {
		t.take(f)
	}
	return p.answer
}

// state implements writer.
func (g *groupCommit) state() (number uint64, known bool) {
	number = g.states.Load()
	return number, number%2 == 0
}

// Close implements writer.
func (g *groupCommit) Close() error {
	g.close()
	<-g.ended
	return g.db.Close()
}

func (g *groupCommit) run() {
	defer close(g.ended)
	defer func() {
		if g.on != nil {
			g.on.Close()
		}
	}()
	for {
		select {
		case p := <-g.queue:
			if p.claim() {
				g.write(p, g.waiting)
			}
		case <-g.closed:
			return
		}
	}
}

// waiting is the next piece that waits now, nil for none.
func (g *groupCommit) waiting() *piece {
	for {
		select {
		case p := <-g.queue:
			if p.claim() {
				return p
			}
		default:
			return nil
		}
	}
}

// write does a piece of work and those that next gives, in one transaction, and answers
// them.
func (g *groupCommit) write(first *piece, next func() *piece) {
	if err := g.begin(first.ctx); err != nil {
		first.end(fmt.Errorf("begin transaction: %w", known(err)))
		return
	}
	batch, began := []*piece{first}, time.Now()
	err := g.within(first)
	for err == nil && len(batch) < mostPieces && time.Since(began) < longestBatch {
		p := next()
		if p == nil {
			break
		}
		batch = append(batch, p)
		err = g.within(p)
	}
	g.states.Add(1)
	if err == nil {
		err = g.exec("COMMIT")
	}
	if err != nil {
		g.rollback()
		if len(batch) == 1 && first.came == nil {
			first.came = fmt.Errorf("commit: %w", err)
		}
	}
	g.states.Add(1)
	for _, p := range batch {
		if err == nil || len(batch) == 1 || p.over {
			p.end(known(p.came))
			continue
		}
		g.write(p, func() *piece { return nil })
	}
}

// begin begins a transaction. To wait for another process's lock ends with ctx.
func (g *groupCommit) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if g.on == nil {
		conn, err := g.db.Conn(ctx)
		if err != nil {
			return err
		}
		g.conn, g.on = conn, newStatements(conn)
	}
	_, err := g.on.ExecContext(ctx, "BEGIN IMMEDIATE")
	if err != nil {
		g.disconnect() // it may have begun all the same
	}
	return err
}

// rollback undoes all that was done since begin, which SQLite may have done by itself.
func (g *groupCommit) rollback() {
	if g.exec("ROLLBACK") != nil {
		g.disconnect()
	}
}

// disconnect gives up a connection of which is not known how it is.
func (g *groupCommit) disconnect() {
	g.conn.Raw(func(any) error { return driver.ErrBadConn })
	g.conn, g.on = nil, nil
}

func (g *groupCommit) exec(statements ...string) error {
	for _, statement := range statements {
		if _, err := g.on.ExecContext(context.Background(), statement); err != nil {
			return err
		}
	}
	return nil
}

// within gives a piece its turn, and undoes what it did if it fails. The error is that of
// the whole transaction, which cannot be committed then.
func (g *groupCommit) within(p *piece) error {
	if err := g.exec("SAVEPOINT piece"); err != nil {
		return err
	}
	t := &turn{on: g.on, outcome: make(chan error, 1)}
	p.turns <- t
	g.clock.Reset(g.most)
	select {
	case p.came = <-t.outcome:
		p.over = errors.Is(p.came, errFled)
	case <-g.clock.C:
		t.end()
		p.came, p.over = errTooLong, true
	}
	if p.came != nil {
		return g.exec("ROLLBACK TO piece", "RELEASE piece")
	}
	return g.exec("RELEASE piece")
}

// end answers whoever waits for the piece.
func (p *piece) end(err error) {
	p.answer = err
	close(p.turns)
}

// turn is the querier of a piece of work while it has its turn.
type turn struct {
	on *statements
	// outcome takes what the work returns.
	outcome chan error

	mu   sync.Mutex // held while a statement is done
	over bool
}

// take does the work.
func (t *turn) take(f func(tx transaction) error) {
	err := errFled
	defer func() { t.outcome <- err }()
	err = f(transaction{t})
}

// end has no further statement done.
func (t *turn) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
}

// may reports why a statement is not to be done. One that is begun is finished: to
// interrupt it could undo what others did in the same transaction.
func (t *turn) may(ctx context.Context) error {
	if t.over {
		return errTooLong
	}
	return ctx.Err()
}

// ExecContext implements querier.
func (t *turn) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.may(ctx); err != nil {
		return nil, err
	}
	return t.on.ExecContext(patient(ctx), query, args...)
}

// QueryContext implements querier.
func (t *turn) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.may(ctx); err != nil {
		return nil, err
	}
	return t.on.QueryContext(ctx, query, args...)
}

// QueryRowContext implements querier.
func (t *turn) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.may(ctx) != nil {
		ended, end := context.WithCancel(ctx)
		end()
		return t.on.on.QueryRowContext(ended, query, args...)
	}
	return t.on.QueryRowContext(ctx, query, args...)
}
