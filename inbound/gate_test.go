package inbound_test

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fescue-edge/fescue/inbound"
	"github.com/fescue-edge/fescue/testkit"
)

// hello is how a TLS handshake begins.
const hello = "\x16"

// gated is a listener behind a Gate. What comes through lies in through.
type gated struct {
	*inbound.Gate
	through chan net.Conn
}

// gate has a listener go through a gate with so many places.
func gate(t *testing.T, l net.Listener, most int) *gated {
	t.Helper()
	o := inbound.GateOptions{Most: most, Wait: patience, Silence: patience / 10}
	g := &gated{inbound.NewGate(o, slog.New(slog.DiscardHandler)), make(chan net.Conn, 100)}
	secure, plain := inbound.Split(inbound.Limit(l, 100, "test", g.Gate, slog.New(slog.DiscardHandler)), patience)
	for _, side := range []net.Listener{secure, plain} {
		go func() {
			for {
				c, err := side.Accept()
				if err != nil {
					return
				}
				g.through <- c
			}
		}()
	}
	t.Cleanup(func() { l.Close() })
	return g
}

func (g *gated) await(t *testing.T, want inbound.GateStats) {
	t.Helper()
	testkit.Eventually(t, "the gate", func() error {
		if got := g.Stats(); got != want {
			return fmt.Errorf("it has %+v, want %+v", got, want)
		}
		return nil
	})
}

func TestGate(t *testing.T) {
	t.Parallel()
	open := func(t *testing.T, most int) (*gated, func(text string) net.Conn) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return gate(t, l, most), func(text string) net.Conn {
			t.Helper()
			return (&site{address: l.Addr().String()}).dial(t, text)
		}
	}
	t.Run("no more than so many", func(t *testing.T) {
		t.Parallel()
		g, dial := open(t, 2)
		var clients []net.Conn
		for i := range 5 {
			clients = append(clients, dial(hello))
			g.await(t, inbound.GateStats{Inside: min(i+1, 2), Waiting: max(i-1, 0)})
		}
		first, second := <-g.through, <-g.through
		inbound.Work(first) // it has proved whose it is
		g.await(t, inbound.GateStats{Inside: 2, Waiting: 2})
		first.Close() // which frees no second place
		second.Close()
		g.await(t, inbound.GateStats{Inside: 2, Waiting: 1})
		(<-g.through).Close()
		(<-g.through).Close()
		inbound.Work(<-g.through)
		g.await(t, inbound.GateStats{})
		if text := ended(t, clients[0]); text != "" {
			t.Errorf("a client got %q", text)
		}
	})
	t.Run("plain text takes no place", func(t *testing.T) {
		t.Parallel()
		g, dial := open(t, 1)
		dial(hello)
		<-g.through
		dial("GET / HTTP/1.1\r\n\r\n")
		<-g.through
		g.await(t, inbound.GateStats{Inside: 1})
	})
	t.Run("whose client has given up is not set up", func(t *testing.T) {
		t.Parallel()
		g, dial := open(t, 1)
		dial(hello)
		first := <-g.through
		given := dial(hello + "\x03\x01")
		g.await(t, inbound.GateStats{Inside: 1, Waiting: 1})
		patient := dial(hello + "\x03\x02")
		g.await(t, inbound.GateStats{Inside: 1, Waiting: 2})
		given.Close()
		first.Close()
		next := <-g.through
		g.await(t, inbound.GateStats{Inside: 1, Gone: 1})
		head := make([]byte, 3)
		if _, err := io.ReadFull(next, head); err != nil || string(head) != hello+"\x03\x02" {
			t.Errorf("%q came through, %v", head, err)
		}
		patient.Close()
	})
}

// origins are pipes whose clients have addresses.
type origins struct {
	*pipes
	next string
}

func (o *origins) Accept() (net.Conn, error) {
	c, err := o.pipes.Accept()
	if err != nil {
		return nil, err
	}
	return &from{c, o.next}, nil
}

type from struct {
	net.Conn
	address string
}

func (f *from) RemoteAddr() net.Addr { return f }
func (f *from) Network() string      { return "tcp" }
func (f *from) String() string       { return f.address + ":1" }

func TestGateFair(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		line := &origins{pipes: newPipes()}
		g := gate(t, line, 3)
		come := func(address string) {
			line.next = address
			line.dial(t, hello)
			synctest.Wait()
		}
		through := func() net.Conn {
			t.Helper()
			synctest.Wait()
			select {
			case c := <-g.through:
				return c
			default:
				t.Fatal("nothing came through")
				return nil
			}
		}
		for range 6 { // a crowd behind one address
			come("192.0.2.1")
		}
		come("192.0.2.2")
		come("192.0.2.3")
		first, second, third := through(), through(), through()
		for i, next := range []struct {
			ends net.Conn
			want string
		}{
			{first, "192.0.2.2:1"}, {second, "192.0.2.3:1"},
			{third, "192.0.2.1:1"}, // the crowd has its turn when nobody else waits
		} {
			next.ends.Close()
			if got := through().RemoteAddr().String(); got != next.want {
				t.Errorf("number %d in turn is from %s, not %s", i+1, got, next.want)
			}
		}
		line.Close()
		time.Sleep(2 * patience)
	})
}

func TestGateTimes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do   func(first net.Conn)
		want inbound.GateStats
	}{
		"who waits too long is closed":    {func(net.Conn) { time.Sleep(patience + time.Second) }, inbound.GateStats{Inside: 1, Late: 1}},
		"a silent client loses its place": {func(first net.Conn) { io.ReadFull(first, make([]byte, 2)) }, inbound.GateStats{Inside: 1}},
		"a client that speaks keeps its own": {func(first net.Conn) {
			first.SetReadDeadline(time.Now().Add(patience / 20))
			io.ReadFull(first, make([]byte, 2))
		}, inbound.GateStats{Inside: 1, Waiting: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				line := newPipes()
				g := gate(t, line, 1)
				line.dial(t, hello)
				first := <-g.through
				other := line.dial(t, hello)
				synctest.Wait()
				if got := (inbound.GateStats{Inside: 1, Waiting: 1}); g.Stats() != got {
					t.Fatalf("%+v", g.Stats())
				}
				done := make(chan struct{})
				go func() {
					defer close(done)
					c.do(first)
				}()
				time.Sleep(patience / 5)
				if c.want.Late > 0 {
					<-done
					if _, err := other.Read(make([]byte, 1)); err != io.EOF {
						t.Errorf("the connection that waited: %v", err)
					}
				}
				synctest.Wait()
				if got := g.Stats(); got != c.want {
					t.Errorf("%+v, want %+v", got, c.want)
				}
				first.Close()
				line.Close()
				<-done
				time.Sleep(2 * patience)
			})
		})
	}
}
