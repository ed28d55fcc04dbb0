package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/client"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/cloud/cores"
)

type statusCommand struct {
	serverFlags
	Soon  time.Duration `default:"720h" help:"How long before its end a certificate is told of."`
	Since time.Duration `default:"24h" help:"How old a failed deployment may be to be told of, where none of its group succeeded after it."`
	Limit int           `default:"10" help:"At most so many lines of each part."`
	JSON  bool          `name:"json" help:"Print JSON, without --limit."`
}

// Help implements kong.HelpProvider.
func (statusCommand) Help() string {
	return `Shows on one screen how it stands: the server, how many cores are connected, what is being
deployed, what is wrong, and which certificates of the server end soon (for keys of the
server's own account). A key that is limited to groups is shown the cores and deployments of
those. The exit code is 1 when something is wrong or ends soon, 0 otherwise.

Examples:
  fescue status
  fescue status --soon 2160h --json`
}

// status is how it stands.
type status struct {
	Endpoint string `json:"endpoint"`
	Account  string `json:"account"`
	Region   string `json:"region"`
	// Groups is how many there are for a key that is limited to groups; all of the rest is of
	// their cores and deployments then.
	Groups *int `json:"groups,omitempty"`
	Cores  struct {
		Known     int `json:"known"`
		Connected int `json:"connected"`
	} `json:"cores"`
	Deployments []ownapi.DeploymentSummary `json:"deployments"`
	Wrong       []trouble                  `json:"wrong"`
	EndsSoon    []ending                   `json:"endsSoon"`
}

// trouble is something that is wrong with something.
type trouble struct {
	What string `json:"what"`
	Says string `json:"says"`
	// line is what people are shown in place of Says, if anything.
	line string
}

// ending is something that ends.
type ending struct {
	What string    `json:"what"`
	At   time.Time `json:"at"`
}

// Run asks for all of it.
func (c *statusCommand) Run(ctx context.Context, t *terminal) error {
	if c.Limit < 1 {
		return &exitError{code: 2, text: fmt.Sprintf("--limit %d: at least one is to be shown", c.Limit)}
	}
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	s, err := c.ask(ctx, api)
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(t.stdout, s)
	} else {
		err = c.print(t.stdout, s)
	}
	if n := len(s.Wrong) + len(s.EndsSoon); err == nil && n > 0 {
		err = &exitError{code: 1, text: fmt.Sprintf("%d to look at", n)}
	}
	return err
}

// deploymentsAsked is how many deployments of each status are looked at, the newest.
const deploymentsAsked = 1000

func (c *statusCommand) ask(ctx context.Context, api *client.Client) (*status, error) {
	at, err := api.Partition(ctx)
	if err != nil {
		return nil, err
	}
	s := &status{Endpoint: api.Endpoint(), Account: at.Account, Region: at.Region, Wrong: []trouble{}, EndsSoon: []ending{}, Deployments: []ownapi.DeploymentSummary{}}
	body, err := api.Send(ctx, "", "ready", http.MethodGet, "/readyz", nil)
	var refused *client.Error
	switch {
	case errors.As(err, &refused):
		s.Wrong = append(s.Wrong, trouble{What: "server", Says: "it is not ready to keep anything new: see its log, and GET /readyz"})
	case err != nil:
		return nil, err
	default:
		body.Close()
	}
	f, err := allOf(ctx, api)
	if client.IsStatus(err, http.StatusForbidden) {
		f, err = ofGroups(ctx, api)
		s.Groups = &f.groups
	}
	if err != nil {
		return nil, err
	}
	s.Cores.Known, s.Cores.Connected = f.known, f.connected
	for _, core := range f.offline {
		if core.Runs != nil {
			s.Wrong = append(s.Wrong, trouble{What: core.ThingName, Says: "offline since " + core.OfflineSince})
		}
	}
	for _, core := range f.wrong {
		for _, found := range core.Findings {
			s.Wrong = append(s.Wrong, trouble{What: core.ThingName, Says: found.DetailedErrorCode + ": " + found.DetailedErrorMessage})
		}
	}
	s.Deployments = append(append(s.Deployments, f.deployments[fescue.Building]...), f.deployments[fescue.InProgress]...)
	s.Wrong = append(s.Wrong, failed(f.deployments[fescue.Failure], f.deployments[fescue.Success], time.Now().Add(-c.Since))...)
	s.EndsSoon, err = certificateEnds(ctx, api, time.Now().Add(c.Soon))
	return s, err
}

// fleet is what a key may see of cores and deployments.
type fleet struct {
	groups, known, connected int
	offline, wrong           []ownapi.CoreSummary
	// deployments are the newest of each status.
	deployments map[fescue.DeploymentStatus][]ownapi.DeploymentSummary
}

// allOf asks for all groups together, which a limited key is refused.
func allOf(ctx context.Context, api *client.Client) (f fleet, err error) {
	var counts ownapi.FleetSummary
	if err := api.Call(ctx, "greengrass", "GetFleetSummary", http.MethodGet, "/fescue/v1/fleet", nil, &counts); err != nil {
		return f, err
	}
	f.known, f.connected = counts.Cores, counts.Connected
	for state, list := range map[cores.State]*[]ownapi.CoreSummary{cores.Offline: &f.offline, cores.Wrong: &f.wrong} {
		if *list, err = listCores(ctx, api, "ListCores", "/fescue/v1/cores", url.Values{"State": {string(state)}}); err != nil {
			return f, err
		}
	}
	f.deployments = make(map[fescue.DeploymentStatus][]ownapi.DeploymentSummary)
	for _, st := range []fescue.DeploymentStatus{fescue.Building, fescue.InProgress, fescue.Success, fescue.Failure} {
		if f.deployments[st], err = listDeployments(ctx, api, st, deploymentsAsked); err != nil {
			return f, err
		}
	}
	return f, nil
}

// ofGroups asks for one group after the other that a limited key covers.
func ofGroups(ctx context.Context, api *client.Client) (f fleet, err error) {
	f.deployments = make(map[fescue.DeploymentStatus][]ownapi.DeploymentSummary)
	for token := ""; ; {
		var page ownapi.GroupList
		if err := api.Call(ctx, "greengrass", "ListGroupsByName", http.MethodGet, "/fescue/v1/groups?NextToken="+url.QueryEscape(token), nil, &page); err != nil {
			return f, err
		}
		for _, g := range page.Groups {
			if err := f.add(ctx, api, g); err != nil {
				return f, err
			}
		}
		if token = page.NextToken; token == "" {
			return f, nil
		}
	}
}

// add adds a group's core, and its deployments back to the last that has ended.
func (f *fleet) add(ctx context.Context, api *client.Client, g ownapi.GroupSummary) error {
	f.groups++
	list, err := listCores(ctx, api, "ListGroupCores", "/fescue/v1/groups/"+g.Id+"/cores", url.Values{})
	if err != nil {
		return err
	}
	f.known += len(list)
	for _, core := range list {
		if core.Online {
			f.connected++
		} else {
			f.offline = append(f.offline, core)
		}
	}
	f.wrong = append(f.wrong, list...)
	var page ownapi.DeploymentList
	if err := api.Call(ctx, "greengrass", "ListGroupDeployments", http.MethodGet, "/fescue/v1/groups/"+g.Id+"/deployments", nil, &page); err != nil {
		return err
	}
	for _, d := range page.Deployments {
		d.GroupName = g.Name
		f.deployments[d.DeploymentStatus] = append(f.deployments[d.DeploymentStatus], d)
		if d.DeploymentStatus.Final() {
			break
		}
	}
	return nil
}

// failed are the groups whose last deployment to end failed, after a time. Each list has the
// newest first; times in it sort as texts.
func failed(failures, successes []ownapi.DeploymentSummary, after time.Time) (list []trouble) {
	last := make(map[string]string)
	for _, d := range slices.Backward(successes) {
		last[d.GroupId] = d.UpdatedAt
	}
	oldest := after.UTC().Format(time.RFC3339)
	for _, d := range failures {
		if d.UpdatedAt < oldest || d.UpdatedAt < last[d.GroupId] {
			continue
		}
		last[d.GroupId] = d.UpdatedAt
		name := d.GroupName
		if name == "" {
			name = d.GroupId
		}
		ended := fmt.Sprintf("deployment %s ended in Failure at %s: ", d.DeploymentId, d.UpdatedAt)
		line := fmt.Sprintf("%s%s\nfescue watch --group %s %s shows all of it", ended, firstCause(d), d.GroupId, d.DeploymentId)
		list = append(list, trouble{"group " + name, ended + d.ErrorMessage, line})
	}
	return list
}

// firstCause is the first reason for which a deployment failed, with its code and what to
// do, and how many there are besides. The message has all of them, in the original's form.
func firstCause(d ownapi.DeploymentSummary) string {
	if len(d.ErrorDetails) == 0 {
		return d.ErrorMessage
	}
	first := d.ErrorDetails[0].DetailedErrorCode + ": " + d.ErrorDetails[0].DetailedErrorMessage
	if more := len(d.ErrorDetails) - 1; more > 0 {
		first += fmt.Sprintf(" (and %d more)", more)
	}
	return first
}

// certificateEnds are the certificates of the server that end before a time; none where
// the key is not of the server's own account.
func certificateEnds(ctx context.Context, api *client.Client, before time.Time) ([]ending, error) {
	list := []ending{}
	body, err := api.Send(ctx, "greengrass", "GetMetrics", http.MethodGet, "/fescue/v1/metrics", nil)
	if client.IsStatus(err, http.StatusForbidden) {
		return list, nil
	}
	if err != nil {
		return nil, err
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("GetMetrics: %w", err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("GetMetrics: the answer does not parse: %w", err)
	}
	for _, m := range families["fescue_certificate_end_timestamp_seconds"].GetMetric() {
		if at := time.Unix(int64(m.GetGauge().GetValue()), 0).UTC(); at.Before(before) {
			name := "certificate of the server"
			for _, label := range m.GetLabel() {
				name += ", " + label.GetValue()
			}
			list = append(list, ending{name, at})
		}
	}
	slices.SortFunc(list, func(a, b ending) int { return a.At.Compare(b.At) })
	return list, nil
}

func (c *statusCommand) print(out io.Writer, s *status) error {
	var b strings.Builder
	fmt.Fprintf(&b, "server       %s, account %s, Region %s\n", s.Endpoint, s.Account, s.Region)
	if s.Groups != nil {
		fmt.Fprintf(&b, "groups       %d, to which this key is limited\n", *s.Groups)
	}
	fmt.Fprintf(&b, "cores        %d, of which %d are connected\n", s.Cores.Known, s.Cores.Connected)
	part := func(name string, lines []string) {
		for i, line := range lines {
			if i == c.Limit {
				fmt.Fprintf(&b, "%-12s and %d more\n", "", len(lines)-i)
				break
			}
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(&b, "%-12s %s\n", name, strings.ReplaceAll(line, "\n", "\n"+strings.Repeat(" ", 15)))
		}
		if len(lines) == 0 {
			fmt.Fprintf(&b, "%-12s none\n", name)
		}
	}
	var deployments, wrong, ends []string
	for _, d := range s.Deployments {
		deployments = append(deployments, fmt.Sprintf("%s of group %s: %s, since %s", d.DeploymentId, d.GroupName, where(d), d.CreatedAt))
	}
	for _, w := range s.Wrong {
		wrong = append(wrong, w.What+": "+cmp.Or(w.line, w.Says))
	}
	for _, e := range s.EndsSoon {
		ends = append(ends, fmt.Sprintf("%s: ends at %s", e.What, e.At.Format(time.RFC3339)))
	}
	part("deployments", deployments)
	part("wrong", wrong)
	part("ends soon", ends)
	_, err := io.WriteString(out, b.String())
	return err
}
