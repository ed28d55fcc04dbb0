package console

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/cloud/cores"
)

// pageSize is how many rows a list shows.
const pageSize = 50

// overviewPage is what is going on now.
type overviewPage struct {
	// Fleet is nil for a key that may not see it.
	Fleet *ownapi.FleetSummary
	// Wrong are cores with which something is wrong, Running deployments that have not
	// ended and Failed those that failed last.
	Wrong           []coreRow
	Running, Failed []ownapi.DeploymentSummary
	// Unmended are those of Failed after which none of their group has ended, and which no
	// core of Wrong tells of.
	Unmended []ownapi.DeploymentSummary
	// History is what the plots show.
	History history
	// Groups are shown to a key that is limited to some.
	Groups []ownapi.GroupSummary
	// Empty reports that there is nothing yet; Steps are the commands to begin with.
	Empty bool
	Steps []string
}

// few is how many rows the lists of the overview have.
const few = 8

func (v *visit) overview() (err error) {
	p := overviewPage{}
	if !v.may(own, awsapi.Target{Operation: "GetFleetSummary"}) {
		list, err := v.findGroups("", "")
		if err != nil {
			return err
		}
		p.Groups = list.Groups
		return v.show("overview", "Overview", p, v.aws("greengrass list-groups"))
	}
	fleet, err := get[ownapi.FleetSummary](v, own, "/fescue/v1/fleet")
	if err != nil {
		return err
	}
	p.Fleet = &fleet
	wrong, err := get[ownapi.CoreList](v, own, fmt.Sprintf("/fescue/v1/cores?State=%s&MaxResults=%d", cores.Wrong, few))
	if err != nil {
		return err
	}
	p.Wrong = rows(wrong.Cores)
	for _, part := range []struct {
		status fescue.DeploymentStatus
		into   *[]ownapi.DeploymentSummary
	}{{fescue.Building, &p.Running}, {fescue.InProgress, &p.Running}, {fescue.Failure, &p.Failed}} {
		list, err := get[ownapi.DeploymentList](v, own, fmt.Sprintf("/fescue/v1/deployments?Status=%s&MaxResults=%d", part.status, few))
		if err != nil {
			return err
		}
		*part.into = append(*part.into, list.Deployments...)
	}
	p.Unmended = unmended(p.Failed, p.Wrong)
	if fleet.Cores == 0 && len(p.Running)+len(p.Failed) == 0 {
		list, err := v.findGroups("", "")
		if err != nil {
			return err
		}
		if p.Empty = len(list.Groups) == 0; p.Empty {
			p.Steps = []string{
				v.fescueCLI("provision My_Core --root /greengrass"), "fescue-core --root /greengrass",
				v.aws("greengrass create-group --name Mill"), v.fescueCLI("recover /greengrass"),
			}
		}
	}
	if !p.Empty {
		if p.History, err = v.history(); err != nil {
			return err
		}
	}
	return v.show("overview", "Overview", p, v.fescueCLI("cores"), v.fescueCLI("deployments"))
}

// unmended are the deployments of a list that are the last of their groups to have ended, but
// those that a core which is listed tells of.
func unmended(list []ownapi.DeploymentSummary, listed []coreRow) (left []ownapi.DeploymentSummary) {
	told := make(map[string]bool)
	for _, core := range listed {
		if core.LastDeployment != nil {
			told[core.LastDeployment.DeploymentId] = true
		}
	}
	for _, d := range list {
		if d.Last && !told[d.DeploymentId] {
			left = append(left, d)
		}
	}
	return left
}

// coreRow is a core in a list.
type coreRow struct {
	ownapi.CoreSummary
	State string
	// Wrong is what is known to be wrong with it.
	Wrong []fescue.ErrorDetail
}

func rows(list []ownapi.CoreSummary) []coreRow {
	made := make([]coreRow, 0, len(list))
	for _, c := range list {
		row := coreRow{CoreSummary: c, State: "offline", Wrong: c.Findings}
		switch {
		case c.Online:
			row.State = "connected"
		case c.LastSeen == "":
			row.State = "never seen"
		}
		if last := c.LastDeployment; last != nil && last.DeploymentStatus == fescue.Failure {
			row.Wrong = slices.Concat(row.Wrong, last.ErrorDetails)
			if len(last.ErrorDetails) == 0 {
				row.Wrong = append(row.Wrong, fescue.ErrorDetail{DetailedErrorMessage: last.ErrorMessage})
			}
		}
		made = append(made, row)
	}
	return made
}

// fleetPage lists cores.
type fleetPage struct {
	Cores []coreRow
	Text  string
	// Tag is one of the group's, as site=north.
	Tag    string
	State  cores.State
	States []cores.State
	// Next is the query of the next page, empty on the last; Later reports that this one
	// is not the first.
	Next  string
	Later bool
}

func (v *visit) fleet() error {
	query := v.form
	p := fleetPage{
		Text: strings.TrimSpace(query.Get("q")), Tag: query.Get("tag"),
		State: cores.State(query.Get("state")), States: cores.States, Later: query.Get("after") != "",
	}
	ask := url.Values{"MaxResults": {fmt.Sprint(pageSize)}, "Contains": {p.Text}, "Tag": {p.Tag}, "State": {string(p.State)}, "NextToken": {query.Get("after")}}
	list, err := get[ownapi.CoreList](v, own, "/fescue/v1/cores?"+ask.Encode())
	if err != nil {
		return err
	}
	p.Cores = rows(list.Cores)
	p.Next = nextPage(list.NextToken, url.Values{"q": {p.Text}, "tag": {p.Tag}, "state": {string(p.State)}})
	command := "cores"
	if p.State == cores.Offline {
		command += " --offline"
	}
	if p.Tag != "" {
		command += " --tag " + quoted(p.Tag)
	}
	return v.show("cores", "Cores", p, v.fescueCLI(command))
}

// groupInformation is a group as the API shows it.
type groupInformation struct {
	Id, Arn, Name                   string
	CreationTimestamp               string
	LatestVersion, LatestVersionArn string
	Tags                            map[string]string `json:"tags"`
}

// groupsPage lists groups.
type groupsPage struct {
	Groups []ownapi.GroupSummary
	Text   string
	Next   string
	Later  bool
}

// findGroups lists groups that the key covers and whose names have a text.
func (v *visit) findGroups(text, after string) (ownapi.GroupList, error) {
	return get[ownapi.GroupList](v, own, "/fescue/v1/groups?"+url.Values{"Contains": {text}, "MaxResults": {fmt.Sprint(pageSize)}, "NextToken": {after}}.Encode())
}

func (v *visit) groups() error {
	query := v.form
	p := groupsPage{Text: strings.TrimSpace(query.Get("q")), Later: query.Get("after") != ""}
	list, err := v.findGroups(p.Text, query.Get("after"))
	if err != nil {
		return err
	}
	p.Groups, p.Next = list.Groups, nextPage(list.NextToken, url.Values{"q": {p.Text}})
	return v.show("groups", "Groups", p, v.aws("greengrass list-groups"))
}

// id reads a label of the path that has an id.
func (v *visit) id(label string) (string, error) {
	id := v.r.PathValue(label)
	if !fescue.ValidID(id) {
		return "", &refusal{http.StatusNotFound, "", fmt.Sprintf("There is no %s '%.64s'.", label, id)}
	}
	return id, nil
}
