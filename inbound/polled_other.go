//go:build !linux

package inbound

import "net"

// hungUp cannot be asked here: the handshake will fail.
func hungUp(net.Conn) bool { return false }

// readable cannot be asked here: the client sends again what was lost.
func readable(net.Conn) bool { return false }
