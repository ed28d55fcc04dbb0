package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fescue-edge/fescue/cloud/broker/natstest"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/testkit"
)

// joined is a broker on nodes, the first of which it begins with.
func joined(t testing.TB, list ...*natstest.Node) *Broker {
	t.Helper()
	b, err := Start(Options{Remote: &Remote{URL: natstest.URL(list...)}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Shutdown)
	return b
}

// TestCluster: two servers on a cluster of three nodes are one broker.
func TestCluster(t *testing.T) {
	t.Parallel()
	list := natstest.Start(t, 3)
	here, there := joined(t, list[0], list[1], list[2]), joined(t, list[1], list[2], list[0])
	if n := here.messages.CachedInfo().Config.Replicas; n != 3 {
		t.Errorf("messages are kept by %d nodes", n)
	}

	t.Run("messages reach the clients of both", func(t *testing.T) {
		a, b := open(t, here, "a", true, false), open(t, there, "b", false, false)
		for _, c := range []*client{a, b} {
			c.subscribe(t, "q/+", 1)
			c.subscribe(t, "q/#", 0)
		}
		for i, from := range []*Broker{here, there} {
			for qos := range byte(2) {
				payload := fmt.Sprint("from ", i, " with ", qos)
				publish(t, from, "q/1", payload, qos, false)
				for _, c := range []*client{a, b} {
					testkit.Until(t, payload, func() bool { return slices.Contains(c.payloads(), payload) })
				}
			}
		}
		for _, c := range []*client{a, b} {
			if n := len(c.payloads()); n != 4 {
				t.Errorf("%d messages came: %q", n, c.payloads())
			}
			c.close(t)
		}
	})
	t.Run("a session goes on at the other server", func(t *testing.T) {
		first := open(t, here, "moving", true, false)
		first.subscribe(t, "m", 1)
		publish(t, there, "m", "acknowledged", 1, false)
		publish(t, there, "m", "not acknowledged", 1, false)
		first.expect(t, "acknowledged", "not acknowledged")
		first.ack(0)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if err := <-first.fault; !errors.Is(err, ErrTaken) {
				t.Errorf("the first is ended with %v", err)
			}
			first.close(t)
		}()
		second := open(t, there, "moving", true, true)
		<-ended
		publish(t, here, "m", "later", 1, false)
		second.expect(t, "not acknowledged", "later")
		if !second.got[0].Dup {
			t.Error("what was handed out before comes without DUP")
		}
		if len(first.payloads()) != 2 {
			t.Errorf("the first got %q", first.payloads())
		}
		// One that is not persistent removes it, there too.
		go func() {
			<-second.fault
			second.close(t)
		}()
		third := open(t, here, "moving", false, false)
		publish(t, here, "m", "nobody's", 1, false)
		third.close(t)
		open(t, there, "moving", true, false).close(t)
	})
	t.Run("one connection of a client that has no persistent session", func(t *testing.T) {
		first := open(t, here, "fleeting", false, false)
		second := open(t, there, "fleeting", false, false)
		select {
		case err := <-first.fault:
			if !errors.Is(err, ErrTaken) {
				t.Errorf("the first is ended with %v", err)
			}
		case <-time.After(testkit.Patience):
			t.Error("the first goes on")
		}
		if len(second.fault) > 0 {
			t.Errorf("the second is ended with %v", <-second.fault)
		}
		first.close(t)
		second.close(t)
	})
	t.Run("a server dies", func(t *testing.T) {
		dying := joined(t, list[2], list[0])
		first := open(t, dying, "orphan", true, false)
		first.subscribe(t, "o", 1)
		publish(t, here, "o", "one", 1, false)
		first.expect(t, "one")
		dying.Shutdown() // with the session open
		publish(t, here, "o", "two", 1, false)
		open(t, there, "orphan", true, true).expect(t, "one", "two")
	})
	t.Run("the node that leads dies", func(t *testing.T) {
		reader := open(t, there, "reader", true, false)
		reader.subscribe(t, "n", 1)
		info, err := here.api.Stream(t.Context(), messagesStream)
		if err != nil {
			t.Fatal(err)
		}
		leader := info.CachedInfo().Cluster.Leader
		const messages = 400
		stored := make(chan error, messages)
		begin, longest := time.Now(), time.Duration(0)
		for i := range messages {
			if i == messages/4 {
				for _, n := range list {
					if n.Name == leader {
						n.Kill()
					}
				}
				begin = time.Now()
			}
			m := &mqtt.Publish{Topic: "n", Payload: []byte(strconv.Itoa(i)), QoS: 1}
			published := time.Now()
			if err := here.Publish(context.Background(), Publication{Partition: home, Message: m, Stored: func(err error) {
				longest = max(longest, time.Since(published))
				stored <- err
			}}); err != nil {
				t.Fatal(err)
			}
		}
		for range messages {
			if err := <-stored; err != nil {
				t.Fatalf("a message was not stored: %v", err)
			}
		}
		t.Logf("publishing stood still for %v", longest)
		seen := map[string]int{}
		for at := 0; len(seen) < messages; {
			select {
			case <-reader.arrived:
			case <-time.After(testkit.Patience):
				t.Fatalf("%d of %d messages came", len(seen), messages)
			}
			got := reader.payloads()
			for ; at < len(got); at++ {
				seen[got[at]]++
				reader.ack(at)
			}
		}
		t.Logf("all had come after %v", time.Since(begin))
		for payload, n := range seen {
			if n > 1 {
				t.Errorf("%s came %d times", payload, n)
			}
		}
		// Nobody was sent away, and all goes on.
		reader.subscribe(t, "after", 1)
		publish(t, here, "after", "after", 1, false)
		testkit.Until(t, "what follows", func() bool { return slices.Contains(reader.payloads(), "after") })
		if len(reader.fault) > 0 {
			t.Errorf("the session ends: %v", <-reader.fault)
		}
	})
}

// TestReplicas: streams that were made while the cluster had two nodes are kept by three
// once there are three, and then one may be lost.
func TestReplicas(t *testing.T) {
	t.Parallel()
	list := natstest.New(t.TempDir(), 3)
	t.Cleanup(func() {
		for _, n := range list {
			n.Kill()
		}
	})
	if err := natstest.StartAll(list[:2]); err != nil {
		t.Fatal(err)
	}
	few := joined(t, list...)
	if n := few.messages.CachedInfo().Config.Replicas; n != 2 {
		t.Fatalf("with two nodes, messages are kept by %d", n)
	}
	few.Shutdown()
	b, err := Start(Options{Remote: &Remote{URL: natstest.URL(list...), widenEvery: 100 * time.Millisecond}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Shutdown)
	if err := list[2].Start(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "three nodes have all messages", func() error {
		list := b.api.ListStreams(t.Context())
		for info := range list.Info() {
			current := 1 // the leader is
			for _, r := range info.Cluster.Replicas {
				if r.Current {
					current++
				}
			}
			if info.Config.Replicas != 3 || current != 3 {
				return fmt.Errorf("%s is kept by %d nodes, %d of them have all", info.Config.Name, info.Config.Replicas, current)
			}
		}
		return list.Err()
	})
	list[0].Kill()
	c := open(t, b, "c", true, false)
	c.subscribe(t, "q", 1)
	publish(t, b, "q", "x", 1, false)
	c.expect(t, "x")
	c.close(t)
}

// TestRemoteAlone: a single nats-server will do.
func TestRemoteAlone(t *testing.T) {
	t.Parallel()
	list := natstest.Start(t, 1)
	b := joined(t, list...)
	if n := b.messages.CachedInfo().Config.Replicas; n != 1 {
		t.Errorf("%d replicas", n)
	}
	c := open(t, b, "c", true, false)
	c.subscribe(t, "q", 1)
	publish(t, b, "q", "x", 1, false)
	c.expect(t, "x")
	c.ack(0)

	// Without it QoS 0 goes on at this server, and everything when it is back.
	list[0].Kill()
	testkit.Until(t, "the connection is seen to be lost", func() bool { return !b.Connected() })
	publish(t, b, "q", "now", 0, false)
	c.expect(t, "x", "now")
	if err := list[0].Start(); err != nil {
		t.Fatal(err)
	}
	testkit.Until(t, "the connection is back", b.Connected)
	publish(t, b, "q", "and on", 1, false)
	c.expect(t, "x", "now", "and on")
	if len(c.fault) > 0 {
		t.Errorf("the session ended: %v", <-c.fault)
	}
	if _, err := Start(Options{Remote: &Remote{URL: "nats://user:secret@127.0.0.1:1"}, Logger: slog.New(slog.DiscardHandler)}); err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("where nobody listens: %v", err)
	}
}

func TestRemoteSettings(t *testing.T) {
	t.Parallel()
	for address, near := range map[string]bool{
		"nats://127.0.0.1:4222": true, "nats://localhost:4222,tls://[::1]:4222": true, "nats://user:pass@broker.example.com": false,
		"nats://127.0.0.1:4222, nats://192.0.2.1:4222": false,
	} {
		r := &Remote{URL: address}
		if err := r.Check(); err != nil {
			t.Errorf("%s: %v", address, err)
		}
		if r.near() != near {
			t.Errorf("%s is near: %v", address, !near)
		}
	}
	for _, r := range []Remote{{}, {URL: "broker.example.com:4222"}, {URL: "http://broker.example.com"}, {URL: "nats://"}, {URL: "nats://a,:"}, {URL: "nats://a", Replicas: 6}} {
		if r.Check() == nil {
			t.Errorf("%+v passes", r)
		}
	}
	for version, want := range map[string]bool{"2.11.0": true, "2.9.25": false, "2.10.29": false, "2.15.2": true, "3.0.0": true, "2.11.0-RC.1": true, "": false} {
		if since(version, oldestRemote) != want {
			t.Errorf("%s is late enough: %v", version, !want)
		}
	}
}

// TestAsksUntilThereIsALeader: a node that knows of no leader is asked again, any other
// refusal is an answer.
func TestAsksUntilThereIsALeader(t *testing.T) {
	t.Parallel()
	for code, want := range map[jetstream.ErrorCode]int{errNoLeader: 2, errNoPeers: 1} {
		asked := 0
		_, err := ask(t.Context(), func(context.Context) (bool, error) {
			if asked++; asked > 1 {
				return true, nil
			}
			return false, &jetstream.APIError{Code: 503, ErrorCode: code}
		})
		if asked != want || (err == nil) != (want > 1) {
			t.Errorf("error %d: asked %d times, %v", code, asked, err)
		}
	}
}
