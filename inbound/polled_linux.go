package inbound

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// hungUp reports whether a client has closed a connection, of which something may still be
// unread. One that is closed on this side is hung up, too.
func hungUp(c net.Conn) bool { return polled(c, unix.POLLRDHUP) }

// readable reports whether a client has sent something that is not read yet, or has closed
// its connection.
func readable(c net.Conn) bool { return polled(c, unix.POLLIN) }

// polled reports whether one of the events is there, or the connection has failed or is closed.
func polled(c net.Conn, events int16) (found bool) {
	socket, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return true
	}
	err = raw.Control(func(fd uintptr) {
		polled := []unix.PollFd{{Fd: int32(fd), Events: events}}
		n, err := unix.Poll(polled, 0)
		found = err == nil && n > 0
	})
	return found || err != nil
}
