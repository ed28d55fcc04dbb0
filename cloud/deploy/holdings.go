package deploy

import (
	"context"
	"fmt"
)

// KeepHoldings keeps what every group has that an earlier version deployed, which
// kept nothing of it. Limited access keys may use what a group of theirs holds.
func (b *builder) KeepHoldings(ctx context.Context) error {
	list, err := b.deployments.Running(ctx, b.aws)
	if err != nil {
		return err
	}
	for _, d := range list {
		r, err := b.resolve(ctx, d, nil)
		if err != nil {
			return fmt.Errorf("what group %s holds: %w", d.GroupID, err)
		}
		if err := b.holdings.Hold(ctx, d, r.holds); err != nil {
			return err
		}
	}
	return nil
}
