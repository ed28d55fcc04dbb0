package iot_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAttachments(t *testing.T) {
	t.Parallel()
	a := open(t)
	_, arn := a.certificate(here)
	_, foreign := a.certificate(there)
	a.do("POST", "/things/lamp", "", "").ok()
	a.do("POST", "/policies/p", "", object("policyDocument", allowAll)).ok()
	principal, iotPrincipal := "x-amzn-principal: "+arn, "x-amzn-iot-principal: "+arn
	policies := map[string]any{"policies": []any{map[string]any{"policyName": "p", "policyArn": arnPrefix + "policy/p"}}}
	attached := "/attached-policies/" + url.QueryEscape(arn)
	same := func(t *testing.T, want, got map[string]any) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}

	t.Run("things", func(t *testing.T) {
		a := a.with(t)
		a.do("PUT", "/things/lamp/principals?thingPrincipalType=NON_EXCLUSIVE_THING", principal, "").ok()
		a.do("PUT", "/things/lamp/principals", principal, "").ok()
		same(t, map[string]any{"principals": []any{arn}}, a.do("GET", "/things/lamp/principals", "", "").ok())
		same(t, map[string]any{"things": []any{"lamp"}}, a.do("GET", "/principals/things", principal, "").ok())
		a.do("DELETE", "/things/lamp/principals", principal, "").ok()
		a.do("DELETE", "/things/lamp/principals", principal, "").ok()
		same(t, map[string]any{"principals": []any{}}, a.do("GET", "/things/lamp/principals", "", "").ok())
		same(t, map[string]any{"things": []any{}}, a.do("GET", "/principals/things", principal, "").ok())
	})
	for _, tc := range []struct {
		title          string
		attach, detach func(a *api) *answer
	}{
		{"AttachPolicy, DetachPrincipalPolicy",
			func(a *api) *answer { return a.do("PUT", "/target-policies/p", "", object("target", arn)) },
			func(a *api) *answer { return a.do("DELETE", "/principal-policies/p", iotPrincipal, "") }},
		{"AttachPrincipalPolicy, DetachPolicy",
			func(a *api) *answer { return a.do("PUT", "/principal-policies/p", iotPrincipal, "") },
			func(a *api) *answer { return a.do("POST", "/target-policies/p", "", object("target", arn)) }},
	} {
		t.Run(tc.title+" act on one relation", func(t *testing.T) {
			a := a.with(t)
			tc.attach(a).ok()
			tc.attach(a).ok()
			same(t, policies, a.do("POST", attached+"?recursive=true&pageSize=10", "", "").ok())
			same(t, policies, a.do("GET", "/principal-policies", iotPrincipal, "").ok())
			same(t, map[string]any{"principals": []any{arn}}, a.do("GET", "/policy-principals", "x-amzn-iot-policy: p", "").ok())
			same(t, map[string]any{"targets": []any{arn}}, a.do("POST", "/policy-targets/p", "", "").ok())
			a.do("DELETE", "/policies/p", "", "").refused(409, "DeleteConflictException", "The policy cannot be deleted as the policy is attached to one or more principals (name=p)")
			tc.detach(a).ok()
			tc.detach(a).ok()
			same(t, map[string]any{"policies": []any{}}, a.do("POST", attached, "", "").ok())
			same(t, map[string]any{"targets": []any{}}, a.do("POST", "/policy-targets/p", "", "").ok())
		})
	}
	t.Run("ten policies at most", func(t *testing.T) {
		a := a.with(t)
		for i := range 11 {
			a.do("POST", fmt.Sprint("/policies/ten", i), "", object("policyDocument", allowAll)).ok()
			got := a.do("PUT", fmt.Sprint("/target-policies/ten", i), "", object("target", arn))
			if i < 10 {
				got.ok()
			} else {
				got.refused(410, "LimitExceededException", arn)
			}
		}
		var names []string
		marker := ""
		for {
			list := a.do("POST", attached+"?pageSize=4&marker="+marker, "", "").ok()
			for _, p := range list["policies"].([]any) {
				names = append(names, p.(map[string]any)["policyName"].(string))
			}
			next, more := list["nextMarker"].(string)
			if !more {
				break
			}
			marker = next
		}
		if len(names) != 10 {
			t.Errorf("got %v", names)
		}
	})
	unknown := strings.Repeat("0", 64)
	for _, tc := range []struct{ title, method, path, header, body, text string }{
		{"unknown thing", "PUT", "/things/none/principals", principal, "", "thing none not found"},
		{"unknown thing, listed", "GET", "/things/none/principals", "", "", "thing none not found"},
		{"unknown certificate", "PUT", "/things/lamp/principals", "x-amzn-principal: " + arnPrefix + "cert/" + unknown, "", unknown},
		{"unknown certificate, listed", "GET", "/principals/things", "x-amzn-principal: " + arnPrefix + "cert/" + unknown, "", unknown},
		{"foreign certificate", "PUT", "/things/lamp/principals", "x-amzn-principal: " + foreign, "", "not found"},
		{"foreign certificate under our name", "PUT", "/things/lamp/principals", "x-amzn-principal: " + strings.Replace(foreign, there.Account, here.Account, 1), "", "not found"},
		{"foreign target", "PUT", "/target-policies/p", "", object("target", foreign), "not found"},
		{"foreign target, listed", "POST", "/attached-policies/" + url.QueryEscape(foreign), "", "", "not found"},
		{"unknown policy", "PUT", "/target-policies/none", "", object("target", arn), "policy none not found"},
		{"unknown policy, detached", "DELETE", "/principal-policies/none", iotPrincipal, "", "policy none not found"},
		{"unknown policy, listed", "POST", "/policy-targets/none", "", "", "policy none not found"},
	} {
		t.Run("not found: "+tc.title, func(t *testing.T) {
			a := a.with(t)
			a.do(tc.method, tc.path, tc.header, tc.body).refused(404, "ResourceNotFoundException", tc.text)
		})
	}
	t.Run("DetachPolicy has no error for what is unknown", func(t *testing.T) {
		a := a.with(t)
		a.do("POST", "/target-policies/none", "", object("target", arn)).ok()
	})
	for _, tc := range []struct{ title, method, path, header, body, text string }{
		{"no principal", "PUT", "/things/lamp/principals", "", "", "X-Amzn-Principal"},
		{"no ARN", "PUT", "/things/lamp/principals", "x-amzn-principal: x", "", "ARN"},
		{"a Cognito identity", "PUT", "/principal-policies/p", "x-amzn-iot-principal: us-east-1:0000", "", "ARN"},
		{"an ARN of a thing", "PUT", "/things/lamp/principals", "x-amzn-principal: " + arnPrefix + "thing/lamp", "", "ARN"},
		{"an ARN with a path", "PUT", "/things/lamp/principals", "x-amzn-principal: " + arnPrefix + "cert/../" + unknown, "", "ARN"},
		{"bad UTF-8", "PUT", "/things/lamp/principals", "x-amzn-principal: " + arnPrefix + "cert/\xff", "", "ARN"},
		{"an exclusive thing", "PUT", "/things/lamp/principals?thingPrincipalType=EXCLUSIVE_THING", principal, "", "EXCLUSIVE_THING"},
		{"no target", "PUT", "/target-policies/p", "", "{}", "target"},
		{"a thing group", "PUT", "/target-policies/p", "", object("target", arnPrefix+"thinggroup/g"), "thing groups"},
		{"a target that is a list", "POST", "/target-policies/p", "", `{"target":[]}`, "target"},
		{"no policy", "GET", "/policy-principals", "", "", "policy name"},
		{"a target that is a path", "POST", "/attached-policies/..%2f..", "", "", "ARN"},
		{"a flag that is none", "POST", attached + "?recursive=x", "", "", "recursive"},
	} {
		t.Run("refused: "+tc.title, func(t *testing.T) {
			a := a.with(t)
			a.do(tc.method, tc.path, tc.header, tc.body).refused(400, "InvalidRequestException", tc.text)
		})
	}
}
