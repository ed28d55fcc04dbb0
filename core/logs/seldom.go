package logs

import (
	"log/slog"
	"sync"
	"time"
)

// Seldom logs warnings that may come again and again: of each text about each subject at
// most one in SeldomInterval, with the number of those that were left out since the
// last. Make one with NewSeldom.
type Seldom struct {
	logger *slog.Logger
	now    func() time.Time

	mu   sync.Mutex
	seen map[warning]*warned
}

// warning is a text and whom or what it is about.
type warning struct{ text, about string }

type warned struct {
	logged time.Time
	others int
}

const (
	// SeldomInterval is how often a warning comes at most.
	SeldomInterval = time.Minute
	// maxWarnings bounds what is remembered. When there is more, all of it is
	// forgotten.
	maxWarnings = 4096
)

// NewSeldom makes one that logs to logger.
func NewSeldom(logger *slog.Logger, now func() time.Time) *Seldom {
	return &Seldom{logger: logger, now: now, seen: make(map[warning]*warned)}
}

// Warn logs a text about a subject, unless it did so just now. The subject is not logged:
// the attributes name it.
func (s *Seldom) Warn(text, about string, attrs ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	of := s.seen[warning{text, about}]
	if of == nil {
		if len(s.seen) >= maxWarnings {
			clear(s.seen)
		}
		of = new(warned)
		s.seen[warning{text, about}] = of
	}
	if passed := now.Sub(of.logged); passed >= 0 && passed < SeldomInterval {
		of.others++
		return
	}
	if of.others > 0 {
		attrs = append(attrs, slog.Int("othersSince", of.others))
	}
	of.logged, of.others = now, 0
	s.logger.Warn(text, attrs...)
}
