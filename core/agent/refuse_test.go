package agent_test

import (
	"crypto/ed25519"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/corelink"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestRefusedManifests(t *testing.T) {
	t.Parallel()
	_, unknown, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(m bundle.Manifest, key ed25519.PrivateKey) []byte {
		envelope, err := bundle.Sign(m, key)
		if err != nil {
			t.Fatal(err)
		}
		return envelope
	}
	for _, tc := range []struct {
		name   string
		change func(p *peer, m *bundle.Manifest) []byte
		want   string
		code   string
	}{
		{"of another core", func(p *peer, m *bundle.Manifest) []byte {
			n := *m
			n.CoreThingArn = "arn:aws:iot:us-east-1:123456789012:thing/Other_Core"
			return sign(n, p.key)
		}, "for arn:aws:iot:us-east-1:123456789012:thing/Other_Core", "MANIFEST_OTHER_CORE_ERROR"},
		{"of another deployment", func(p *peer, m *bundle.Manifest) []byte {
			n := *m
			n.DeploymentID = fescue.NewID()
			return sign(n, p.key)
		}, "was offered", "MANIFEST_OTHER_DEPLOYMENT_ERROR"},
		{"by an unknown key", func(p *peer, m *bundle.Manifest) []byte { return sign(*m, unknown) }, "signed by no trusted key", "MANIFEST_KEY_UNKNOWN_ERROR"},
		{"with a wrong signature", func(p *peer, m *bundle.Manifest) []byte {
			return []byte(strings.Replace(string(sign(*m, p.key)), `"sig":"`, `"sig":"AAAA`, 1))
		}, "signature does not verify", "MANIFEST_SIGNATURE_ERROR"},
		{"with a changed payload", func(p *peer, m *bundle.Manifest) []byte {
			return []byte(strings.Replace(string(sign(*m, p.key)), `"payload":"`, `"payload":"AAAA`, 1))
		}, "signature does not verify", "MANIFEST_SIGNATURE_ERROR"},
		{"that is no envelope", func(p *peer, m *bundle.Manifest) []byte { return []byte(`[]`) }, "does not parse", "MANIFEST_REFUSED_ERROR"},
		{"that is empty", func(p *peer, m *bundle.Manifest) []byte { return nil }, "does not parse", "MANIFEST_REFUSED_ERROR"},
		{"with a lower epoch", func(p *peer, m *bundle.Manifest) []byte {
			n := *m
			n.Epoch = 4
			return sign(n, p.key)
		}, "has epoch 4, this core has seen 5", "MANIFEST_EPOCH_ERROR"},
		{"with an epoch that was used", func(p *peer, m *bundle.Manifest) []byte {
			n := *m
			n.Epoch = 5
			return sign(n, p.key)
		}, "it is a replay", "MANIFEST_REPLAY_ERROR"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			g := newGateway(t, p)
			g.run()
			p.expect(p.offer(simple(t, 5, 1).build(p)), fescue.Success)
			m := simple(t, 6, 2).build(p)
			end := p.expect(p.offerEnvelope(m, tc.change(p, &m)), fescue.Failure)
			if !strings.Contains(end.ErrorMessage, tc.want) || end.ErrorDetails[0].DetailedErrorCode != tc.code {
				t.Errorf("message %q, details %v; want %s, %q", end.ErrorMessage, end.ErrorDetails, tc.code, tc.want)
			}
			if log := g.log.String(); !strings.Contains(log, tc.code) || !strings.Contains(log, m.DeploymentID) {
				t.Errorf("the core's log does not name the refusal:\n%s", log)
			}
			if notes := p.notesOf(m.DeploymentID); !strings.Contains(notes, "refused: ") || !strings.Contains(notes, tc.code) {
				t.Errorf("the timeline does not name the refusal: %q", notes)
			}
			if g.awaitPlan(functionARN("hello", 1)); len(g.applied()) != 2 {
				t.Errorf("something was applied: %d plans", len(g.applied()))
			}
			// The refusal has not used the epoch up.
			p.expect(p.offer(simple(t, 7, 3).build(p)), fescue.Success)
		})
	}
}

func TestCloudForgotTheEnd(t *testing.T) {
	t.Parallel()
	for _, phase := range []fescue.DeploymentPhase{fescue.Offered, fescue.Claimed, fescue.Switched} {
		t.Run(string(phase), func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			g := newGateway(t, p)
			g.run()
			d := p.offer(simple(t, 1, 1).build(p))
			p.expect(d, fescue.Success)
			// A server that came up from an older copy of its store offers it
			// again, whatever the core says that it has seen.
			again := &offered{Deployment: d.Deployment, envelope: d.envelope}
			again.Status, again.Phase = fescue.InProgress, phase
			p.mu.Change(func() {
				p.deployments = []*offered{again}
				p.ignoreAfter = true
			})
			p.expect(again, fescue.Success)
			if g.awaitPlan(functionARN("hello", 1)); len(g.applied()) != 2 {
				t.Errorf("the function was touched: %d plans", len(g.applied()))
			}
		})
	}
}

// A server that came up from an older copy of its store does not know that the core
// has claimed the deployment that it is at.
func TestCloudForgotTheClaim(t *testing.T) {
	t.Parallel()
	for _, event := range []fescue.DeploymentEvent{fescue.EventStaged, fescue.EventSwitched, fescue.EventSucceeded} {
		t.Run(string(event), func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			g := newGateway(t, p)
			p.mu.Change(func() {
				restored := false
				p.refuse = func(r corelink.StatusReport) int {
					if r.Event != event || restored {
						return 0
					}
					restored = true
					p.deployments[0].Phase = fescue.Offered
					return http.StatusServiceUnavailable
				}
			})
			g.run()
			p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
			if g.awaitPlan(functionARN("hello", 1)); len(g.applied()) != 2 {
				t.Errorf("the function was touched: %d plans", len(g.applied()))
			}
		})
	}
}

// A server that came up from an older copy of its store does not know the
// deployment that the core is at: what succeeds stays, what fails goes back.
func TestCloudForgotTheDeployment(t *testing.T) {
	t.Parallel()
	forget := func(p *peer, event fescue.DeploymentEvent) {
		p.mu.Change(func() {
			p.refuse = func(r corelink.StatusReport) int {
				if r.Event != event {
					return 0
				}
				// From here on it knows of nothing.
				p.deployments = nil
				return http.StatusNotFound
			}
		})
	}
	for _, event := range []fescue.DeploymentEvent{fescue.EventSwitched, fescue.EventSucceeded} {
		t.Run("at "+string(event)+", and it is healthy", func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			g := newGateway(t, p)
			_, stop := g.run()
			p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
			forget(p, event)
			p.offer(simple(t, 2, 2).build(p))
			g.awaitPlan(functionARN("hello", 2))
			p.await("polls again", func() bool { return len(p.deployments) == 0 })
			p.mu.Change(func() { p.refuse, p.polls = nil, nil })
			p.await("polls again", func() bool { return len(p.polls) > 0 })
			stop()
			before := len(g.applied())
			g.run()
			g.await("a start", func() bool { return len(g.plans) > before })
			g.awaitPlan(functionARN("hello", 2))
			p.expect(p.offer(simple(t, 3, 3).build(p)), fescue.Success)
		})
	}
	t.Run("and it is not healthy", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		g := newGateway(t, p)
		g.run()
		p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
		g.mu.Change(func() { g.sick[functionARN("hello", 2)] = "it died" })
		forget(p, fescue.EventFailed)
		p.offer(simple(t, 2, 2).build(p))
		g.awaitPlan(functionARN("hello", 2))
		g.awaitPlan(functionARN("hello", 1))
	})
}

func TestTrustedKeys(t *testing.T) {
	t.Parallel()
	other, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("several keys may be trusted", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		g := newGateway(t, p)
		g.trust(append(publicPEM(t, other), p.publicKey...))
		g.run()
		p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
		if p.keyCalls != 0 {
			t.Error("the core asked for keys although it has some")
		}
	})
	t.Run("the cloud's own key does not replace them", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		g := newGateway(t, p)
		g.trust(publicPEM(t, other))
		g.run()
		end := p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Failure)
		if !strings.Contains(end.ErrorMessage, "signed by no trusted key") {
			t.Errorf("message %q", end.ErrorMessage)
		}
		data, err := os.ReadFile(g.keyFile())
		if err != nil || string(data) != string(publicPEM(t, other)) {
			t.Errorf("the key file was changed: %s, %v", data, err)
		}
	})
	for _, tc := range []struct{ name, file string }{
		{"an empty file", ""},
		{"text", "hello"},
		{"a private key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"},
		{"half a key", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"},
	} {
		t.Run(tc.name+" trusts nobody", func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			g := newGateway(t, p)
			g.trust([]byte(tc.file))
			g.run()
			end := p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Failure)
			if !strings.Contains(end.ErrorMessage, "fescue-signing.pub") {
				t.Errorf("message %q", end.ErrorMessage)
			}
		})
	}
}
