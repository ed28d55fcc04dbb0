package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/fescue-edge/fescue"
)

// A PostgreSQL that fails over is away for a while and then somewhere else: the URL names
// several hosts, or a name that leads elsewhere. What waits for a connection meanwhile waits
// a little longer, and what had one that broke begins anew on another.

const (
	// connectTimeout bounds the making of a connection, hostTimeout that to each of several
	// hosts: the first of them may be the one that is gone.
	connectTimeout = 10 * time.Second
	hostTimeout    = 2 * time.Second
	// connectPause is between two attempts to connect to a database that is away.
	connectPause = 200 * time.Millisecond
	// silence is after what time without a sign of life from its machine a connection counts
	// as broken, in so many probes.
	silence = 15 * time.Second
	probes  = 3
)

// configure sets what every connection to PostgreSQL has, where the URL says nothing else.
func configure(config *pgx.ConnConfig, url string) {
	for name, value := range postgresBounds {
		if _, set := config.RuntimeParams[name]; !set {
			config.RuntimeParams[name] = value
		}
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
		if slices.ContainsFunc(config.Fallbacks, func(f *pgconn.FallbackConfig) bool { return f.Host != config.Host || f.Port != config.Port }) {
			config.ConnectTimeout = hostTimeout
		}
	}
	// A server has nothing to do with one that only reads, be it because it is not promoted yet.
	if !strings.Contains(url, "target_session_attrs") {
		config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	config.DialFunc = (&net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: silence / probes, Interval: silence / probes, Count: probes - 1},
		Control:         giveUpUnacknowledged,
	}).DialContext
}

// errNoConnection means that whoever waited for a connection got none.
var errNoConnection = errors.New("no connection")

// patientConnector waits for a connection of a pool, and for a database that is away, but
// not for ever.
type patientConnector struct{ driver.Connector }

// Connect implements driver.Connector.
func (c patientConnector) Connect(ctx context.Context) (driver.Conn, error) {
	waiting, done := context.WithTimeout(ctx, longestWait)
	defer done()
	var last error
	for {
		conn, err := c.Connector.Connect(waiting)
		if err == nil {
			return conn, nil
		}
		if waiting.Err() == nil {
			if !away(err) {
				return nil, err
			}
			last = err
			select {
			case <-waiting.Done():
			case <-time.After(connectPause):
				continue
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil, err
		case last != nil:
			return nil, fmt.Errorf("%w: %w for %v: %w", errNoConnection, fescue.ErrAway, longestWait, last)
		}
		return nil, fmt.Errorf("%w: no connection to it was free for %v", fescue.ErrBusy, longestWait)
	}
}

// away reports whether an error is a connection's that could not be made, or broke: what was
// under way in it was not done, unless it was the commit. A context that ended is none.
func away(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return strings.HasPrefix(e.Code, connectionExceptions) || postgresCode(err, adminShutdown, crashShutdown, cannotConnectNow, readOnlyTransaction)
	}
	if _, failed := errors.AsType[*pgconn.ConnectError](err); failed || errors.Is(err, pgconn.ErrReadOnlyConnection) {
		return true
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	_, network := errors.AsType[*net.OpError](err)
	return network || slices.ContainsFunc([]error{driver.ErrBadConn, pgconn.ErrConnClosed, io.EOF, io.ErrUnexpectedEOF}, func(target error) bool { return errors.Is(err, target) })
}
