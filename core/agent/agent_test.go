package agent_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/agent"
	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/core/plan/plantest"
	"github.com/fescue-edge/fescue/core/sandbox"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/testkit"
	"github.com/fescue-edge/fescue/testkit/archive"
)

func TestDeployment(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	g := newGateway(t, p)
	_, stop := g.run()
	r := simple(t, 1, 1)
	m := r.build(p)
	d := p.offer(m)
	p.expect(d, fescue.Success)
	stop()

	t.Run("reports every step", func(t *testing.T) {
		want := []fescue.DeploymentEvent{fescue.EventClaimed, fescue.EventStaged, fescue.EventSwitched, fescue.EventSucceeded}
		if diff := cmp.Diff(want, d.events); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("takes the signing key at first contact and says so", func(t *testing.T) {
		info, err := os.Stat(g.keyFile())
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 || p.keyCalls != 1 {
			t.Errorf("key file %v after %d calls", info.Mode(), p.keyCalls)
		}
		if !strings.Contains(g.log.String(), "level=WARN msg=\"First contact") {
			t.Errorf("the log does not name the first contact:\n%s", g.log)
		}
	})
	arn := functionARN("hello", 1)
	t.Run("unpacks the code beside, linked by ARN", func(t *testing.T) {
		link, err := os.Readlink(g.path("lambda", arn))
		if want := filepath.Join("..", ".store", packagesOf(m)[0].SHA256); err != nil || link != want {
			t.Errorf("link %s, %v; want %s", link, err, want)
		}
		if got := g.onDisk("lambda", arn, "app.py"); got != "VERSION = 1\n" {
			t.Errorf("code %q", got)
		}
		for name, mode := range map[string]os.FileMode{"app.py": 0o644, "lib/tool.sh": 0o755, "lib": 0o755} {
			info, err := os.Stat(g.path("lambda", arn, name))
			if err != nil || info.Mode().Perm() != mode {
				t.Errorf("%s has mode %v, %v; want %v", name, info.Mode(), err, mode)
			}
		}
	})
	t.Run("writes group.json for its owner alone", func(t *testing.T) {
		info, err := os.Stat(g.path("group", "group.json"))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		if hashOf([]byte(g.onDisk("group", "group.json"))) != documentOf(m).SHA256 {
			t.Error("group.json is not the document of the manifest")
		}
	})
	t.Run("resolves the function", func(t *testing.T) {
		f := g.last().Functions[0]
		want := plan.Function{
			ARN: arn, Name: "hello", Version: "1", Region: "us-east-1", Account: "123456789012",
			CodeHash: packagesOf(m)[0].SHA256, Code: sandbox.HostPath(g.path(".store", packagesOf(m)[0].SHA256)), GroupID: groupID,
			Runtime: "python3.8", Handler: "app.handler", Arguments: []string{}, Pinned: true, Timeout: 3 * time.Second, Encoding: "json",
			LogLevel: "INFO", Hash: f.Hash,
		}
		if diff := cmp.Diff(want, f); diff != "" || f.Hash == "" {
			t.Error(diff)
		}
	})
	t.Run("leaves nothing half done", func(t *testing.T) {
		if got := len(g.names(".store")); got != 2 {
			t.Errorf("the store holds %v", g.names(".store"))
		}
	})
}

func TestStartWithoutCloud(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	g := newGateway(t, p)
	_, stop := g.run()
	p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
	stop()
	p.mu.Change(func() { p.down = true })
	first := g.last()

	restart := func(t *testing.T) {
		t.Helper()
		g.mu.Lock()
		g.plans = nil
		g.mu.Unlock()
		a, stop := g.run()
		select {
		case <-a.Ready():
		case <-time.After(20 * time.Second):
			t.Fatal("the agent does not get ready")
		}
		stop()
	}
	t.Run("starts what was deployed", func(t *testing.T) {
		restart(t)
		if diff := cmp.Diff(first, g.last()); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("derives links and group.json again", func(t *testing.T) {
		document := g.onDisk("group", "group.json")
		for _, err := range []error{
			os.RemoveAll(g.path("lambda")), os.WriteFile(g.path("group", "group.json"), []byte(`{"edited":true}`), 0o644),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		restart(t)
		if g.onDisk("group", "group.json") != document || g.onDisk("lambda", functionARN("hello", 1), "app.py") == "" {
			t.Error("the deployment folder was not derived from the manifest")
		}
	})
	t.Run("starts nothing for an emptied group.json", func(t *testing.T) {
		document := g.onDisk("group", "group.json")
		if err := os.WriteFile(g.path("group", "group.json"), []byte(" { }\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		restart(t)
		if diff := cmp.Diff(plan.Plan{}, g.last()); diff != "" {
			t.Error(diff)
		}
		if got := g.onDisk("group", "group.json"); got != " { }\n" {
			t.Errorf("group.json became %q", got)
		}
		if err := os.WriteFile(g.path("group", "group.json"), []byte(document), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("runs the rest when a part is gone", func(t *testing.T) {
		g.mu.Lock()
		g.missing[functionARN("hello", 1)] = "no python3"
		g.mu.Unlock()
		restart(t)
		if got := running(g.last()); len(got) != 0 || !strings.Contains(g.log.String(), "no python3") {
			t.Errorf("functions %v; log:\n%s", got, g.log)
		}
		g.mu.Lock()
		clear(g.missing)
		g.mu.Unlock()
	})
	t.Run("does not need its state file", func(t *testing.T) {
		if err := os.WriteFile(g.path("state.json"), []byte(`{"epo`), 0o600); err != nil {
			t.Fatal(err)
		}
		restart(t)
		if diff := cmp.Diff(first, g.last()); diff != "" {
			t.Error(diff)
		}
		if got := g.onDisk("state.json"); got != `{"epoch":1,"accepted":1}`+"\n" {
			t.Errorf("state %s", got)
		}
	})
	t.Run("starts nothing from a manifest that was changed", func(t *testing.T) {
		envelope := g.onDisk("manifest.dsse")
		changed := []byte(strings.Replace(envelope, `"payload":"`, `"payload":"A`, 1))
		if err := os.WriteFile(g.path("manifest.dsse"), changed, 0o600); err != nil {
			t.Fatal(err)
		}
		restart(t)
		if diff := cmp.Diff(plan.Plan{}, g.last()); diff != "" {
			t.Error(diff)
		}
		if err := os.WriteFile(g.path("manifest.dsse"), []byte(envelope), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("starts nothing from a group document that was changed", func(t *testing.T) {
		var env bundle.Envelope
		if err := json.Unmarshal([]byte(g.onDisk("manifest.dsse")), &env); err != nil {
			t.Fatal(err)
		}
		m, err := bundle.ParseManifest(env.Payload)
		if err != nil {
			t.Fatal(err)
		}
		name := g.path(".store", documentOf(m).SHA256)
		good, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, append(slices.Clone(good), ' '), 0o600); err != nil {
			t.Fatal(err)
		}
		restart(t)
		if got := running(g.last()); len(got) != 0 {
			t.Errorf("functions %v", got)
		}
		if err := os.WriteFile(name, good, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("waits for a key when it has lost its own", func(t *testing.T) {
		if err := os.Remove(g.keyFile()); err != nil {
			t.Fatal(err)
		}
		restart(t)
		if got := running(g.last()); len(got) != 0 {
			t.Errorf("functions %v without a key", got)
		}
		p.mu.Change(func() { p.down = false })
		g.run()
		g.awaitPlan(functionARN("hello", 1))
	})
}

func TestRedeployment(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	g := newGateway(t, p)
	g.run()
	both := simple(t, 1, 1)
	both.packages[functionARN("other", 1)] = archive.Zip(t, archive.Member{Name: "app.py", Content: "other"})
	m1 := both.build(p)
	p.expect(p.offer(m1), fescue.Success)
	first := g.last()
	next := simple(t, 2, 2)
	next.packages[functionARN("other", 1)] = both.packages[functionARN("other", 1)]
	m2 := next.build(p)
	p.expect(p.offer(m2), fescue.Success)
	second := g.last()

	t.Run("keeps the hash of what did not change", func(t *testing.T) {
		if first.Functions[1].Hash != second.Functions[1].Hash || first.Functions[0].Hash == second.Functions[0].Hash {
			t.Errorf("hashes %v and %v", first.Functions, second.Functions)
		}
	})
	t.Run("does not download again what it has", func(t *testing.T) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if n := len(p.offsets[hashOf(both.packages[functionARN("other", 1)])]); n != 1 {
			t.Errorf("%d downloads", n)
		}
	})
	t.Run("links what the new manifest names and nothing else", func(t *testing.T) {
		if diff := cmp.Diff([]string{functionARN("hello", 2), functionARN("other", 1)}, g.names("lambda")); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("keeps one way back and removes what is older", func(t *testing.T) {
		m3 := simple(t, 3, 3).build(p)
		p.expect(p.offer(m3), fescue.Success)
		want := []string{}
		for _, m := range []bundle.Manifest{m2, m3} {
			for _, a := range m.Artifacts {
				want = append(want, a.SHA256)
			}
		}
		slices.Sort(want)
		// The agent clears up after the cloud has acknowledged the end.
		p.await("the clean-up", func() bool { return slices.Equal(g.names(".store"), want) || touch(p) })
	})
}

// touch makes await look again soon: what it waits for is on the disk.
func touch(p *peer) bool {
	time.AfterFunc(5*time.Millisecond, func() { p.mu.Change(func() {}) })
	return false
}

func TestRollback(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	g := newGateway(t, p)
	g.run()
	p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
	envelope := g.onDisk("manifest.dsse")
	g.mu.Change(func() { g.sick[functionARN("hello", 2)] = "exit status 1" })
	m := simple(t, 2, 2).build(p)
	end := p.expect(p.offer(m), fescue.Failure)

	t.Run("says what failed, with the last log lines", func(t *testing.T) {
		prefix := "Deployment " + m.DeploymentID + " of type NewDeployment for group " + groupID + " failed error: "
		if !strings.HasPrefix(end.ErrorMessage, prefix) {
			t.Errorf("message %q", end.ErrorMessage)
		}
		if cause, _ := strings.CutPrefix(end.ErrorMessage, prefix); cause != "Function "+functionARN("hello", 2)+
			" is not healthy: exit status 1. The core runs what it ran before. Correct the function, publish and deploy again." {
			t.Errorf("the cause is %q", cause)
		}
		want := []fescue.ErrorDetail{{
			DetailedErrorCode:    "FUNCTION_UNHEALTHY_ERROR",
			DetailedErrorMessage: "Function " + functionARN("hello", 2) + " is not healthy: exit status 1. The core runs what it ran before. Correct the function, publish and deploy again. Its last log lines:\nline one\nline two",
		}}
		if diff := cmp.Diff(want, end.ErrorDetails); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("goes back as a whole", func(t *testing.T) {
		g.awaitPlan(functionARN("hello", 1))
		if g.onDisk("manifest.dsse") != envelope {
			t.Error("the manifest is not the one of before")
		}
		if diff := cmp.Diff([]string{functionARN("hello", 1)}, g.names("lambda")); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a first deployment that fails leaves nothing", func(t *testing.T) {
		q := newPeer(t)
		h := newGateway(t, q)
		h.mu.Change(func() { h.sick[functionARN("hello", 1)] = "signal: killed" })
		h.run()
		q.expect(q.offer(simple(t, 1, 1).build(q)), fescue.Failure)
		h.awaitPlan()
		if _, err := os.Stat(h.path("manifest.dsse")); !os.IsNotExist(err) {
			t.Errorf("there is still a manifest: %v", err)
		}
		if !strings.Contains(h.onDisk("group", "group.json"), `"Cores":[]`) {
			t.Errorf("group.json is %s", h.onDisk("group", "group.json"))
		}
	})
	t.Run("the next deployment works", func(t *testing.T) {
		p.expect(p.offer(simple(t, 3, 3).build(p)), fescue.Success)
		g.awaitPlan(functionARN("hello", 3))
	})
	t.Run("where client devices cannot connect", func(t *testing.T) {
		g.mu.Change(func() { g.blocked = true })
		defer g.mu.Change(func() { g.blocked = false })
		end := p.expect(p.offer(simple(t, 4, 4).build(p)), fescue.Failure)
		if d := end.ErrorDetails[0]; d.DetailedErrorCode != string(fescue.LocalMQTTUnserved) || !strings.Contains(d.DetailedErrorMessage, "Client devices cannot connect: port 8883") {
			t.Errorf("%+v", d)
		}
		g.awaitPlan(functionARN("hello", 3))
	})
	t.Run("when the functions cannot be started at all", func(t *testing.T) {
		g.mu.Change(func() { g.applyError = os.ErrPermission })
		end := p.expect(p.offer(simple(t, 5, 5).build(p)), fescue.Failure)
		if !strings.Contains(end.ErrorMessage, "permission denied") || end.ErrorDetails[0].DetailedErrorCode != string(fescue.FunctionsNotStarted) {
			t.Errorf("message %q", end.ErrorMessage)
		}
		g.awaitPlan(functionARN("hello", 3))
	})
}

func TestReset(t *testing.T) {
	t.Parallel()
	for _, kind := range []fescue.DeploymentType{fescue.ResetDeployment, fescue.ForceResetDeployment} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			g := newGateway(t, p)
			_, stop := g.run()
			p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
			p.expect(p.offer(release{epoch: 2, kind: kind}.build(p)), fescue.Success)
			g.awaitPlan()
			g.mu.Lock()
			resets := g.resets
			g.mu.Unlock()
			if resets != 1 {
				t.Errorf("%d resets", resets)
			}
			// What there is to go back to goes once the control plane has taken the reset.
			testkit.Eventually(t, "all is gone", func() error {
				if len(g.names("lambda")) != 0 || len(g.names(".store")) != 0 {
					return fmt.Errorf("left over: %v %v", g.names("lambda"), g.names(".store"))
				}
				return nil
			})
			if !strings.Contains(g.onDisk("group", "group.json"), `"Cores":[]`) {
				t.Errorf("group.json is %s", g.onDisk("group", "group.json"))
			}
			if _, err := os.Stat(g.keyFile()); err != nil {
				t.Errorf("the trusted key is gone: %v", err)
			}
			stop()
			g.run()
			p.expect(p.offer(simple(t, 3, 2).build(p)), fescue.Success)
			g.awaitPlan(functionARN("hello", 2))
		})
	}
}

func TestReportsUntilAcknowledged(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	g := newGateway(t, p)
	failures := map[fescue.DeploymentEvent]int{}
	p.refuse = func(r corelink.StatusReport) int {
		if failures[r.Event]++; failures[r.Event] <= 3 {
			return http.StatusServiceUnavailable
		}
		return 0
	}
	g.run()
	d := p.offer(simple(t, 1, 1).build(p))
	p.expect(d, fescue.Success)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, event := range []fescue.DeploymentEvent{fescue.EventClaimed, fescue.EventStaged, fescue.EventSucceeded} {
		if !slices.Contains(d.events, event) {
			t.Errorf("%s was not reported: %v", event, d.events)
		}
	}
	if want := "failed to report deployment status back to cloud: "; !strings.Contains(g.log.String(), want) {
		t.Errorf("the log does not say %q", want)
	}
}

func TestCloudEndsTheDeployment(t *testing.T) {
	t.Parallel()
	for _, at := range []fescue.DeploymentEvent{fescue.EventClaimed, fescue.EventStaged, fescue.EventSwitched, fescue.EventSucceeded} {
		t.Run("before "+string(at), func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			g := newGateway(t, p)
			_, stop := g.run()
			p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
			envelope := g.onDisk("manifest.dsse")
			p.mu.Change(func() {
				p.refuse = func(r corelink.StatusReport) int {
					if r.Epoch != 2 || r.Event != at {
						return 0
					}
					// Past its deadline: the cloud writes the end by itself.
					p.deployments[1].Status, p.deployments[1].Phase = fescue.Failure, ""
					return http.StatusConflict
				}
			})
			p.ended(p.offer(simple(t, 2, 2).build(p)))
			// The next one shows that the core is not stuck.
			third := p.offer(simple(t, 3, 1).build(p))
			p.expect(third, fescue.Success)
			g.awaitPlan(functionARN("hello", 1))
			stop()
			if g.onDisk("previous.dsse") != envelope {
				t.Error("the last accepted deployment is not the one to go back to")
			}
		})
	}
}

func TestForcedAwayAfterSwitch(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	g := newGateway(t, p)
	g.run()
	p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
	p.mu.Change(func() {
		p.refuse = func(r corelink.StatusReport) int {
			if r.Event == fescue.EventSucceeded {
				p.deployments[1].Status, p.deployments[1].Phase = fescue.Failure, ""
				return http.StatusConflict
			}
			return 0
		}
	})
	p.ended(p.offer(simple(t, 2, 2).build(p)))
	g.awaitPlan(functionARN("hello", 1))
	if !strings.Contains(g.log.String(), "had ended the deployment otherwise") {
		t.Errorf("the log does not say why:\n%s", g.log)
	}
}

func TestPolling(t *testing.T) {
	t.Parallel()
	t.Run("polls long without MQTT", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		newGateway(t, p).run()
		p.await("a poll", func() bool { return slices.Contains(p.polls, "55") })
	})
	t.Run("is woken over MQTT", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		g := newGateway(t, p)
		g.connected = func() bool { return true }
		g.times.Poll = time.Hour
		a, _ := g.run()
		p.await("the first poll", func() bool { return len(p.polls) == 1 })
		d := p.offer(simple(t, 1, 1).build(p))
		a.Wake()
		p.expect(d, fescue.Success)
		p.mu.Lock()
		defer p.mu.Unlock()
		if slices.Contains(p.polls, "55") {
			t.Errorf("polls with waits %v", p.polls)
		}
	})
	t.Run("polls now and then even if nobody wakes it", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		g := newGateway(t, p)
		g.connected = func() bool { return true }
		g.times.Poll = time.Millisecond
		g.run()
		p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
	})
	t.Run("waits at the cloud when its wakes do not arrive, until one does", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		g := newGateway(t, p)
		g.connected = func() bool { return true }
		g.times.Poll = 20 * time.Millisecond
		a, _ := g.run()
		p.await("polls in peace", func() bool { return len(p.polls) >= 3 })
		p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
		p.await("a long poll", func() bool { return slices.Contains(p.polls, "55") })
		a.Wake()
		p.expect(p.offer(simple(t, 2, 2).build(p)), fescue.Success)
		p.await("short polls again", func() bool { return p.polls[len(p.polls)-1] == "0" })
	})
	t.Run("does not ask while the cloud lets it be, unless it is not what it was", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		p.rest = 3600
		g := newGateway(t, p)
		var kernel, looks atomic.Int64
		g.info = func(context.Context) fescue.CoreInfo {
			looks.Add(1)
			return fescue.CoreInfo{Kernel: fmt.Sprint(kernel.Load())}
		}
		s := new(turning)
		s.now.Store(fescue.TelemetryOn)
		g.telemetry = s
		var reachable atomic.Bool
		reachable.Store(true)
		g.connected = reachable.Load
		g.times.Poll = 2 * time.Millisecond
		a, _ := g.run()
		polls := func() (n int) {
			p.mu.Change(func() { n = len(p.polls) })
			return n
		}
		rests := func(what string) {
			t.Helper()
			testkit.Until(t, what, func() bool {
				before, from := polls(), looks.Load()
				testkit.Until(t, "looks at itself", func() bool { return looks.Load() > from+20 })
				return polls() == before
			})
		}
		p.await("it is reported", func() bool { return p.infos == 1 })
		rests("rest")
		kernel.Add(1)
		p.await("the change is reported", func() bool { return p.infos == 2 && p.info.Kernel == "1" })
		rests("rest after a report")
		s.now.Store(fescue.TelemetryOff)
		p.await("the other change is reported", func() bool { return p.says == fescue.TelemetryOff })
		rests("rest after the other report")
		d := p.offer(simple(t, 1, 1).build(p))
		a.Wake()
		p.expect(d, fescue.Success)
		rests("rest after a deployment")
		reachable.Store(false) // without a word
		p.await("a long poll", func() bool { return slices.Contains(p.polls, "55") })
		reachable.Store(true)
		p.mu.Change(func() { p.rest, p.telemetry = 0, fescue.TelemetryOn })
		before := polls()
		testkit.Until(t, "polls where the cloud says nothing", func() bool { return polls() > before+5 })
	})
	t.Run("comes back after an outage", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		g := newGateway(t, p)
		p.down = true
		a, _ := g.run()
		<-a.Ready()
		d := p.offer(simple(t, 1, 1).build(p))
		p.mu.Change(func() { p.down = false })
		p.expect(d, fescue.Success)
	})
}

func TestInterruptedAfterSwitch(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	g := newGateway(t, p)
	_, stop := g.run()
	p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
	g.mu.Change(func() { g.waiting = make(chan struct{}) })
	d := p.offer(simple(t, 2, 2).build(p))
	p.await("the switch", func() bool { return d.Phase == fescue.Switched })
	g.awaitPlan(functionARN("hello", 2))
	stop()
	p.mu.Lock()
	if d.Status != fescue.InProgress {
		t.Errorf("stopping the core ended the deployment as %s", d.Status)
	}
	p.mu.Unlock()

	t.Run("an emptied group.json ends it without starting anything", func(t *testing.T) {
		if err := os.WriteFile(g.path("group", "group.json"), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		g.mu.Lock()
		g.plans = nil
		g.mu.Unlock()
		g.mu.Change(func() { close(g.waiting); g.waiting = nil })
		g.run()
		end := p.expect(d, fescue.Failure)
		if !strings.Contains(end.ErrorMessage, "group.json was emptied") || end.ErrorDetails[0].DetailedErrorCode != string(fescue.DeploymentInterrupted) {
			t.Errorf("message %q", end.ErrorMessage)
		}
		if diff := cmp.Diff([]plan.Plan{{}}, g.applied()); diff != "" {
			t.Error(diff)
		}
	})
}

// A package that is gone when the core comes back after the switch.
func TestPackageLostAfterSwitch(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	g := newGateway(t, p)
	_, stop := g.run()
	p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
	g.mu.Change(func() { g.waiting = make(chan struct{}) })
	r := simple(t, 2, 2)
	d := p.offer(r.build(p))
	p.await("the switch", func() bool { return d.Phase == fescue.Switched })
	g.awaitPlan(functionARN("hello", 2))
	stop()
	if err := os.RemoveAll(g.path(".store", hashOf(r.packages[functionARN("hello", 2)]))); err != nil {
		t.Fatal(err)
	}
	g.mu.Change(func() { close(g.waiting); g.waiting = nil })
	g.run()
	end := p.expect(d, fescue.Failure)
	if end.ErrorDetails[0].DetailedErrorCode != string(fescue.PackageMissing) {
		t.Errorf("%v", end.ErrorDetails)
	}
	g.awaitPlan(functionARN("hello", 1))
}

func TestForeignFiles(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	g := newGateway(t, p)
	arn := functionARN("hello", 1)
	for path, content := range map[string]string{
		g.path("group", "group.json"):    `{"Arn":"x","Cores":[{"thingArn":"a","certArn":"b"}]}`,
		g.path("lambda", arn, "old.py"):  "old",
		g.path("lambda", "keep", "x.py"): "x",
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, stop := g.run()
	// A deployment that fails, and a start after it, leave the file alone.
	refused := simple(t, 1, 1)
	refused.edit = plantest.Lambda(func(l *bundle.LambdaConfiguration) { l.MemorySize = new(1) })
	p.expect(p.offer(refused.build(p)), fescue.Failure)
	if !strings.Contains(g.log.String(), "nothing of it runs. Restore it on the server with fescue recover") {
		t.Errorf("the log does not say what the folder is:\n%s", g.log)
	}
	stop()
	_, stop = g.run()
	refused.epoch = 2
	p.expect(p.offer(refused.build(p)), fescue.Failure)
	if got := g.onDisk("group", "group.json"); !strings.Contains(got, `"Arn":"x"`) {
		t.Errorf("after failures the group.json is %q", got)
	}
	p.expect(p.offer(simple(t, 3, 1).build(p)), fescue.Success)
	stop()
	warned := strings.Count(g.log.String(), "nothing of it runs")
	g.run()
	p.expect(p.offer(simple(t, 4, 2).build(p)), fescue.Success)
	if n := strings.Count(g.log.String(), "nothing of it runs"); n != warned || n != 2 {
		t.Errorf("logged %d times, and %d times with a deployment that runs", warned, n-warned)
	}
	if got := g.onDisk("before-fescue", "group", "group.json"); !strings.Contains(got, `"Arn":"x"`) {
		t.Errorf("the group.json of before is %q", got)
	}
	if g.onDisk("before-fescue", "lambda", arn, "old.py") != "old" || g.onDisk("lambda", "keep", "x.py") != "x" {
		t.Error("code of before is lost")
	}
	if g.onDisk("lambda", functionARN("hello", 2), "app.py") != "VERSION = 2\n" {
		t.Error("the new code is not linked")
	}
}

func TestStopsAtOnce(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	g := newGateway(t, p)
	a := agent.New(agent.Options{ThingARN: coreARN, ThingName: coreName, Folder: g.path(), KeyFile: g.keyFile(), Cloud: g.client, Edge: g, Logger: discard()})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Run(ctx); err != nil {
		t.Error(err)
	}
	ctx, cancel = context.WithCancel(context.Background())
	_, stop := g.runUntil(ctx)
	p.await("a long poll", func() bool { return len(p.polls) > 0 })
	cancel()
	stop()
}
