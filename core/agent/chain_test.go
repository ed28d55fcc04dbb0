package agent_test

import (
	"crypto/ed25519"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/testkit"
)

// rotate has the peer sign with a new key from now on. It still signs with the
// given key, for tests that hold it back.
func (p *peer) rotate(revoke bool) (before ed25519.PrivateKey) {
	p.t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	before = p.key
	s := bundle.KeyStatement{PublicKey: public, CreatedAt: time.Now()}
	if revoke {
		s.Revokes = []string{bundle.KeyID(before.Public().(ed25519.PublicKey))}
	}
	statement, err := bundle.SignKey(s, before)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Change(func() {
		p.key, p.publicKey = private, publicPEM(p.t, public)
		p.chain = append(p.chain, statement)
	})
	return before
}

func (g *gateway) chainFile() string { return g.keyFile() + ".chain" }

func TestRotatedKeys(t *testing.T) {
	t.Parallel()
	t.Run("a core follows, also over several rotations, and starts without the cloud", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		g := newGateway(t, p)
		_, stop := g.run()
		p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
		root, err := os.ReadFile(g.keyFile())
		if err != nil {
			t.Fatal(err)
		}
		p.rotate(false)
		p.expect(p.offer(simple(t, 2, 2).build(p)), fescue.Success)
		stop()
		for range 3 {
			p.rotate(false)
		}
		waiting := p.offer(simple(t, 3, 3).build(p))
		_, stop = g.run()
		p.expect(waiting, fescue.Success)
		stop()
		p.mu.Change(func() { p.down = true })
		before := len(g.applied())
		g.run()
		g.await("a start without the cloud", func() bool { return len(g.plans) > before })
		g.awaitPlan(functionARN("hello", 3))
		if now, err := os.ReadFile(g.keyFile()); err != nil || string(now) != string(root) {
			t.Errorf("the key file was changed: %s, %v", now, err)
		}
		if !strings.Contains(g.log.String(), "a trusted one vouches for it") {
			t.Errorf("the log does not name the new keys:\n%s", g.log)
		}
	})
	t.Run("a core learns of a rotation without a deployment", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		g := newGateway(t, p)
		g.connected = func() bool { return true } // polls do not wait
		g.times.Poll = 5 * time.Millisecond
		g.run()
		p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
		p.rotate(false)
		p.mu.Change(func() { p.keyID = bundle.KeyID(p.key.Public().(ed25519.PublicKey)) })
		testkit.Until(t, "a chain on the disk", func() bool {
			chain, err := os.ReadFile(g.chainFile())
			return err == nil && len(chain) > 0
		})
	})
	t.Run("a revoked key offers nothing, and what it signed goes on running", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		g := newGateway(t, p)
		_, stop := g.run()
		p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
		old := p.rotate(true)
		p.mu.Change(func() { p.keyID = bundle.KeyID(p.key.Public().(ed25519.PublicKey)) })
		m := simple(t, 2, 2).build(p)
		envelope, err := bundle.Sign(m, old)
		if err != nil {
			t.Fatal(err)
		}
		end := p.expect(p.offerEnvelope(m, envelope), fescue.Failure)
		if code := end.ErrorDetails[0].DetailedErrorCode; code != "MANIFEST_KEY_REVOKED_ERROR" {
			t.Errorf("code %s: %s", code, end.ErrorMessage)
		}
		stop()
		before := len(g.applied())
		_, stop = g.run()
		g.await("a start", func() bool { return len(g.plans) > before })
		g.awaitPlan(functionARN("hello", 1))
		p.expect(p.offer(simple(t, 3, 3).build(p)), fescue.Success)
		stop()
	})
	t.Run("a chain that does not begin at a trusted key is not followed", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		g := newGateway(t, p)
		_, unknown, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		g.run()
		p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
		p.mu.Change(func() { p.key = unknown })
		p.rotate(false)
		end := p.expect(p.offer(simple(t, 2, 2).build(p)), fescue.Failure)
		if code := end.ErrorDetails[0].DetailedErrorCode; code != "MANIFEST_KEY_UNKNOWN_ERROR" {
			t.Errorf("code %s: %s", code, end.ErrorMessage)
		}
		if _, err := os.Stat(g.chainFile()); !os.IsNotExist(err) {
			t.Errorf("a chain was kept: %v", err)
		}
	})
	t.Run("a damaged chain trusts what the key file does", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		g := newGateway(t, p)
		if err := os.WriteFile(g.chainFile(), []byte("no statement\n{}\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		g.run()
		p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
		p.rotate(false)
		p.expect(p.offer(simple(t, 2, 2).build(p)), fescue.Success)
	})
}
