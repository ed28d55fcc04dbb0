package console

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
)

// deployPage says what a deployment would change, before it is made.
type deployPage struct {
	Group groupInformation
	// Core is the group's, nil where it has none that spoke or was deployed to; Names is
	// the thing that the version says.
	Core  *coreRow
	Names string
	// Type is what is to be made: NewDeployment, Redeployment or ResetDeployment.
	Type fescue.DeploymentType
	// Version is what would be deployed, Deployment what is deployed again, Runs what the
	// core runs of the group.
	Version, Deployment, Runs string
	Changes                   []change
	Hidden                    []string
	// Check is what would fail; nil for a reset, and where it could not be found out, which
	// Unchecked says.
	Check     *ownapi.CheckResult
	Unchecked string
	// Token makes the form good for one deployment, however often it is sent.
	Token string
	May   bool
}

// Fails reports that the deployment would end in Failure, as far as is known.
func (p deployPage) Fails() bool {
	return p.Check != nil && len(p.Check.Building)+len(p.Check.OnCore) > 0
}

// checkSeconds is how long a page waits for what the core says of a version.
const checkSeconds = 3

// asked reads from a query or a form what is to be deployed.
func (v *visit) asked() (p deployPage, err error) {
	id, err := v.id("group")
	if err != nil {
		return p, err
	}
	p.Type = fescue.DeploymentType(cmp.Or(v.form.Get("type"), string(fescue.NewDeployment)))
	p.Version, p.Deployment = v.form.Get("version"), v.form.Get("deployment")
	if p.Group, err = get[groupInformation](v, greengrass, "/greengrass/groups/"+id); err != nil {
		return p, err
	}
	operation := "CreateDeployment"
	if p.Type == fescue.ResetDeployment {
		operation = "ResetDeployments"
	}
	p.May = v.mayDeploy(id, operation)
	complete := map[fescue.DeploymentType]bool{
		fescue.NewDeployment: fescue.ValidID(p.Version), fescue.Redeployment: fescue.ValidID(p.Deployment), fescue.ResetDeployment: true,
	}
	switch {
	case complete[p.Type]:
		return p, nil
	case !p.May:
		return p, &refusal{http.StatusForbidden, "", fmt.Sprintf("Your key may not deploy this group: its access level is %s.", v.inside.Signer.Access)}
	}
	return p, &refusal{http.StatusBadRequest, "", "The page was asked for something that cannot be deployed. Go back to the group and choose again."}
}

func (v *visit) showDeploy() error {
	p, err := v.asked()
	if err != nil {
		return err
	}
	id := p.Group.Id
	command := ""
	switch p.Type {
	case fescue.NewDeployment:
		command = fmt.Sprintf("greengrass create-deployment --group-id %s --deployment-type NewDeployment --group-version-id %s", id, p.Version)
	case fescue.Redeployment:
		t, err := get[ownapi.Timeline](v, own, "/fescue/v1/groups/"+id+"/deployments/"+p.Deployment+"/timeline")
		if err != nil {
			return err
		}
		p.Version = t.GroupVersionId
		command = fmt.Sprintf("greengrass create-deployment --group-id %s --deployment-type Redeployment --deployment-id %s", id, p.Deployment)
	case fescue.ResetDeployment:
		p.Version = ""
		command = "greengrass reset-deployments --group-id " + id
	}
	p.Token = fescue.NewID()
	if p.Core, p.Runs, err = v.coreOf(id); err != nil {
		return err
	}
	before, err := v.content(id, p.Runs)
	if refused := (*refusal)(nil); errors.As(err, &refused) {
		before.Hidden = append(before.Hidden, refused.Message)
	} else if err != nil {
		return err
	}
	after, err := v.content(id, p.Version)
	if err != nil {
		return err
	}
	p.Names = after.core()
	p.Changes, p.Hidden = changes(before, after), append(before.Hidden, after.Hidden...)
	if p.Version != "" {
		seconds := checkSeconds
		check, err := post[ownapi.CheckResult](v, own, "/fescue/v1/groups/"+id+"/versions/"+p.Version+"/check", ownapi.CheckRequest{WaitSeconds: &seconds})
		if refused := (*refusal)(nil); errors.As(err, &refused) {
			p.Unchecked = refused.Message
		} else if err != nil {
			return err
		} else {
			p.Check = &check
		}
	}
	return v.show("deploy", p.Group.Name, p, v.aws(command))
}

// deploy does what the page said.
func (v *visit) deploy() error {
	p, err := v.asked()
	if err != nil {
		return err
	}
	path, in := "/greengrass/groups/"+p.Group.Id+"/deployments", map[string]any{"DeploymentType": p.Type}
	switch p.Type {
	case fescue.NewDeployment:
		in["GroupVersionId"] = p.Version
	case fescue.Redeployment:
		in["DeploymentId"] = p.Deployment
	case fescue.ResetDeployment:
		path, in = path+"/$reset", map[string]any{"Force": v.form.Get("force") != ""}
	}
	made, err := post[struct{ DeploymentId string }](v, greengrass, path, in, "X-Amzn-Client-Token", v.form.Get("token"))
	if err != nil {
		return err
	}
	return v.to("/groups/" + p.Group.Id + "/deployments/" + made.DeploymentId)
}

// deploymentPage is one deployment as it goes.
type deploymentPage struct {
	ownapi.Timeline
	Group groupInformation
	// Ended reports that nothing changes any more.
	Ended bool
	// Claimed reports that the core has it, so that only the core can end it well.
	Claimed bool
	// Logs are the last lines that the core sent of the functions that failed.
	Logs      []ownapi.LogEvent
	MayCancel bool
	MayDeploy bool
}

// ids reads from the path which deployment of which group is meant.
func (v *visit) ids() (group, deployment string, err error) {
	if group, err = v.id("group"); err == nil {
		deployment, err = v.id("deployment")
	}
	return group, deployment, err
}

func (v *visit) deployment() error {
	group, id, err := v.ids()
	if err != nil {
		return err
	}
	var p deploymentPage
	if p.Timeline, err = get[ownapi.Timeline](v, own, "/fescue/v1/groups/"+group+"/deployments/"+id+"/timeline"); err != nil {
		return err
	}
	// The group may have been deleted since.
	if p.Group, err = get[groupInformation](v, greengrass, "/greengrass/groups/"+group); err != nil {
		if refused := (*refusal)(nil); !errors.As(err, &refused) {
			return err
		}
		p.Group = groupInformation{Id: group, Name: group}
	}
	p.Ended = p.DeploymentStatus.Final()
	p.Claimed = p.DeploymentStatus == fescue.InProgress && p.Phase != fescue.Offered
	p.MayCancel = !p.Ended && v.may(own, awsapi.Target{Operation: "CancelDeployment", Resource: v.partition().DeploymentARN(group, id)})
	p.MayDeploy = p.Ended && v.mayDeploy(group, "CreateDeployment")
	if p.DeploymentStatus == fescue.Failure && p.CoreThing != "" {
		if p.Logs, err = v.logsOf(p.Timeline); err != nil {
			return err
		}
	}
	return v.show("deployment", "Deployment "+short(id), p,
		v.aws(fmt.Sprintf("greengrass get-deployment-status --group-id %s --deployment-id %s", group, id)),
		v.fescueCLI(fmt.Sprintf("watch --group %s %s", group, id)))
}

// lastLines is how many lines of the logs a failed deployment shows.
const lastLines = 20

// logsOf are the last lines that a core sent while a deployment went on, of functions.
func (v *visit) logsOf(t ownapi.Timeline) ([]ownapi.LogEvent, error) {
	query := url.Values{"From": {t.CreatedAt}, "CoreThingName": {t.CoreThing}, "Component": {"Lambda"}}
	list, err := get[ownapi.LogEvents](v, own, "/fescue/v1/groups/"+t.GroupId+"/logs?"+query.Encode())
	if refused := (*refusal)(nil); errors.As(err, &refused) {
		return nil, nil // it has none, or not for this key
	}
	var within []ownapi.LogEvent
	for _, e := range list.Events {
		if e.Message != "" && e.Time <= t.UpdatedAt {
			within = append(within, e)
		}
	}
	return within[max(0, len(within)-lastLines):], err
}

func (v *visit) cancel() error {
	group, id, err := v.ids()
	if err != nil {
		return err
	}
	_, err = post[ownapi.DeploymentSummary](v, own, "/fescue/v1/groups/"+group+"/deployments/"+id+"/cancel", ownapi.Cancellation{Force: v.form.Get("force") != ""})
	if err != nil {
		return err
	}
	return v.to("/groups/" + group + "/deployments/" + id)
}
