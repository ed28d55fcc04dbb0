package retention_test

import (
	"testing"
	"time"

	"github.com/fescue-edge/fescue/cloud/retention"
)

func TestRetention(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name                string
		tokens, deployments time.Duration
		good                bool
	}{
		{"all for ever", 0, 0, true},
		{"tokens for an hour", time.Hour, 0, true},
		{"both for an hour", time.Hour, time.Hour, true},
		{"tokens longer", 2 * time.Hour, time.Hour, false},
		{"tokens for ever", 0, time.Hour, false},
		{"negative", -time.Hour, 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := retention.Ages{retention.RetainedTokens: tc.tokens, retention.RetainedDeployments: tc.deployments}.Validate()
			if (err == nil) != tc.good {
				t.Error(err)
			}
		})
	}
	if err := retention.DefaultAges().Validate(); err != nil {
		t.Errorf("the default: %v", err)
	}
}
