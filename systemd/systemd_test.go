package systemd_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/systemd"
	"github.com/fescue-edge/fescue/testkit"
)

// manager listens as systemd does, and has its environment.
func manager(t *testing.T, watchdog time.Duration) *net.UnixConn {
	t.Helper()
	address := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"}
	conn, err := net.ListenUnixgram("unixgram", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", address.Name)
	t.Setenv("WATCHDOG_USEC", strconv.FormatInt(watchdog.Microseconds(), 10))
	t.Setenv("WATCHDOG_PID", "")
	return conn
}

// told is the next thing that the manager is told.
func told(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(testkit.Patience))
	text := make([]byte, 1<<10)
	n, err := conn.Read(text)
	if err != nil {
		t.Fatalf("systemd is told nothing: %v", err)
	}
	return string(text[:n])
}

func expect(t *testing.T, conn *net.UnixConn, want ...string) {
	t.Helper()
	for _, want := range want {
		if got := told(t, conn); got != want {
			t.Fatalf("systemd is told %q, want %q", got, want)
		}
	}
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// start runs a service that ends with ctx; end ends it.
func start(t *testing.T, s systemd.Service) (end func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- s.Run(ctx, func(ctx context.Context) error {
			<-ctx.Done()
			return errors.New("as asked")
		})
	}()
	return func() error {
		cancel()
		return <-ended
	}
}

func TestService(t *testing.T) {
	alive := func(context.Context) error { return nil }
	t.Run("ready, stopping", func(t *testing.T) {
		conn, ready := manager(t, 0), make(chan struct{})
		end := start(t, systemd.Service{Ready: ready, Alive: alive, Logger: quiet})
		close(ready)
		expect(t, conn, "READY=1")
		if err := end(); err == nil || err.Error() != "as asked" {
			t.Errorf("it ends with %v", err)
		}
		expect(t, conn, "STOPPING=1")
	})
	t.Run("one that ends before it is ready", func(t *testing.T) {
		conn := manager(t, 0)
		start(t, systemd.Service{Ready: make(chan struct{}), Alive: alive, Logger: quiet})()
		conn.SetReadDeadline(time.Now())
		if n, err := conn.Read(make([]byte, 9)); err == nil {
			t.Errorf("systemd is told %d bytes", n)
		}
	})
	t.Run("watchdog", func(t *testing.T) {
		conn := manager(t, 30*time.Millisecond)
		var asked, lived int
		var hangs atomic.Bool
		hung := make(chan struct{}, 3)
		end := start(t, systemd.Service{Logger: quiet, Alive: func(ctx context.Context) error {
			asked++
			if !hangs.Load() {
				lived++
				return nil
			}
			err := systemd.Answers(ctx, func() { <-t.Context().Done() })
			select {
			case hung <- struct{}{}:
			default:
			}
			return err
		}})
		expect(t, conn, "READY=1", "WATCHDOG=1", "WATCHDOG=1")
		hangs.Store(true)
		for range cap(hung) {
			<-hung
		}
		end()
		signs := 2
		for said := told(t, conn); said != "STOPPING=1"; said = told(t, conn) {
			signs++
		}
		if signs != lived || asked < lived+3 {
			t.Errorf("%d signs of life; it was asked %d times and lived %d times", signs, asked, lived)
		}
	})
	t.Run("without systemd", func(t *testing.T) {
		t.Setenv("NOTIFY_SOCKET", "")
		if err := start(t, systemd.Service{Logger: quiet})(); err == nil || err.Error() != "as asked" {
			t.Error(err)
		}
	})
	t.Run("a socket that is gone", func(t *testing.T) {
		t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "none"))
		if err := start(t, systemd.Service{Logger: quiet})(); err == nil || err.Error() != "as asked" {
			t.Error(err)
		}
	})
}
