package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/client"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
)

type deploymentsCommand struct {
	serverFlags
	Status []fescue.DeploymentStatus `enum:"Building,InProgress,Success,Failure" default:"Building,InProgress" help:"Which deployments: ${enum}."`
	Limit  int                       `default:"100" help:"At most so many of each status, the newest."`
	JSON   bool                      `name:"json" help:"Print JSON."`
}

// Help implements kong.HelpProvider.
func (deploymentsCommand) Help() string {
	return `Lists deployments of all groups by status, newest first. Without --status those that
have not ended.

Examples:
  fescue deployments
  fescue deployments --status Failure --limit 20
  fescue deployments --status InProgress --json`
}

// Run prints a table or JSON.
func (c *deploymentsCommand) Run(ctx context.Context, t *terminal) error {
	if c.Limit < 1 {
		return &exitError{code: 2, text: fmt.Sprintf("--limit %d: at least one is to be shown", c.Limit)}
	}
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	list := []ownapi.DeploymentSummary{}
	for _, status := range c.Status {
		part, err := listDeployments(ctx, api, status, c.Limit)
		if err != nil {
			return err
		}
		list = append(list, part...)
	}
	if c.JSON {
		return printJSON(t.stdout, list)
	}
	var rows [][]string
	for _, d := range list {
		rows = append(rows, []string{
			d.DeploymentId, d.GroupName, d.GroupId, string(d.DeploymentType), where(d), d.CoreThing, d.CreatedAt, codes(d.ErrorDetails),
		})
	}
	return t.table("No deployment is "+orList(c.Status)+".",
		[]string{"DEPLOYMENT", "GROUP", "GROUP ID", "TYPE", "STATUS", "CORE", "CREATED", "WHY"}, rows)
}

// orList is "Building, InProgress or Failure".
func orList[T ~string](list []T) string {
	var b strings.Builder
	for i, item := range list {
		switch {
		case i == 0:
		case i == len(list)-1:
			b.WriteString(" or ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(string(item))
	}
	return b.String()
}

func listDeployments(ctx context.Context, api *client.Client, status fescue.DeploymentStatus, limit int) ([]ownapi.DeploymentSummary, error) {
	var list []ownapi.DeploymentSummary
	for token := ""; ; {
		q := url.Values{"Status": {string(status)}, "NextToken": {token}, "MaxResults": {strconv.Itoa(limit - len(list))}}
		var page ownapi.DeploymentList
		if err := api.Call(ctx, "greengrass", "ListDeploymentsByStatus", http.MethodGet, "/fescue/v1/deployments?"+q.Encode(), nil, &page); err != nil {
			return nil, err
		}
		list = append(list, page.Deployments...)
		if token = page.NextToken; token == "" || len(list) >= limit {
			return list[:min(len(list), limit)], nil
		}
	}
}

// where is status and phase: "InProgress (Claimed)".
func where(d ownapi.DeploymentSummary) string {
	if d.Phase == "" {
		return string(d.DeploymentStatus)
	}
	return fmt.Sprintf("%s (%s)", d.DeploymentStatus, d.Phase)
}

// codes are the codes of errors, each once, with how often when that is more.
func codes(details []fescue.ErrorDetail) string {
	times := make(map[string]int)
	var list []string
	for _, d := range details {
		if times[d.DetailedErrorCode]++; times[d.DetailedErrorCode] == 1 {
			list = append(list, d.DetailedErrorCode)
		}
	}
	for i, code := range list {
		if n := times[code]; n > 1 {
			list[i] = fmt.Sprintf("%s (%d)", code, n)
		}
	}
	return strings.Join(list, ", ")
}

// deploymentFlag names a deployment of a group.
type deploymentFlag struct {
	serverFlags
	groupFlag
	Deployment string `arg:"" optional:"" name:"deployment-id" help:"The deployment. Default: the newest of the group."`
}

// find reads the group and the deployment's id.
func (f deploymentFlag) find(ctx context.Context, api *client.Client) (groupID, id string, err error) {
	g, err := f.groupFlag.find(ctx, api)
	if err != nil {
		return "", "", err
	}
	if f.Deployment != "" {
		return g.Id, f.Deployment, nil
	}
	var page struct {
		Deployments []struct{ DeploymentId string }
	}
	err = api.Call(ctx, "greengrass", "ListDeployments", http.MethodGet, "/greengrass/groups/"+g.Id+"/deployments?MaxResults=1", nil, &page)
	if err != nil {
		return "", "", err
	}
	if len(page.Deployments) == 0 {
		return "", "", fmt.Errorf("the group %s has never been deployed; fescue deploy deploys it", g.Name)
	}
	return g.Id, page.Deployments[0].DeploymentId, nil
}

func deploymentPath(groupID, id, action string) string {
	return "/fescue/v1/groups/" + groupID + "/deployments/" + url.PathEscape(id) + "/" + action
}

type cancelCommand struct {
	deploymentFlag
	Force bool `help:"Do not wait for the core: end the deployment in Failure now. The core goes back when it learns of that."`
	JSON  bool `name:"json" help:"Print JSON."`
}

// Help implements kong.HelpProvider.
func (cancelCommand) Help() string {
	return `Before its core has claimed a deployment, it ends at once. After that the core is asked
to stop: it ends the deployment in Failure and runs what it ran before, or in Success
if it was too late. fescue watch shows which.

Examples:
  fescue cancel --group Mill
  fescue cancel --group Mill 9b19e214-1d04-47b7-b82b-10707ed2d722 --force`
}

// Run cancels the deployment.
func (c *cancelCommand) Run(ctx context.Context, t *terminal) error {
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	groupID, id, err := c.find(ctx, api)
	if err != nil {
		return err
	}
	var d ownapi.DeploymentSummary
	if err := api.Call(ctx, "greengrass", "CancelDeployment", http.MethodPost, deploymentPath(groupID, id, "cancel"),
		struct{ Force bool }{c.Force}, &d); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(t.stdout, d)
	}
	if d.CancelRequestedAt != "" && d.DeploymentStatus == fescue.InProgress {
		_, err = fmt.Fprintf(t.stdout, "asked the core %s to stop deployment %s; it is %s\n", d.CoreThing, id, where(d))
		return err
	}
	_, err = fmt.Fprintf(t.stdout, "cancelled deployment %s\n", id)
	return err
}

type watchCommand struct {
	deploymentFlag
	Timeout time.Duration `default:"0" placeholder:"DURATION" help:"Give up after this time, with exit code 3; 0 watches until the deployment ends."`
	JSON    bool          `name:"json" help:"Print each change as one line of JSON."`
}

// Help implements kong.HelpProvider.
func (watchCommand) Help() string {
	return `Shows each step of a deployment as it happens, what the core does, and the bytes that it
has; of one that waits for models to be copied, how far the server is. Ends with the deployment: exit code 0 for Success, 1 for Failure.

Examples:
  fescue watch --group Mill
  fescue watch --group Mill 9b19e214-1d04-47b7-b82b-10707ed2d722 --timeout 10m
  fescue watch --group Mill --json`
}

// Run watches the deployment.
func (c *watchCommand) Run(ctx context.Context, t *terminal) error {
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	groupID, id, err := c.find(ctx, api)
	if err != nil {
		return err
	}
	return watchDeployment(ctx, t, api, groupID, id, c.Timeout, c.JSON)
}

// errWatchTimeout ends a watch whose time ran out.
var errWatchTimeout = &exitError{code: exitNoAnswer, text: "the deployment has not ended within --timeout"}

// watchPoll is how often a watch looks.
const watchPoll = 500 * time.Millisecond

// watchDeployment shows a deployment until it ends, or for the timeout when that is
// not 0. A Failure is an error with exit code 1.
func watchDeployment(ctx context.Context, t *terminal, api *client.Client, groupID, id string, timeout time.Duration, json bool) error {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, errWatchTimeout)
		defer cancel()
	}
	w := watch{out: t.stdout, json: json}
	return repeat(ctx, t, watchPoll, func() (ended bool, err error) {
		var timeline ownapi.Timeline
		if err := api.Call(ctx, "greengrass", "GetDeploymentTimeline", http.MethodGet, deploymentPath(groupID, id, "timeline"), nil, &timeline); err != nil {
			return false, err
		}
		if err := w.show(timeline); err != nil {
			return true, err
		}
		if timeline.DeploymentStatus == fescue.Failure {
			return true, &exitError{code: 1, text: "the deployment ended in Failure"}
		}
		return timeline.DeploymentStatus == fescue.Success, nil
	})
}

// repeat does something again and again until it has ended, with an error or without. The
// error of what has not ended is the server's, and final where asking again cannot help. When
// ctx ends it returns ctx's cause.
func repeat(ctx context.Context, t *terminal, every time.Duration, do func() (ended bool, err error)) error {
	for {
		ended, err := do()
		switch {
		case ctx.Err() != nil && err != nil:
			return context.Cause(ctx)
		case ended:
			return err
		case err != nil && !transient(err):
			return err
		case err != nil:
			t.logger.Warn("the server does not answer; watching goes on", "error", err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(every):
		}
	}
}

// transient reports whether asking again can help: the server did not answer, or
// not for a reason that lies in the question.
func transient(err error) bool {
	e, ok := client.AsError(err)
	return !ok || e.Status >= 500 || e.Status == http.StatusTooManyRequests
}

// watch prints what is new in a timeline.
type watch struct {
	out  io.Writer
	json bool

	began    bool
	steps    int
	activity string
	last     string
}

func (w *watch) show(t ownapi.Timeline) error {
	if w.json {
		line, err := json.Marshal(t)
		if err != nil || string(line) == w.last {
			return err
		}
		w.last = string(line)
		_, err = fmt.Fprintln(w.out, w.last)
		return err
	}
	var b strings.Builder
	if !w.began {
		w.began = true
		fmt.Fprintf(&b, "deployment %s  %s of group %s\n", t.DeploymentId, t.DeploymentType, t.GroupId)
	}
	for _, s := range t.Steps[min(w.steps, len(t.Steps)):] {
		fmt.Fprintf(&b, "%s  %-15s  %-5s", s.At, s.Event, s.Actor)
		if s.BytesFetched > 0 {
			fmt.Fprintf(&b, "  %s fetched", size(s.BytesFetched))
		}
		if s.Note != "" {
			fmt.Fprintf(&b, "  %s", s.Note)
		}
		b.WriteByte('\n')
		if len(s.Warnings) > 0 {
			fmt.Fprintf(&b, "%24s  warnings\n", "")
			writeDetails(&b, strings.Repeat(" ", 28), s.Warnings)
		}
	}
	w.steps = len(t.Steps)
	if now := doing(t); now != "" && now != w.activity {
		w.activity = now
		fmt.Fprintf(&b, "%24s  %s\n", "", now)
	}
	if t.DeploymentStatus == fescue.Success || t.DeploymentStatus == fescue.Failure {
		fmt.Fprintf(&b, "%s\n", t.DeploymentStatus)
		if len(t.ErrorDetails) == 0 && t.ErrorMessage != "" {
			fmt.Fprintf(&b, "  %s\n", t.ErrorMessage)
		}
		writeDetails(&b, "  ", t.ErrorDetails)
	}
	_, err := io.WriteString(w.out, b.String())
	return err
}

// doing says what goes on in a deployment that has not ended.
func doing(t ownapi.Timeline) string {
	switch {
	case t.DeploymentStatus == fescue.Building:
		return activity(t)
	case t.DeploymentStatus != fescue.InProgress || t.Core == nil:
		return ""
	case !t.Core.Online && t.Core.LastSeen == "":
		return fmt.Sprintf("waits for core %s, which was never seen", t.Core.ThingName)
	case !t.Core.Online:
		return fmt.Sprintf("waits for core %s, offline since %s", t.Core.ThingName, t.Core.OfflineSince)
	}
	return activity(t)
}

// activity is what core or server say that they do, and how far they are.
func activity(t ownapi.Timeline) string {
	if t.Activity != "" && t.BytesToFetch > 0 {
		return fmt.Sprintf("%s (%s of %s)", t.Activity, size(t.BytesFetched), size(t.BytesToFetch))
	}
	return t.Activity
}
