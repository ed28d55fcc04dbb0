package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/fescue-edge/fescue/client"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
)

type consoleCommand struct {
	serverFlags
	JSON bool `name:"json" help:"Print JSON."`
}

// Help implements kong.HelpProvider.
func (consoleCommand) Help() string {
	return `Prints a link to the server's web console. It signs in once, within ten minutes, as the
access key that is found the way the AWS CLI finds it, with what that key may do.
Whoever has the link is signed in by it: do not pass it on.

Examples:
  fescue console
  fescue console --endpoint https://greengrass.example.com
  xdg-open "$(fescue console)"`
}

// Run prints the link.
func (c consoleCommand) Run(ctx context.Context, t *terminal) error {
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	link, err := consoleLink(ctx, api)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(t.stdout, link)
	}
	_, err = fmt.Fprintln(t.stdout, link.URL)
	return err
}

// madeLink is a link to the console.
type madeLink struct {
	URL       string `json:"Url"`
	ExpiresAt string
}

func consoleLink(ctx context.Context, api *client.Client) (madeLink, error) {
	var made ownapi.ConsolePass
	err := api.Call(ctx, "greengrass", "CreateConsoleLink", http.MethodPost, "/fescue/v1/console/links", nil, &made)
	return madeLink{api.Endpoint() + made.Path, made.ExpiresAt}, err
}
