package fescue_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
	api "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
)

func TestTimelines(t *testing.T) {
	t.Parallel()
	a := open(t)
	group, version := a.deployable()
	made, err := a.engine.Create(t.Context(), here, group, fescue.NewDeployment, version, "", fescue.Token{})
	if err != nil {
		t.Fatal(err)
	}
	base := "/fescue/v1/groups/" + group + "/deployments/" + made.ID

	t.Run("a timeline", func(t *testing.T) {
		var got api.Timeline
		a.get("GET", base+"/timeline", "", &got)
		if got.DeploymentStatus != fescue.Building || got.GroupId != group || got.GroupVersionId != version || len(got.Steps) != 1 ||
			got.Steps[0].Event != "Created" || got.Core != nil || got.Deadline != "" {
			t.Errorf("%+v", got)
		}
	})
	t.Run("lists by status", func(t *testing.T) {
		var got api.DeploymentList
		a.get("GET", "/fescue/v1/deployments?Status=Building", "", &got)
		if len(got.Deployments) != 1 || got.Deployments[0].DeploymentId != made.ID {
			t.Errorf("%+v", got)
		}
		if text := a.call(here, "GET", "/fescue/v1/deployments?Status=Success", "").text; text != `{"Deployments":[]}` {
			t.Error(text)
		}
	})
	t.Run("those of a group", func(t *testing.T) {
		var got api.DeploymentList
		list := "/fescue/v1/groups/" + group + "/deployments"
		a.get("GET", list+"?MaxResults=1", "", &got)
		if len(got.Deployments) != 1 || got.Deployments[0].DeploymentId != made.ID || got.Deployments[0].DeploymentStatus != fescue.Building || got.Deployments[0].GroupVersionId != version || got.NextToken != "" {
			t.Errorf("%+v", got)
		}
		for _, text := range []string{a.call(there, "GET", list, "").text, a.call(here, "GET", "/fescue/v1/groups/"+knownID+"/deployments", "").text} {
			if text != `{"Deployments":[]}` {
				t.Error(text)
			}
		}
	})
	t.Run("a check tells what Building would find", func(t *testing.T) {
		var got api.CheckResult
		a.get("POST", "/fescue/v1/groups/"+group+"/versions/"+version+"/check", `{"WaitSeconds":0}`, &got)
		if got.Deployable || len(got.Building) == 0 || got.CoreAnswered || got.Reason == "" {
			t.Errorf("%+v", got)
		}
	})
	coreless, err := a.definitions.Create(t.Context(), here, fescue.GroupKind, "n", json.RawMessage(`{}`), nil, fescue.Token{})
	if err != nil {
		t.Fatal(err)
	}
	other, unknown := "/fescue/v1/groups/"+knownID+"/deployments/"+made.ID, "/fescue/v1/groups/"+group+"/deployments/"+knownID
	for _, row := range []struct {
		method, path, body string
		status             int
		code, text         string
	}{
		{"GET", other + "/timeline", "", 404, "ResourceNotFoundException", "does not exist"},
		{"GET", unknown + "/timeline", "", 404, "ResourceNotFoundException", "does not exist"},
		{"GET", "/fescue/v1/groups/g/deployments/d/timeline", "", 404, "ResourceNotFoundException", "Deployment 'd' of group 'g' does not exist."},
		{"GET", "/fescue/v1/groups/g/deployments", "", 404, "ResourceNotFoundException", "group definition does not exist"},
		{"GET", "/fescue/v1/groups/" + group + "/deployments?MaxResults=0", "", 400, "BadRequestException", "MaxResults"},
		{"GET", "/fescue/v1/groups/" + group + "/deployments?NextToken=x", "", 400, "BadRequestException", "NextToken"},
		{"POST", other + "/cancel", "", 404, "ResourceNotFoundException", "does not exist"},
		{"POST", base + "/cancel", `{"Force":"yes"}`, 400, "BadRequestException", "Force"},
		{"GET", "/fescue/v1/deployments", "", 400, "BadRequestException", "is none of Building"},
		{"GET", "/fescue/v1/deployments?Status=building", "", 400, "BadRequestException", "'building' is none of"},
		{"GET", "/fescue/v1/deployments?Status=Building&MaxResults=0", "", 400, "BadRequestException", "MaxResults"},
		{"POST", "/fescue/v1/groups/" + knownID + "/versions/" + version + "/check", "", 404, "ResourceNotFoundException", "group definition does not exist"},
		{"POST", "/fescue/v1/groups/" + group + "/versions/" + knownID + "/check", "", 404, "ResourceNotFoundException", "Version " + knownID},
		{"POST", "/fescue/v1/groups/" + coreless.ID + "/versions/" + coreless.LatestVersion + "/check", "", 400, "BadRequestException", "has no core definition"},
		{"POST", "/fescue/v1/groups/" + group + "/versions/" + version + "/check", `{"WaitSeconds":51}`, 400, "BadRequestException", "between 0 and 50"},
		{"POST", "/fescue/v1/groups/" + group + "/versions/" + version + "/check", `{"WaitSeconds":-1}`, 400, "BadRequestException", "between 0 and 50"},
	} {
		a.refused(row.method, row.path, row.body, row.status, row.code, row.text)
		// Another partition sees nothing of it.
		if strings.Contains(row.path, group) {
			if got := a.call(there, "GET", base+"/timeline", ""); got.status != 404 {
				t.Errorf("another partition: %d %s", got.status, got.text)
			}
		}
	}
	t.Run("a cancel", func(t *testing.T) {
		var got api.DeploymentSummary
		a.get("POST", base+"/cancel", "", &got)
		if got.DeploymentStatus != fescue.Failure || got.ErrorDetails[0].DetailedErrorCode != string(fescue.DeploymentCancelled) {
			t.Errorf("%+v", got)
		}
		a.refused("POST", base+"/cancel", `{"Force":true}`, 409, "ConflictException", "ended in Failure")
	})
}
