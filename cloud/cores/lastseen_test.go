package cores_test

import (
	"testing"
	"time"

	"github.com/fescue-edge/fescue/cloud/cores"
)

func TestLastSeen(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for name, row := range map[string]struct {
		cores.LastSeen
		online bool
		since  time.Time
	}{
		"never seen":             {},
		"seen":                   {cores.LastSeen{SeenAt: at.Add(-time.Minute)}, true, at.Add(-time.Minute)},
		"seen long ago":          {cores.LastSeen{SeenAt: at.Add(-8 * time.Minute)}, false, at.Add(-8 * time.Minute)},
		"gone":                   {cores.LastSeen{SeenAt: at.Add(-2 * time.Minute), GoneAt: at.Add(-time.Minute)}, false, at.Add(-time.Minute)},
		"gone and seen since":    {cores.LastSeen{SeenAt: at.Add(-time.Minute), GoneAt: at.Add(-2 * time.Minute)}, true, at.Add(-time.Minute)},
		"gone at the same time":  {cores.LastSeen{SeenAt: at, GoneAt: at}, true, at},
		"a connection that went": {cores.LastSeen{GoneAt: at}, false, at},
	} {
		if row.Online(at) != row.online || row.OfflineSince() != row.since {
			t.Errorf("%s: online %v, since %v", name, row.Online(at), row.OfflineSince())
		}
	}
}
