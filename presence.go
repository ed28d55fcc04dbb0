package fescue

import "time"

// SightingPatience is how long a core counts as online after its last sign of
// life: a core that has MQTT asks for deployments every five minutes.
const SightingPatience = 7 * time.Minute

// Sighting is when the control plane heard of a core. The zero Sighting is of a
// core that it has never heard of.
type Sighting struct {
	// SeenAt is the last sign of life.
	SeenAt time.Time
	// GoneAt is when the last of the core's connections ended; zero while there is
	// one and when there was none.
	GoneAt time.Time
}

// Online reports whether the core can be expected to answer.
func (s Sighting) Online(now time.Time) bool {
	return !s.SeenAt.IsZero() && !s.GoneAt.After(s.SeenAt) && now.Sub(s.SeenAt) < SightingPatience
}

// OfflineSince is when the core was last known to be there.
func (s Sighting) OfflineSince() time.Time {
	if s.GoneAt.After(s.SeenAt) {
		return s.GoneAt
	}
	return s.SeenAt
}
