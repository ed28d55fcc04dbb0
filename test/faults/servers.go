//go:build linux

package faults

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/fescue-edge/fescue/cloud/broker/natstest"
	"github.com/fescue-edge/fescue/testkit/programs"
)

// server is one of a site's servers.
type server struct {
	program
	clock             *clock
	api, device, mqtt string
	// gone is held while it is away.
	gone sync.Mutex
}

// natsNodes is how many nodes keep the messages of several servers: one may be lost.
const natsNodes = 3

// serve starts the servers: one on a folder of its own, or several on one database and
// one cluster of NATS.
func (s *site) serve(ctx context.Context, o Options) error {
	var shared []string
	var artifacts []string
	if o.Servers > 1 {
		database, drop, err := o.postgres.Database(ctx)
		if err != nil {
			return err
		}
		s.dropDatabase = drop
		s.nodes = natstest.New(s.dir, natsNodes)
		if err := natstest.StartAll(s.nodes); err != nil {
			return err
		}
		shared = []string{"FESCUE_DATABASE=" + database, "FESCUE_BROKER=" + natstest.URL(s.nodes...), "FESCUE_MASTER_KEY_FILE=" + filepath.Join(s.dir, "master.key")}
		artifacts = []string{"--artifacts", filepath.Join(s.dir, "artifacts")}
	}
	for i := range o.Servers {
		name := filepath.Join(s.dir, fmt.Sprintf("server-%d", i+1))
		clock, err := newClock(name + ".clock")
		if err != nil {
			return err
		}
		v := &server{clock: clock, program: program{
			path: o.Fescue, log: name + ".log",
			env:  slices.Concat(programs.ServerKey, shared, []string{clockVariable + "=" + clock.file}),
			args: slices.Concat([]string{"server", "--data", name, "--account", programs.Account, "--region", programs.Region}, artifacts),
		}}
		for _, listener := range []string{"--api", "--device", "--mqtt"} {
			port, err := s.port()
			if err != nil {
				return err
			}
			v.args = append(v.args, listener, fmt.Sprintf("127.0.0.1:%d", port))
		}
		s.servers = append(s.servers, v)
		if err := v.start(); err != nil {
			return err
		}
		if err := v.addresses(ctx); err != nil {
			return err
		}
	}
	return nil
}

// addresses waits until a server is ready.
func (v *server) addresses(ctx context.Context) error {
	return eventually(ctx, func() error {
		if err := v.ended(); err != nil {
			return err
		}
		text, _ := os.ReadFile(v.log)
		at, ready := programs.Addresses(string(text))
		if !ready {
			return errors.New("the server is not ready")
		}
		v.api, v.device, v.mqtt = at["api"], at["device"], at["mqtt"]
		return nil
	})
}

// struck is the server that a fault comes upon.
func (s *site) struck(pick uint64) *server {
	// The lower half says how far clocks are wrong.
	return s.servers[(pick>>32)%uint64(len(s.servers))]
}

// operator calls the first server, and the next one while nobody listens there.
func (s *site) operator() *http.Client {
	dial := func(ctx context.Context, network, _ string) (conn net.Conn, err error) {
		var d net.Dialer
		for _, v := range s.servers {
			if conn, err = d.DialContext(ctx, network, v.api); err == nil {
				break
			}
		}
		return conn, err
	}
	// A connection that is kept would go on at the other one.
	return &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
}

// running says which of the servers has ended, and how.
func (s *site) running() error {
	var errs []error
	for _, v := range s.servers {
		errs = append(errs, v.ended())
	}
	return errors.Join(errs...)
}

// endServers kills the servers and what they share.
func (s *site) endServers() error {
	for _, v := range s.servers {
		v.signal(syscall.SIGKILL, true)
	}
	for _, n := range s.nodes {
		n.Kill()
	}
	if s.dropDatabase == nil {
		return nil
	}
	return s.dropDatabase(context.Background())
}

// nodeFaults are what happens to the nodes of NATS, never to two at once. They last
// longer than others: until there is another leader takes some seconds.
var nodeFaults = []fault{
	{name: "kill a node", do: func(s *site, lasts time.Duration, pick uint64) {
		s.nodeGone.Lock()
		defer s.nodeGone.Unlock()
		n := s.nodes[pick%uint64(len(s.nodes))]
		n.Kill()
		time.Sleep(4 * lasts)
		if err := n.Start(); err != nil {
			panic(fmt.Sprintf("start a node: %v", err)) // not a fault that is to be tried
		}
	}},
	{name: "freeze a node", do: func(s *site, lasts time.Duration, pick uint64) {
		s.nodeGone.Lock()
		defer s.nodeGone.Unlock()
		n := s.nodes[pick%uint64(len(s.nodes))]
		_ = n.Signal(syscall.SIGSTOP)
		time.Sleep(4 * lasts)
		_ = n.Signal(syscall.SIGCONT)
	}},
}
