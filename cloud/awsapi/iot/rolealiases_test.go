package iot_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRoleAliases(t *testing.T) {
	t.Parallel()
	a := open(t)
	const name, arn, role = "core=1,@-", arnPrefix + "rolealias/core=1,@-", "arn:aws:iam::123456789012:role/service-role/r"
	path := "/role-aliases/" + url.PathEscape(name)
	seconds := float64(now.UnixMilli()) / 1000
	names := map[string]any{"roleAlias": name, "roleAliasArn": arn}
	described := func(role string, lifetime float64) map[string]any {
		return map[string]any{"roleAliasDescription": map[string]any{
			"roleAlias": name, "roleAliasArn": arn, "roleArn": role, "owner": "123456789012", "credentialDurationSeconds": lifetime,
			"creationDate": seconds, "lastModifiedDate": seconds,
		}}
	}
	same := func(t *testing.T, want, got map[string]any) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}

	t.Run("create, describe, update", func(t *testing.T) {
		a := a.with(t)
		same(t, names, a.do("POST", path, "", object("roleArn", role)).ok())
		same(t, described(role, 3600), a.do("GET", path, "", "").ok())
		same(t, names, a.do("PUT", path, "", `{"credentialDurationSeconds":900}`).ok())
		same(t, described(role, 900), a.do("GET", path, "", "").ok())
		same(t, names, a.do("PUT", path, "", object("roleArn", role+"2")).ok())
		same(t, described(role+"2", 900), a.do("GET", path, "", "").ok())
	})
	t.Run("a taken name, which scripts grep for", func(t *testing.T) {
		a.with(t).do("POST", path, "", object("roleArn", role)).refused(409, "ResourceAlreadyExistsException", "RoleAlias cannot be created - already exists (name="+name+")")
	})
	t.Run("lists", func(t *testing.T) {
		a := a.with(t)
		a.do("POST", "/role-aliases/other", "", object("roleArn", role)).ok()
		var all []any
		for marker := ""; ; {
			page := a.do("GET", "/role-aliases?pageSize=1&isAscendingOrder=true&marker="+marker, "", "").ok()
			all = append(all, page["roleAliases"].([]any)...)
			next, _ := page["nextMarker"].(string)
			if marker = next; marker == "" {
				break
			}
		}
		if diff := cmp.Diff([]any{name, "other"}, all); diff != "" {
			t.Error(diff)
		}
	})
	for title, tc := range map[string]struct{ method, path, body, code, text string }{
		"no role":                {"POST", "/role-aliases/x", `{}`, "InvalidRequestException", "roleArn"},
		"no ARN":                 {"POST", "/role-aliases/x", object("roleArn", "r"), "InvalidRequestException", "role"},
		"the ARN of a user":      {"POST", "/role-aliases/x", object("roleArn", "arn:aws:iam::123456789012:user/u"), "InvalidRequestException", "role"},
		"a name":                 {"POST", "/role-aliases/a%20b", object("roleArn", role), "InvalidRequestException", "characters"},
		"a long name":            {"POST", "/role-aliases/" + strings.Repeat("x", 129), object("roleArn", role), "InvalidRequestException", "characters"},
		"a short lifetime":       {"POST", "/role-aliases/x", `{"roleArn":"` + role + `","credentialDurationSeconds":899}`, "InvalidRequestException", "900"},
		"no lifetime":            {"POST", "/role-aliases/x", `{"roleArn":"` + role + `","credentialDurationSeconds":0}`, "InvalidRequestException", "900"},
		"a long lifetime":        {"PUT", path, `{"credentialDurationSeconds":43201}`, "InvalidRequestException", "43200"},
		"a lifetime of its kind": {"PUT", path, `{"credentialDurationSeconds":"x"}`, "InvalidRequestException", "credentialDurationSeconds"},
		"a page":                 {"GET", "/role-aliases?pageSize=0", "", "InvalidRequestException", "pageSize"},
	} {
		t.Run(title, func(t *testing.T) {
			a.with(t).do(tc.method, tc.path, "", tc.body).refused(400, tc.code, tc.text)
		})
	}
	t.Run("what is not there", func(t *testing.T) {
		a := a.with(t)
		for _, request := range []string{"GET", "PUT", "DELETE"} {
			a.do(request, "/role-aliases/none", "", "").refused(404, "ResourceNotFoundException", "RoleAlias not found (name= none)")
		}
	})
	t.Run("delete, and make again as tools do", func(t *testing.T) {
		a := a.with(t)
		a.do("DELETE", path, "", "").ok()
		a.do("POST", path, "", object("roleArn", role)).ok()
	})
}

// What jobs refuse has the API's codes and names the member.
func TestJobRefusals(t *testing.T) {
	t.Parallel()
	a := open(t)
	a.do("POST", "/things/lamp", "", "{}").ok()
	target := `"targets":["` + arnPrefix + `thing/lamp"]`
	a.do("PUT", "/jobs/j", "", `{`+target+`,"document":"{}"}`).ok()
	for title, tc := range map[string]struct {
		method, path, body string
		status             int
		code, text         string
	}{
		"rollout":         {"PUT", "/jobs/x", `{` + target + `,"document":"{}","jobExecutionsRolloutConfig":{}}`, 400, "InvalidRequestException", "jobExecutionsRolloutConfig"},
		"abort":           {"PUT", "/jobs/x", `{` + target + `,"document":"{}","abortConfig":{}}`, 400, "InvalidRequestException", "abortConfig"},
		"signer":          {"PUT", "/jobs/x", `{` + target + `,"document":"{}","presignedUrlConfig":{"roleArn":"r"}}`, 400, "InvalidRequestException", "presignedUrlConfig"},
		"a template":      {"PUT", "/jobs/x", `{` + target + `,"document":"{}","jobTemplateArn":"t"}`, 400, "InvalidRequestException", "jobTemplateArn"},
		"a timeout":       {"PUT", "/jobs/x", `{` + target + `,"document":"{}","timeoutConfig":{"inProgressTimeoutInMinutes":0}}`, 400, "InvalidRequestException", "inProgressTimeoutInMinutes"},
		"a long timeout":  {"PUT", "/jobs/x", `{` + target + `,"document":"{}","timeoutConfig":{"inProgressTimeoutInMinutes":10081}}`, 400, "InvalidRequestException", "inProgressTimeoutInMinutes"},
		"targets' type":   {"PUT", "/jobs/x", `{"targets":"x"}`, 400, "InvalidRequestException", "targets"},
		"a status":        {"GET", "/jobs?status=OPEN", "", 400, "InvalidRequestException", "status"},
		"a token":         {"GET", "/jobs?nextToken=x", "", 400, "InvalidRequestException", "nextToken"},
		"a group":         {"GET", "/jobs?thingGroupName=g", "", 400, "InvalidRequestException", "thingGroupName"},
		"force":           {"DELETE", "/jobs/j?force=1", "", 400, "InvalidRequestException", "force"},
		"an id":           {"GET", "/jobs/a%20b", "", 404, "ResourceNotFoundException", "job"},
		"next":            {"GET", "/things/lamp/jobs/$next", "", 400, "InvalidRequestException", "$next"},
		"a number":        {"GET", "/things/lamp/jobs/j?executionNumber=2", "", 400, "InvalidRequestException", "executionNumber"},
		"another version": {"PUT", "/things/lamp/jobs/j/cancel", `{"expectedVersion":9}`, 409, "VersionConflictException", "version 1"},
	} {
		t.Run(title, func(t *testing.T) {
			a.with(t).do(tc.method, tc.path, "", tc.body).refused(tc.status, tc.code, tc.text)
		})
	}
}
