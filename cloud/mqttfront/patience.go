package mqttfront

import "time"

const (
	// maxPatience is for how long one client's packets wait for room for its messages: there are
	// clients that break off when nothing was answered for five seconds.
	maxPatience = 2 * time.Second
	// recovery is how many times as long it takes until they may again.
	recovery = 4
)

// patience is how long a client's packets have waited lately. Those of one connection are dealt with
// one after the other, so that each message for which there is no room keeps all that follow waiting.
type patience struct {
	spent time.Duration
	at    time.Time
}

// left is for how long they may wait at a time.
func (p *patience) left(now time.Time) time.Duration {
	p.spent = max(p.spent-now.Sub(p.at)/recovery, 0)
	p.at = now
	return maxPatience - p.spent
}

// spend notes that they have waited.
func (p *patience) spend(d time.Duration) { p.spent = min(p.spent+d, maxPatience) }
