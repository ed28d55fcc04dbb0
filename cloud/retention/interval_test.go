package retention

import (
	"testing"
	"time"
)

func TestInterval(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ages Ages
		want time.Duration
	}{
		"nothing has an age":     {Ages{RetainedAudit: 0}, time.Hour},
		"the default":            {DefaultAges(), time.Hour},
		"half of the shortest":   {Ages{RetainedAudit: 2 * time.Hour, RetainedLogs: 30 * time.Minute, RetainedTokens: 0}, 15 * time.Minute},
		"not without any pause":  {Ages{RetainedLogs: time.Second}, time.Minute},
		"less than an hour more": {Ages{RetainedLogs: 3 * time.Hour}, time.Hour},
	} {
		if got := c.ages.interval(); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
