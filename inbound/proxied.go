package inbound

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/pires/go-proxyproto"
)

// Balancers are the addresses of load balancers whose word is taken for whom a connection
// is from.
type Balancers []netip.Prefix

// ParseBalancers reads addresses and networks: "192.0.2.7", "2001:db8::/32".
func ParseBalancers(list []string) (b Balancers, err error) {
	for _, text := range list {
		network, err := netip.ParsePrefix(text)
		if address, single := netip.ParseAddr(text); single == nil && address.Zone() == "" {
			network, err = address.Prefix(address.BitLen())
		}
		if err != nil || network.Addr().Is4In6() {
			return nil, fmt.Errorf("%q is neither an IP address nor a network: give for example 192.0.2.7 or 192.0.2.0/24", text)
		}
		b = append(b, network)
	}
	return b, nil
}

// have reports whether a connection from an address is a load balancer's.
func (b Balancers) have(from net.Addr) bool {
	tcp, ok := from.(*net.TCPAddr)
	if !ok {
		return false
	}
	address := tcp.AddrPort().Addr().Unmap().WithZone("")
	return slices.ContainsFunc(b, func(network netip.Prefix) bool { return network.Contains(address) })
}

var (
	// ErrNoHeader ends a connection of a load balancer that does not say whom it is from.
	ErrNoHeader = errors.New("it is from a load balancer and does not begin with a header of the PROXY protocol: have the load balancer send one, or take its address out of those that do")
	// ErrHeader ends a connection of nobody's who says that it is from somebody else.
	ErrHeader = errors.New("it begins with a header of the PROXY protocol and is from no load balancer whose address is known: name the address, if it is one")
)

// Proxied has connections from load balancers come from whom their header of the PROXY
// protocol names, in version 1 or 2: Conn.RemoteAddr says so, and the limit of a Listener
// below counts them so. A header has to begin each connection from b, and none other; it
// has to come within timeout. What a load balancer opens for itself (the command LOCAL)
// is from it. refused is called for connections that are closed, from any goroutine.
//
// Closing the listener closes l.
func Proxied(l net.Listener, b Balancers, timeout time.Duration, refused func(from net.Addr, cause error)) net.Listener {
	if len(b) == 0 {
		return l
	}
	proxied, _ := sortConns(l, func(c net.Conn) (net.Conn, bool) {
		known, err := b.readHeader(c, timeout)
		if err != nil {
			refused(c.RemoteAddr(), err)
			return nil, false
		}
		countAs(c, Origin(known.RemoteAddr().String()))
		return known, true
	})
	return proxied
}

// headerBuffer holds a header with what usually is in it; a longer one takes more reads. One
// of version 1 fits always, with its 107 bytes.
const headerBuffer = 256

// readHeader reads how a connection begins, and gives it as whoever opened it sees it.
func (b Balancers) readHeader(c net.Conn, timeout time.Duration) (*proxied, error) {
	c.SetReadDeadline(time.Now().Add(timeout))
	reader := bufio.NewReaderSize(c, headerBuffer)
	header, err := proxyproto.Read(reader)
	c.SetReadDeadline(time.Time{})
	from, trusted := c.RemoteAddr(), b.have(c.RemoteAddr())
	switch {
	case errors.Is(err, proxyproto.ErrNoProxyProtocol) && trusted:
		return nil, ErrNoHeader
	case errors.Is(err, proxyproto.ErrNoProxyProtocol):
	case err != nil:
		return nil, fmt.Errorf("read how a connection begins: %w", err)
	case !trusted:
		return nil, ErrHeader
	case header.Command.IsProxy() && header.SourceAddr != nil:
		tcp, ok := header.SourceAddr.(*net.TCPAddr)
		if !ok {
			return nil, fmt.Errorf("the header of the PROXY protocol names %s, which is no address of TCP", header.SourceAddr)
		}
		from = tcp
	}
	rest, err := reader.Peek(reader.Buffered())
	return &proxied{begun: begun{Conn: c, first: rest}, from: from}, err
}

// proxied is a connection of which it is known whom it is from.
type proxied struct {
	begun
	from net.Addr
}

// RemoteAddr implements net.Conn.
func (p *proxied) RemoteAddr() net.Addr { return p.from }
