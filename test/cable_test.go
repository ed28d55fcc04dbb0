//go:build linux

package test

import (
	"io"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/fescue-edge/fescue/testkit/ports"
)

// cable leads from a core to a port of the server, and can be pulled out.
type cable struct {
	to   string
	port int

	mu       sync.Mutex
	listener net.Listener // nil while it is out
	ends     map[net.Conn]bool
}

// lay makes a cable to an address and plugs it in.
func lay(t testing.TB, to string) *cable {
	t.Helper()
	c := &cable{to: to, port: ports.Take(t), ends: make(map[net.Conn]bool)}
	c.plug(t)
	t.Cleanup(c.pull)
	return c
}

func (c *cable) plug(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)))
	if err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	c.listener = l
	c.mu.Unlock()
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", c.to)
			if err != nil {
				near.Close()
				continue
			}
			c.mu.Lock()
			out := c.listener != l
			c.ends[near], c.ends[far] = true, true
			c.mu.Unlock()
			for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
				go func() {
					_, _ = io.Copy(way[0], way[1])
					near.Close()
					far.Close()
					c.mu.Lock()
					delete(c.ends, way[0])
					c.mu.Unlock()
				}()
			}
			if out {
				near.Close()
			}
		}
	}()
}

func (c *cable) pull() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.listener != nil {
		c.listener.Close()
	}
	c.listener = nil
	for end := range c.ends {
		end.Close()
	}
}

// uplink is all that leads from a core to the server.
type uplink []*cable

// through has a core reach the server by cables.
func (l *localCore) through(t testing.TB) uplink {
	t.Helper()
	device, mqtt := lay(t, l.device), lay(t, l.mqtt)
	l.configure(t, "ggHttpPort", device.port)
	l.configure(t, "iotHttpPort", device.port)
	l.configure(t, "iotMqttPort", mqtt.port)
	return uplink{device, mqtt}
}

func (u uplink) pull() {
	for _, c := range u {
		c.pull()
	}
}

func (u uplink) plug(t testing.TB) {
	for _, c := range u {
		c.plug(t)
	}
}
