package main

import (
	"fmt"

	"github.com/fescue-edge/fescue"
)

type versionCommand struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Help implements kong.HelpProvider.
func (versionCommand) Help() string {
	return `Prints version, commit and date of what the program was built from, as fescue --version does.

Examples:
  fescue version
  fescue version --json`
}

// Run prints version, commit and date of the build.
func (c versionCommand) Run(t *terminal) error {
	build := fescue.ReadBuild()
	if c.JSON {
		return printJSON(t.stdout, build)
	}
	_, err := fmt.Fprintf(t.stdout, "fescue %s\n", build)
	return err
}
