package inbound

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// hungUp reports whether a client has closed a connection, of which something may still be
// unread. One that is closed on this side is hung up, too.
func hungUp(c net.Conn) (gone bool) {
	socket, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return true
	}
	err = raw.Control(func(fd uintptr) {
		polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(polled, 0)
		gone = err == nil && n > 0
	})
	return gone || err != nil
}
