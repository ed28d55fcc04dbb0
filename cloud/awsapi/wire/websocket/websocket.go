// Package websocket carries MQTT in WebSockets (RFC 6455; MQTT 3.1.1, section 6): it
// opens one for an HTTP request and gives what comes in it as a connection. It knows
// neither who asks nor what packets mean.
package websocket

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// subprotocols are what clients ask for: that of MQTT 3.1.1, and the name that some
// browsers' libraries had before it. The first that the client offers is confirmed.
var subprotocols = []string{"mqtt", "mqttv3.1"}

// Wanted reports whether a request asks for a WebSocket.
func Wanted(r *http.Request) bool {
	return r.Method == http.MethodGet && slices.ContainsFunc(tokens(r.Header, "Upgrade"), func(s string) bool {
		return strings.EqualFold(s, "websocket")
	})
}

// tokens are the comma-separated values of a header.
func tokens(h http.Header, name string) (list []string) {
	for _, line := range h.Values(name) {
		for token := range strings.SplitSeq(line, ",") {
			list = append(list, strings.TrimSpace(token))
		}
	}
	return list
}

// Check says what is wrong with a request for a WebSocket; nil lets Open.
func Check(r *http.Request) error {
	switch {
	case !r.ProtoAtLeast(1, 1) || r.ProtoMajor != 1:
		return fmt.Errorf("a WebSocket is opened over HTTP/1.1, and this is %s", r.Proto)
	case r.ContentLength != 0:
		return errors.New("a request for a WebSocket has no body, and this one has")
	case !slices.ContainsFunc(tokens(r.Header, "Connection"), func(s string) bool { return strings.EqualFold(s, "upgrade") }):
		return errors.New("the header Connection does not say Upgrade; a proxy may have removed it")
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		return errors.New("the header Sec-WebSocket-Version is not 13")
	case len(r.Header.Values("Sec-WebSocket-Key")) != 1:
		return errors.New("the header Sec-WebSocket-Key does not stand there once")
	case !slices.ContainsFunc(tokens(r.Header, "Sec-WebSocket-Protocol"), func(s string) bool { return slices.Contains(subprotocols, s) }):
		return fmt.Errorf("the WebSocket subprotocol %s is not among those offered, %.100q", subprotocols[0], r.Header.Get("Sec-WebSocket-Protocol"))
	}
	return nil
}

// Open answers a request for a WebSocket and gives the connection. On an error the
// answer has been written. From whichever page a browser asks is not looked at: callers
// have to be sure of who asks by something that browsers do not send by themselves.
func Open(w http.ResponseWriter, r *http.Request) (*Conn, error) {
	raw := &taken{ResponseWriter: w}
	ws, err := websocket.Accept(raw, r, &websocket.AcceptOptions{
		Subprotocols: subprotocols, InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(-1) // a message is a stream; packets have a bound of their own
	return &Conn{ws: ws, raw: raw.conn}, nil
}

// taken remembers the connection that was taken from an HTTP server.
type taken struct {
	http.ResponseWriter
	conn net.Conn
}

// Hijack implements http.Hijacker.
func (t *taken) Hijack() (conn net.Conn, rw *bufio.ReadWriter, err error) {
	t.conn, rw, err = http.NewResponseController(t.ResponseWriter).Hijack()
	return t.conn, rw, err
}

// Conn is the bytes in the binary messages of a WebSocket: packets may span messages, and
// a message may hold several. Pings are answered while somebody reads. One goroutine
// may read while another writes.
type Conn struct {
	ws      *websocket.Conn
	raw     net.Conn
	message io.Reader // nil between messages
}

// Read implements io.Reader. io.EOF means that the client has closed the WebSocket; a
// message of text ends it (MQTT-6.0.0-1).
func (c *Conn) Read(p []byte) (int, error) {
	for {
		if c.message == nil {
			kind, message, err := c.ws.Reader(context.Background())
			switch status := websocket.CloseStatus(err); {
			case status == websocket.StatusNormalClosure, status == websocket.StatusGoingAway:
				return 0, io.EOF
			case err != nil:
				return 0, err
			case kind != websocket.MessageBinary:
				_ = c.ws.Close(websocket.StatusUnsupportedData, "MQTT is spoken in binary messages")
				return 0, errors.New("a message of the WebSocket is text: MQTT is spoken in binary ones")
			}
			c.message = message
		}
		n, err := c.message.Read(p)
		if err == io.EOF {
			c.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Write sends p as one message.
func (c *Conn) Write(p []byte) (int, error) {
	if err := c.ws.Write(context.Background(), websocket.MessageBinary, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close ends the WebSocket with its closing handshake, for which the client has a few
// seconds.
func (c *Conn) Close() error { return c.ws.Close(websocket.StatusNormalClosure, "") }

// NetConn is the connection below, whose end needs no client.
func (c *Conn) NetConn() net.Conn { return c.raw }

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.raw.LocalAddr() }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }

// SetDeadline implements net.Conn, as do the next two. What misses a deadline ends the
// connection.
func (c *Conn) SetDeadline(t time.Time) error { return c.raw.SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.raw.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.raw.SetWriteDeadline(t) }
