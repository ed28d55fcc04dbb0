package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
)

type resetEpochCommand struct {
	serverFlags
	Core  string `required:"" placeholder:"THING" help:"The core's thing."`
	Epoch int64  `help:"The epoch that the core has been through; its log names it. Default: that of its last deployment."`
	JSON  bool   `name:"json" help:"Print JSON."`
}

// Help implements kong.HelpProvider.
func (resetEpochCommand) Help() string {
	return `Deployments of a core are numbered, and a core takes only numbers above the last that it has
been through. A server that was restored from a backup believes a core that is ahead of it,
within bounds. Beyond them the core says so in its log, and this command settles it.

Examples:
  fescue reset-epoch --core Mill_Core --epoch 70000
  fescue reset-epoch --core Mill_Core`
}

// Run sets the epoch.
func (c *resetEpochCommand) Run(ctx context.Context, t *terminal) error {
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	var result ownapi.CoreEpoch
	err = api.Call(ctx, "greengrass", "ResetCoreEpoch", http.MethodPost, "/fescue/v1/cores/"+url.PathEscape(c.Core)+"/epoch",
		struct{ Epoch int64 }{c.Epoch}, &result)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(t.stdout, result)
	}
	_, err = fmt.Fprintf(t.stdout, "the epoch of core %s is %d, it was %d; its next deployment has %d\n", result.ThingName, result.Epoch, result.Before, result.Epoch+1)
	return err
}
