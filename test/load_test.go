//go:build linux

package test

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/testkit"
)

// tally follows what a function publishes.
type tally struct {
	mu     testkit.Monitor
	counts []int        // the numbers, as they came
	echoed map[int]bool // what was sent to it and came back
	pids   map[int]bool
}

func (c *tally) receive(payload string) {
	c.mu.Change(func() {
		var n, pid int
		if _, err := fmt.Sscanf(payload, "count %d pid=%d", &n, &pid); err == nil {
			c.counts, c.pids[pid] = append(c.counts, n), true
		} else if _, err := fmt.Sscanf(payload, "echo %d", &n); err == nil {
			c.echoed[n] = true
		}
	})
}

// await waits until numbers up to count came, and so many echoes.
func (c *tally) await(t *testing.T, what string, count, echoes int) {
	t.Helper()
	c.mu.Await(t, what, func() bool { return c.last() >= count && len(c.echoed) >= echoes }, func() string {
		return fmt.Sprintf("number %d of %d, %d echoes of %d", c.last(), count, len(c.echoed), echoes)
	})
}

// last is the last number. mu is held.
func (c *tally) last() int {
	if len(c.counts) == 0 {
		return 0
	}
	return c.counts[len(c.counts)-1]
}

// TestHundredDeployments deploys again and again while a function that does not
// change publishes and is spoken to: it keeps its process, and every message
// arrives, once and in order.
func TestHundredDeployments(t *testing.T) {
	t.Parallel()
	h := startServer(t).site(region)
	g := h.provision(t, "Busy_Core")
	viewer := h.connect(t, "Busy_Viewer")
	viewer.subscribe(t, "Busy_Core/out")
	received := &tally{echoed: make(map[int]bool), pids: make(map[int]bool)}
	go func() {
		for m := range viewer.messages {
			received.receive(string(m.Payload()))
		}
	}()
	g.run(t)
	busy, changing := h.echo(t, "Busy"), h.echo(t, "Changing")
	variables := out(g.thing, "busy")
	variables["EVERY"] = "5ms"
	sent, group := 0, ""
	for i := range 100 {
		var version string
		group, version = g.groupVersion(t, group, []function{
			{arn: busy, pinned: true, encoding: types.EncodingTypeBinary, variables: variables},
			{arn: changing, pinned: true, encoding: types.EncodingTypeBinary, variables: map[string]string{"OUT": "nowhere", "TAG": fmt.Sprint(i)}},
		}, ends(busy, g.thing))
		deployment := h.deploy(t, group, version)
		for ended := i == 0; !ended; { // nobody listens before the first
			// A core's queue for a function holds so many.
			received.await(t, "room for another message", 0, sent-100)
			sent++
			await(t, "publish", viewer.Publish(g.thing+"/in/x", 1, false, fmt.Sprint(sent)))
			status, err := h.status(t.Context(), group, deployment)
			ended = err != nil || fescue.DeploymentStatus(*status.DeploymentStatus).Final()
		}
		h.await(t, group, deployment, fescue.Success)
	}
	// Everything that was published until now is there a moment later.
	received.mu.Lock()
	target := received.last() + 100
	received.mu.Unlock()
	received.await(t, "the messages of the end", target, sent)
	received.mu.Lock()
	defer received.mu.Unlock()
	for i, n := range received.counts {
		if n != i+1 {
			t.Fatalf("message %d is number %d", i+1, n)
		}
	}
	if len(received.pids) != 1 {
		t.Errorf("the function that did not change ran as processes %v", received.pids)
	}
	t.Logf("%d messages from the function, %d to it and back", len(received.counts), sent)
}
