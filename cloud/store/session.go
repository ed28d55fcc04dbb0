package store

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// Looks for changes tell by the numbers of transactions which were made since the last one.
// That holds as long as the database goes on. One that crashed, or was promoted, knows
// nothing of transactions that left no trace on its disk, and gives their numbers to others.
// No session outlives that: so all looks go through one session, and whatever another one
// finds is no continuation.
//
// The same session waits for the hints of other servers that there is something new: a
// notification without a payload, outside of the transactions that made it.

// sessions are those of one database.
type sessions struct {
	config *pgx.ConnConfig
	// channel is where the servers of one schema hint.
	channel string

	mu   sync.Mutex
	list []*session
}

// open makes a session, whose connection is made when it is needed; nil on SQLite.
func (l *sessions) open() *session {
	if l == nil {
		return nil
	}
	s := &session{config: l.config, channel: l.channel}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, s)
	return s
}

// Close ends them all.
func (l *sessions) Close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.list {
		s.close()
	}
	l.list = nil
	return nil
}

// session is one connection to PostgreSQL, and after it broke another one.
type session struct {
	config  *pgx.ConnConfig
	channel string

	mu     sync.Mutex
	conn   *pgx.Conn // nil while there is none
	lives  int
	closed bool
}

// scanner is a row of an answer.
type scanner interface{ Scan(dest ...any) error }

// query has each row of an answer scanned, and says which of the session's connections
// gave it.
func (s *session) query(ctx context.Context, scan func(scanner) error, query string, args ...any) (life string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.connect(ctx); err != nil {
		return "", known(err)
	}
	defer func() {
		if s.conn.IsClosed() {
			s.conn = nil
		}
	}()
	rows, err := s.conn.Query(ctx, query, args...)
	if err != nil {
		return "", known(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf(" %d", s.lives), known(rows.Err())
}

// connect makes sure of a connection.
func (s *session) connect(ctx context.Context) error {
	switch {
	case s.closed:
		return errClosed
	case s.conn != nil:
		return nil
	}
	conn, err := pgx.ConnectConfig(ctx, s.config)
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, `LISTEN `+s.channel); err != nil {
		conn.Close(ctx)
		return err
	}
	s.conn = conn
	s.lives++
	return nil
}

// await waits for a value of wrote or for a hint of another server, until ctx ends.
func (s *session) await(ctx context.Context, wrote <-chan struct{}) (own, told bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting, enough := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-wrote:
			own = true
			enough()
		case <-waiting.Done():
		}
	})
	defer func() {
		enough()
		watching.Wait()
	}()
	if s.conn == nil {
		<-waiting.Done()
		return
	}
	for {
		hint, err := s.conn.WaitForNotification(waiting)
		if err != nil {
			if s.conn.IsClosed() {
				s.conn = nil
			}
			return
		}
		if hint.PID != s.conn.PgConn().PID() {
			s.drain()
			told = true
			return
		}
	}
}

// drain takes all hints that have come: one look is for all of them.
func (s *session) drain() {
	ended, end := context.WithCancel(context.Background())
	end() // what has come is handed out all the same, and nothing is waited for
	for {
		if _, err := s.conn.WaitForNotification(ended); err != nil {
			return
		}
	}
}

// tell hints to the others.
func (s *session) tell(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return nil
	}
	_, err := s.conn.Exec(ctx, `NOTIFY `+s.channel)
	return err
}

// goodbye bounds how long the end of a connection may take.
const goodbye = time.Second

func (s *session) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), goodbye)
		defer cancel()
		s.conn.Close(ctx)
		s.conn = nil
	}
}
