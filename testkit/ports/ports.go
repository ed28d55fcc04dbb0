//go:build unix

// Package ports gives tests TCP ports that stay theirs while nobody listens on them:
// a server that is killed comes back on the same address.
package ports

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// Ports lie below those that the kernel gives out by itself (32768 on Linux), so
// that neither :0 nor a connection takes one between two uses.
const (
	first = 16000
	count = 16000
)

// Take gives a port of the loopback that no other test takes, of this process or
// another, until the test ends.
func Take(t testing.TB) int {
	t.Helper()
	port, release, err := Hold()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return port
}

// Hold is Take outside of a test: the port is held until release is called, or the
// process ends.
func Hold() (port int, release func(), err error) {
	folder := filepath.Join(os.TempDir(), "fescue-test-ports")
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return 0, nil, err
	}
	for i := range count {
		port := first + (os.Getpid()*61+i)%count
		if release, ok := hold(filepath.Join(folder, strconv.Itoa(port)), port); ok {
			return port, release, nil
		}
	}
	return 0, nil, fmt.Errorf("no port from %d to %d is free", first, first+count-1)
}

// hold takes the lock of a port that nobody listens on.
func hold(file string, port int) (release func(), ok bool) {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, false
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			l.Close()
			return func() { f.Close() }, true
		}
	}
	f.Close()
	return nil, false
}
