package inbound_test

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/inbound"
	"github.com/fescue-edge/fescue/testkit"
)

// header is one of the PROXY protocol's version 2.
func header(command, family byte, length int, block string) string {
	return "\r\n\r\n\x00\r\nQUIT\n" + string([]byte{command, family, byte(length >> 8), byte(length)}) + block
}

const (
	// block4 is 198.51.100.7:4711 to 127.0.0.1:443, block6 2001:db8::7 to ::1.
	block4 = "\xc6\x33\x64\x07\x7f\x00\x00\x01\x12\x67\x01\xbb"
	block6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07" +
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x12\x67\x01\xbb"
)

func TestProxied(t *testing.T) {
	t.Parallel()
	proxy4 := header(0x21, 0x11, len(block4), block4)
	for name, tc := range map[string]struct {
		sent string
		// stranger sends it from an address that is no load balancer's.
		stranger bool
		// from is whom the connection comes from, and rest what is read of it; cause is
		// why it is closed.
		from, rest, cause string
		is                error
	}{
		"IPv4":                               {sent: proxy4 + "hello", from: "198.51.100.7:4711", rest: "hello"},
		"IPv6":                               {sent: header(0x21, 0x21, len(block6), block6) + "hello", from: "[2001:db8::7]:4711", rest: "hello"},
		"with more than is read of it":       {sent: header(0x21, 0x11, len(block4)+5, block4+"\x04\x00\x02no") + "hello", from: "198.51.100.7:4711", rest: "hello"},
		"with more than fits the buffer":     {sent: header(0x21, 0x11, len(block4)+1003, block4+"\x04\x03\xe8"+strings.Repeat("n", 1000)) + "hello", from: "198.51.100.7:4711", rest: "hello"},
		"the load balancer's own":            {sent: header(0x20, 0x00, 0, "") + "hello", from: "127.0.0.2", rest: "hello"},
		"version 1":                          {sent: "PROXY TCP4 198.51.100.7 127.0.0.1 4711 443\r\nhello", from: "198.51.100.7:4711", rest: "hello"},
		"version 1, of nobody known":         {sent: "PROXY UNKNOWN\r\nhello", from: "127.0.0.2", rest: "hello"},
		"a second header is for the next":    {sent: proxy4 + proxy4, from: "198.51.100.7:4711", rest: proxy4},
		"a stranger without one":             {sent: "hello", stranger: true, from: "127.0.0.1", rest: "hello"},
		"none":                               {sent: "hello", is: inbound.ErrNoHeader},
		"a stranger with one":                {sent: proxy4 + "hello", stranger: true, is: inbound.ErrHeader},
		"a stranger with one of version 1":   {sent: "PROXY TCP4 198.51.100.7 127.0.0.1 4711 443\r\n", stranger: true, is: inbound.ErrHeader},
		"a stranger's malformed one":         {sent: header(0x21, 0x13, len(block4), block4), stranger: true, cause: "address family"},
		"a version that there is not":        {sent: header(0x31, 0x11, len(block4), block4), cause: "version"},
		"a command that there is not":        {sent: header(0x22, 0x11, len(block4), block4), cause: "command"},
		"a family that there is not":         {sent: header(0x21, 0x41, len(block4), block4), cause: "address family"},
		"datagrams":                          {sent: header(0x21, 0x12, len(block4), block4), cause: "no address of TCP"},
		"a socket of the load balancer's":    {sent: header(0x21, 0x31, 216, strings.Repeat("x", 216)), cause: "no address of TCP"},
		"an address too short":               {sent: header(0x21, 0x11, 4, "\xc6\x33\x64\x07"), cause: "length"},
		"longer than any":                    {sent: header(0x21, 0x11, 5000, block4+strings.Repeat("\x00", 4988)), cause: "length"},
		"version 1 without an end":           {sent: "PROXY TCP4 " + strings.Repeat("1", 200), cause: "header"},
		"version 1 with a malformed address": {sent: "PROXY TCP4 198.51.100.777 127.0.0.1 4711 443\r\n", cause: "address"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := behind(t, testkit.Patience)
			if tc.stranger {
				s.stranger = true
			}
			s.send(t, tc.sent)
			if tc.cause == "" && tc.is == nil {
				c := testkit.Receive(t, "a connection", s.accepted)
				defer c.Close()
				if got := c.RemoteAddr().String(); got != tc.from && !strings.HasPrefix(got, tc.from+":") {
					t.Errorf("it is from %s, want %s", got, tc.from)
				}
				rest := make([]byte, len(tc.rest))
				if _, err := io.ReadFull(c, rest); err != nil || string(rest) != tc.rest {
					t.Errorf("read %q, %v", rest, err)
				}
				return
			}
			err := testkit.Receive(t, "a refusal", s.refused)
			if tc.is != nil && !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.cause) {
				t.Errorf("refused by %v, want %v %q", err, tc.is, tc.cause)
			}
		})
	}
}

// A header that does not come ends its own connection and holds up no other, and who comes
// by a load balancer counts as himself.
func TestProxiedOneByOne(t *testing.T) {
	t.Parallel()
	s := behind(t, 200*time.Millisecond)
	slow := s.send(t, header(0x21, 0x11, len(block4), block4[:3]))
	silent := s.send(t, "")
	s.send(t, header(0x21, 0x11, len(block4), block4)+"x")
	testkit.Receive(t, "a connection", s.accepted).Close()
	for range 2 {
		testkit.Receive(t, "a refusal", s.refused)
	}
	ended(t, slow)
	ended(t, silent)

	// Three of one client and two of others: the one too many takes the oldest of the
	// client that has three.
	s = behind(t, testkit.Patience)
	var conns []net.Conn
	for _, host := range []byte{1, 2, 9, 9, 9} {
		conns = append(conns, s.send(t, header(0x21, 0x11, len(block4), block4[:3]+string([]byte{host})+block4[4:])))
		testkit.Receive(t, "a connection", s.accepted)
	}
	s.send(t, header(0x21, 0x11, len(block4), block4))
	testkit.Receive(t, "a connection", s.accepted)
	ended(t, conns[2])
	if open, closed := s.limit.Stats(); open != 5 || closed != 1 {
		t.Errorf("%d are open, %d were closed", open, closed)
	}
}

// proxiedSite is a listener of five connections behind a load balancer at 127.0.0.2.
type proxiedSite struct {
	limit    *inbound.Listener
	stranger bool
	accepted chan net.Conn
	refused  chan error
}

func behind(t *testing.T, timeout time.Duration) *proxiedSite {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	balancers, err := inbound.ParseBalancers([]string{"192.0.2.0/24", "127.0.0.2"})
	if err != nil {
		t.Fatal(err)
	}
	s := &proxiedSite{limit: inbound.Limit(tcp, 5, "test", nil, slog.New(slog.DiscardHandler)), accepted: make(chan net.Conn, 10), refused: make(chan error, 10)}
	l := inbound.Proxied(s.limit, balancers, timeout, func(_ net.Addr, err error) { s.refused <- err })
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.accepted <- c
		}
	}()
	return s
}

// send opens a connection and sends how it begins.
func (s *proxiedSite) send(t *testing.T, text string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	if s.stranger {
		dialer.LocalAddr = nil
	}
	c, err := dialer.Dial("tcp", s.limit.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestParseBalancers(t *testing.T) {
	t.Parallel()
	got, err := inbound.ParseBalancers([]string{"192.0.2.7", "192.0.2.0/24", "2001:db8::/32", "::1"})
	want := inbound.Balancers{
		netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("::1/128"),
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, text := range []string{"", "lb.example.com", "192.0.2.7:443", "192.0.2.0/33", "192.0.2/24", "fe80::1%eth0", "::ffff:192.0.2.7", "/24", "*"} {
		if got, err := inbound.ParseBalancers([]string{text}); err == nil || !strings.Contains(err.Error(), `"`+text+`" is neither`) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}
