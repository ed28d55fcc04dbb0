package store

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// longestAnswer is how long a statement waits for PostgreSQL's answer, whoever is behind it:
// a primary that hangs keeps its connections, and work that nobody waits for has no end of its
// own. A wait for a lock ends before, by postgresBounds.
const longestAnswer = 30 * time.Second

// tracer is told by the driver of each statement: it ends those that get no answer, and notes
// on the connection that a statement changed rows, whichever way its answer is read. A commit is
// left alone, see committed, as is the schema's way up to date.
type tracer struct {
	// longest is how long a statement may take, in nanoseconds.
	longest atomic.Int64
}

func newTracer() *tracer {
	t := new(tracer)
	t.longest.Store(int64(longestAnswer))
	return t
}

// TraceQueryStart implements pgx.QueryTracer: the statement is done under the context.
func (t *tracer) TraceQueryStart(ctx context.Context, conn *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	if guard := guardOf(conn.PgConn()); guard != nil && guard.committing.Load() {
		return ctx
	}
	within, cancel := context.WithTimeout(ctx, time.Duration(t.longest.Load()))
	return &statement{within, ctx, cancel}
}

// TraceQueryEnd implements pgx.QueryTracer.
func (t *tracer) TraceQueryEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryEndData) {
	if s, ok := ctx.(*statement); ok {
		s.cancel()
	}
	tag := data.CommandTag
	if guard := guardOf(conn.PgConn()); guard != nil && tag.RowsAffected() > 0 && (tag.Insert() || tag.Update() || tag.Delete()) {
		guard.wrote.Store(true)
	}
}

// statement is a caller's context until a statement has to be answered.
type statement struct {
	context.Context
	caller context.Context
	cancel context.CancelFunc
}

// Err is not the caller's when that has not ended: the driver says then of the connection what
// it says of others that do not answer.
func (s *statement) Err() error {
	err := s.Context.Err()
	if err != nil && s.caller.Err() == nil {
		return os.ErrDeadlineExceeded
	}
	return err
}

// unanswered reports whether a statement got no answer in time. Asked again it may get none again.
func unanswered(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
