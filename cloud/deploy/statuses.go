package deploy

import (
	"sync"
	"time"

	"github.com/fescue-edge/fescue"
)

// statuses remembers how it stands with deployments, as scripts ask in loops. One that
// has ended never changes: what retention removes is remembered for endedFor longer, on
// every server, and nothing else can make a remembered answer untrue. One under way is
// remembered while the database is in the state in which it was read; whoever writes
// without this server's knowledge is seen after runningFor. Whether the caller may ask is
// decided anew for each call.
type statuses struct {
	now func() time.Time

	mu   sync.RWMutex
	byID map[statusKey]rememberedStatus
}

const (
	endedFor   = 5 * time.Second
	runningFor = time.Second
	// mostStatuses bounds the memory: a deployment with many error details takes some
	// kilobytes.
	mostStatuses = 4096
)

type statusKey struct {
	partition   fescue.Partition
	groupID, id string
}

type rememberedStatus struct {
	fescue.CurrentStatus
	state uint64 // the database's, where the deployment is under way
	until time.Time
}

func newStatuses(now func() time.Time) *statuses {
	return &statuses{now: now, byID: make(map[statusKey]rememberedStatus)}
}

// find returns what is remembered of a deployment, if that is how it stands in a state of
// the database; known says whether the state is.
func (r *statuses) find(key statusKey, state uint64, known bool) (fescue.CurrentStatus, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	s, ok := r.byID[key]
	return s.CurrentStatus, ok && (s.Status.Final() || known && s.state == state) && r.now().Before(s.until)
}

// keep remembers what was read in a state of the database.
func (r *statuses) keep(key statusKey, s fescue.CurrentStatus, state uint64, known bool) {
	last := endedFor
	if !s.Status.Final() {
		if !known {
			return
		}
		last = runningFor
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.byID) >= mostStatuses {
		clear(r.byID)
	}
	r.byID[key] = rememberedStatus{s, state, r.now().Add(last)}
}
