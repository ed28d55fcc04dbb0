package greengrass_test

import (
	"fmt"
	"testing"

	"github.com/fescue-edge/fescue"
)

// runs brings a deployment of a group to Success on a core.
func (a *api) runs(group, id string) {
	a.t.Helper()
	ctx := a.t.Context()
	d, err := a.store.Deployments().Deployment(ctx, here, group, id)
	if err == nil {
		d, _, err = a.store.Offers().Offer(ctx, d, "core-of-"+group, now, fescue.DeploymentStep{}, func(int64) (fescue.Offering, error) {
			return fescue.Offering{Envelope: []byte(`{}`)}, nil
		})
	}
	for _, event := range []fescue.DeploymentEvent{fescue.EventClaimed, fescue.EventSucceeded} {
		if err == nil {
			d, err = a.store.Deployments().ApplyStep(ctx, d, fescue.CoreActor, fescue.DeploymentStep{Event: event, At: now})
		}
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

func TestResetDeployments(t *testing.T) {
	t.Parallel()
	a := open(t)
	const accepted = `{"DeploymentArn":"` + arnPrefix + `/greengrass/groups/%s/deployments/<id>","DeploymentId":"<id>"}`
	group, version := a.deployable(here)
	path := "/greengrass/groups/" + group + "/deployments"
	none := "Group id: " + group + " has not been deployed or has already been reset."
	for _, body := range []string{``, `{}`, `{"Force":false}`, `{"Force":null}`} {
		a.do("POST", path+"/$reset", body).refused(404, "ResourceNotFoundException", none)
	}
	first := a.do("POST", path, newDeployment(version)).is(200, fmt.Sprintf(accepted, group))["id"]
	a.do("POST", path+"/$reset", `{}`).mentions(400, "ConcurrentDeployment", "has ended")
	a.runs(group, first)
	a.do("DELETE", "/greengrass/groups/"+group, "").mentions(400, "BadRequestException", "ResetDeployments")

	// The path's $ comes raw or escaped, as clients do.
	second := a.do("POST", path+"/%24reset", `{"Force":false}`).is(200, fmt.Sprintf(accepted, group))["id"]
	a.do("GET", path+"/"+second+"/status", "").is(200, `{"DeploymentStatus":"Building","DeploymentType":"ResetDeployment","UpdatedAt":"`+stamp+`"}`)
	a.runs(group, second)
	a.do("GET", path+"/"+second+"/status", "").is(200, `{"DeploymentStatus":"Success","DeploymentType":"ResetDeployment","UpdatedAt":"`+stamp+`"}`)
	a.do("POST", path+"/$reset", `{}`).refused(404, "ResourceNotFoundException", none)

	// A forced one is accepted with nothing to reset; the list shows the group,
	// for there is no version.
	third := a.do("POST", path+"/$reset", `{"Force":true}`).is(200, fmt.Sprintf(accepted, group))["id"]
	got := decoded(t, a.do("GET", path+"?MaxResults=1", "").text)["Deployments"].([]any)[0].(map[string]any)
	if got["DeploymentId"] != third || got["DeploymentType"] != "ForceResetDeployment" || got["GroupArn"] != arnPrefix+"/greengrass/groups/"+group {
		t.Errorf("%v", got)
	}
	a.do("POST", path, `{"DeploymentType":"Redeployment","DeploymentId":"`+second+`"}`).refused(400, "InvalidInputException", "Deployment ID '"+second+"' is invalid.")

	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		a := a.with(t)
		const missing = "That Group Definition does not exist."
		foreign, _ := a.deployable(there)
		for _, id := range []string{hostile["unknown"], hostile["path trick"], hostile["upper case"], hostile["a quote"], foreign} {
			for _, body := range []string{`{}`, `{"Force":true}`} {
				a.do("POST", "/greengrass/groups/"+id+"/deployments/$reset", body).refused(404, "ResourceNotFoundException", missing)
			}
		}
		for body, text := range map[string]string{`{"Force":"true"}`: `"Force" must not be a string`, `[]`: "must be a JSON object", `{`: "not valid JSON", `{}}`: "after the JSON"} {
			a.do("POST", path+"/$reset", body).mentions(400, "BadRequestException", text)
		}
		a.do("GET", path+"/$reset", "").mentions(404, "UnknownOperationException", "")
	})
}

// The retry of a forced reset is answered as the first call was.
func TestForcedResetTokens(t *testing.T) {
	t.Parallel()
	a := open(t)
	group, _ := a.deployable(here)
	path := "/greengrass/groups/" + group + "/deployments/$reset"
	reset := func(token string) *answer {
		return a.call(here, "POST", path, "X-Amzn-Client-Token: "+token, `{"Force":true}`)
	}
	first := reset("t")
	if again := reset("t"); again.status != 200 || again.text != first.text {
		t.Errorf("while it is built: %s, again %d %s", first.text, again.status, again.text)
	}
	reset("t2").mentions(400, "ConcurrentDeployment", "being built")
	a.ends(here, group, decoded(t, first.text)["DeploymentId"].(string))
	if again := reset("t"); again.status != 200 || again.text != first.text {
		t.Errorf("when it has ended: %s, again %d %s", first.text, again.status, again.text)
	}
	if next := reset("t2"); next.status != 200 || next.text == first.text {
		t.Errorf("%d %s", next.status, next.text)
	}
}
