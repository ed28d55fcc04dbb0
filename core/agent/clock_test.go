package agent_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
)

// TestClockJumps gives the agent a clock that shows another year each time: a
// deployment succeeds, a bad one is rolled back, and a start finds everything.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	g := newGateway(t, p)
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(1, 1))
	g.now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return time.Date(1970+r.IntN(130), 1, 1+r.IntN(365), 0, 0, 0, 0, time.UTC)
	}
	_, stop := g.run()
	p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
	g.mu.Change(func() { g.sick[functionARN("hello", 2)] = "exit status 1" })
	p.expect(p.offer(simple(t, 2, 2).build(p)), fescue.Failure)
	g.awaitPlan(functionARN("hello", 1))
	stop()
	g.run()
	g.awaitPlan(functionARN("hello", 1))
	p.expect(p.offer(simple(t, 3, 3).build(p)), fescue.Success)
	g.awaitPlan(functionARN("hello", 3))
}
