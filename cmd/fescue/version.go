package main

import (
	"fmt"

	"github.com/fescue-edge/fescue"
)

type versionCommand struct {
	JSON bool `name:"json" help:"Print JSON."`
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
