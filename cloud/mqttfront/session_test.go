package mqttfront_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/cloud/mqttfront"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/testkit"
)

func TestPersistentSession(t *testing.T) {
	t.Parallel()
	c := start(t, nil)
	who := c.device(home, quickStart)
	p := c.connect(c.device(home, quickStart), "p")
	lasting := mqtt.Connect{ClientID: "lasting"}
	cl, ack, err := c.raw(who, lasting)
	if err != nil || ack.SessionPresent {
		t.Fatalf("session present: %v, error %v", ack.SessionPresent, err)
	}
	_ = cl.Send(&mqtt.Subscribe{ID: 1, Filters: []mqtt.Subscription{{Filter: "q/#", QoS: 1}}})
	read[*mqtt.Suback](t, cl)

	t.Run("not acknowledged, comes again", func(t *testing.T) {
		p.publish("q/1", 1, "first")
		if m := read[*mqtt.Publish](t, cl); string(m.Payload) != "first" || m.QoS != 1 {
			t.Fatalf("got %+v", m)
		}
		cl.Close()
		if cl, ack, err = c.raw(who, lasting); err != nil || !ack.SessionPresent {
			t.Fatalf("session present: %v, error %v", ack.SessionPresent, err)
		}
		m := read[*mqtt.Publish](t, cl)
		if string(m.Payload) != "first" || !m.Dup {
			t.Errorf("got %+v", m)
		}
		_ = cl.Send(&mqtt.Puback{ID: m.ID})
	})
	t.Run("sent while away", func(t *testing.T) {
		cl.Disconnect(patience)
		testkit.Until(t, "session ends", func() bool { return c.front.Stats().Connections == 1 })
		p.publish("q/away", 0, "lost")
		for i := range 10 {
			p.publish("q/away", 1, fmt.Sprint(i))
		}
		if cl, _, err = c.raw(who, lasting); err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			m := read[*mqtt.Publish](t, cl)
			if string(m.Payload) != fmt.Sprint(i) {
				t.Errorf("message %d: %s", i, m.Payload)
			}
			_ = cl.Send(&mqtt.Puback{ID: m.ID})
		}
	})
	t.Run("ends with a clean session", func(t *testing.T) {
		cl.Disconnect(patience)
		testkit.Until(t, "session ends", func() bool { return c.front.Stats().Connections == 1 })
		for range 2 {
			cl, ack, err := c.raw(who, mqtt.Connect{ClientID: "lasting", CleanSession: true})
			if err != nil || ack.SessionPresent {
				t.Fatalf("session present: %v, error %v", ack.SessionPresent, err)
			}
			cl.Close()
		}
	})
}

func TestRestartKeepsMessages(t *testing.T) {
	t.Parallel()
	c := start(t, nil)
	who, sender := c.device(home, quickStart), c.device(home, quickStart)
	cl := c.connect(who, "lasting", persistent)
	cl.subscribe("q", 1)
	cl.Disconnect(100)
	testkit.Until(t, "session ends", func() bool { return c.front.Stats().Connections == 0 })
	p := c.connect(sender, "p")
	for i := range 20 {
		p.publish("q", 1, fmt.Sprint(i))
	}
	c.stop()
	p.ended()
	c.up()
	p = c.connect(sender, "p")
	p.publish("q", 1, "after")
	cl = c.connect(who, "lasting", persistent)
	for i := range 20 {
		cl.expect(fmt.Sprint("q ", i))
	}
	cl.expect("q after")
}

func TestBrokerLost(t *testing.T) {
	t.Parallel()
	c := start(t, nil)
	who := c.device(home, quickStart)
	cl := c.connect(who, "x")
	if err := c.front.Publish(context.Background(), home, "t", nil, 1, false); err != nil {
		t.Fatal(err)
	}
	c.broker.Shutdown()
	cl.ended()
	if _, ack, err := c.raw(who, mqtt.Connect{ClientID: "x"}); ack.Code != mqtt.RefusedUnavailable {
		t.Errorf("return code %d, error %v", ack.Code, err)
	}
	if err := c.front.Publish(context.Background(), home, "t", nil, 1, false); err == nil {
		t.Error("a message was published without a broker")
	}
}

func TestSessionExpires(t *testing.T) {
	t.Parallel()
	const expiry = 300 * time.Millisecond
	c := start(t, func(o *mqttfront.Options) { o.SessionExpiry = expiry })
	who, stays := c.device(home, quickStart), c.device(home, quickStart)
	here := c.connect(stays, "here", persistent)
	here.subscribe("q", 1)
	cl := c.connect(who, "away", persistent)
	cl.subscribe("q", 1)
	cl.Disconnect(100)
	testkit.Until(t, "session expires", func() bool { return c.front.Stats().ExpiredSessions == 1 })
	_, ack, err := c.raw(who, mqtt.Connect{ClientID: "away"})
	if err != nil || ack.SessionPresent {
		t.Errorf("session present: %v, error %v", ack.SessionPresent, err)
	}
	if err := c.front.Publish(context.Background(), home, "q", []byte("x"), 1, false); err != nil {
		t.Fatal(err)
	}
	here.expect("q x") // a connected client's session stays

	t.Run("also one that a former server left", func(t *testing.T) {
		gone := c.connect(who, "left", persistent)
		gone.subscribe("q", 1)
		c.stop()
		c.up()
		// here, away and left: none of them was connected at the end.
		testkit.Until(t, "sessions expire", func() bool { return c.front.Stats().ExpiredSessions == 3 })
		_, ack, err := c.raw(who, mqtt.Connect{ClientID: "left"})
		if err != nil || ack.SessionPresent {
			t.Errorf("session present: %v, error %v", ack.SessionPresent, err)
		}
	})
}

// A message that a certificate's validity keeps back ends the connection: whoever
// comes back looks for what was missed.
func TestMissedMessageEndsConnection(t *testing.T) {
	t.Parallel()
	var wrong atomic.Int64 // how far the clock is off
	c := start(t, func(o *mqttfront.Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(wrong.Load())) }
		o.Refresh = time.Hour // which would find it, too
	})
	cl := c.connect(c.device(home, quickStart), "x")
	cl.subscribe("t", 1)
	wrong.Store(int64(-48 * time.Hour))
	if err := c.front.Publish(t.Context(), home, "t", []byte("wake"), 1, false); err != nil {
		t.Fatal(err)
	}
	cl.ended()
}

func TestChangesTakeEffectWithinASecond(t *testing.T) {
	t.Parallel()
	c := start(t, nil)
	change := func(what string, fn func(*identity.Principal)) {
		for _, how := range []string{"by itself", "at once by Invalidate"} {
			t.Run(what+" "+how, func(t *testing.T) {
				who := c.device(home, quickStart)
				cl := c.connect(who, "x")
				begin := time.Now()
				c.directory.change(who.id, fn)
				limit := 5 * time.Second // a second, and a busy machine
				if how != "by itself" {
					if err := c.front.Invalidate(who.id); err != nil {
						t.Fatal(err)
					}
				}
				cl.ended()
				if took := time.Since(begin); took > limit {
					t.Errorf("the connection ended after %v", took)
				}
			})
		}
	}
	change("no longer active", func(p *identity.Principal) { p.Certificate.Status = fescue.CertificateInactive })
	change("expired", func(p *identity.Principal) { p.Certificate.NotAfter = time.Now() })

	t.Run("deleted", func(t *testing.T) {
		who := c.device(home, quickStart)
		cl := c.connect(who, "x")
		c.directory.mu.Lock()
		delete(c.directory.principals, who.id)
		c.directory.mu.Unlock()
		if err := c.front.Invalidate(who.id); err != nil {
			t.Fatal(err)
		}
		cl.ended()
	})
	t.Run("policy", func(t *testing.T) {
		who := c.device(home, quickStart)
		cl := c.connect(who, "x")
		cl.publish("t", 1, "allowed")
		set := policies(t, statement("Allow", "iot:Publish", arn("topic/other")))
		c.directory.change(who.id, func(p *identity.Principal) { p.Policies = set })
		if err := c.front.Invalidate(who.id); err != nil {
			t.Fatal(err)
		}
		cl.publish("other", 1, "still allowed")
		cl.Publish("t", 1, false, "denied")
		cl.ended()
	})
	t.Run("nobody connected", func(t *testing.T) {
		if err := c.front.Invalidate("0000"); err != nil {
			t.Error(err)
		}
	})
}

// followed counts what a Directory is asked whose changes are told.
type followed struct {
	*directory
	broken       atomic.Bool
	looks, reads atomic.Int64
}

// Current implements mqttfront.Changes.
func (f *followed) Current() bool {
	f.looks.Add(1)
	return !f.broken.Load()
}

// Within implements mqttfront.Changes.
func (f *followed) Within(time.Duration) bool { return !f.broken.Load() }

func (f *followed) Principal(ctx context.Context, id string) (identity.Principal, error) {
	f.reads.Add(1)
	return f.directory.Principal(ctx, id)
}

func (f *followed) Principals(ctx context.Context, ids []string) ([]identity.Answer, error) {
	f.reads.Add(1)
	return f.directory.Principals(ctx, ids)
}

// knows waits until the front knows of a certificate what is read of it.
func (f *followed) knows(t *testing.T, front *mqttfront.Front, id string) {
	t.Helper()
	testkit.Until(t, "the certificate is known", func() bool {
		before := f.reads.Load()
		_, err := front.Principal(t.Context(), id)
		return err == nil && f.reads.Load() == before
	})
}

// held answers what is asked of several certificates only when it is released, with what there
// was when it was asked.
type held struct {
	*followed
	asked, release chan struct{}
}

func (h held) Principals(ctx context.Context, ids []string) ([]identity.Answer, error) {
	answers, err := h.followed.Principals(ctx, ids)
	if len(ids) > 1 {
		h.asked <- struct{}{}
		<-h.release
	}
	return answers, err
}

// TestPolicyHoldsNothingUp: while the many certificates of a policy are read, a single one that
// changes is read at once, and what was read of it later stays.
func TestPolicyHoldsNothingUp(t *testing.T) {
	t.Parallel()
	h := held{asked: make(chan struct{}, 9), release: make(chan struct{})}
	c := start(t, func(o *mqttfront.Options) {
		h.followed = &followed{directory: o.Directory.(*directory)}
		o.Directory, o.Changes, o.Refresh = h, h, time.Hour
	})
	revoked, grown, other := c.device(home, quickStart), c.device(home, quickStart), c.device(home, quickStart)
	one, two, three := c.connect(revoked, "x"), c.connect(grown, "y"), c.connect(other, "z")
	none := policies(t, statement("Allow", "iot:Connect", "*"))
	c.directory.change(other.id, func(p *identity.Principal) { p.Policies = none })
	c.front.InvalidatePolicies(home)
	testkit.Receive(t, "the read of all", h.asked)
	c.front.InvalidatePolicies(home) // while it is read: once more then

	c.directory.change(revoked.id, func(p *identity.Principal) { p.Certificate.Status = fescue.CertificateRevoked })
	c.directory.change(grown.id, func(p *identity.Principal) { p.Things = []string{"x"} })
	for _, who := range []keyPair{revoked, grown} {
		if err := c.front.Invalidate(who.id); err != nil {
			t.Fatal(err)
		}
	}
	one.ended()
	grew := func() {
		t.Helper()
		before := h.reads.Load()
		if p, err := c.front.Principal(t.Context(), grown.id); err != nil || len(p.Things) != 1 || h.reads.Load() != before {
			t.Errorf("%d things, %v, after %d reads", len(p.Things), err, h.reads.Load()-before)
		}
	}
	grew()
	three.publish("t", 1, "what is not read yet")

	close(h.release)
	h.knows(t, c.front, other.id)
	grew()
	three.Publish("t", 1, false, "denied")
	three.ended()
	two.publish("t", 1, "still allowed")
}

func TestToldChangesSpareReads(t *testing.T) {
	t.Parallel()
	var f *followed
	c := start(t, func(o *mqttfront.Options) {
		f = &followed{directory: o.Directory.(*directory)}
		// Who looks less often than MaxStale, as on a busy machine, serves nobody new.
		o.Directory, o.Changes, o.Refresh, o.MaxStale = f, f, 5*time.Millisecond, 10*time.Second
	})
	looks := func(n int64) {
		t.Helper()
		before := f.looks.Load()
		testkit.Until(t, "some looks", func() bool { return f.looks.Load() > before+n })
	}
	abroad := fescue.Partition{AWS: "aws", Account: "999999999999", Region: "us-west-2"}
	here, away, expiring := c.device(home, quickStart), c.device(abroad, quickStart), c.device(home, quickStart)
	one, other, third := c.connect(here, "x"), c.connect(away, "x"), c.connect(expiring, "y")
	looks(2)
	reads := f.reads.Load()
	looks(450) // longer than what was read once would count
	if now := f.reads.Load(); now != reads {
		t.Errorf("%d reads although nothing changed", now-reads)
	}

	none := policies(t, statement("Deny", "iot:*", "*"))
	for _, who := range []keyPair{here, away} {
		c.directory.change(who.id, func(p *identity.Principal) { p.Policies = none })
	}
	c.front.InvalidatePolicies(home)
	f.knows(t, c.front, here.id)
	other.publish("t", 1, "a change in another partition")
	one.Publish("t", 1, false, "denied")
	one.ended()
	c.front.InvalidateAll()
	f.knows(t, c.front, away.id)
	other.Publish("t", 1, false, "denied")
	other.ended()

	// What could not be read is read until it can, though nothing is told again.
	c.directory.change(expiring.id, func(p *identity.Principal) { p.Certificate.Status = fescue.CertificateInactive })
	c.directory.fail(errors.New("disk on fire"))
	if err := c.front.Invalidate(expiring.id); err == nil {
		t.Error("Invalidate could not read and did not say so")
	}
	c.directory.fail(nil)
	third.ended()

	// Nothing is told any more: everything is read.
	late := c.connect(c.device(home, quickStart), "z")
	reads = f.reads.Load()
	f.broken.Store(true)
	testkit.Until(t, "reads without being told", func() bool { return f.reads.Load() > reads+3 })
	c.directory.fail(errors.New("disk on fire"))
	late.ended()
}

func TestDirectoryFailing(t *testing.T) {
	t.Parallel()
	c := start(t, func(o *mqttfront.Options) {
		o.Refresh, o.MaxStale = 5*time.Millisecond, 3*time.Second
	})
	who := c.device(home, quickStart)
	cl := c.connect(who, "x")
	c.directory.fail(errors.New("disk on fire"))
	if err := c.front.Invalidate(who.id); err == nil {
		t.Error("Invalidate could not read and did not say so")
	}
	cl.publish("t", 1, "what was known counts for a while")
	cl.ended()
}

func TestCloudPublishesAndListens(t *testing.T) {
	t.Parallel()
	c := start(t, nil)
	ctx := context.Background()
	l := c.listen(t.Context(), home, "$aws/things/+/shadow/#")
	cl := c.connect(c.device(home, quickStart), "x")
	cl.subscribe("$aws/things/x/shadow/update/+", 1)
	for _, qos := range []byte{0, 1} {
		cl.publish("$aws/things/x/shadow/update", qos, "{}")
		if m := next(t, "a request", l.messages); m != "$aws/things/x/shadow/update {} false" {
			t.Errorf("the cloud got %q", m)
		}
		if err := c.front.Publish(ctx, home, "$aws/things/x/shadow/update/accepted", []byte("yes"), qos, false); err != nil {
			t.Fatal(err)
		}
		cl.expect("$aws/things/x/shadow/update/accepted yes")
		next(t, "the cloud's own message", l.messages)
	}
	for name, call := range map[string]func() error{
		"topic with wildcard": func() error { return c.front.Publish(ctx, home, "a/+", nil, 0, false) },
		"QoS 2":               func() error { return c.front.Publish(ctx, home, "a", nil, 2, false) },
		"payload too large":   func() error { return c.front.Publish(ctx, home, "a", make([]byte, 128<<10+1), 0, false) },
	} {
		if call() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	c.front.Close()
	if err := c.front.Publish(ctx, home, "t", nil, 1, false); !errors.Is(err, mqttfront.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	cl.ended()
}

// TestRetainedWithoutAcknowledgement: a retained message that the client was sent and has not
// acknowledged when its connection ends comes again, until it does.
func TestRetainedWithoutAcknowledgement(t *testing.T) {
	t.Parallel()
	c := start(t, nil)
	p := c.connect(c.device(home, allowAll), "p")
	p.subscribe("r/1", 1)
	p.wait(p.Publish("r/1", 1, true, "kept"), "PUBLISH")
	p.expect("r/1 kept") // or it might come to the other as a message, too
	who := c.device(home, allowAll)
	for round, payload := range []string{"kept", "kept", "end"} {
		cl, ack, err := c.raw(who, mqtt.Connect{ClientID: "c"})
		if err != nil || ack.SessionPresent != (round > 0) {
			t.Fatalf("session present: %v, %v", ack.SessionPresent, err)
		}
		if round == 0 {
			if err := cl.Send(&mqtt.Subscribe{ID: 1, Filters: []mqtt.Subscription{{Filter: "r/1", QoS: 1}}}); err != nil {
				t.Fatal(err)
			}
			read[*mqtt.Suback](t, cl)
		}
		if round == 2 {
			p.publish("r/1", 1, "end")
		}
		got := read[*mqtt.Publish](t, cl)
		if string(got.Payload) != payload || got.QoS != 1 || got.Retain != (round < 2) || got.Dup != (round == 1) {
			t.Fatalf("round %d: %q came, QoS %d, RETAIN %v, DUP %v", round, got.Payload, got.QoS, got.Retain, got.Dup)
		}
		if round == 1 {
			if err := cl.Send(&mqtt.Puback{ID: got.ID}); err != nil {
				t.Fatal(err)
			}
			cl.Disconnect(patience)
			continue
		}
		cl.Close()
	}
}

// TestPrincipalOfConnected: who is connected is known without a read, but for what was told to
// have changed and is not read yet.
func TestPrincipalOfConnected(t *testing.T) {
	t.Parallel()
	var f *followed
	c := start(t, func(o *mqttfront.Options) {
		f = &followed{directory: o.Directory.(*directory)}
		o.Directory, o.Changes, o.Refresh = f, f, 5*time.Millisecond
	})
	who := c.device(home, quickStart)
	// asks wants so many things of the certificate, and says whether it was read for that.
	asks := func(what string, things int, read bool) {
		t.Helper()
		before := f.reads.Load()
		p, err := c.front.Principal(t.Context(), who.id)
		if err != nil || len(p.Things) != things || p.Certificate.ID != who.id {
			t.Errorf("%s: %d things of %s, %v", what, len(p.Things), p.Certificate.ID, err)
		}
		if f.reads.Load() > before != read {
			t.Errorf("%s: read %v", what, !read)
		}
	}
	grow := func() {
		c.directory.change(who.id, func(p *identity.Principal) { p.Things = append(slices.Clone(p.Things), "x") })
	}
	asks("not connected", 0, true)
	cl := c.connect(who, "x")
	asks("connected", 0, false)
	grow()
	if err := c.front.Invalidate("another", who.id); err != nil {
		t.Fatal(err)
	}
	asks("changed", 1, false)
	grow()
	c.front.InvalidatePolicies(home)
	f.knows(t, c.front, who.id)
	asks("with another policy", 2, false)
	c.directory.fail(errors.New("disk on fire"))
	c.front.InvalidateAll()
	if p, err := c.front.Principal(t.Context(), who.id); err == nil {
		t.Errorf("what may have changed is known: %v", p)
	}
	c.directory.fail(nil)
	f.knows(t, c.front, who.id)

	// What is told while it is read is read again: nobody gets what was before his own change.
	var writing sync.WaitGroup
	for range 4 {
		writing.Go(func() {
			for range 50 {
				var least int
				c.directory.change(who.id, func(p *identity.Principal) {
					p.Things = append(slices.Clone(p.Things), "x")
					least = len(p.Things)
				})
				err := c.front.Invalidate(who.id)
				p, asked := c.front.Principal(context.Background(), who.id)
				if err != nil || asked != nil || len(p.Things) < least {
					t.Errorf("%d things after there were %d: %v, %v", len(p.Things), least, err, asked)
				}
			}
		})
	}
	writing.Wait()

	f.broken.Store(true)
	asks("nothing is told", 202, true)
	f.broken.Store(false)
	cl.Disconnect(0)
	testkit.Until(t, "a read of who is not connected", func() bool {
		before := f.reads.Load()
		_, err := c.front.Principal(t.Context(), who.id)
		return err == nil && f.reads.Load() > before
	})
}
