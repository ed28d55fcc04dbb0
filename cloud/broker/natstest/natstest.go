// Package natstest gives tests a nats-server, or a cluster, in processes of its own that
// they may kill. A node is the test program itself: its TestMain, or its main, calls Main
// first.
package natstest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// settings names the variable that makes the test program a node.
const settings = "FESCUE_TEST_NATS_NODE"

// The ports of every node.
const (
	clientPort  = 4222
	clusterPort = 6222
)

// startTime is how long a node may take to start.
const startTime = time.Minute

// Node is a nats-server in a process of its own.
type Node struct {
	Name string
	// Dir is its store.
	Dir string
	// Host is an address of the loopback network that nobody else has, so that the usual
	// ports are free there. Hosts are those of all nodes.
	Host  string
	Hosts []string
	// Password is that of its only user, fescue; without one there is none.
	Password string

	process *exec.Cmd
}

// Main is a node's process, if this one is to be one; else it returns.
func Main() {
	text := os.Getenv(settings)
	if text == "" {
		return
	}
	var n Node
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		panic(err)
	}
	o := &server.Options{ServerName: n.Name, Host: n.Host, Port: clientPort, JetStream: true, StoreDir: n.Dir, NoSigs: true}
	if n.Password != "" {
		o.Username, o.Password = "fescue", n.Password
	}
	for _, host := range n.Hosts {
		if host != n.Host {
			o.Cluster = server.ClusterOpts{Name: "test", Host: n.Host, Port: clusterPort}
			o.Routes = append(o.Routes, &url.URL{Scheme: "nats", Host: net.JoinHostPort(host, strconv.Itoa(clusterPort))})
		}
	}
	s, err := server.NewServer(o)
	if err != nil {
		panic(err)
	}
	s.Start()
	if !s.ReadyForConnections(startTime) {
		panic("the node does not start")
	}
	fmt.Println("ready")
	// Whoever started it holds the other end: it goes with its test.
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	os.Exit(0)
}

// Start starts so many nodes, which form a cluster if they are several, and ends them with
// the test.
func Start(t testing.TB, count int) []*Node {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("nodes need addresses of their own on the loopback network, which Linux has")
	}
	list := New(t.TempDir(), count)
	t.Cleanup(func() {
		for _, n := range list {
			n.Kill()
		}
	})
	if err := StartAll(list); err != nil {
		t.Fatal(err)
	}
	return list
}

// New makes so many nodes with their stores below a folder. None is started.
func New(dir string, count int) []*Node {
	var list []*Node
	var hosts []string
	for i := range count {
		hosts = append(hosts, fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254)))
		name := fmt.Sprint("node-", i)
		list = append(list, &Node{Name: name, Dir: filepath.Join(dir, name), Host: hosts[i]})
	}
	for _, n := range list {
		n.Hosts = hosts
	}
	return list
}

// StartAll starts nodes at once, as those of a cluster wait for each other.
func StartAll(list []*Node) error {
	errs := make([]error, len(list))
	var starting sync.WaitGroup
	for i, n := range list {
		starting.Go(func() { errs[i] = n.Start() })
	}
	starting.Wait()
	return errors.Join(errs...)
}

// Start starts the process, also again, and waits until it is ready.
func (n *Node) Start() error {
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	process := exec.Command(os.Args[0])
	process.Env = append(os.Environ(), settings+"="+string(text))
	process.Stderr = os.Stderr
	if _, err := process.StdinPipe(); err != nil {
		return err
	}
	out, err := process.StdoutPipe()
	if err == nil {
		err = process.Start()
	}
	if err != nil {
		return err
	}
	n.process = process
	if !bufio.NewScanner(out).Scan() {
		return fmt.Errorf("%s does not start", n.Name)
	}
	return nil
}

// Signal sends the node's process a signal.
func (n *Node) Signal(s os.Signal) error { return n.process.Process.Signal(s) }

// Kill ends the node, if it runs, as SIGKILL does.
func (n *Node) Kill() {
	if n.process == nil {
		return
	}
	_ = n.process.Process.Kill()
	_ = n.process.Wait()
}

// URL is where clients find nodes.
func URL(list ...*Node) string {
	var all []string
	for _, n := range list {
		all = append(all, "nats://"+net.JoinHostPort(n.Host, strconv.Itoa(clientPort)))
	}
	return strings.Join(all, ",")
}
