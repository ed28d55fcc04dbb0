package main

import (
	"context"
	"fmt"

	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/transfer"
)

type exportCommand struct {
	serverFlags
	groupFlag
	Version   string `help:"Id of the one version to export. Default: all versions." placeholder:"ID"`
	Output    string `short:"o" type:"path" help:"File to write. Default: standard output." placeholder:"FILE"`
	Overwrite bool   `help:"Replace the file if it is there already."`
}

// Help implements kong.HelpProvider.
func (exportCommand) Help() string {
	return `Writes a group with everything that it refers to as JSON in the shapes of the API:
versions, definitions, things, certificates, policies, and functions with their
code. fescue import makes the same group of it, under the same ids, on this server
or another. Private keys, secrets, roles and deployments are not in it.

Credentials and Region are found the way the AWS CLI finds them.

Examples:
  fescue export --group Mill --output mill.json
  fescue export --group 5f0c2a7e-1d34-4c55-9a0b-7e21c0a1b001 --version 8a4be6d2-90f1-4b7c-8c11-2d5f3e6a9002 | jq .Definitions`
}

// Run exports a group.
func (c *exportCommand) Run(ctx context.Context, t *terminal) error {
	if c.Output != "" {
		if err := mayWrite(c.Output, c.Overwrite); err != nil {
			return err
		}
	}
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	g, err := c.find(ctx, api)
	if err != nil {
		return err
	}
	group, left, err := transfer.Export(ctx, api, g.Id, c.Version)
	if err != nil {
		return err
	}
	for _, text := range left {
		fmt.Fprintln(t.stderr, "fescue: left out:", text)
	}
	data, err := group.Encode()
	if err != nil {
		return err
	}
	if c.Output == "" {
		_, err = t.stdout.Write(data)
		return err
	}
	if err := disk.WriteFile(c.Output, data, 0o600); err != nil {
		return err
	}
	fmt.Fprintf(t.stderr, "%s: %d versions of the group, %d definitions, %d functions, %d things\n",
		c.Output, len(group.Group.Versions), len(group.Definitions), len(group.Functions), len(group.Things))
	return nil
}
