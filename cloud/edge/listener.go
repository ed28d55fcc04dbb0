package edge

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"

	"github.com/fescue-edge/fescue/inbound"
	"github.com/fescue-edge/fescue/pki"
)

// protocols are what the port negotiates with a client that asks: the original's
// name for HTTPS with a client certificate, and the usual one.
var protocols = []string{"x-amzn-http-ca", "http/1.1"}

// TLS is the configuration of a listener for Serve. A core comes over a connection of its own
// for each deployment, and may resume its session, as whoever speaks MQTT on this port may:
// nobody signs then, while Verify is asked all the same. The keys of tickets are in memory alone,
// so that other servers shake hands in full. Each resumption gives a new ticket, good for a week.
func (h *Handler) TLS(certificates *pki.ListenerCertificates) *tls.Config {
	cfg := pki.DeviceTLS(certificates.Get, h.Verify)
	cfg.SessionTicketsDisabled = false
	cfg.NextProtos = protocols
	return cfg
}

// Serve has a server answer with h on a listener of *tls.Conn, until the server is
// shut down.
func (h *Handler) Serve(server *http.Server, l net.Listener) error {
	server.Handler = h.Pace.Handler(h, maxBody)
	server.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, c)
	}
	inbound.Watch(server)
	return server.Serve(&listener{l, h.Logger})
}

// connKey is the key of the request's *conn in its context. net/http tells the TLS
// state of a *tls.Conn only, and serves none that has negotiated a protocol which
// it does not know.
type connKey struct{}

// tlsState is that of a request's connection.
func tlsState(r *http.Request) *tls.ConnectionState {
	state := r.Context().Value(connKey{}).(*conn).ConnectionState()
	return &state
}

// listener makes conns.
type listener struct {
	net.Listener
	logger *slog.Logger
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c.(*tls.Conn), logger: l.logger}, nil
}

// conn is a connection whose first request may lack a Host line: those of
// FreeRTOS for discovery do, and net/http would refuse them.
type conn struct {
	*tls.Conn
	logger *slog.Logger
	looked bool
	// head was read and is to be handed on, then err.
	head []byte
	err  error
}

// maxHead bounds the head of a request for discovery.
const maxHead = 8 << 10

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	if !c.looked {
		c.looked = true
		head, err := c.readHead()
		c.head, c.err = withHost(head), err
	}
	switch {
	case len(c.head) > 0:
		n := copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	case c.err != nil:
		return 0, c.err
	}
	return c.Conn.Read(p)
}

// readHead reads until it is clear that no request for discovery comes, or until
// its head is complete.
func (c *conn) readHead() ([]byte, error) {
	if err := c.Handshake(); err != nil {
		c.logger.Debug("TLS handshake failed", "remote", c.RemoteAddr(), "error", err)
		return nil, err
	}
	head := make([]byte, 0, 512)
	for len(head) < maxHead && forDiscovery(head) && headEnd(head) < 0 {
		n, err := c.Conn.Read(head[len(head):cap(head)])
		head = head[:len(head)+n]
		if err != nil {
			return head, err
		}
		if len(head) == cap(head) {
			head = append(head, 0)[:len(head)]
		}
	}
	return head, nil
}

var discoveryRequest = []byte("GET /greengrass/discover/")

// forDiscovery reports whether a request that begins with head may be one for
// discovery.
func forDiscovery(head []byte) bool {
	n := min(len(head), len(discoveryRequest))
	return bytes.Equal(head[:n], discoveryRequest[:n])
}

// headEnd is where the lines of a head end, each by "\n" with or without "\r"; -1
// when they have not yet.
func headEnd(head []byte) int {
	end := -1
	for _, blank := range []string{"\n\r\n", "\n\n"} {
		if i := bytes.Index(head, []byte(blank)); i >= 0 && (end < 0 || i < end) {
			end = i
		}
	}
	return end
}

// withHost puts a Host line into the head of a request for discovery that has
// none. Everything else stays as it is.
func withHost(head []byte) []byte {
	end := headEnd(head)
	if end < 0 || !bytes.HasPrefix(head, discoveryRequest) {
		return head
	}
	request, fields, _ := bytes.Cut(head[:end+1], []byte("\n"))
	if !bytes.HasSuffix(bytes.TrimSuffix(request, []byte("\r")), []byte(" HTTP/1.1")) {
		return head
	}
	for field := range bytes.SplitSeq(fields, []byte("\n")) {
		if name, _, ok := bytes.Cut(field, []byte(":")); ok && bytes.EqualFold(name, []byte("Host")) {
			return head
		}
	}
	with := append(bytes.Clone(head[:len(request)+1]), "Host: discovery\r\n"...)
	return append(with, head[len(request)+1:]...)
}
