package greengrass_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/greengrass"
)

func TestTimelines(t *testing.T) {
	t.Parallel()
	a := open(t)
	group, version := a.deployable(here)
	var made struct{ DeploymentId string }
	decode(t, a.do("POST", "/greengrass/groups/"+group+"/deployments", newDeployment(version)).text, &made)
	base := "/fescue/v1/groups/" + group + "/deployments/" + made.DeploymentId

	t.Run("a timeline", func(t *testing.T) {
		var got greengrass.Timeline
		decode(t, a.with(t).do("GET", base+"/timeline", "").text, &got)
		if got.DeploymentStatus != fescue.Building || got.GroupId != group || got.GroupVersionId != version || len(got.Steps) != 1 ||
			got.Steps[0].Event != "Created" || got.Core != nil || got.Deadline != "" {
			t.Errorf("%+v", got)
		}
	})
	t.Run("lists by status", func(t *testing.T) {
		var got greengrass.DeploymentList
		decode(t, a.with(t).do("GET", "/fescue/v1/deployments?Status=Building", "").text, &got)
		if len(got.Deployments) != 1 || got.Deployments[0].DeploymentId != made.DeploymentId {
			t.Errorf("%+v", got)
		}
		if text := a.with(t).do("GET", "/fescue/v1/deployments?Status=Success", "").text; text != `{"Deployments":[]}` {
			t.Error(text)
		}
	})
	t.Run("a check tells what Building would find", func(t *testing.T) {
		var got greengrass.CheckResult
		decode(t, a.with(t).do("POST", "/fescue/v1/groups/"+group+"/versions/"+version+"/check", `{"WaitSeconds":0}`).text, &got)
		if got.Deployable || len(got.Building) == 0 || got.CoreAnswered || got.Reason == "" {
			t.Errorf("%+v", got)
		}
	})
	other, unknown := "/fescue/v1/groups/"+knownID+"/deployments/"+made.DeploymentId, "/fescue/v1/groups/"+group+"/deployments/"+knownID
	for _, row := range []struct {
		method, path, body string
		status             int
		code, text         string
	}{
		{"GET", other + "/timeline", "", 404, "ResourceNotFoundException", "does not exist"},
		{"GET", unknown + "/timeline", "", 404, "ResourceNotFoundException", "does not exist"},
		{"GET", "/fescue/v1/groups/g/deployments/d/timeline", "", 404, "ResourceNotFoundException", "Deployment 'd' of group 'g' does not exist."},
		{"POST", other + "/cancel", "", 404, "ResourceNotFoundException", "does not exist"},
		{"POST", base + "/cancel", `{"Force":"yes"}`, 400, "BadRequestException", "Force"},
		{"GET", "/fescue/v1/deployments", "", 400, "BadRequestException", "is none of Building"},
		{"GET", "/fescue/v1/deployments?Status=building", "", 400, "BadRequestException", "'building' is none of"},
		{"GET", "/fescue/v1/deployments?Status=Building&MaxResults=0", "", 400, "BadRequestException", "MaxResults"},
		{"POST", "/fescue/v1/groups/" + knownID + "/versions/" + version + "/check", "", 404, "ResourceNotFoundException", "group definition does not exist"},
		{"POST", "/fescue/v1/groups/" + group + "/versions/" + knownID + "/check", "", 404, "ResourceNotFoundException", "Version " + knownID},
		{"POST", "/fescue/v1/groups/" + group + "/versions/" + version + "/check", `{"WaitSeconds":51}`, 400, "BadRequestException", "between 0 and 50"},
		{"POST", "/fescue/v1/groups/" + group + "/versions/" + version + "/check", `{"WaitSeconds":-1}`, 400, "BadRequestException", "between 0 and 50"},
	} {
		got := a.do(row.method, row.path, row.body)
		if got.status != row.status || len(got.code) != 1 || got.code[0] != row.code || !strings.Contains(got.text, row.text) {
			t.Errorf("%s %s: %d %v %s", row.method, row.path, got.status, got.code, got.text)
		}
		// Another partition sees nothing of it.
		if strings.Contains(row.path, group) {
			if got := a.call(there, "GET", base+"/timeline", "", ""); got.status != 404 {
				t.Errorf("another partition: %d %s", got.status, got.text)
			}
		}
	}
	t.Run("a cancel", func(t *testing.T) {
		a := a.with(t)
		var got greengrass.DeploymentSummary
		decode(t, a.do("POST", base+"/cancel", "").text, &got)
		if got.DeploymentStatus != fescue.Failure || got.ErrorDetails[0].DetailedErrorCode != string(fescue.DeploymentCancelled) {
			t.Errorf("%+v", got)
		}
		again := a.do("POST", base+"/cancel", `{"Force":true}`)
		if again.status != 409 || again.code[0] != "ConflictException" || !strings.Contains(again.text, "ended in Failure") {
			t.Errorf("%d %v %s", again.status, again.code, again.text)
		}
	})
}

func decode(t *testing.T, text string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}
