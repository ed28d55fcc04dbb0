//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"

	"github.com/fescue-edge/fescue/core"
)

type doctorCommand struct {
	place
	JSON bool `name:"json" help:"Print JSON."`
}

// Help implements kong.HelpProvider.
func (doctorCommand) Help() string {
	return `Looks at this machine, at config.json and the files that it names, and tries the
connections to the control plane. It changes nothing, and a core may run meanwhile. Run it
as the user that the core is to run as: only root can say whether containers start.

What is "warn" some groups need; what is "fail" keeps the core from its work, and the exit
code is 1 then.

Examples:
  fescue-core doctor --root /greengrass
  fescue-core doctor --json`
}

// Run prints a table or JSON.
func (c *doctorCommand) Run(ctx context.Context) error {
	found := core.Examine(ctx, c.options())
	show := found.Print
	if c.JSON {
		show = func(out io.Writer) error { return printJSON(out, found) }
	}
	if err := show(os.Stdout); err != nil {
		return err
	}
	if !found.Well() {
		return errors.New("this machine does not have all that a core needs: see what is marked fail")
	}
	return nil
}

func printJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
