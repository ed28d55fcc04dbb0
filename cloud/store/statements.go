package store

import (
	"context"
	"database/sql"
	"sync"
)

// statements is a database, or one connection to it, whose statements are prepared once
// each: parsing a query takes SQLite longer than answering it. The queries are constants
// of this package, so there are few.
type statements struct {
	on preparer

	mu      sync.RWMutex
	byQuery map[string]*sql.Stmt
}

// preparer is a *sql.DB or a *sql.Conn.
type preparer interface {
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	Close() error
}

func newStatements(on preparer) *statements {
	return &statements{on: on, byQuery: make(map[string]*sql.Stmt)}
}

func (s *statements) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	s.mu.RLock()
	stmt, ok := s.byQuery[query]
	s.mu.RUnlock()
	if ok {
		return stmt, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if stmt, ok := s.byQuery[query]; ok {
		return stmt, nil
	}
	stmt, err := s.on.PrepareContext(ctx, query)
	if err == nil {
		s.byQuery[query] = stmt
	}
	return stmt, err
}

// ExecContext implements querier.
func (s *statements) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	stmt, err := s.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.ExecContext(ctx, args...)
}

// patient is ctx without its end. To watch for the end of a context, database/sql
// and the driver start goroutines that take as long as a point read itself;
// nothing that is read here takes long enough to be worth that.
func patient(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }

// QueryContext implements querier.
func (s *statements) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	stmt, err := s.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(patient(ctx), args...)
}

// QueryRowContext implements querier.
func (s *statements) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	stmt, err := s.prepare(ctx, query)
	if err != nil {
		return s.on.QueryRowContext(ctx, query, args...) // fails the same way, in the row
	}
	return stmt.QueryRowContext(patient(ctx), args...)
}

// Close gives the statements and what they were prepared on back.
func (s *statements) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, stmt := range s.byQuery {
		stmt.Close()
	}
	clear(s.byQuery)
	return s.on.Close()
}
