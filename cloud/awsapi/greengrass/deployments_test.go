package greengrass_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
)

// deployable makes a group whose version refers to a core definition.
func (a *api) deployable(p fescue.Partition) (group, version string) {
	a.t.Helper()
	core := containers()[2]
	id, v := a.made(p, core)
	c := containers()[0]
	c.body = `{"CoreDefinitionVersionArn":"` + p.VersionARN(fescue.CoreKind, id, v) + `"}`
	return a.made(p, c)
}

// ends brings a deployment to Failure.
func (a *api) ends(p fescue.Partition, group, id string) {
	a.t.Helper()
	d, err := a.store.Deployments().Deployment(a.t.Context(), p, group, id)
	if err != nil {
		a.t.Fatal(err)
	}
	if _, err := a.store.Deployments().ApplyStep(a.t.Context(), d, fescue.CloudActor, fescue.DeploymentStep{
		Event: fescue.EventBuildFailed, At: now.Add(time.Second), Message: "no core", Details: []fescue.ErrorDetail{{DetailedErrorCode: "A", DetailedErrorMessage: "b"}},
	}); err != nil {
		a.t.Fatal(err)
	}
}

func newDeployment(version string) string {
	return `{"DeploymentType":"NewDeployment","GroupVersionId":"` + version + `"}`
}

func TestDeployments(t *testing.T) {
	t.Parallel()
	a := open(t)
	group, version := a.deployable(here)
	path := "/greengrass/groups/" + group + "/deployments"
	const created = `{"DeploymentArn":"` + arnPrefix + `/greengrass/groups/%s/deployments/<id>","DeploymentId":"<id>"}`
	deploy := func(body string) string {
		t.Helper()
		return a.do("POST", path, body).is(200, fmt.Sprintf(created, group))["id"]
	}
	item := func(id, kind, version string) string {
		return fmt.Sprintf(`{"CreatedAt":"%s","DeploymentArn":"%s/greengrass/groups/%s/deployments/%s","DeploymentId":"%s","DeploymentType":"%s","GroupArn":"%s/greengrass/groups/%s/versions/%s"}`,
			stamp, arnPrefix, group, id, id, kind, arnPrefix, group, version)
	}
	a.do("GET", path, "").is(200, `{"Deployments":[]}`)
	first := deploy(newDeployment(version))
	a.do("GET", path+"/"+first+"/status", "").is(200, `{"DeploymentStatus":"Building","DeploymentType":"NewDeployment","UpdatedAt":"`+stamp+`"}`)
	a.do("POST", path, newDeployment(version)).mentions(400, "ConcurrentDeployment", "being built")
	a.do("DELETE", "/greengrass/groups/"+group, "").mentions(400, "BadRequestException", "ResetDeployments")
	a.ends(here, group, first)
	a.do("GET", path+"/"+first+"/status", "").is(200, `{"DeploymentStatus":"Failure","DeploymentType":"NewDeployment","ErrorDetails":[{"DetailedErrorCode":"A","DetailedErrorMessage":"b"}],"ErrorMessage":"no core","UpdatedAt":"2026-11-23T12:00:01.457Z"}`)
	second := deploy(`{"DeploymentType":"Redeployment","DeploymentId":"` + first + `"}`)
	a.do("GET", path, "").is(200, `{"Deployments":[`+item(second, "Redeployment", version)+`,`+item(first, "NewDeployment", version)+`]}`)
	got := decoded(t, a.do("GET", path+"?MaxResults=1", "").text)
	token, _ := got["NextToken"].(string)
	a.do("GET", path+"?MaxResults=1&NextToken="+token, "").is(200, `{"Deployments":[`+item(first, "NewDeployment", version)+`]}`)
	a.ends(here, group, second)
	a.do("DELETE", "/greengrass/groups/"+group, "").is(200, `{}`)
}

func TestCreateDeploymentRefusals(t *testing.T) {
	t.Parallel()
	a := open(t)
	group, version := a.deployable(here)
	other, otherVersion := a.deployable(here)
	foreign, foreignVersion := a.deployable(there)
	coreless, corelessVersion := a.made(here, containers()[0])
	elsewhere := decoded(t, a.do("POST", "/greengrass/groups/"+other+"/deployments", newDeployment(otherVersion)).text)["DeploymentId"].(string)
	const unknown = "5f0c2a7e-1d34-4c55-9a0b-7e21c0a1b001"
	const types = "That deployment type is not valid.  Please specify one of the following types: {NewDeployment,Redeployment,ResetDeployment,ForceResetDeployment}."
	redeploy := func(id string) string { return `{"DeploymentType":"Redeployment","DeploymentId":"` + id + `"}` }
	noVersion := func(v, g string) string { return "Version " + v + " of Group Definition " + g + " does not exist." }
	for _, c := range []struct {
		name, group, body string
		status            int
		code, message     string
	}{
		{"no type", group, `{}`, 400, "InvalidInputException", types},
		{"no body", group, ``, 400, "InvalidInputException", types},
		{"unknown type", group, `{"DeploymentType":"newDeployment"}`, 400, "InvalidInputException", types},
		{"reset", group, `{"DeploymentType":"ResetDeployment"}`, 400, "InvalidInputException", "That deployment type is not valid here. Reset a group's deployments with ResetDeployments."},
		{"forced reset", group, `{"DeploymentType":"ForceResetDeployment"}`, 400, "InvalidInputException", "That deployment type is not valid here. Reset a group's deployments with ResetDeployments."},
		{"no version", group, `{"DeploymentType":"NewDeployment"}`, 400, "InvalidInputException", "Your request is missing the following required parameter(s): {GroupVersionId}."},
		{"no deployment", group, `{"DeploymentType":"Redeployment"}`, 400, "InvalidInputException", "Your request is missing the following required parameter(s): {DeploymentId}."},
		{"unknown deployment", group, redeploy(unknown), 400, "InvalidInputException", "Deployment ID '" + unknown + "' is invalid."},
		{"malformed deployment", group, redeploy("../x"), 400, "InvalidInputException", "Deployment ID '../x' is invalid."},
		{"another group's deployment", group, redeploy(elsewhere), 400, "InvalidInputException", "Deployment ID '" + elsewhere + "' is invalid."},
		{"unknown group", unknown, newDeployment(version), 404, "ResourceNotFoundException", "That group definition does not exist."},
		{"another partition's group", foreign, newDeployment(foreignVersion), 404, "ResourceNotFoundException", "That group definition does not exist."},
		{"path trick", "..%2f..%2fx", newDeployment(version), 404, "ResourceNotFoundException", "That group definition does not exist."},
		{"unknown version", group, newDeployment(unknown), 404, "ResourceNotFoundException", noVersion(unknown, group)},
		{"malformed version", group, newDeployment("' OR 1"), 404, "ResourceNotFoundException", noVersion("' OR 1", group)},
		{"another group's version", group, newDeployment(otherVersion), 404, "ResourceNotFoundException", noVersion(otherVersion, group)},
		{"no core", coreless, newDeployment(corelessVersion), 400, "MissingCoreException", `{"ErrorDetails": [{"DetailedErrorCode": "GG-303", "DetailedErrorMessage": "You need a Greengrass Core in this Group before you can deploy."}]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a.with(t).do("POST", "/greengrass/groups/"+c.group+"/deployments", c.body).refused(c.status, c.code, c.message)
		})
	}
	t.Run("malformed bodies", func(t *testing.T) {
		t.Parallel()
		a := a.with(t)
		for body, text := range map[string]string{
			`[]`: "must be a JSON object", `{"DeploymentType":1}`: `"DeploymentType" must not be a number`, `{"GroupVersionId":{}}`: `"GroupVersionId" must not be a object`, `{`: "not valid JSON",
		} {
			a.do("POST", "/greengrass/groups/"+group+"/deployments", body).mentions(400, "BadRequestException", text)
		}
	})
	t.Run("the refused left nothing", func(t *testing.T) {
		a.with(t).do("GET", "/greengrass/groups/"+group+"/deployments", "").is(200, `{"Deployments":[]}`)
	})
}

func TestDeploymentLookups(t *testing.T) {
	t.Parallel()
	a := open(t)
	group, version := a.deployable(here)
	id := decoded(t, a.do("POST", "/greengrass/groups/"+group+"/deployments", newDeployment(version)).text)["DeploymentId"].(string)
	other, _ := a.deployable(here)
	status := func(p fescue.Partition, group, id string) *answer {
		return a.call(p, "GET", "/greengrass/groups/"+group+"/deployments/"+id+"/status", "", "")
	}
	for name, got := range map[string]*answer{
		"another group": status(here, other, id), "unknown group": status(here, hostile["unknown"], id),
		"another partition": status(there, group, id), "malformed group": status(here, "..%2fx", id),
	} {
		t.Run(name, func(t *testing.T) {
			got.t = t
			got.refused(400, "InvalidInputException", "Deployment '"+id+"' does not exist.")
		})
	}
	for name, id := range hostile {
		t.Run(name, func(t *testing.T) {
			got := status(here, group, id)
			got.t = t
			got.mentions(400, "InvalidInputException", "does not exist.")
		})
	}
	t.Run("the list of a group that is not there", func(t *testing.T) {
		for _, group := range []string{hostile["unknown"], "..%2fx", "x"} {
			a.with(t).do("GET", "/greengrass/groups/"+group+"/deployments", "").is(200, `{"Deployments":[]}`)
		}
		a.with(t).call(there, "GET", "/greengrass/groups/"+group+"/deployments", "", "").is(200, `{"Deployments":[]}`)
	})
}

func TestDeploymentTokens(t *testing.T) {
	t.Parallel()
	a := open(t)
	group, version := a.deployable(here)
	path := "/greengrass/groups/" + group + "/deployments"
	create := func(token, body string) *answer {
		return a.call(here, "POST", path, "X-Amzn-Client-Token: "+token, body)
	}
	first := create("t", newDeployment(version))
	id, _ := decoded(t, first.text)["DeploymentId"].(string)
	// The retry of a call that is still being built is no concurrent deployment.
	if again := create("t", newDeployment(version)); again.text != first.text || again.status != 200 {
		t.Errorf("%s, again %s", first.text, again.text)
	}
	create("t2", newDeployment(version)).mentions(400, "ConcurrentDeployment", "")
	a.ends(here, group, id)
	if again := create("t", newDeployment(version)); again.text != first.text {
		t.Errorf("%s, again %s", first.text, again.text)
	}
	create("t", `{"DeploymentType":"Redeployment","DeploymentId":"`+id+`"}`).mentions(400, "InvalidInputException", "client token")
	if next := create("t2", newDeployment(version)); next.status != 200 || next.text == first.text {
		t.Errorf("%s", next.text)
	}
	other, otherVersion := a.deployable(here)
	a.call(here, "POST", "/greengrass/groups/"+other+"/deployments", "X-Amzn-Client-Token: t", newDeployment(otherVersion)).mentions(400, "InvalidInputException", "client token")
}
