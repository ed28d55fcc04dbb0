package agent_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core/agent"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/testkit/archive"
)

// roomy is a disk that says how much room it has.
type roomy struct {
	disk.Local
	free *atomic.Int64
}

func (r roomy) Free(string) (int64, error) { return r.free.Load(), nil }

func room(bytes int64) roomy {
	r := roomy{free: new(atomic.Int64)}
	r.free.Store(bytes)
	return r
}

func wantFull(t *testing.T, end fescue.Deployment) {
	t.Helper()
	if end.ErrorDetails[0].DetailedErrorCode != "CORE_DISK_FULL_ERROR" || !strings.Contains(end.ErrorMessage, "free") {
		t.Errorf("%+v: %s", end.ErrorDetails, end.ErrorMessage)
	}
}

func TestSpaceIsLookedForFirst(t *testing.T) {
	t.Parallel()
	t.Run("for the downloads", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		g := newGateway(t, p)
		disk := room(1 << 30)
		g.disk = disk
		g.run()
		p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
		disk.free.Store(4<<20 + 400_000)
		m := large(t, 2, 300_000).build(p)
		wantFull(t, p.expect(p.offer(m), fescue.Failure))
		p.mu.Lock()
		asked := len(p.offsets[packagesOf(m)[0].SHA256]) + len(p.offsets[documentOf(m).SHA256])
		p.mu.Unlock()
		if asked != 0 {
			t.Errorf("%d downloads were begun", asked)
		}
		g.awaitPlan(functionARN("hello", 1))
		disk.free.Store(1 << 30)
		p.expect(p.offer(large(t, 3, 300_000).build(p)), fescue.Success)
	})
	t.Run("for what is unpacked", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		g := newGateway(t, p)
		g.disk = room(4<<20 + 1<<20)
		g.run()
		r := release{epoch: 1, packages: map[string][]byte{
			functionARN("hello", 1): archive.Zip(t, archive.Member{Name: "app.py", Content: strings.Repeat("x", 8<<20)}), // a few kB
		}}
		m := r.build(p)
		wantFull(t, p.expect(p.offer(m), fescue.Failure))
		for _, name := range g.names(".store") {
			if name == packagesOf(m)[0].SHA256 || strings.HasSuffix(name, ".new") {
				t.Errorf("%s was unpacked", name)
			}
		}
	})
}

func TestFindings(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	g := newGateway(t, p)
	disk := room(1 << 30)
	g.disk = disk
	var ends atomic.Pointer[time.Time]
	late := time.Now().Add(time.Hour * 24 * 365)
	ends.Store(&late)
	g.certificates = func() []agent.Certificate {
		return []agent.Certificate{{What: "this core", File: "/certs/core.pem", NotAfter: *ends.Load()}}
	}
	a, _ := g.run()
	p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
	check := func(want ...string) {
		t.Helper()
		var got []string
		for _, f := range a.Findings() {
			got = append(got, f.Code+": "+f.Message)
		}
		if len(got) != len(want) {
			t.Fatalf("found %q, want %q", got, want)
		}
		for i, w := range want {
			code, text, _ := strings.Cut(w, "|")
			if !strings.HasPrefix(got[i], code) || !strings.Contains(got[i], text) {
				t.Errorf("found %q, want %q", got[i], w)
			}
		}
	}
	check()
	disk.free.Store(1 << 20)
	check(agent.FindingDiskFull + "|1024 kB are free")
	disk.free.Store(1 << 30)
	soon, past := time.Now().Add(10*24*time.Hour+time.Hour), time.Now().Add(-time.Hour)
	ends.Store(&soon)
	check(agent.FindingCertificate + "|ends in 10 days")
	ends.Store(&past)
	check(agent.FindingCertificate + "|if the clock of this machine")
	ends.Store(&late)
	for _, tc := range []struct {
		epoch int64
		ahead time.Duration
		want  []string
	}{
		{2, 10 * time.Minute, []string{agent.FindingClock + "|behind the control plane's"}},
		{3, -2 * time.Hour, []string{agent.FindingClock + "|ahead of the control plane's"}},
		{4, 4 * time.Minute, nil},
	} {
		p.mu.Change(func() { p.ahead = tc.ahead })
		p.expect(p.offer(simple(t, tc.epoch, int(tc.epoch)).build(p)), fescue.Success)
		if tc.want == nil {
			check()
			continue
		}
		check(tc.want...)
	}
	// What is found is reported with the next claim.
	ends.Store(&soon)
	d := p.offer(simple(t, 5, 5).build(p))
	p.expect(d, fescue.Success)
	p.mu.Change(func() {
		if claim := d.reports[0]; claim.Event != fescue.EventClaimed || !strings.Contains(claim.Note, agent.FindingCertificate+": The certificate of this core") {
			t.Errorf("%+v", claim)
		}
	})
}

func TestFindingsAreLogged(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	g := newGateway(t, p)
	g.disk = room(5 << 20)
	g.certificates = func() []agent.Certificate {
		return []agent.Certificate{{What: "this core", File: "/certs/core.pem", NotAfter: time.Now().Add(time.Hour)}}
	}
	g.run()
	p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
	if log := g.log.String(); strings.Count(log, agent.FindingCertificate) != 1 || !strings.Contains(log, "/certs/core.pem") {
		t.Errorf("the log does not name the certificate once:\n%s", log)
	}
}
