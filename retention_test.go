package fescue_test

import (
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
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
			err := fescue.Retention{fescue.RetainedTokens: tc.tokens, fescue.RetainedDeployments: tc.deployments}.Validate()
			if (err == nil) != tc.good {
				t.Error(err)
			}
		})
	}
	if err := fescue.DefaultRetention().Validate(); err != nil {
		t.Errorf("the default: %v", err)
	}
}
