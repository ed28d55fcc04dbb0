package inbound_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fescue-edge/fescue/inbound"
	"github.com/fescue-edge/fescue/testkit"
)

const patience = testkit.Patience

// hasty has little patience with its clients.
var hasty = inbound.Pace{Grace: 300 * time.Millisecond, Rate: 100_000, Linger: 300 * time.Millisecond}

// site is an HTTP server behind a Listener. "/read" reads the body and returns its
// length, "/late" does so after it was asked on release, "/" leaves it.
type site struct {
	*inbound.Listener
	address string
	release chan struct{}
	// cut gets the errors of bodies.
	cut chan error
}

func serve(t *testing.T, most int, pace inbound.Pace, maxBody int64) *site {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, tcp, most, pace, maxBody)
}

func serveOn(t *testing.T, listener net.Listener, most int, pace inbound.Pace, maxBody int64) *site {
	t.Helper()
	s := &site{
		Listener: inbound.Limit(listener, most, "test", nil, slog.New(slog.DiscardHandler)),
		address:  listener.Addr().String(), release: make(chan struct{}), cut: make(chan error, 100),
	}
	mux := http.NewServeMux()
	read := func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			s.cut <- err
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, "%d bytes", n)
	}
	mux.HandleFunc("/read", read)
	mux.HandleFunc("/late", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-s.release:
		case <-r.Context().Done():
		}
		read(w, r)
	})
	mux.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) {
		for range 1000 {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				s.cut <- err
				return
			}
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "unread") })
	server := &http.Server{Handler: pace.Handler(mux, maxBody), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: patience}
	inbound.Watch(server)
	go server.Serve(s.Listener)
	t.Cleanup(func() { server.Close() })
	return s
}

// pipes is a listener whose connections lie in memory, for tests in a bubble of its
// own time.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func()
}

func newPipes() *pipes {
	p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	p.close = sync.OnceFunc(func() { close(p.closed) })
	return p
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.close()
	return nil
}

func (*pipes) Addr() net.Addr { return new(net.IPAddr) }

func (p *pipes) dial(t *testing.T, text string) net.Conn {
	t.Helper()
	mine, others := net.Pipe()
	p.conns <- others
	t.Cleanup(func() { mine.Close() })
	if _, err := io.WriteString(mine, text); err != nil {
		t.Fatal(err)
	}
	return mine
}

// dial opens a connection and sends the beginning of something.
func (s *site) dial(t *testing.T, text string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}

// ended waits until the server has closed a connection, and returns what it sent.
func ended(t *testing.T, c net.Conn) string {
	t.Helper()
	text, err := io.ReadAll(c)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("the connection is still open; it brought %q", text)
	}
	return string(text)
}

func head(method, path string, length int) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", method, path, length)
}

func TestBodiesThatNeverCome(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]string{
		"read, no byte":       head("POST", "/read", 100),
		"read, half of it":    head("POST", "/read", 100) + strings.Repeat("x", 50),
		"read, chunks":        "POST /read HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
		"read, large":         head("POST", "/read", 1<<30),
		"unread, no byte":     head("GET", "/healthz", 100),
		"unread, half of it":  head("POST", "/", 100) + strings.Repeat("x", 50),
		"unread, large":       head("PUT", "/", 1<<30) + "x",
		"unread, chunks":      "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
		"read, with Expect":   "POST /read HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
		"unread, with Expect": "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, 10, hasty, 0)
			c := s.dial(t, request)
			want := "unread"
			if strings.HasPrefix(name, "read") {
				want = "the body came too slowly: it must bring 100000 bytes a second, after 300ms"
			}
			if got := ended(t, c); !strings.Contains(got, want) || !strings.Contains(got, "Connection: close") {
				t.Errorf("answer %q", got)
			}
		})
	}
}

func TestPace(t *testing.T) {
	t.Parallel()
	t.Run("a trickle ends, though something comes always", func(t *testing.T) {
		t.Parallel()
		s := serve(t, 10, hasty, 0)
		c := s.dial(t, head("POST", "/read", 1<<20))
		for {
			if _, err := io.WriteString(c, "x"); err != nil {
				break
			}
			select {
			case err := <-s.cut:
				if !errors.Is(err, inbound.ErrSlow) {
					t.Error(err)
				}
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
		t.Error("the connection broke before the body was given up")
	})
	t.Run("what is fast enough is not cut off, whatever it takes in all", func(t *testing.T) {
		t.Parallel()
		s := serve(t, 10, inbound.Pace{Grace: 5 * time.Second, Rate: 1 << 10, Linger: time.Second}, 0)
		const pieces, size = 60, 16 << 10
		c := s.dial(t, head("POST", "/read", pieces*size))
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for range pieces { // each earns 16 seconds
			if _, err := c.Write(make([]byte, size)); err != nil {
				t.Fatal(err)
			}
			<-tick.C
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := io.ReadAll(resp.Body); string(text) != fmt.Sprintf("%d bytes", pieces*size) {
			t.Errorf("%s", text)
		}
	})
	t.Run("time that the server takes is not the sender's", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			line := newPipes()
			s := serveOn(t, line, 10, hasty, 0)
			c := line.dial(t, head("POST", "/late", 5)+"hello")
			time.Sleep(2 * hasty.Grace)
			close(s.release)
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil || resp.StatusCode != 200 {
				t.Errorf("%v, %v", resp, err)
			}
		})
	})
	t.Run("an answer that is not read", func(t *testing.T) {
		t.Parallel()
		s := serve(t, 10, hasty, 0)
		s.dial(t, "GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
		select {
		case <-s.cut:
		case <-time.After(patience):
			t.Error("the answer is still being written")
		}
	})
	t.Run("an answer that is not read, soon after another one", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			line := newPipes()
			serveOn(t, line, 10, hasty, 0)
			c := line.dial(t, "")
			in := bufio.NewReader(c)
			for range 2 {
				if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				if resp, err := http.ReadResponse(in, nil); err != nil {
					t.Fatal(err)
				} else if _, err := io.Copy(io.Discard, resp.Body); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * hasty.Grace)
			if text, err := io.ReadAll(in); err != nil || len(text) > 0 {
				t.Errorf("%q was still to be had, %v", text, err)
			}
		})
	})
	t.Run("a body larger than the bound", func(t *testing.T) {
		t.Parallel()
		s := serve(t, 10, hasty, 10)
		if got := ended(t, s.dial(t, head("POST", "/read", 1<<20)+"hello world")); !strings.Contains(got, "request body too large") {
			t.Errorf("answer %q", got)
		}
	})
	t.Run("a connection is kept", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			line := newPipes()
			serveOn(t, line, 10, hasty, 0)
			c := line.dial(t, "")
			in := bufio.NewReader(c)
			for i := range 5 {
				path := []string{"/read", "/"}[i%2]
				text := strings.Repeat("x", 3*(1-i%2)) // the second kind has no body
				if _, err := io.WriteString(c, head("POST", path, len(text))+text); err != nil {
					t.Fatal(err)
				}
				resp, err := http.ReadResponse(in, nil)
				if err != nil || resp.Close {
					t.Fatalf("request %d: %v, %v", i, resp, err)
				}
				io.Copy(io.Discard, resp.Body)
				time.Sleep(2 * hasty.Grace) // deadlines of the last request are over
			}
		})
	})
	t.Run("a refusal reaches a client that still sends", func(t *testing.T) {
		t.Parallel()
		s := serve(t, 10, inbound.DefaultPace, 0)
		const size = 32 << 20
		resp, err := http.Post("http://"+s.address+"/", "", io.LimitReader(zeros{}, size))
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%v, %v", resp, err)
		}
		// As simple clients do: all of it first, and then the answer.
		c := s.dial(t, head("POST", "/", size))
		if _, err := io.CopyN(c, zeros{}, size); err != nil {
			t.Fatal(err)
		}
		if got := ended(t, c); !strings.Contains(got, "unread") {
			t.Errorf("answer %q", got)
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestLimit(t *testing.T) {
	t.Parallel()
	t.Run("silent connections make room for new ones", func(t *testing.T) {
		t.Parallel()
		s := serve(t, 5, inbound.DefaultPace, 0)
		first := s.dial(t, "GET / HT") // half a head
		testkit.Until(t, "accepted", func() bool { open, _ := s.Stats(); return open == 1 })
		for range 30 {
			s.dial(t, "")
		}
		testkit.Until(t, "accepted", func() bool { _, closed := s.Stats(); return closed == 26 })
		if open, _ := s.Stats(); open != 5 {
			t.Errorf("%d are open", open)
		}
		ended(t, first)
		if got := s.get(t, "/"); !strings.Contains(got, "unread") {
			t.Errorf("answer %q", got)
		}
	})
	t.Run("connections at work stay, and one too many is refused in words", func(t *testing.T) {
		t.Parallel()
		s := serve(t, 3, inbound.DefaultPace, 0)
		var busy []net.Conn
		for range 3 {
			busy = append(busy, s.dial(t, "GET /late HTTP/1.1\r\nHost: h\r\n\r\n"))
			testkit.Until(t, "accepted", func() bool { open, _ := s.Stats(); return open == len(busy) })
		}
		// Its head may not have been read yet: then it is the one that goes.
		testkit.Until(t, "all at work", func() bool {
			c, err := net.Dial("tcp", s.address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(time.Second))
			_, err = c.Read(make([]byte, 1))
			return err == io.EOF || errors.Is(err, net.ErrClosed) || err != nil
		})
		close(s.release)
		answered := 0
		for _, c := range busy {
			if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil && resp.StatusCode == 200 {
				answered++
			}
		}
		if answered == 0 {
			t.Error("no connection that was at work was answered")
		}
		// They wait now, and make room.
		testkit.Until(t, "room", func() bool { return strings.Contains(s.get(t, "/"), "unread") })
	})
	t.Run("an answer's rest is no work", func(t *testing.T) {
		t.Parallel()
		s := serve(t, 2, inbound.DefaultPace, 0)
		var slow []net.Conn
		for range 2 {
			c := s.dial(t, head("POST", "/", 1<<20))
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			slow = append(slow, c)
		}
		testkit.Until(t, "room", func() bool { return strings.Contains(s.get(t, "/"), "unread") })
		ended(t, slow[0])
	})
	t.Run("a thousand that send nothing", func(t *testing.T) {
		t.Parallel()
		s := serve(t, 50, inbound.DefaultPace, 0)
		for range 1000 {
			s.dial(t, head("POST", "/", 100))
		}
		if got := s.get(t, "/"); !strings.Contains(got, "unread") {
			t.Errorf("answer %q", got)
		}
		if open, _ := s.Stats(); open > 50 {
			t.Errorf("%d are open", open)
		}
	})
}

// get asks on a connection of its own, empty if that was closed.
func (s *site) get(t *testing.T, path string) string {
	t.Helper()
	c, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", path)
	text, _ := io.ReadAll(c)
	return string(text)
}

func TestShare(t *testing.T) {
	t.Parallel()
	for _, descriptors := range []int{64, 256, 1024, 20_000, 1 << 20} {
		s := inbound.Share(descriptors)
		if s.API < 4 || s.Device < 4 || s.MQTT < 4 {
			t.Errorf("%d descriptors: %+v", descriptors, s)
		}
		if needs := 2*s.API + 2*s.Device + s.MQTT + 2*s.Ops; descriptors >= 1024 && needs > descriptors*9/10 {
			t.Errorf("%d descriptors: %+v need %d", descriptors, s, needs)
		}
	}
	if n := inbound.Descriptors(); n < 256 {
		t.Errorf("this process may have %d", n)
	}
}

// TestSharePages holds the figures in the pages for operators against Share.
func TestSharePages(t *testing.T) {
	t.Parallel()
	for name, says := range map[string]string{
		"server.md":  "with {Descriptors} the API has {API}, `--device` {Device} and `--mqtt` {MQTT}; `--ops` always {Ops}. Of those of `--device` {IdleDevice} may wait for another request |",
		"scaling.md": "With `RLIMIT_NOFILE` at {Descriptors} that is {MQTT} and {Device} |",
	} {
		page, err := os.ReadFile(filepath.Join("..", "docs", name))
		if err != nil {
			t.Fatal(err)
		}
		figures := regexp.MustCompile(regexp.MustCompile(`\\\{(\w+)\\\}`).ReplaceAllString(regexp.QuoteMeta(says), "(?P<$1>[0-9,]+)"))
		found := figures.FindSubmatch(page)
		if found == nil {
			t.Errorf("docs/%s does not say %q", name, says)
			continue
		}
		said := make(map[string]int)
		for i, what := range figures.SubexpNames() {
			said[what], _ = strconv.Atoi(strings.ReplaceAll(string(found[i]), ",", ""))
		}
		s := inbound.Share(said["Descriptors"])
		for what, is := range map[string]int{"API": s.API, "Device": s.Device, "MQTT": s.MQTT, "Ops": s.Ops, "IdleDevice": s.IdleDevice} {
			if says, ok := said[what]; ok && says != is {
				t.Errorf("docs/%s: %s is said to have %d of %d descriptors, and has %d", name, what, says, said["Descriptors"], is)
			}
		}
	}
}

func TestOrigin(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]string{
		"192.0.2.1:443":              "192.0.2.1",
		"192.0.2.1":                  "192.0.2.1",
		"[::ffff:192.0.2.1]:443":     "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:443": "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff::1]:1":   "2001:db8:1:2::/64",
		"[2001:db8:1:3::1]:1":        "2001:db8:1:3::/64",
		"[fe80::1%eth0]:1":           "fe80::/64",
		"@":                          "@",
		"":                           "",
	} {
		if got := inbound.Origin(remote); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
}
