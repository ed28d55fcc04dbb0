package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/fescue-edge/fescue/client"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/corelink"
)

type devicesCommand struct {
	serverFlags
	groupFlag
	Offline bool `help:"Only devices that are not connected."`
	JSON    bool `name:"json" help:"Print JSON."`
}

// Help implements kong.HelpProvider.
func (devicesCommand) Help() string {
	return `Asks the core of a group for its client devices: whether each is connected and since when,
from which address, when its certificate ends, how many messages came from it and went to
it, and how many wait for its acknowledgement. The core counts from its own start; a device
that has not connected since then is shown without a time.

The exit code is 3 when the core did not answer: it is offline or busy.

Examples:
  fescue devices --group Mill
  fescue devices --group Mill --offline
  fescue devices --group Mill --json`
}

// Run prints a table or JSON.
func (c devicesCommand) Run(ctx context.Context, t *terminal) error {
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	g, err := c.find(ctx, api)
	if err != nil {
		return err
	}
	var a ownapi.GroupActivity
	if err := api.Call(ctx, "greengrass", "GetGroupActivity", http.MethodGet, awsapi.OwnPath+"groups/"+g.Id+"/activity", nil, &a); err != nil {
		return err
	}
	if reason := unanswered(g, a); reason != "" {
		return &exitError{code: exitNoAnswer, text: reason}
	}
	list := []corelink.DeviceActivity{}
	for _, d := range a.Activity.Devices {
		if !c.Offline || !d.Connected {
			list = append(list, d)
		}
	}
	if c.JSON {
		return printJSON(t.stdout, list)
	}
	var rows [][]string
	for _, d := range list {
		state, since, end := "never seen", "", ""
		if d.Since != nil {
			state, since = "away", d.Since.Format(time.RFC3339)
		}
		if d.Connected {
			state = "connected"
		}
		if d.CertificateEnd != nil {
			end = d.CertificateEnd.Format(time.DateOnly)
		}
		rows = append(rows, []string{
			printable(d.Thing), state, since, printable(d.Address), end,
			strconv.FormatUint(d.In, 10), strconv.FormatUint(d.Out, 10), strconv.Itoa(d.Waiting),
		})
	}
	none := "What the core runs has no client device."
	if c.Offline && len(a.Activity.Devices) > 0 {
		none = "Each client device in what the core runs is connected."
	}
	return t.table(none, []string{"DEVICE", "STATE", "SINCE", "ADDRESS", "CERTIFICATE ENDS", "IN", "OUT", "WAITING"}, rows)
}

// unanswered is why a group's core said nothing of what it does; empty if it did.
func unanswered(g client.Group, a ownapi.GroupActivity) string {
	switch {
	case a.Core == nil:
		return fmt.Sprintf("%s has no core: deploy the group to one.", g.Name)
	case !a.Core.Online:
		return fmt.Sprintf("%s: the core %s is offline; it was last seen at %s.", g.Name, a.Core.ThingName, orDash(a.Core.LastSeen))
	case !a.Answered:
		return fmt.Sprintf("%s: the core %s did not answer; it may be busy with a deployment.", g.Name, a.Core.ThingName)
	case a.Activity == nil:
		return fmt.Sprintf("%s: the software of the core %s does not report what it does; use a newer one.", g.Name, a.Core.ThingName)
	}
	return ""
}
