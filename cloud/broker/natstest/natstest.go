// Package natstest gives tests a nats-server, or a cluster, in processes of its own that
// they may kill. A node is the test program itself: its TestMain calls Main first.
package natstest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
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
	var hosts []string
	for range count {
		hosts = append(hosts, fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254)))
	}
	var list []*Node
	var starting sync.WaitGroup
	for i, host := range hosts {
		n := &Node{Name: fmt.Sprint("node-", i), Dir: t.TempDir(), Host: host, Hosts: hosts}
		list = append(list, n)
		starting.Go(func() { n.start(t) })
	}
	starting.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return list
}

// start starts the process and waits until it is ready; an error is the test's.
func (n *Node) start(t testing.TB) {
	text, err := json.Marshal(n)
	if err != nil {
		t.Error(err)
		return
	}
	n.process = exec.Command(os.Args[0])
	n.process.Env = append(os.Environ(), settings+"="+string(text))
	n.process.Stderr = os.Stderr
	_, err = n.process.StdinPipe()
	if err != nil {
		t.Error(err)
		return
	}
	out, err := n.process.StdoutPipe()
	if err == nil {
		err = n.process.Start()
	}
	if err != nil {
		t.Error(err)
		return
	}
	t.Cleanup(n.Kill)
	if !bufio.NewScanner(out).Scan() {
		t.Errorf("%s does not start", n.Name)
	}
}

// Kill ends the node as SIGKILL does.
func (n *Node) Kill() {
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
