package mqttfront_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/broker"
	"github.com/fescue-edge/fescue/cloud/broker/natstest"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/cloud/mqttfront"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/testkit"
)

func statement(effect, action, resource string) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":%q,"Action":[%q],"Resource":[%q]}]}`, effect, action, resource)
}

func arn(rest string) string { return "arn:aws:iot:us-west-2:123456789012:" + rest }

func TestMessagesReachSubscribers(t *testing.T) {
	t.Parallel()
	c := start(t, nil)
	a := c.connect(c.device(home, quickStart), "a")
	b := c.connect(c.device(home, quickStart), "b")
	if code := b.subscribe("hello/+", 1); code != 1 {
		t.Fatalf("granted %#x", code)
	}
	a.publish("hello/world", 0, "zero")
	a.publish("hello/world", 1, "one")
	b.expect("hello/world zero", "hello/world one")
	b.wait(b.Unsubscribe("hello/+"), "UNSUBSCRIBE")
	b.subscribe("end", 1)
	a.publish("hello/world", 1, "two")
	a.publish("end", 1, "")
	b.expect("end ")
	testkit.Until(t, "all is counted", func() bool {
		s := c.front.Stats()
		return s.Connections == 2 && s.Accepted == 2 && s.Published == 4 && s.Delivered == 3
	})
}

func TestConnect(t *testing.T) {
	t.Parallel()
	c := start(t, nil)
	things := func(names ...string) func(*identity.Principal) {
		return func(p *identity.Principal) { p.Things = names }
	}
	own := statement("Allow", "iot:Connect", arn("client/${iot:Connection.Thing.ThingName}"))
	typed := statement("Allow", "iot:Connect", arn("client/${iot:Connection.Thing.ThingName}")+`","`+arn("client/${iot:Connection.Thing.ThingTypeName}"))
	accepted, notAuthorized, badID := mqtt.Accepted, mqtt.RefusedNotAuthorized, mqtt.RefusedIdentifier
	for _, tc := range []struct {
		name    string
		policy  string
		change  func(*identity.Principal)
		connect mqtt.Connect
		want    mqtt.ConnackCode
	}{
		{"the developer guide's policy", quickStart, nil, mqtt.Connect{ClientID: "x"}, accepted},
		{"MQTT 3.1", quickStart, nil, mqtt.Connect{ClientID: "x31", Level: mqtt.Level31}, accepted},
		{"user name without password", quickStart, nil,
			mqtt.Connect{ClientID: "py", HasUsername: true, Username: "?SDK=Python&Version=1.5.4"}, accepted},
		{"prefix allowed", statement("Allow", "iot:Connect", arn("client/core*")), nil, mqtt.Connect{ClientID: "core-c00"}, accepted},
		{"client id with odd characters", quickStart, nil, mqtt.Connect{ClientID: "a b.c*/d>é\t~"}, accepted},
		{"another client", statement("Allow", "iot:Connect", arn("client/core*")), nil, mqtt.Connect{ClientID: "cor"}, notAuthorized},
		{"another account's", statement("Allow", "iot:Connect", "arn:aws:iot:us-west-2:999999999999:client/*"), nil, mqtt.Connect{ClientID: "x"}, notAuthorized},
		{"no policy", "", nil, mqtt.Connect{ClientID: "x"}, notAuthorized},
		{"explicit deny", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"iot:Connect","Resource":"*"}]}`,
			nil, mqtt.Connect{ClientID: "x"}, notAuthorized},
		{"own thing", own, things("lamp", "x"), mqtt.Connect{ClientID: "lamp"}, accepted},
		{"thing's type as id", typed, things("lamp"), mqtt.Connect{ClientID: "light"}, notAuthorized},
		{"somebody else's thing", own, things("lamp"), mqtt.Connect{ClientID: "fan"}, notAuthorized},
		{"own thing with a suffix", own, things("lamp"), mqtt.Connect{ClientID: "lamp-c00"}, notAuthorized},
		{"subject of the certificate", statement("Allow", "iot:Connect", arn("client/${iot:Certificate.Subject.Organization}")), nil,
			mqtt.Connect{ClientID: "Acme"}, accepted},
		{"no client id", quickStart, nil, mqtt.Connect{CleanSession: true}, badID},
		{"longest client id", quickStart, nil, mqtt.Connect{ClientID: strings.Repeat("i", 128)}, accepted},
		{"client id too long", quickStart, nil, mqtt.Connect{ClientID: strings.Repeat("i", 129)}, badID},
		{"will", allowAll, nil, mqtt.Connect{ClientID: "w", Will: &mqtt.Publish{Topic: "w", Retain: true, QoS: 1}}, accepted},
		{"will without payload", quickStart, nil, mqtt.Connect{ClientID: "w0", Will: &mqtt.Publish{Topic: "w"}}, accepted},
		{"retained will without the right to retain", quickStart, nil,
			mqtt.Connect{ClientID: "w", Will: &mqtt.Publish{Topic: "w", Retain: true}}, notAuthorized},
		{"will that may not be published", statement("Allow", "iot:Connect", "*"), nil,
			mqtt.Connect{ClientID: "w", Will: &mqtt.Publish{Topic: "w"}}, notAuthorized},
		{"will with QoS 2", allowAll, nil, mqtt.Connect{ClientID: "w", Will: &mqtt.Publish{Topic: "w", QoS: 2}}, notAuthorized},
		{"will on a reserved topic", allowAll, nil, mqtt.Connect{ClientID: "w", Will: &mqtt.Publish{Topic: "$SYS/w"}}, notAuthorized},
		{"persistent session denied", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:Connect","Resource":"*",
			"Condition":{"ForAllValues:StringNotEquals":{"iot:ConnectAttributes":["PersistentConnect"]}}}]}`, nil, mqtt.Connect{ClientID: "p"}, notAuthorized},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var docs []string
			if tc.policy != "" {
				docs = append(docs, tc.policy)
			}
			who := c.device(home, docs...)
			if tc.change != nil {
				c.directory.change(who.id, tc.change)
			}
			_, ack, err := c.raw(who, tc.connect)
			if ack.Code != tc.want || (err == nil) != (tc.want == mqtt.Accepted) {
				t.Errorf("return code %d, error %v; want %d", ack.Code, err, tc.want)
			}
		})
	}
}

func TestCertificateMustBeUsable(t *testing.T) {
	t.Parallel()
	c := start(t, nil)
	for _, tc := range []struct {
		name   string
		change func(*identity.Principal)
	}{
		{"inactive", func(p *identity.Principal) { p.Certificate.Status = fescue.CertificateInactive }},
		{"expired", func(p *identity.Principal) { p.Certificate.NotAfter = time.Now().Add(-time.Second) }},
		{"not yet valid", func(p *identity.Principal) { p.Certificate.NotBefore = time.Now().Add(time.Hour) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			who := c.device(home, quickStart)
			c.directory.change(who.id, tc.change)
			closed(t, c.dial(who))
		})
	}
	t.Run("unknown", func(t *testing.T) {
		who := c.device(home, quickStart)
		c.directory.mu.Lock()
		delete(c.directory.principals, who.id)
		c.directory.mu.Unlock()
		closed(t, c.dial(who))
	})
	t.Run("directory failing", func(t *testing.T) {
		who := c.device(home, quickStart)
		c.directory.fail(errors.New("disk on fire"))
		defer c.directory.fail(nil)
		closed(t, c.dial(who))
	})
	if n := c.front.Stats().Rejected; n != 5 {
		t.Errorf("%d connections rejected, want 5", n)
	}
}

func TestPartitionsNeverMeet(t *testing.T) {
	t.Parallel()
	c := start(t, nil)
	for i, other := range []fescue.Partition{
		{AWS: "aws", Account: "999999999999", Region: "us-west-2"},
		{AWS: "aws", Account: "123456789012", Region: "eu-west-1"},
	} {
		here := c.connect(c.device(home, quickStart), "same")
		there := c.connect(c.device(other, strings.ReplaceAll(quickStart, "us-west-2", other.Region)), "same")
		for _, cl := range []*client{here, there} {
			cl.subscribe("#", 0) // with QoS 1 filters have no order among each other
			cl.subscribe("$aws/things/+/shadow/#", 0)
		}
		here.publish("t", 1, "here")
		here.publish("$aws/things/x/shadow/get", 1, "here")
		there.publish("t", 1, "there")
		here.expect("t here", "$aws/things/x/shadow/get here")
		there.expect("t there")
		if !here.IsConnected() || !there.IsConnected() {
			t.Errorf("%d: the same client id in two partitions met", i)
		}
	}
}

func TestForbiddenPublishClosesTheConnection(t *testing.T) {
	t.Parallel()
	c := start(t, nil)
	for _, tc := range []struct {
		name, policy, topic string
		qos                 byte
		retain              bool
		size                int
		survives            bool
	}{
		{"denied by policy", statement("Allow", "iot:*", arn("topic/mine/*")) + "+connect", "theirs/x", 0, false, 1, false},
		{"denied with QoS 1", statement("Allow", "iot:*", arn("topic/mine/*")) + "+connect", "theirs/x", 1, false, 1, false},
		{"allowed by policy", statement("Allow", "iot:*", arn("topic/mine/*")) + "+connect", "mine/x", 1, false, 1, true},
		{"retained without the right", quickStart, "t", 1, true, 1, false},
		{"retained", allowAll, "t", 1, true, 1, true},
		{"shadow update", quickStart, "$aws/things/x/shadow/update", 1, false, 1, true},
		{"named shadow get", quickStart, "$aws/things/x/shadow/name/n/get", 1, false, 1, true},
		{"shadow service's topic", quickStart, "$aws/things/x/shadow/update/accepted", 1, false, 1, false},
		{"retained on a shadow", allowAll, "$aws/things/x/shadow/update", 1, true, 1, false},
		{"rule", allowAll, "$aws/rules/r/t", 0, false, 1, false},
		{"event", allowAll, "$aws/events/greengrass/deployment/g/d/Success", 0, false, 1, false},
		{"other $ topic", allowAll, "$SYS/x", 0, false, 1, false},
		{"things without a thing", allowAll, "$aws/things/x", 0, false, 1, false},
		{"too many levels", quickStart, "1/2/3/4/5/6/7/8/9", 0, false, 1, false},
		{"too long a topic", quickStart, strings.Repeat("t", 257), 0, false, 1, false},
		{"longest topic", quickStart, strings.Repeat(" ", 256), 1, false, 1, true},
		{"largest payload", quickStart, "t", 1, false, 128 << 10, true},
		{"payload too large", quickStart, "t", 1, false, 128<<10 + 1, false},
		{"packet too large", quickStart, "t", 1, false, 300 << 10, false},
		{"QoS 2", allowAll, "t", 2, false, 1, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			docs := []string{tc.policy}
			if doc, ok := strings.CutSuffix(tc.policy, "+connect"); ok {
				docs = []string{doc, statement("Allow", "iot:Connect", "*")}
			}
			cl := c.connect(c.device(home, docs...), "p")
			token := cl.Publish(tc.topic, tc.qos, tc.retain, strings.Repeat("x", tc.size))
			if !tc.survives {
				cl.ended()
				return
			}
			cl.wait(token, "PUBLISH")
		})
	}
}

func TestSubscribe(t *testing.T) {
	t.Parallel()
	c := start(t, nil)
	connect := statement("Allow", "iot:Connect", "*")
	for _, tc := range []struct {
		name, policy, filter string
		want                 byte
	}{
		{"allowed", quickStart, "a/+/#", 1},
		{"literal wildcard", statement("Allow", "iot:Subscribe", arn("topicfilter/a/+/b")), "a/+/b", 1},
		{"policy's wildcard covers MQTT's", statement("Allow", "iot:Subscribe", arn("topicfilter/a/*")), "a/#", 1},
		{"MQTT's wildcard in the policy covers nothing else", statement("Allow", "iot:Subscribe", arn("topicfilter/a/+/b")), "a/x/b", 0x80},
		{"as a topic", statement("Allow", "iot:Subscribe", arn("topic/a")), "a", 0x80},
		{"other", statement("Allow", "iot:Subscribe", arn("topicfilter/a/*")), "b", 0x80},
		{"shadow", quickStart, "$aws/things/x/shadow/update/accepted", 1},
		{"everybody's shadows", quickStart, "$aws/things/+/shadow/#", 1},
		{"events", statement("Allow", "iot:Subscribe", arn("topicfilter/$aws/events/*")), "$aws/events/greengrass/deployment/#", 1},
		{"events without the right", statement("Allow", "iot:Subscribe", arn("topicfilter/a/*")), "$aws/events/greengrass/deployment/#", 0x80},
		{"system topics", allowAll, "$SYS/#", 0x80},
		{"shared", allowAll, "$share/g/t", 0x80},
		{"all of $aws", allowAll, "$aws/#", 0x80},
		{"too deep", allowAll, "1/2/3/4/5/6/7/8/9", 0x80},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cl := c.connect(c.device(home, connect, tc.policy), "s")
			if got := cl.subscribe(tc.filter, 1); got != tc.want {
				t.Errorf("SUBACK %#x, want %#x", got, tc.want)
			}
			if !cl.IsConnected() {
				t.Error("the connection was closed")
			}
		})
	}
	t.Run("some filters of a packet", func(t *testing.T) {
		who := c.device(home, connect, statement("Allow", "iot:Subscribe", arn("topicfilter/ok*")))
		cl, _, err := c.raw(who, mqtt.Connect{ClientID: "mixed"})
		if err != nil {
			t.Fatal(err)
		}
		_ = cl.Send(&mqtt.Subscribe{ID: 7, Filters: []mqtt.Subscription{{Filter: "no", QoS: 0}, {Filter: "ok0", QoS: 0}, {Filter: "no", QoS: 1}, {Filter: "ok1", QoS: 1}}})
		if diff := cmp.Diff(&mqtt.Suback{ID: 7, Codes: []byte{0x80, 0, 0x80, 1}}, read[*mqtt.Suback](t, cl)); diff != "" {
			t.Error(diff)
		}
	})
	for name, p := range map[string]mqtt.Packet{
		"QoS 2":               &mqtt.Subscribe{ID: 1, Filters: []mqtt.Subscription{{Filter: "t", QoS: 2}}},
		"nine filters":        &mqtt.Subscribe{ID: 1, Filters: make([]mqtt.Subscription, 9)},
		"nine unsubscribed":   &mqtt.Unsubscribe{ID: 1, Filters: make([]string, 9)},
		"packet of QoS 2":     &mqtt.Publish{ID: 1, Topic: "t", QoS: 2},
		"a server's packet":   &mqtt.Suback{ID: 1, Codes: []byte{0}},
		"a second connection": &mqtt.Connect{ClientID: "again", Level: 4},
	} {
		t.Run(name+" closes", func(t *testing.T) {
			cl, _, err := c.raw(c.device(home, allowAll), mqtt.Connect{ClientID: "c"})
			if err != nil {
				t.Fatal(err)
			}
			if s, ok := p.(*mqtt.Subscribe); ok && len(s.Filters) > 1 {
				for i := range s.Filters {
					s.Filters[i].Filter = "f"
				}
			}
			if s, ok := p.(*mqtt.Unsubscribe); ok {
				for i := range s.Filters {
					s.Filters[i] = "f"
				}
			}
			_ = cl.Send(p)
			if got, err := cl.Read(); err == nil {
				t.Errorf("got %#v, want the end", got)
			}
		})
	}
	t.Run("no more than fifty", func(t *testing.T) {
		cl := c.connect(c.device(home, quickStart), "many")
		for i := range 50 {
			if code := cl.subscribe(fmt.Sprint("f", i), 0); code != 0 {
				t.Fatalf("filter %d: %#x", i, code)
			}
		}
		if code := cl.subscribe("one/more", 0); code != 0x80 {
			t.Errorf("filter 51: %#x", code)
		}
		cl.wait(cl.Unsubscribe("f7"), "UNSUBSCRIBE")
		if code := cl.subscribe("one/more", 0); code != 0 {
			t.Errorf("filter 50 again: %#x", code)
		}
	})
}

func TestReceiveIsCheckedForEachMessage(t *testing.T) {
	t.Parallel()
	c := start(t, nil)
	who := c.device(home, statement("Allow", "iot:Connect", "*"), statement("Allow", "iot:Subscribe", "*"),
		statement("Allow", "iot:Receive", arn("topic/ok*")))
	cl := c.connect(who, "r")
	cl.subscribe("#", 1)
	p := c.connect(c.device(home, quickStart), "p")
	for _, qos := range []byte{0, 1} {
		p.publish("secret", qos, "s")
		p.publish("ok", qos, "o")
		cl.expect("ok o")
	}
	if n := c.front.Stats().DeniedReceive; n != 2 {
		t.Errorf("%d messages were held back, want 2", n)
	}
}

func TestFiltersMatchAsInAWS(t *testing.T) {
	t.Parallel()
	c := start(t, nil)
	p := c.connect(c.device(home, quickStart), "p")
	topics := []string{"a", "a/b", "a/b/c", "/a", "a/", "a//b", "$aws/things/x/shadow/get", "b"}
	for filter, want := range map[string][]string{
		"#":               {"a", "a/b", "a/b/c", "/a", "a/", "a//b", "b"},
		"a/#":             {"a/b", "a/b/c", "a/", "a//b"},
		"a/+/#":           {"a/b/c", "a//b"},
		"+":               {"a", "b"},
		"+/+":             {"a/b", "/a", "a/"},
		"a/+":             {"a/b", "a/"},
		"+/b":             {"a/b"},
		"a//b":            {"a//b"},
		"$aws/things/x/#": {"$aws/things/x/shadow/get"},
		"a":               {"a"},
	} {
		t.Run(filter, func(t *testing.T) {
			cl := c.connect(c.device(home, quickStart), "s")
			cl.subscribe(filter, 0) // with QoS 1 filters have no order among each other
			cl.subscribe("the/end", 0)
			for _, topic := range topics {
				p.publish(topic, 1, "")
			}
			p.publish("the/end", 1, "last")
			got := map[string]bool{}
			for m := cl.next(); m != "the/end last"; m = cl.next() {
				got[strings.TrimSuffix(m, " ")] = true
			}
			for _, topic := range topics {
				if got[topic] != slices.Contains(want, topic) {
					t.Errorf("%s: got it %v", topic, got[topic])
				}
			}
			cl.Disconnect(10)
		})
	}
}

func TestOddTopics(t *testing.T) {
	t.Parallel()
	c := start(t, nil)
	a := c.connect(c.device(home, quickStart), "a")
	b := c.connect(c.device(home, quickStart), "b")
	b.subscribe("odd/+/x", 1)
	for _, level := range []string{
		"with space", ".", "..", "a.b", "*", ">", "a>b", "~", "~20", "", "\t\r\n\f", "\x01\x7f\u0085\u00a0", "é漢字\U0001F600",
		"$x", `"\`, "m", "e", "%2F", "a:b@c=d", strings.Repeat("z.", 100),
	} {
		topic := "odd/" + level + "/x"
		b.subscribe(topic, 1)
		a.publish(topic, 1, "one")
		b.expect(topic + " one") // once, however many filters match
		b.wait(b.Unsubscribe(topic), "UNSUBSCRIBE")
		a.publish(topic, 0, "two")
		b.expect(topic + " two")
	}
}

func TestTakeover(t *testing.T) {
	t.Parallel()
	c := start(t, nil)
	who := c.device(home, quickStart)
	watcher := c.connect(c.device(home, quickStart), "watcher")
	watcher.subscribe("last/words", 1)
	old := c.connect(who, "same", func(o *paho.ClientOptions) { o.SetWill("last/words", "of the first", 1, false) })
	for range 5 { // as often as anybody likes, at once
		young := c.connect(who, "same")
		old.ended()
		old = young
	}
	watcher.expect("last/words of the first")
	old.subscribe("t", 1)
	watcher.publish("t", 1, "still there")
	old.expect("t still there")
	// A session is counted after its client has seen the end.
	testkit.Until(t, "five are counted", func() bool { return c.front.Stats().TakenOver == 5 })
	t.Run("not by a client that is denied", func(t *testing.T) {
		_, ack, _ := c.raw(c.device(home), mqtt.Connect{ClientID: "same"})
		if ack.Code != mqtt.RefusedNotAuthorized || !old.IsConnected() {
			t.Errorf("return code %d, first still connected: %v", ack.Code, old.IsConnected())
		}
	})
}

func TestWill(t *testing.T) {
	t.Parallel()
	c := start(t, nil)
	watcher := c.connect(c.device(home, quickStart), "watcher")
	watcher.subscribe("will/+", 1)
	will := func(id string, qos byte) func(*paho.ClientOptions) {
		return func(o *paho.ClientOptions) { o.SetWill("will/"+id, "gone", qos, false) }
	}
	t.Run("not after DISCONNECT", func(t *testing.T) {
		cl := c.connect(c.device(home, quickStart), "polite", will("polite", 1))
		cl.Disconnect(10_000) // until it is written
		testkit.Until(t, "session ends", func() bool { return c.front.Stats().Connections == 1 })
	})
	t.Run("not of a certificate that was revoked", func(t *testing.T) {
		who := c.device(home, quickStart)
		cl := c.connect(who, "revoked", will("revoked", 1))
		c.directory.change(who.id, func(p *identity.Principal) { p.Certificate.Status = fescue.CertificateInactive })
		cl.ended()
	})
	for qos := range byte(2) {
		t.Run(fmt.Sprintf("after a broken connection, QoS %d", qos), func(t *testing.T) {
			cl, _, err := c.raw(c.device(home, quickStart), mqtt.Connect{ClientID: "broken", CleanSession: true,
				Will: &mqtt.Publish{Topic: "will/broken", Payload: []byte("gone"), QoS: qos}})
			if err != nil {
				t.Fatal(err)
			}
			cl.Close()
			watcher.expect("will/broken gone")
		})
	}
}

func TestRetained(t *testing.T) {
	t.Parallel()
	c := start(t, nil)
	who := c.device(home, allowAll)
	p := c.connect(who, "p")
	early := c.connect(c.device(home, allowAll), "early")
	early.subscribe("r/1", 1)
	p.wait(p.Publish("r/1", 1, true, "kept"), "PUBLISH")
	p.wait(p.Publish("r/2", 0, true, "kept too"), "PUBLISH")
	p.publish("r/1", 1, "not kept")
	early.expect("r/1 kept", "r/1 not kept")

	// What a new client gets that subscribes; the broker may need a moment.
	retained := func(filter string) string {
		cl := c.connect(c.device(home, allowAll), "late")
		defer cl.Disconnect(0)
		cl.subscribe(filter, 1)
		cl.subscribe("the/end", 0)
		cl.publish("the/end", 0, "")
		var got []string
		for m := range cl.got {
			if m.Topic() == "the/end" {
				break
			}
			got = append(got, fmt.Sprint(m.Topic(), " ", string(m.Payload()), " ", m.Retained()))
		}
		return strings.Join(got, ", ")
	}
	testkit.Until(t, "the message is kept", func() bool { return retained("r/1") == "r/1 kept true" })
	testkit.Until(t, "the other is kept", func() bool { return retained("r/2") == "r/2 kept too true" })
	if got := retained("r/+"); got != "" {
		t.Errorf("a filter with a wildcard brought %s", got)
	}
	p.wait(p.Publish("r/1", 1, true, ""), "PUBLISH")
	early.expect("r/1 ")
	testkit.Until(t, "the message is removed", func() bool { return retained("r/1") == "" })
}

// The wills of clients whose server died are published when it starts again, if their
// certificates still may.
func TestWillsOfADeadServer(t *testing.T) {
	t.Parallel()
	c := start(t, nil)
	watching := c.device(home, quickStart)
	watcher := c.connect(watching, "watcher", persistent)
	watcher.subscribe("will/#", 1)
	watcher.Disconnect(100)
	may, mayNot, revoked := c.device(home, quickStart), c.device(home, statement("Allow", "iot:Connect", "*")), c.device(home, quickStart)
	// Sessions that the front does not know of end with the broker, as by SIGKILL.
	for id, who := range map[string]keyPair{"may": may, "may-not": mayNot, "revoked": revoked, "unknown": {id: "0000"}, "back": may} {
		note, err := json.Marshal(map[string]any{"id": who.id, "variables": map[string][]string{"aws:SourceIp": {"127.0.0.1"}}})
		if err != nil {
			t.Fatal(err)
		}
		will := &broker.Will{Partition: home, ClientID: id, Message: &mqtt.Publish{Topic: "will/" + id, Payload: []byte("gone"), QoS: 1}, Note: note}
		if _, _, err := c.broker.Open(t.Context(), broker.Opening{Partition: home, ClientID: id, Will: will}, deaf{}); err != nil {
			t.Fatal(err)
		}
	}
	c.connect(may, "back").Disconnect(100)
	c.directory.change(revoked.id, func(p *identity.Principal) { p.Certificate.Status = fescue.CertificateInactive })
	for round := range 2 {
		c.stop()
		c.up()
		t.Cleanup(c.stop)
		if round == 0 {
			testkit.Until(t, "a will", func() bool { return c.front.Stats().Wills == 1 })
		}
	}
	if n := c.front.Stats().Wills; n != 0 {
		t.Errorf("%d wills are published once more", n)
	}
	watcher = c.connect(watching, "watcher", persistent)
	watcher.publish("will/end", 1, "end")
	watcher.expect("will/may gone", "will/end end")
}

// A will that cannot be published at first is forwarded once, as it is published, when it can be.
func TestWillIsForwardedOnce(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T) (storage broker.Options, fail func(c *cloud) (mend func() error)){
		"no room": func(t *testing.T) (broker.Options, func(c *cloud) func() error) {
			return broker.Options{MaxWaiting: 1 << 20, MaxPartitionWaiting: 1000}, func(c *cloud) func() error {
				room, err := c.broker.Reserve(t.Context(), home, &mqtt.Publish{Topic: "large", Payload: make([]byte, 100<<10), QoS: 1}, 0)
				return func() error { c.broker.Release(home, room); return err }
			}
		},
		"no answer": func(t *testing.T) (broker.Options, func(c *cloud) func() error) {
			node := natstest.Start(t, 1)[0]
			return broker.Options{Remote: &broker.Remote{URL: natstest.URL(node)}}, func(*cloud) func() error {
				node.Kill()
				return node.Start
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storage, fail := start(t)
			var c *cloud
			var sent forwarder
			var mend func() error
			var attempts atomic.Int32
			failed := heard{text: "cannot publish a client's will yet", once: make(chan struct{}, 1)}
			c = startWith(t, storage, func(o *mqttfront.Options) {
				o.Forwarder, o.Logger = &sent, slog.New(slog.NewTextHandler(failed, nil))
				o.Room = func(fescue.Partition, *mqtt.Publish) error {
					if attempts.Add(1) == 1 {
						mend = fail(c)
					}
					return nil
				}
			})
			who := c.device(home, quickStart)
			watcher := c.connect(who, "watcher", persistent)
			watcher.subscribe("will/#", 1)
			watcher.Disconnect(100)
			cl, _, err := c.raw(c.device(home, quickStart), mqtt.Connect{ClientID: "broken", CleanSession: true,
				Will: &mqtt.Publish{Topic: "will/broken", Payload: []byte("gone"), QoS: 1}})
			if err != nil {
				t.Fatal(err)
			}
			cl.Close()
			testkit.Receive(t, "the first attempt fails", failed.once)
			if err := mend(); err != nil {
				t.Fatal(err)
			}
			testkit.Until(t, "the will is forwarded", func() bool { return c.front.Stats().Wills == 1 && sent.Load() > 0 })
			if n, tries := sent.Load(), attempts.Load(); n != 1 || tries < 2 {
				t.Errorf("%d wills are forwarded in %d attempts", n, tries)
			}
			watcher = c.connect(who, "watcher", persistent)
			watcher.publish("will/end", 1, "end")
			watcher.expect("will/broken gone", "will/end end")
		})
	}
}

// heard is a log in which a text is waited for.
type heard struct {
	text string
	once chan struct{}
}

// Write implements io.Writer.
func (h heard) Write(line []byte) (int, error) {
	if strings.Contains(string(line), h.text) {
		select {
		case h.once <- struct{}{}:
		default:
		}
	}
	return len(line), nil
}

// deaf is a broker.Client that takes nothing.
type deaf struct{}

func (deaf) Deliver(*mqtt.Publish) bool { return false }
func (deaf) End(error)                  {}
