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
	byID map[endedKey]endedStatus
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

type endedStatus struct {
	fescue.CurrentStatus
	until time.Time
}

func newEnded(now func() time.Time) *ended {
	return &ended{now: now, byID: make(map[endedKey]endedStatus)}
}

func (e *ended) find(key endedKey) (fescue.CurrentStatus, bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	s, ok := e.byID[key]
	return s.CurrentStatus, ok && e.now().Before(s.until)
}

// keep remembers how a deployment ended, if it has.
func (e *ended) keep(key endedKey, s fescue.CurrentStatus) {
	if !s.Status.Final() {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.byID) >= mostEnded {
		clear(e.byID)
	}
	e.byID[key] = endedStatus{s, e.now().Add(remembrance)}
}
