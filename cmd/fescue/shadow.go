package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/fescue-edge/fescue/client"
)

type shadowCommand struct {
	Get    shadowGetCommand    `cmd:"" help:"Print a shadow."`
	Update shadowUpdateCommand `cmd:"" help:"Change a shadow's state."`
	Delete shadowDeleteCommand `cmd:"" help:"Delete a shadow."`
	List   shadowListCommand   `cmd:"" help:"List a thing's named shadows."`
}

// Help implements kong.HelpProvider.
func (shadowCommand) Help() string {
	return `Reads and changes device shadows as the server has them: the classic one of a thing, or
with --name a named one. The documents are those of AWS IoT.

The exit code is 4 where there is no such shadow, and 5 where its version is another one
than an update says.

Examples:
  fescue shadow get --thing Lamp
  fescue shadow update --thing Lamp '{"state":{"desired":{"on":true}}}'
  fescue shadow list --thing Lamp
  fescue shadow delete --thing Lamp --name config`
}

// Exit codes of shadow commands.
const (
	exitNoShadow = 4
	exitConflict = 5
)

// shadowFlags say which shadow.
type shadowFlags struct {
	serverFlags
	Thing string `required:"" placeholder:"THING" help:"Name of the thing."`
	Name  string `placeholder:"NAME" help:"Name of the shadow. Default: the classic one."`
}

// call makes one request about the shadow and gives its answer.
func (f shadowFlags) call(ctx context.Context, operation, method string, body []byte) ([]byte, error) {
	api, err := f.connect(ctx)
	if err != nil {
		return nil, err
	}
	path := "/things/" + url.PathEscape(f.Thing) + "/shadow"
	if f.Name != "" {
		path += "?name=" + url.QueryEscape(f.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, client.Timeout)
	defer cancel()
	answer, err := api.Send(ctx, "iotdata", operation, method, path, body, "Content-Type", "application/json")
	switch {
	case client.IsStatus(err, http.StatusNotFound):
		return nil, &exitError{code: exitNoShadow, text: err.Error()}
	case client.IsStatus(err, http.StatusConflict):
		return nil, &exitError{code: exitConflict, text: err.Error()}
	case err != nil:
		return nil, err
	}
	defer answer.Close()
	return io.ReadAll(answer)
}

// show makes one request about the shadow and prints its answer, a document, indented.
func (f shadowFlags) show(ctx context.Context, t *terminal, operation, method string, body []byte) error {
	document, err := f.call(ctx, operation, method, body)
	if err != nil {
		return err
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, document, "", "  "); err != nil {
		return errors.New("the answer is no JSON document")
	}
	indented.WriteByte('\n')
	_, err = indented.WriteTo(t.stdout)
	return err
}

type shadowGetCommand struct{ shadowFlags }

// Help implements kong.HelpProvider.
func (shadowGetCommand) Help() string {
	return `Prints the whole document: state, metadata, version, timestamp, and the delta if there is
one.

Examples:
  fescue shadow get --thing Lamp
  fescue shadow get --thing Lamp --name config | jq .state.reported`
}

// Run prints the document.
func (c shadowGetCommand) Run(ctx context.Context, t *terminal) error {
	return c.show(ctx, t, "GetThingShadow", http.MethodGet, nil)
}

type shadowUpdateCommand struct {
	shadowFlags
	Document string `arg:"" optional:"" help:"The request: state with desired and reported, and maybe the version that it must have now."`
	File     string `placeholder:"FILE" help:"Read the request from this file; - is standard input."`
}

// Help implements kong.HelpProvider.
func (shadowUpdateCommand) Help() string {
	return `Changes what the request names, and prints what was accepted. null removes a member.

Examples:
  fescue shadow update --thing Lamp '{"state":{"desired":{"on":true}}}'
  fescue shadow update --thing Lamp '{"state":{"desired":{"on":null}},"version":7}'
  fescue shadow update --thing Lamp --name config --file config.json`
}

// Run changes the shadow.
func (c shadowUpdateCommand) Run(ctx context.Context, t *terminal) error {
	var request []byte
	var err error
	switch {
	case (c.Document == "") == (c.File == ""):
		return &exitError{code: 2, text: "give the request, or --file"}
	case c.Document != "":
		request = []byte(c.Document)
	case c.File == "-":
		request, err = io.ReadAll(io.LimitReader(os.Stdin, maxPubPayload))
	default:
		request, err = os.ReadFile(c.File)
	}
	if err != nil {
		return err
	}
	return c.show(ctx, t, "UpdateThingShadow", http.MethodPost, request)
}

type shadowDeleteCommand struct{ shadowFlags }

// Help implements kong.HelpProvider.
func (shadowDeleteCommand) Help() string {
	return `Deletes a shadow, and prints the version that it had.

Examples:
  fescue shadow delete --thing Lamp
  fescue shadow delete --thing Lamp --name config`
}

// Run deletes the shadow.
func (c shadowDeleteCommand) Run(ctx context.Context, t *terminal) error {
	return c.show(ctx, t, "DeleteThingShadow", http.MethodDelete, nil)
}

type shadowListCommand struct {
	serverFlags
	Thing string `required:"" placeholder:"THING" help:"Name of the thing."`
	JSON  bool   `name:"json" help:"Print JSON."`
}

// Help implements kong.HelpProvider.
func (shadowListCommand) Help() string {
	return `Lists the names of a thing's named shadows.

Examples:
  fescue shadow list --thing Lamp
  fescue shadow list --thing Lamp --json`
}

// Run prints the names.
func (c shadowListCommand) Run(ctx context.Context, t *terminal) error {
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	names := []string{}
	path := "/api/things/shadow/ListNamedShadowsForThing/" + url.PathEscape(c.Thing)
	err = api.Pages(ctx, "iotdata", "ListNamedShadowsForThing", http.MethodGet, path, "nextToken", func(page json.RawMessage) error {
		var answer struct{ Results []string }
		if err := json.Unmarshal(page, &answer); err != nil {
			return err
		}
		names = append(names, answer.Results...)
		return nil
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(t.stdout, names)
	}
	var rows [][]string
	for _, name := range names {
		rows = append(rows, []string{printable(name)})
	}
	return t.table("The thing has no named shadow.", []string{"SHADOW"}, rows)
}
