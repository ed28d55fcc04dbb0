package broker

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/testkit"
)

// former is nats-server as earlier versions ran it, on a folder.
type former struct {
	t       *testing.T
	server  *server.Server
	address string
}

func startFormer(t *testing.T, dir string) *former {
	t.Helper()
	o := &server.Options{
		ServerName: "fescue", DontListen: true, NoSigs: true, JetStream: true, StoreDir: dir,
		MQTT: server.MQTTOpts{Host: "127.0.0.1", Port: server.RANDOM_PORT},
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(startTime) {
		t.Fatal("nats-server does not start")
	}
	return &former{t, s, net.JoinHostPort("127.0.0.1", strconv.Itoa(o.MQTT.Port))}
}

func (f *former) connect(c mqtt.Connect) *mqtt.Client {
	f.t.Helper()
	conn, err := net.Dial("tcp", f.address)
	if err != nil {
		f.t.Fatal(err)
	}
	c.Level = mqtt.Level311
	cl, _, err := mqtt.Open(context.Background(), conn, &c, mqtt.Options{})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(cl.Close)
	return cl
}

// leave leaves a message in a stream, as an attempt to take over does that is cut off.
func (f *former) leave(stream, prefix, subject string) {
	f.t.Helper()
	conn, err := nats.Connect("", nats.InProcessServer(f.server))
	if err != nil {
		f.t.Fatal(err)
	}
	defer conn.Close()
	api, err := jetstream.New(conn)
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err := api.CreateStream(f.t.Context(), jetstream.StreamConfig{Name: stream, Subjects: []string{prefix + ">"}}); err != nil {
		f.t.Fatal(err)
	}
	if _, err := api.Publish(f.t.Context(), prefix+subject, []byte("from the attempt")); err != nil {
		f.t.Fatal(err)
	}
}

// do sends a packet and waits for one of the type of its answer.
func do[Answer mqtt.Packet](f *former, cl *mqtt.Client, p mqtt.Packet) (answer Answer) {
	f.t.Helper()
	if err := cl.Send(p); err != nil {
		f.t.Fatal(err)
	}
	for {
		got, err := cl.Read()
		if err != nil {
			f.t.Fatal(err)
		}
		if answer, ok := got.(Answer); ok {
			return answer
		}
	}
}

// TestFormer: sessions, what waits for them and what is retained outlive the change to
// sessions of our own, also when the first attempt is cut off.
func TestFormer(t *testing.T) {
	t.Parallel()
	for _, cut := range []bool{false, true} {
		t.Run(fmt.Sprintf("cut off %v", cut), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			f := startFormer(t, dir)
			const in = "123456789012:us-west-2:"
			p := f.connect(mqtt.Connect{ClientID: "~speaker", CleanSession: true})
			say := func(topic, payload string, retain bool) {
				t.Helper()
				do[*mqtt.Puback](f, p, &mqtt.Publish{Topic: topic, Payload: []byte(payload), QoS: 1, ID: 1, Retain: retain})
			}
			say("~seen/"+in+"away", `{"seen":4102444800000,"certificate":"theirs","filters":[1]}`, true)
			away := f.connect(mqtt.Connect{ClientID: in + "away"})
			do[*mqtt.Suback](f, away, &mqtt.Subscribe{ID: 1, Filters: []mqtt.Subscription{
				{Filter: in + "n/m/q/m/+/#", QoS: 1}, {Filter: in + "n/e/zero", QoS: 0}, {Filter: in + "s/m/$aws/e/x~20y", QoS: 1},
			}})
			away.Disconnect(testkit.Patience)
			here := f.connect(mqtt.Connect{ClientID: in + "clean", CleanSession: true})
			do[*mqtt.Suback](f, here, &mqtt.Subscribe{ID: 1, Filters: []mqtt.Subscription{{Filter: in + "n/#", QoS: 1}}})
			say(in+"n/m/q/m/a/e/b", "first", false)
			say(in+"n/m/q/e/a", "not for it", false)
			say(in+"s/m/$aws/e/x~20y", "second", false)
			say(in+"n/m/r/e/kept", "retained", true)
			say(in+"n/m/r/e/gone", "removed", true)
			say(in+"n/m/r/e/gone", "", true)
			if cut {
				f.leave(messagesStream, messagePrefix, spaceOf(home).subject("q/a/b"))
			}
			f.server.Shutdown()
			f.server.WaitForShutdown()

			b, stop := start(t, Options{Dir: dir})
			r, _, err := b.read(t.Context(), Key(home, "away"))
			if err != nil || r == nil || r.Holder != "theirs" || r.Seen != 4102444800000 {
				t.Fatalf("the record is %+v, %v", r, err)
			}
			c := open(t, b, "away", true, true)
			c.expect(t, "first", "second")
			c.acknowledge(2)
			if c.got[1].Topic != "$aws/x y" {
				t.Errorf("it came from %q", c.got[1].Topic)
			}
			publish(t, b, "zero", "zero", 0, false)
			publish(t, b, "q/a/b/c", "live", 1, false)
			c.expect(t, "first", "second", "zero", "live")
			c.acknowledge(4)
			c.close(t)
			open(t, b, "clean", true, false)
			stop()
			// Once.
			b, _ = start(t, Options{Dir: dir})
			c = open(t, b, "away", true, true)
			var kept []string
			if err := c.session.Retained(t.Context(), Filter{"r/#", 1}, func(m Retained) { kept = append(kept, string(m.Payload)) }); err != nil {
				t.Fatal(err)
			}
			if len(kept) != 1 || kept[0] != "retained" {
				t.Errorf("%q are retained", kept)
			}
			publish(t, b, "q/a/b", "end", 1, false)
			c.expect(t, "end")
		})
	}
}

func TestFromFormer(t *testing.T) {
	t.Parallel()
	for former, want := range map[string]string{
		"1:r:n/m/a/e/b": "1:r.n.a.b", "1:r:n/e/~": "1:r.n.~", "1:r:s/m/$aws/#": "1:r.s.$aws.>", "1:r:n/#": "1:r.n.>", "1:r:n/m/+/e/+": "1:r.n.*.*", "1:r:n.m.*.m.a.>": "1:r.n.*.a.>",
		"": "", "a/b": "", "1:r:n": "", "1:r:n/m": "", "1:r:n/x/a": "", "~seen/x": "",
	} {
		got, ok := fromFormer(former)
		if ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q, %v", former, got, ok)
		}
	}
}
