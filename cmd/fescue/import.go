package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/recovery"
	"github.com/fescue-edge/fescue/transfer"
)

type importCommand struct {
	serverFlags
	rewriteFlag
	File   string `arg:"" type:"existingfile" help:"What export wrote."`
	DryRun bool   `help:"Print what is missing, and change nothing."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// Help implements kong.HelpProvider.
func (importCommand) Help() string {
	return `Restores a group that export wrote, with everything that it refers to, under the
same ids. What is there already with the same content stays as it is, so it can be
run again, also after it was interrupted; what is there with other content is
named, and nothing is changed.

` + rewriteHelp + `

Examples:
  fescue import mill.json --dry-run
  fescue import mill.json --endpoint https://greengrass.example.com
  AWS_REGION=eu-central-1 fescue import mill.json --rewrite`
}

// imported is what import prints as JSON.
type imported struct {
	GroupID string             `json:"groupId"`
	Account string             `json:"account"`
	Region  string             `json:"region"`
	From    string             `json:"rewrittenFrom,omitempty"`
	DryRun  bool               `json:"dryRun"`
	Changed int                `json:"changed"`
	Parts   []transfer.Outcome `json:"parts"`
}

// maxExport bounds a file, in bytes: it is held in memory.
const maxExport = 1 << 30

// Run imports a group.
func (c *importCommand) Run(ctx context.Context, t *terminal) error {
	info, err := os.Stat(c.File)
	if err != nil {
		return err
	}
	if info.Size() > maxExport {
		return fmt.Errorf("%s is larger than the %d bytes that are read", c.File, maxExport)
	}
	data, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	group, err := recovery.Parse(data)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	api, p, err := c.rewriteFlag.connect(ctx, c.serverFlags, fescue.Partition(group.Partition))
	if err != nil {
		return err
	}
	result := imported{GroupID: group.Group.Id, Account: p.Account, Region: p.Region, DryRun: c.DryRun}
	if from := fescue.Partition(group.Partition); from != p {
		result.From = from.String()
		if err := group.Rewrite(p); err != nil {
			return err
		}
	}
	outcomes, err := transfer.Restore(ctx, api, group, p, c.DryRun)
	if outcomes == nil && err != nil {
		return err
	}
	result.Parts, result.Changed = outcomes, transfer.Changes(outcomes)
	if c.JSON {
		return errors.Join(printJSON(t.stdout, result), err)
	}
	if result.From != "" {
		fmt.Fprintf(t.stdout, "%-10s from %s to %s\n", "rewritten", result.From, p)
	}
	printOutcomes(t.stdout, outcomes)
	return err
}
