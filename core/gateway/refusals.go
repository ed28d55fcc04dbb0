package gateway

import (
	"log/slog"
	"net"
	"sync"
	"time"
)

// refusals log what is refused, of each kind and sender at most once in
// refusalInterval, however often it is tried.
type refusals struct {
	logger *slog.Logger
	now    func() time.Time

	mu   sync.Mutex
	seen map[refusal]*refused
}

// refusal is what of whom: a certificate, a thing, or a kind of unknown client.
type refusal struct{ what, who string }

type refused struct {
	logged time.Time
	others int
}

const (
	refusalInterval = time.Minute
	// maxRefusals bounds what is remembered. When there is more, all of it is
	// forgotten.
	maxRefusals = 4096
)

func newRefusals(logger *slog.Logger, now func() time.Time) *refusals {
	return &refusals{logger: logger, now: now, seen: make(map[refusal]*refused)}
}

// log logs a refusal. from may be nil.
func (r *refusals) log(what, who string, from net.Addr, cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	of := r.seen[refusal{what, who}]
	if of == nil {
		if len(r.seen) >= maxRefusals {
			clear(r.seen)
		}
		of = new(refused)
		r.seen[refusal{what, who}] = of
	}
	if passed := now.Sub(of.logged); passed >= 0 && passed < refusalInterval {
		of.others++
		return
	}
	attrs := []any{slog.String("errorString", cause.Error())}
	if from != nil {
		attrs = append(attrs, slog.String("address", from.String()))
	}
	if of.others > 0 {
		attrs = append(attrs, slog.Int("othersSince", of.others))
	}
	of.logged, of.others = now, 0
	r.logger.Warn("A client device's "+what+" was refused or broken off.", attrs...)
}
