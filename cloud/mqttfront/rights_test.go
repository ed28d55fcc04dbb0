package mqttfront_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/cloud/mqttfront"
	"github.com/fescue-edge/fescue/cloud/secrets"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/policy"
	"github.com/fescue-edge/fescue/testkit"
)

// keys are access keys, and what groups hold, in memory.
type keys struct {
	mu      sync.Mutex
	signers map[string]identity.Signer
	holders map[string][]map[string]string // by thing
	failure error
	reads   int
	// hold is what HolderTags waits for; nil for nothing.
	hold chan struct{}
}

func (k *keys) Current(_ context.Context, id string) (identity.Signer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reads++
	s, ok := k.signers[id]
	if !ok {
		return s, identity.ErrUnknownKey
	}
	return s, nil
}

func (k *keys) HolderTags(_ context.Context, _ fescue.Partition, arn string) ([]map[string]string, error) {
	k.mu.Lock()
	hold := k.hold
	k.mu.Unlock()
	if hold != nil {
		<-hold
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.holders[arn], k.failure
}

func (*keys) DefinitionTags(context.Context, fescue.Partition, fescue.Kind, string) (map[string]string, error) {
	return nil, fescue.ErrNotFound
}

func (*keys) Secret(context.Context, fescue.Partition, string) (secrets.Secret, error) {
	return secrets.Secret{}, fescue.ErrNotFound
}

// fail has the database fail, or go again.
func (k *keys) fail(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failure = err
}

// put makes a key that is limited to the groups of the north, or that is unlimited.
func (k *keys) put(t *testing.T, id, holder string, limited bool) {
	t.Helper()
	s := identity.Signer{
		Key:    identity.Key{ID: id, Account: home.Account},
		Caller: identity.Caller{Holder: holder, Policies: []policy.Set{policies(t, allowAll)}},
	}
	if limited {
		var err error
		if s.Scope, err = identity.NewScope(identity.Limit{GroupTag: "site=north"}); err != nil {
			t.Fatal(err)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.signers[id] = s
}

// startKeys starts a front for keys. Lamp is the north's, Shared also another's.
func startKeys(t *testing.T, quotas deploy.Quotas) (*cloud, *keys) {
	t.Helper()
	north, south := map[string]string{"site": "north"}, map[string]string{"site": "south"}
	k := &keys{signers: map[string]identity.Signer{}, holders: map[string][]map[string]string{
		home.ThingARN("Lamp"): {north}, home.ThingARN("Shared"): {north, south},
	}}
	return start(t, func(o *mqttfront.Options) {
		o.Keys, o.Inventory, o.Quotas = k, k, quotas
		o.MaxStale = time.Hour // an answer counts for longer than any test takes
	}), k
}

// withKey connects with an access key.
func (c *cloud) withKey(keyID string, connect mqtt.Connect) (*mqtt.Client, mqtt.Connack, error) {
	c.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		c.t.Fatal(err)
	}
	served, err := l.Accept()
	if err != nil {
		c.t.Fatal(err)
	}
	go c.front.ServeKey(context.Background(), served, keyID, home, nil)
	connect.Level = mqtt.Level311
	cl, ack, err := mqtt.Open(context.Background(), conn, &connect, mqtt.Options{ConnectTimeout: patience})
	if err == nil {
		c.t.Cleanup(cl.Close)
	}
	return cl, ack, err
}

// TestLimitedKeyConnects: to connect with a client id ends whoever has it, and a clean
// session throws away the one that was. A key that does not own a thing alone may read of
// it, and no more.
func TestLimitedKeyConnects(t *testing.T) {
	t.Parallel()
	c, k := startKeys(t, nil)
	k.put(t, "limited", "limited", true)
	shared := c.connect(c.device(home, quickStart), "Shared")
	if _, ack, err := c.withKey("limited", mqtt.Connect{ClientID: "Shared", CleanSession: true}); err == nil || ack.Code != mqtt.RefusedNotAuthorized {
		t.Fatalf("code %d, %v", ack.Code, err)
	}
	cl, _, err := c.withKey("limited", mqtt.Connect{ClientID: "Lamp", CleanSession: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := cl.Send(&mqtt.Subscribe{ID: 1, Filters: []mqtt.Subscription{{Filter: "$aws/things/Shared/x", QoS: 1}}}); err != nil {
		t.Fatal(err)
	}
	if ack := read[*mqtt.Suback](t, cl); ack.Codes[0] != 1 {
		t.Fatalf("granted %#x", ack.Codes[0])
	}
	shared.publish("$aws/things/Shared/x", 1, "goes on")
	if got := read[*mqtt.Publish](t, cl); string(got.Payload) != "goes on" {
		t.Errorf("%q", got.Payload)
	}
}

// TestUndecidedDelivery: a message of which the database does not say whether the client
// may have it is kept for when it does.
func TestUndecidedDelivery(t *testing.T) {
	t.Parallel()
	c, k := startKeys(t, nil)
	k.put(t, "limited", "limited", true)
	device := c.connect(c.device(home, quickStart), "device")
	cl, _, err := c.withKey("limited", mqtt.Connect{ClientID: "Lamp"})
	if err != nil {
		t.Fatal(err)
	}
	if err := cl.Send(&mqtt.Subscribe{ID: 1, Filters: []mqtt.Subscription{{Filter: "$aws/things/Lamp/#", QoS: 1}}}); err != nil {
		t.Fatal(err)
	}
	if ack := read[*mqtt.Suback](t, cl); ack.Codes[0] != 1 {
		t.Fatalf("granted %#x", ack.Codes[0])
	}
	// take acknowledges messages until the wanted ones have come. In which order the broker
	// sends again is its matter, and so is what came before: an acknowledgement may be late.
	came := map[string]bool{}
	take := func(cl *mqtt.Client, want ...string) {
		t.Helper()
		for slices.ContainsFunc(want, func(payload string) bool { return !came[payload] }) {
			got := read[*mqtt.Publish](t, cl)
			if payload := string(got.Payload); !came[payload] && !slices.Contains(want, payload) {
				t.Fatalf("%q came where %q were due", payload, want)
			}
			came[string(got.Payload)] = true
			if err := cl.Send(&mqtt.Puback{ID: got.ID}); err != nil {
				t.Fatal(err)
			}
		}
	}
	device.publish("$aws/things/Lamp/known", 1, "0")
	take(cl, "0")
	k.fail(errors.New("the database is away"))
	device.publish("$aws/things/Lamp/known", 1, "1") // its last answer counts for a while
	take(cl, "1")
	device.publish("$aws/things/Lamp/new", 1, "2")
	device.publish("$aws/things/Lamp/known", 1, "3")
	for {
		p, err := cl.Read()
		if err != nil {
			break // the connection ends, and the client connects again
		}
		if got, ok := p.(*mqtt.Publish); ok && !came[string(got.Payload)] {
			t.Fatalf("%q came while nobody knew whether it may", got.Payload)
		}
	}
	k.fail(nil)
	cl, ack, err := c.withKey("limited", mqtt.Connect{ClientID: "Lamp"})
	if err != nil || !ack.SessionPresent {
		t.Fatalf("session present: %v, %v", ack.SessionPresent, err)
	}
	take(cl, "2", "3")
}

// TestMailboxIsBounded: what comes while the database does not say whether a client may have it takes
// no more memory than it may, and messages with QoS 0 do not push out those with QoS 1.
func TestMailboxIsBounded(t *testing.T) {
	t.Parallel()
	c, k := startKeys(t, nil)
	k.put(t, "limited", "limited", true)
	device := c.connect(c.device(home, quickStart), "device")
	cl, _, err := c.withKey("limited", mqtt.Connect{ClientID: "Lamp", CleanSession: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := cl.Send(&mqtt.Subscribe{ID: 1, Filters: []mqtt.Subscription{{Filter: "$aws/things/Lamp/#", QoS: 1}}}); err != nil {
		t.Fatal(err)
	}
	if ack := read[*mqtt.Suback](t, cl); ack.Codes[0] != 1 {
		t.Fatalf("granted %#x", ack.Codes[0])
	}
	hold := make(chan struct{})
	k.mu.Lock()
	k.hold = hold
	k.mu.Unlock()
	// 32 MB, of which half of 16 MiB may wait.
	payload := string(make([]byte, 128<<10))
	const messages = 256
	for range messages {
		device.wait(device.Publish("$aws/things/Lamp/flood", 0, false, payload), "PUBLISH")
	}
	device.publish("$aws/things/Lamp/end", 1, "end")
	testkit.Until(t, "messages are dropped", func() bool { return c.front.Stats().Dropped >= messages/2 })
	k.mu.Lock()
	k.hold = nil
	k.mu.Unlock()
	close(hold)
	came := 0
	for {
		got := read[*mqtt.Publish](t, cl)
		if string(got.Payload) == "end" {
			break
		}
		came++
	}
	if came == 0 || came > 66 {
		t.Errorf("%d messages waited", came)
	}
}

// change changes what is known of a key.
func (k *keys) change(id string, fn func(*identity.Signer)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.signers[id]
	fn(&s)
	k.signers[id] = s
}

// TestToldChangesOfKeys: a key is read again when it is told to have changed, and only then;
// that a temporary one has ended, the clock tells, and what groups hold is asked again anyway.
func TestToldChangesOfKeys(t *testing.T) {
	t.Parallel()
	k := &keys{signers: map[string]identity.Signer{}, holders: map[string][]map[string]string{home.ThingARN("Lamp"): {{"site": "north"}}}}
	var f *followed
	c := start(t, func(o *mqttfront.Options) {
		f = &followed{directory: o.Directory.(*directory)}
		o.Keys, o.Inventory, o.Directory, o.Changes, o.Refresh = k, k, f, f, 5*time.Millisecond
	})
	clients := map[string]*mqtt.Client{}
	for id, holder := range map[string]string{"key": "key", "temporary": "key", "core's": "certificate", "role's": "role's", "ending": "ending", "stays": "stays"} {
		k.put(t, id, holder, false)
	}
	k.put(t, "limited", "limited", true)
	for id, client := range map[string]string{"key": "a", "temporary": "b", "core's": "c", "role's": "d", "ending": "e", "stays": "f", "limited": "Lamp"} {
		cl, _, err := c.withKey(id, mqtt.Connect{ClientID: client, CleanSession: true})
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		clients[id] = cl
	}
	reads := func() int {
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.reads
	}
	before := reads()
	looks := f.looks.Load()
	testkit.Until(t, "some looks", func() bool { return f.looks.Load() > looks+50 })
	if now := reads(); now != before {
		t.Errorf("%d reads although nothing changed", now-before)
	}
	ended := func(ids ...string) {
		t.Helper()
		for _, id := range ids {
			testkit.Until(t, "the end of "+id, func() bool { _, err := clients[id].Read(); return err != nil })
			delete(clients, id)
		}
	}
	moved := func(s *identity.Signer) { s.Account = "999999999999" }
	for _, id := range []string{"key", "temporary", "core's", "role's", "stays"} {
		k.change(id, moved)
	}
	for _, step := range []struct {
		tell func() error
		ends []string
	}{
		{func() error { return c.front.InvalidateKey("another") }, nil},
		{func() error { return c.front.InvalidateKeys("999999999999") }, nil},
		{func() error { c.front.InvalidatePolicies(home); return nil }, nil},
		{func() error { return c.front.InvalidateKey("key") }, []string{"key", "temporary"}},
		{func() error { return c.front.Invalidate("certificate") }, []string{"core's"}},
		{func() error { k.change("stays", func(s *identity.Signer) { s.Account = home.Account }); return nil }, nil},
		{func() error { return c.front.InvalidateKeys(home.Account) }, []string{"role's"}},
		{func() error {
			k.change("ending", func(s *identity.Signer) { s.Ends = time.Now().Add(time.Second) })
			return c.front.InvalidateKey("ending")
		}, []string{"ending"}},
	} {
		if err := step.tell(); err != nil {
			t.Fatal(err)
		}
		ended(step.ends...)
	}
	send := func(id, topic string) error {
		if err := clients[id].Send(&mqtt.Publish{Topic: topic, QoS: 1, ID: 1, Payload: []byte("x")}); err != nil {
			return err
		}
		_, err := clients[id].Read()
		return err
	}
	for _, id := range []string{"stays", "limited"} {
		if err := send(id, "$aws/things/Lamp/x"); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	k.mu.Lock()
	k.holders[home.ThingARN("Lamp")] = []map[string]string{{"site": "south"}}
	k.mu.Unlock()
	testkit.Until(t, "the end of what a limit covers no more", func() bool { return send("limited", "$aws/things/Lamp/x") != nil })
}

// TestTemporaryKeysShareQuota: sessions of temporary keys count for the key that they are
// from.
func TestTemporaryKeysShareQuota(t *testing.T) {
	t.Parallel()
	c, k := startKeys(t, deploy.Quotas{mqttfront.QuotaCertificateSessions: 2})
	k.put(t, "key", "key", false)
	k.put(t, "temporary", "key", false)
	k.put(t, "another", "another", false)
	for _, tc := range []struct {
		key, client string
		code        mqtt.ConnackCode
	}{{"key", "a", mqtt.Accepted}, {"temporary", "b", mqtt.Accepted}, {"temporary", "c", mqtt.RefusedUnavailable}, {"key", "d", mqtt.RefusedUnavailable}, {"another", "e", mqtt.Accepted}} {
		if _, ack, err := c.withKey(tc.key, mqtt.Connect{ClientID: tc.client, CleanSession: true}); ack.Code != tc.code {
			t.Errorf("%s with %s: code %d, %v", tc.client, tc.key, ack.Code, err)
		}
	}
}
