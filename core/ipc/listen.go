package ipc

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
)

// Listener waits for functions on the loopback addresses of both IP versions,
// on one port. Clients that are given "localhost" try either.
type Listener struct {
	port      int
	listeners []net.Listener
}

// Listen opens the port, 0 for any free one. IPv6 is left out where the machine
// has none; an IPv6 port that somebody else holds is an error, because that
// process would be sent the functions' tokens.
func Listen(port int) (*Listener, error) {
	// A free IPv4 port may be taken on IPv6, so any port gets a few tries.
	attempts := 1
	if port == 0 {
		attempts = 10
	}
	var err error
	for range attempts {
		var l *Listener
		if l, err = listen(port); err == nil {
			return l, nil
		}
	}
	return nil, fmt.Errorf("open the function API on port %d: %w; end the other process or change ggDaemonPort", port, err)
}

func listen(port int) (*Listener, error) {
	v4, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	l := &Listener{port: v4.Addr().(*net.TCPAddr).Port, listeners: []net.Listener{v4}}
	v6, err := net.Listen("tcp6", net.JoinHostPort("::1", strconv.Itoa(l.port)))
	switch {
	case err == nil:
		l.listeners = append(l.listeners, v6)
	case errors.Is(err, syscall.EADDRINUSE), errors.Is(err, syscall.EACCES):
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Port is the number that functions are given.
func (l *Listener) Port() int { return l.port }

// Close stops listening.
func (l *Listener) Close() error {
	var errs []error
	for _, each := range l.listeners {
		if err := each.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
