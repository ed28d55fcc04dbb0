package core

import (
	"context"

	"github.com/fescue-edge/fescue/core/router"
)

// Publish is what a client device or a function does.
func (c *Core) Publish(ctx context.Context, m router.Message) error {
	return c.running.Load().router.Publish(ctx, m, true)
}
