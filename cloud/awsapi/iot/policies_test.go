package iot_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPolicies(t *testing.T) {
	t.Parallel()
	a := open(t)
	const name, arn = "my=policy+1,@x.y", arnPrefix + "policy/my=policy+1,@x.y"
	path := "/policies/" + url.PathEscape(name)
	seconds := float64(now.UnixMilli()) / 1000
	text := "\n" + strings.Replace(allowAll, `"*"`, `"arn:aws:iot:*:*:<&>é"`, 1) + " "

	t.Run("create and get give the document as it was sent", func(t *testing.T) {
		a := a.with(t)
		want := map[string]any{"policyName": name, "policyArn": arn, "policyDocument": text, "policyVersionId": "1"}
		if diff := cmp.Diff(want, a.do("POST", path, "", object("policyDocument", text)).ok()); diff != "" {
			t.Error(diff)
		}
		got := a.do("GET", path, "", "").ok()
		delete(got, "generationId")
		want = map[string]any{
			"policyName": name, "policyArn": arn, "policyDocument": text, "defaultVersionId": "1",
			"creationDate": seconds, "lastModifiedDate": seconds,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		a.do("POST", path, "", object("policyDocument", text)).refused(409, "ResourceAlreadyExistsException", "Policy cannot be created - name already exists (name="+name+")")
	})
	t.Run("versions", func(t *testing.T) {
		a := a.with(t)
		want := map[string]any{"policyArn": arn, "policyDocument": allowAll, "policyVersionId": "2", "isDefaultVersion": false}
		if diff := cmp.Diff(want, a.do("POST", path+"/version", "", object("policyDocument", allowAll)).ok()); diff != "" {
			t.Error(diff)
		}
		a.do("DELETE", path, "", "").refused(409, "DeleteConflictException", "Cannot delete the policy because it has one or more policy versions attached to it (name="+name+")")
		a.do("PATCH", path+"/version/2", "", "").ok()
		got := a.do("GET", path+"/version/2", "", "").ok()
		delete(got, "generationId")
		want = map[string]any{
			"policyArn": arn, "policyName": name, "policyDocument": allowAll, "policyVersionId": "2", "isDefaultVersion": true,
			"creationDate": seconds, "lastModifiedDate": seconds,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		a.do("DELETE", path+"/version/2", "", "").refused(400, "InvalidRequestException", "Cannot delete the default version of a policy")
		for range 3 {
			a.do("POST", path+"/version?setAsDefault=true", "", object("policyDocument", allowAll)).ok()
		}
		a.do("POST", path+"/version", "", object("policyDocument", allowAll)).refused(409, "VersionsLimitExceededException", name)
		versions := a.do("GET", path+"/version", "", "").ok()["policyVersions"].([]any)
		if diff := cmp.Diff(map[string]any{"versionId": "5", "isDefaultVersion": true, "createDate": seconds}, versions[0]); diff != "" || len(versions) != 5 {
			t.Errorf("got %v: %s", versions, diff)
		}
		for _, v := range []string{"1", "2", "3", "4"} {
			a.do("DELETE", path+"/version/"+v, "", "").ok()
		}
		a.do("DELETE", path+"/version/4", "", "").refused(404, "ResourceNotFoundException", "version 4")
	})
	t.Run("list and delete", func(t *testing.T) {
		a := a.with(t)
		want := map[string]any{"policies": []any{map[string]any{"policyName": name, "policyArn": arn}}}
		if diff := cmp.Diff(want, a.do("GET", "/policies", "", "").ok()); diff != "" {
			t.Error(diff)
		}
		a.do("POST", "/policies/other", "", object("policyDocument", allowAll)).ok()
		list := a.do("GET", "/policies?pageSize=1", "", "").ok()
		rest := a.do("GET", "/policies?marker="+list["nextMarker"].(string), "", "").ok()
		if len(list["policies"].([]any)) != 1 || len(rest["policies"].([]any)) != 1 || cmp.Equal(list["policies"], rest["policies"]) {
			t.Errorf("got %v, then %v", list, rest)
		}
		a.do("DELETE", path, "", "").ok()
		a.do("DELETE", path, "", "").refused(404, "ResourceNotFoundException", "policy "+name+" not found")
		a.do("GET", path+"/version", "", "").refused(404, "ResourceNotFoundException", "policy "+name)
	})
	long := object("policyDocument", strings.Replace(allowAll, `"*"`, `"arn:`+strings.Repeat("x", 2048)+`"`, 1))
	for _, tc := range []struct{ title, method, path, body, code, text string }{
		{"no document", "POST", "/policies/p", "{}", "InvalidRequestException", "policyDocument"},
		{"a document that is an object", "POST", "/policies/p", `{"policyDocument":{}}`, "InvalidRequestException", "policyDocument"},
		{"a document that is not JSON", "POST", "/policies/p", object("policyDocument", "{"), "MalformedPolicyException", "malformed"},
		{"no statement", "POST", "/policies/p", object("policyDocument", `{"Version":"2012-10-17"}`), "MalformedPolicyException", "Statement"},
		{"more than 2048 characters", "POST", "/policies/p", long, "MalformedPolicyException", "2048"},
		{"more than 2048 characters in a version", "POST", "/policies/p/version", long, "MalformedPolicyException", "2048"},
		{"a slash in the name", "POST", "/policies/a%2fb", object("policyDocument", allowAll), "InvalidRequestException", "policy name"},
		{"NUL in the name", "GET", "/policies/%00", "", "InvalidRequestException", "malformed"},
		{"a version that is text", "GET", "/policies/p/version/x", "", "InvalidRequestException", "version"},
		{"version 0", "PATCH", "/policies/p/version/0", "", "InvalidRequestException", "version"},
		{"a page too large", "GET", "/policies?pageSize=1000", "", "InvalidRequestException", "pageSize"},
		{"an order that is none", "GET", "/policies?isAscendingOrder=1", "", "InvalidRequestException", "isAscendingOrder"},
	} {
		t.Run("refused: "+tc.title, func(t *testing.T) {
			a := a.with(t)
			a.do(tc.method, tc.path, "", tc.body).refused(400, tc.code, tc.text)
		})
	}
}
