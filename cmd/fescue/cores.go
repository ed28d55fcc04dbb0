package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/client"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/cloud/cores"
)

type coresCommand struct {
	serverFlags
	Group   string `placeholder:"ID|NAME" xor:"which" help:"Only the core that this group has: its id, or its name when only one group has it. A key that is limited to groups needs it."`
	Tag     string `placeholder:"NAME=VALUE" xor:"which" help:"Only cores whose group has this tag. A name with an = in it stands in quotation marks."`
	Offline bool   `help:"Only cores that are not connected."`
	JSON    bool   `name:"json" help:"Print JSON."`
}

// Help implements kong.HelpProvider.
func (coresCommand) Help() string {
	return `Lists the cores that have spoken, or for which something was deployed: whether each is
connected and since when, from where, its software's version, the group that has it, the
group version that it runs, and below the table what is wrong: what the core last said of
its machine, and how its last deployment failed. A core counts as connected for up to
seven minutes after its last sign of life; what it says of itself is empty until it has.

Examples:
  fescue cores
  fescue cores --offline
  fescue cores --tag site=north
  fescue cores --group Mill --json`
}

// Run prints a table or JSON.
func (c *coresCommand) Run(ctx context.Context, t *terminal) error {
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	operation, path := "ListCores", "/fescue/v1/cores"
	if c.Group != "" {
		g, err := groupFlag{c.Group}.find(ctx, api)
		if err != nil {
			return err
		}
		operation, path = "ListGroupCores", "/fescue/v1/groups/"+g.Id+"/cores"
	}
	by := url.Values{"Tag": {c.Tag}}
	if c.Offline {
		by.Set("State", string(cores.Offline))
	}
	list, err := listCores(ctx, api, operation, path, by)
	if err != nil {
		return err
	}
	// The list of one group has no states.
	list = slices.DeleteFunc(list, func(core ownapi.CoreSummary) bool { return c.Offline && core.Online })
	if c.JSON {
		return printJSON(t.stdout, list)
	}
	var rows [][]string
	wrong := ""
	for _, core := range list {
		state, since := connection(core.CoreState, core.OnlineSince)
		group, runs := core.GroupName, ""
		if group == "" {
			group = core.GroupId
		}
		if core.Runs != nil {
			runs = core.Runs.GroupVersionId
		}
		problems := problemsOf(core)
		rows = append(rows, []string{core.ThingName, state, since, core.Address, core.Version, group, runs, fmt.Sprint(len(problems))})
		for _, p := range problems {
			wrong += "\n" + core.ThingName + ": " + strings.ReplaceAll(p, "\n", "\n  ")
		}
	}
	none := "No core has spoken, and nothing was deployed to one."
	if c.Offline || c.Group != "" || c.Tag != "" {
		none = "No such core."
	}
	if err := t.table(none, []string{"CORE", "STATE", "SINCE", "ADDRESS", "VERSION", "GROUP", "RUNS VERSION", "PROBLEMS"}, rows); err != nil || wrong == "" {
		return err
	}
	_, err = fmt.Fprintln(t.stdout, wrong)
	return err
}

// listCores reads all pages of a list of cores, those that the query lets through.
func listCores(ctx context.Context, api *client.Client, operation, path string, query url.Values) ([]ownapi.CoreSummary, error) {
	list := []ownapi.CoreSummary{}
	for {
		var page ownapi.CoreList
		if err := api.Call(ctx, "greengrass", operation, http.MethodGet, path+"?"+query.Encode(), nil, &page); err != nil {
			return nil, err
		}
		list = append(list, page.Cores...)
		if page.NextToken == "" {
			return list, nil
		}
		query.Set("NextToken", page.NextToken)
	}
}

// connection is whether a core is connected, and since when that is so.
func connection(core ownapi.CoreState, onlineSince string) (state, since string) {
	switch {
	case core.Online:
		return "connected", onlineSince
	case core.LastSeen == "":
		return "never seen", ""
	}
	return "offline", core.OfflineSince
}

// problemsOf is what is known to be wrong with a core.
func problemsOf(core ownapi.CoreSummary) (list []string) {
	for _, f := range core.Findings {
		list = append(list, fmt.Sprintf("%s: %s (said at %s)", f.DetailedErrorCode, f.DetailedErrorMessage, core.SaidAt))
	}
	if last := core.LastDeployment; last != nil && last.DeploymentStatus == fescue.Failure {
		list = append(list, fmt.Sprintf("deployment %s ended in Failure at %s: %s", last.DeploymentId, last.UpdatedAt, last.ErrorMessage))
	}
	return list
}
