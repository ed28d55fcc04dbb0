package main

import (
	"context"
	"errors"
	"io"

	"github.com/fescue-edge/fescue/cloud"
)

type doctorCommand struct {
	serverCommand
	JSON bool `name:"json" help:"Print JSON."`
}

// Help implements kong.HelpProvider.
func (doctorCommand) Help() string {
	return `Looks at what a server with these flags stands on, which are those of fescue server: data
folder, database, disk, limits, clock, addresses, certificates and public hosts. It changes
nothing, and a server may run meanwhile. Run it as the server's user.

What is "warn" is needed now and then, or soon; what is "fail" keeps the server from its
work, and the exit code is 1 then.

Examples:
  fescue doctor --data /var/lib/fescue --api 0.0.0.0:443 --public-host greengrass.example.com
  fescue doctor --data /var/lib/fescue --json`
}

// Run prints a table or JSON.
func (c *doctorCommand) Run(ctx context.Context, t *terminal) error {
	if c.Region != "" {
		c.Regions = append([]string{c.Region}, c.Regions...)
	}
	o, err := c.options(t.logger)
	if err != nil {
		return err
	}
	found := cloud.Examine(ctx, o)
	show := found.Print
	if c.JSON {
		show = func(out io.Writer) error { return printJSON(out, found) }
	}
	if err := show(t.stdout); err != nil {
		return err
	}
	if !found.Well() {
		return errors.New("a server with these flags cannot do its work: see what is marked fail")
	}
	return nil
}
