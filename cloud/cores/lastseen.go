package cores

import "time"

// OnlineWindow is how long a core counts as online after its last sign of life: one that
// is connected is noted every minute, and one that asks by long polls with each of them.
const OnlineWindow = 7 * time.Minute

// LastSeen is when the control plane saw a sign of life of a core. The zero LastSeen is of a
// core that it has never seen.
type LastSeen struct {
	// SeenAt is the last sign of life.
	SeenAt time.Time
	// GoneAt is when the last of the core's connections ended; zero while there is
	// one and when there was none.
	GoneAt time.Time
	// ConnectedAt is when the core came that is online, or was at last; zero for one
	// that was not seen to connect. Address is the host that it last connected from,
	// as the control plane sees it.
	ConnectedAt time.Time
	Address     string
}

// Online reports whether the core can be expected to answer.
func (s LastSeen) Online(now time.Time) bool {
	return !s.SeenAt.IsZero() && !s.GoneAt.After(s.SeenAt) && now.Sub(s.SeenAt) < OnlineWindow
}

// OfflineSince is when the core was last known to be there.
func (s LastSeen) OfflineSince() time.Time {
	if s.GoneAt.After(s.SeenAt) {
		return s.GoneAt
	}
	return s.SeenAt
}

// Then is s with a later one on top of it.
func (s LastSeen) Then(later LastSeen) LastSeen {
	came := !later.ConnectedAt.IsZero() && (s.ConnectedAt.IsZero() || !s.Online(later.ConnectedAt))
	if came {
		s.ConnectedAt = later.ConnectedAt
	}
	if later.Address != "" {
		s.Address = later.Address
	}
	s.SeenAt, s.GoneAt = latest(s.SeenAt, later.SeenAt), latest(s.GoneAt, later.GoneAt)
	return s
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
