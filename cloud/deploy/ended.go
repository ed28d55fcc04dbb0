package deploy

import (
	"sync"
	"time"

	"github.com/fescue-edge/fescue"
)

// ended remembers deployments that have ended: they never change, and scripts ask
// for them in loops. What retention removes is remembered for remembrance longer,
// on every server; nothing else can make a remembered answer untrue. Whether the
// caller may ask is decided anew for each call.
type ended struct {
	now func() time.Time

	mu   sync.RWMutex
	byID map[endedKey]endedDeployment
}

const (
	remembrance = 5 * time.Second
	// mostEnded bounds the memory: a deployment with many error details takes some
	// kilobytes.
	mostEnded = 4096
)

type endedKey struct {
	partition   fescue.Partition
	groupID, id string
}

type endedDeployment struct {
	fescue.Deployment
	until time.Time
}

func newEnded(now func() time.Time) *ended {
	return &ended{now: now, byID: make(map[endedKey]endedDeployment)}
}

func (e *ended) find(p fescue.Partition, groupID, id string) (fescue.Deployment, bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	d, ok := e.byID[endedKey{p, groupID, id}]
	return d.Deployment, ok && e.now().Before(d.until)
}

// keep remembers a deployment if it has ended.
func (e *ended) keep(d fescue.Deployment) {
	if !d.Status.Final() {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.byID) >= mostEnded {
		clear(e.byID)
	}
	e.byID[endedKey{d.Partition, d.GroupID, d.ID}] = endedDeployment{d, e.now().Add(remembrance)}
}
