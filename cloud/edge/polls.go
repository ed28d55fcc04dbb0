package edge

import (
	"sync"

	"github.com/fescue-edge/fescue"
)

// polls are the long polls under way, by the certificate of who waits.
type polls struct {
	mu      sync.Mutex
	waiting map[string]map[waiter]int
}

// waiter is the core that a poll is for.
type waiter struct {
	partition fescue.Partition
	thing     string
}

// enter notes a poll; leave must be called.
func (p *polls) enter(certificateID string, w waiter) (leave func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting == nil {
		p.waiting = make(map[string]map[waiter]int)
	}
	if p.waiting[certificateID] == nil {
		p.waiting[certificateID] = make(map[waiter]int)
	}
	p.waiting[certificateID][w]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		of := p.waiting[certificateID]
		if of[w]--; of[w] == 0 {
			delete(of, w)
		}
		if len(of) == 0 {
			delete(p.waiting, certificateID)
		}
	}
}

// of lists for whom polls of a certificate wait.
func (p *polls) of(certificateID string) (list []waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.waiting[certificateID] {
		list = append(list, w)
	}
	return list
}

// CertificateChanged has the long polls of a certificate ask again whether they may wait.
func (h *Handler) CertificateChanged(id string) {
	for _, w := range h.polls.of(id) {
		h.Deployments.Look(w.partition, w.thing)
	}
}
