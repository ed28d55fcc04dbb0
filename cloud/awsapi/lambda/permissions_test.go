package lambda_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPermissions(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.do(t, "POST", all, creation(t, `,"Publish":true`)).want(t, 201, "", "")
	c.do(t, "POST", all+"/f/aliases", `{"Name":"PROD","FunctionVersion":"1"}`).want(t, 201, "", "")
	decoded := func(t *testing.T, text any) (v any) {
		t.Helper()
		s, _ := text.(string)
		if err := json.Unmarshal([]byte(s), &v); err != nil {
			t.Fatalf("%v: %v", text, err)
		}
		return v
	}
	statement := func(id, resource string, principal any, condition map[string]any) map[string]any {
		s := map[string]any{"Sid": id, "Effect": "Allow", "Principal": principal, "Action": "lambda:InvokeFunction", "Resource": resource}
		if condition != nil {
			s["Condition"] = condition
		}
		return s
	}
	const policy = all + "/f/policy"
	c.do(t, "GET", policy, "").want(t, 404, "ResourceNotFoundException", "does not exist")
	for _, tc := range []struct {
		title, path, body string
		want              map[string]any
	}{
		{"a service", policy, `{"StatementId":"s","Action":"lambda:InvokeFunction","Principal":"iot.amazonaws.com","SourceArn":"arn:aws:iot:us-east-1:123456789012:rule/r","SourceAccount":"123456789012"}`,
			statement("s", arn, map[string]any{"Service": "iot.amazonaws.com"}, map[string]any{
				"StringEquals": map[string]any{"AWS:SourceAccount": "123456789012"}, "ArnLike": map[string]any{"AWS:SourceArn": "arn:aws:iot:us-east-1:123456789012:rule/r"},
			})},
		{"an account", policy, `{"StatementId":"a","Action":"lambda:InvokeFunction","Principal":"210987654321"}`,
			statement("a", arn, map[string]any{"AWS": "arn:aws:iam::210987654321:root"}, nil)},
		{"everybody, of an alias", policy + "?Qualifier=PROD", `{"StatementId":"a","Action":"lambda:InvokeFunction","Principal":"*"}`,
			statement("a", arn+":PROD", "*", nil)},
		{"a role, of a version", all + "/f:1/policy", `{"StatementId":"a","Action":"lambda:InvokeFunction","Principal":"` + role + `"}`,
			statement("a", arn+":1", map[string]any{"AWS": role}, nil)},
	} {
		t.Run(tc.title, func(t *testing.T) {
			got := c.do(t, "POST", tc.path, tc.body).want(t, 201, "", "")
			if diff := cmp.Diff(any(tc.want), decoded(t, got.body["Statement"])); diff != "" {
				t.Error(diff)
			}
			c.do(t, "POST", tc.path, tc.body).want(t, 409, "ResourceConflictException", "already exists")
		})
	}
	t.Run("the policy", func(t *testing.T) {
		got, _ := decoded(t, c.do(t, "GET", policy, "").want(t, 200, "", "").body["Policy"]).(map[string]any)
		if list, _ := got["Statement"].([]any); got["Version"] != "2012-10-17" || len(list) != 2 {
			t.Errorf("%v", got)
		}
		if got := c.do(t, "GET", policy+"?Qualifier=PROD", "").text; !strings.Contains(got, "PROD") {
			t.Error(got)
		}
	})
	for title, tc := range map[string]struct {
		path, body string
		status     int
		typ, text  string
	}{
		"an id":               {policy, `{"StatementId":"a b","Action":"lambda:InvokeFunction","Principal":"*"}`, 400, "ValidationException", "statementId"},
		"an action":           {policy, `{"StatementId":"x","Action":"s3:GetObject","Principal":"*"}`, 400, "ValidationException", "action"},
		"no principal":        {policy, `{"StatementId":"x","Action":"lambda:InvokeFunction"}`, 400, "ValidationException", "principal"},
		"an account's form":   {policy, `{"StatementId":"x","Action":"lambda:InvokeFunction","Principal":"*","SourceAccount":"1"}`, 400, "ValidationException", "sourceAccount"},
		"a type":              {policy, `{"StatementId":1}`, 400, "InvalidRequestContentException", "StatementId"},
		"a revision":          {policy, `{"StatementId":"x","Action":"lambda:InvokeFunction","Principal":"*","RevisionId":"r"}`, 400, "InvalidParameterValueException", "RevisionId"},
		"$LATEST":             {policy + "?Qualifier=$LATEST", `{"StatementId":"x","Action":"lambda:InvokeFunction","Principal":"*"}`, 400, "InvalidParameterValueException", "$LATEST"},
		"an unknown function": {all + "/g/policy", `{"StatementId":"x","Action":"lambda:InvokeFunction","Principal":"*"}`, 404, "ResourceNotFoundException", "Function not found"},
		"an unknown alias":    {policy + "?Qualifier=NONE", `{"StatementId":"x","Action":"lambda:InvokeFunction","Principal":"*"}`, 404, "ResourceNotFoundException", "NONE"},
		"an unknown version":  {policy + "?Qualifier=9", `{"StatementId":"x","Action":"lambda:InvokeFunction","Principal":"*"}`, 404, "ResourceNotFoundException", "Function not found"},
	} {
		t.Run(title, func(t *testing.T) {
			c.do(t, "POST", tc.path, tc.body).want(t, tc.status, tc.typ, tc.text)
		})
	}
	t.Run("remove", func(t *testing.T) {
		c.do(t, "DELETE", policy+"/a", "").want(t, 204, "", "")
		c.do(t, "DELETE", policy+"/a", "").want(t, 404, "ResourceNotFoundException", "Statement a is not found")
		c.do(t, "GET", policy, "", "Test-Region", "eu-west-1").want(t, 404, "ResourceNotFoundException", "")
	})
}
