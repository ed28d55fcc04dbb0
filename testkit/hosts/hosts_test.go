//go:build linux

package hosts_test

import (
	"context"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/testkit"
	"github.com/fescue-edge/fescue/testkit/hosts"
)

// echo answers on a host what it gets.
func echo(t *testing.T, h *hosts.Host) {
	t.Helper()
	l, err := h.Listen(7)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn); conn.Close() }()
		}
	}()
}

// sends has so many bytes go there and back within a time.
func sends(t *testing.T, from, to *hosts.Host, size int, within time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	conn, err := from.DialContext(ctx, "tcp", net.JoinHostPort(to.Address, "7"))
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(within))
	go func() { _, _ = conn.Write(make([]byte, size)) }()
	_, err = io.ReadFull(conn, make([]byte, size))
	return err
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	n := hosts.New(t)
	a, b, c := n.Host(t, "a"), n.Host(t, "b"), n.Host(t, "c")
	echo(t, b)
	echo(t, c)
	works := func(what string, from, to *hosts.Host) {
		t.Helper()
		if err := sends(t, from, to, 1000, testkit.Patience); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	works("a line as it should be", a, b)
	n.Cut(t, b, a)
	if err := sends(t, a, b, 1, 300*time.Millisecond); err == nil {
		t.Error("it goes over a line that is cut")
	}
	works("another line, while one is cut", a, c)
	n.Lose(t, a, b, 10)
	works("a line that loses a tenth", a, b)
	n.Mend(t, b, a)
	c.Slow(t, "256kbit")
	began := time.Now()
	if err := sends(t, a, c, 64<<10, testkit.Patience); err != nil {
		t.Error(err)
	}
	if passed := time.Since(began); passed < time.Second {
		t.Errorf("64 KB went over 32 KB a second within %v", passed)
	}
	c.Slow(t, "")
	works("it is fast again", a, c)

	cmd := exec.Command("ip", "-brief", "address", "show", "eth0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(cmd); err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(out)
	if err := cmd.Wait(); err != nil || !strings.Contains(string(text), c.Address+"/24") {
		t.Errorf("a program on c sees %s, %v", text, err)
	}
}
