//go:build linux

// Package hosts gives tests several hosts on one machine: network namespaces, each with
// an address of its own, behind one router. A line can be cut, made slow and made to lose
// packets while programs talk over it.
//
// Nothing of it is seen from outside, or outlives the test's process: the namespaces have
// no names, and are held by descriptors alone.
package hosts

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Network is a router and the hosts around it.
type Network struct {
	router namespace

	mu    sync.Mutex
	hosts []*Host
	// lines are the lines between two hosts that are not as they should be.
	lines map[line]condition
}

// line is what lies between two hosts, the one that was made first named first.
type line struct{ a, b *Host }

// condition is of one line, both ways.
type condition struct {
	cut bool
	// loss is how many of a hundred packets get lost.
	loss int
}

// Host is one of the network's.
type Host struct {
	// Name is the test's, Address an IPv4 one.
	Name, Address string

	number  int
	network *Network
	inside  namespace
	// port is the router's end of the host's cable.
	port string
}

// Need skips the test where hosts cannot be had, and says what is missing.
func Need(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make network namespaces")
	}
	for program, of := range map[string]string{"ip": "iproute2", "tc": "iproute2", "nft": "nftables"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s (Debian's package %s) is not installed", program, of)
		}
	}
	probe, err := open()
	if err != nil {
		t.Skip("network namespaces cannot be made here: " + err.Error())
	}
	probe.close()
}

// New makes a network without hosts, which ends with the test.
func New(t testing.TB) *Network {
	t.Helper()
	Need(t)
	router, err := open()
	if err != nil {
		t.Fatal(err)
	}
	n := &Network{router: router, lines: make(map[line]condition)}
	t.Cleanup(func() {
		for _, h := range n.hosts {
			h.inside.close()
		}
		n.router.close()
	})
	err = n.router.enter(func() error {
		return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Host makes one more host, with a cable to the router.
func (n *Network) Host(t testing.TB, name string) *Host {
	t.Helper()
	inside, err := open()
	if err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	number := len(n.hosts) + 1
	h := &Host{Name: name, Address: fmt.Sprintf("10.77.%d.2", number), number: number, network: n, inside: inside, port: fmt.Sprintf("port%d", number)}
	n.hosts = append(n.hosts, h)
	n.mu.Unlock()
	gateway := fmt.Sprintf("10.77.%d.1", number)
	err = h.inside.run("ip", "link add eth0 type veth peer name "+h.port+" netns "+n.router.path(),
		"link set lo up", "addr add "+h.Address+"/24 dev eth0", "link set eth0 up", "route add default via "+gateway)
	if err == nil {
		err = n.router.run("ip", "addr add "+gateway+"/24 dev "+h.port, "link set "+h.port+" up")
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// Start starts a program on the host.
func (h *Host) Start(cmd *exec.Cmd) error { return h.inside.enter(cmd.Start) }

// DialContext connects from the host. The address is an IP address with a port.
func (h *Host) DialContext(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = h.inside.enter(func() error {
		var d net.Dialer
		conn, err = d.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Cut breaks the line between two hosts: what is sent gets lost, and nobody is told.
func (n *Network) Cut(t testing.TB, a, b *Host) { n.set(t, a, b, condition{cut: true}) }

// Lose has the line between two hosts lose so many of a hundred packets.
func (n *Network) Lose(t testing.TB, a, b *Host, loss int) { n.set(t, a, b, condition{loss: loss}) }

// Mend makes the line between two hosts whole.
func (n *Network) Mend(t testing.TB, a, b *Host) { n.set(t, a, b, condition{}) }

func (n *Network) set(t testing.TB, a, b *Host, to condition) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if a.number > b.number {
		a, b = b, a
	}
	if n.lines[line{a, b}] = to; to == (condition{}) {
		delete(n.lines, line{a, b})
	}
	var rules strings.Builder
	rules.WriteString("add table inet lines\ndelete table inet lines\nadd table inet lines\nadd chain inet lines forward { type filter hook forward priority 0 ; }\n")
	for l, c := range n.lines {
		for _, ends := range [][2]*Host{{l.a, l.b}, {l.b, l.a}} {
			fmt.Fprintf(&rules, "add rule inet lines forward ip saddr %s ip daddr %s ", ends[0].Address, ends[1].Address)
			if !c.cut {
				fmt.Fprintf(&rules, "numgen random mod 100 < %d ", c.loss)
			}
			rules.WriteString("drop\n")
		}
	}
	if err := n.router.feed(rules.String(), "nft", "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

// Slow bounds what goes over a host's cable, each way; rate is as tc has it, such as
// 256kbit. An empty one ends that.
func (h *Host) Slow(t testing.TB, rate string) {
	t.Helper()
	for device, of := range map[string]namespace{"eth0": h.inside, h.port: h.network.router} {
		args := "qdisc replace dev " + device + " root tbf rate " + rate + " burst 16kb latency 500ms"
		if rate == "" {
			args = "qdisc delete dev " + device + " root"
		}
		if err := of.run("tc", args); err != nil {
			t.Fatal(err)
		}
	}
}

// Listen listens on the host's address.
func (h *Host) Listen(port int) (l net.Listener, err error) {
	err = h.inside.enter(func() error {
		l, err = net.Listen("tcp4", fmt.Sprintf("%s:%d", h.Address, port))
		return err
	})
	return l, err
}

// namespace is a network namespace, which lasts as long as anything is in it or has it
// open.
type namespace struct{ file *os.File }

func open() (n namespace, err error) {
	failed := make(chan error)
	go func() {
		// The thread ends with its goroutine, which does not unlock it.
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			n.file, err = os.Open(threadNamespace)
		}
		failed <- err
	}()
	return n, <-failed
}

const threadNamespace = "/proc/thread-self/ns/net"

func (n namespace) close() { n.file.Close() }

// path is where other programs find it, while this process has it open.
func (n namespace) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd()) }

// enter calls f within the namespace. What f starts or opens stays there, but for
// goroutines.
func (n namespace) enter(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// run runs a program several times, with the words of each list.
func (n namespace) run(program string, lists ...string) error {
	for _, list := range lists {
		if err := n.feed("", program, strings.Fields(list)...); err != nil {
			return err
		}
	}
	return nil
}

func (n namespace) feed(input, program string, args ...string) error {
	cmd := exec.Command(program, args...)
	var said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &said, &said
	err := n.enter(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, &said)
	}
	return nil
}
