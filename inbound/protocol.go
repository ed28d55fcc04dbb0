package inbound

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"time"
)

// ByProtocol speaks TLS on a listener and separates the connections that have
// negotiated a protocol by ALPN from all others. A handshake may take so long; failed
// is called for those that fail. Both listeners yield *tls.Conn.
//
// Both listeners have to be served. Closing one of them closes l, and ends both.
func ByProtocol(l net.Listener, cfg *tls.Config, protocol string, timeout time.Duration, failed func(net.Addr, error)) (named, others net.Listener) {
	cfg = cfg.Clone()
	cfg.NextProtos = append([]string{protocol}, cfg.NextProtos...)
	return sortConns(l, func(raw net.Conn) (net.Conn, bool) {
		c := tls.Server(raw, cfg)
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		if err := c.HandshakeContext(ctx); err != nil {
			failed(raw.RemoteAddr(), err)
			return nil, false
		}
		return c, c.ConnectionState().NegotiatedProtocol == protocol
	})
}

// Negotiate speaks TLS on a listener, and negotiates a protocol with clients that
// ask for it. What others ask for is ignored.
func Negotiate(l net.Listener, cfg *tls.Config, protocol string) net.Listener {
	asked := cfg.Clone()
	asked.NextProtos = []string{protocol}
	cfg = cfg.Clone()
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Contains(hello.SupportedProtos, protocol) {
			return asked, nil
		}
		return nil, nil
	}
	return tls.NewListener(l, cfg)
}
