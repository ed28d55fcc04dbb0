package fescue_test

import (
	"testing"

	"github.com/fescue-edge/fescue"
)

func TestContainer(t *testing.T) {
	t.Parallel()
	for want, k := range map[string]fescue.Kind{"Group": fescue.GroupKind, "CoreDefinition": fescue.CoreKind, "SubscriptionDefinition": fescue.SubscriptionKind} {
		if got := k.Container(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
