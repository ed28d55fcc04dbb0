package agent_test

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/testkit/crashfs"
	"github.com/fescue-edge/fescue/testkit/mutate"
)

// TestMutatedDownloads spoils what a core downloads. It takes nothing that is not,
// bit for bit, what its manifest names, and runs what it ran.
func TestMutatedDownloads(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	g := newGateway(t, p)
	g.disk = crashfs.New()
	g.root = "/greengrass"
	if err := g.disk.MkdirAll("/greengrass/certs", 0o755); err != nil {
		t.Fatal(err)
	}
	g.run()
	p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
	r := rand.New(rand.NewPCG(2, 2))
	p.mu.Change(func() {
		p.serve = func(w http.ResponseWriter, _ *http.Request, content []byte) bool {
			p.mu.Lock()
			spoiled := mutate.Bytes(r, content)
			p.mu.Unlock()
			if bytes.Equal(spoiled, content) {
				spoiled = append(spoiled, 0)
			}
			// As long as it should be, most of the time: what is short is only
			// tried again.
			for len(spoiled) < len(content) {
				spoiled = append(spoiled, 0)
			}
			w.Write(spoiled)
			return true
		}
	})
	const count = 200
	for i := range count {
		d := p.offer(simple(t, int64(i+2), i+2).build(p))
		end := p.expect(d, fescue.Failure)
		if code := end.ErrorDetails[0].DetailedErrorCode; code != "ARTIFACT_HASH_ERROR" {
			t.Fatalf("the deployment failed for %s: %v", code, end.ErrorDetails)
		}
	}
	for _, plan := range g.applied() {
		if got := running(plan); len(got) != 0 && got[0] != functionARN("hello", 1) {
			t.Fatalf("%v ran", got)
		}
	}
	t.Logf("%d mutations, none was taken", count)
}
