//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/fescue-edge/fescue/core"
)

type applyCommand struct {
	place
	File string `arg:"" type:"existingfile" help:"The file that fescue bundle wrote."`
	JSON bool   `name:"json" help:"Print the result as JSON."`
}

// Help implements kong.HelpProvider.
func (applyCommand) Help() string {
	return `Brings a deployment onto this core from a file, for sites without a line. The core judges it
as one that comes over the line: signature, core, epoch, hashes, whether it can run here, and
whether its functions become healthy; if not, it goes back to what ran before. A core that
runs takes the file at once. If none runs, one is started for as long as that takes. How it
ended is reported when there is a line.

Run it as the user that the core runs as, whom core.lock in its folder belongs to; as another
one, it refuses. The exit code is 0 when the deployment runs, and 1
when it was refused or has failed.

Examples:
  fescue-core apply /media/usb/mill.bundle --root /greengrass
  fescue-core apply mill.bundle --json`
}

// Run applies the file.
func (c *applyCommand) Run(ctx context.Context) error {
	file, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer file.Close()
	result, err := core.Apply(ctx, c.options(), file, func(text string) { fmt.Fprintln(os.Stderr, text) })
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	if c.JSON {
		enc := json.NewEncoder(os.Stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(result); err != nil {
			return err
		}
	}
	if result.Message != "" {
		for _, d := range result.Details {
			fmt.Fprintf(os.Stderr, "%s: %s\n", d.DetailedErrorCode, d.DetailedErrorMessage)
		}
		return errors.New(result.Message)
	}
	if !c.JSON {
		fmt.Printf("deployment %s runs\n", result.DeploymentID)
	}
	if result.Started {
		fmt.Fprintln(os.Stderr, "No core ran, so that one was started for this. It has stopped again: start the core.")
	}
	return nil
}
