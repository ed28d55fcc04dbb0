package lambda_test

import (
	"strings"
	"testing"
)

func TestRestoreFunctionVersion(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	const versions = "/fescue/v1/functions/f/versions/"
	body := func(code, more string) string {
		return strings.Replace(creation(t, more), encoded(t, "code"), encoded(t, code), 1)
	}
	// In order: each step builds on those before.
	for _, step := range []struct {
		name, method, path, body string
		status                   int
		typ, text                string
		members                  map[string]any
	}{
		{"a function that is not there", "PUT", versions + "7", body("seven", ""), 200, "", "", map[string]any{"FunctionArn": arn + ":7", "Made": true}},
		{"again", "PUT", versions + "7", body("seven", ""), 200, "", "", map[string]any{"FunctionArn": arn + ":7", "Made": false}},
		{"read", "GET", all + "/f/configuration?Qualifier=7", "", 200, "", "", map[string]any{"Version": "7", "Handler": "app.handler", "Runtime": "python3.7"}},
		{"it is $LATEST too", "GET", all + "/f/configuration", "", 200, "", "", map[string]any{"Version": "$LATEST"}},
		{"other code", "PUT", versions + "7", body("other", ""), 409, "ResourceConflictException", "Version 7 of " + arn + " exists with other code or settings", nil},
		{"other settings", "PUT", versions + "7", body("seven", `,"Timeout":9`), 409, "ResourceConflictException", "other code or settings", nil},
		{"a lower number", "PUT", versions + "2", body("two", `,"Description":"d","Timeout":9,"MemorySize":256,"Environment":{"Variables":{"AB":"c"}},"Architectures":["arm64"]`), 200, "", "", map[string]any{"Made": true}},
		{"all of it is kept", "GET", all + "/f/configuration?Qualifier=2", "", 200, "", "", map[string]any{
			"Description": "d", "Timeout": 9, "MemorySize": 256, "Environment": "map[Variables:map[AB:c]]", "Architectures": "[arm64]",
		}},
		{"an alias", "POST", all + "/f/aliases", `{"Name":"live","FunctionVersion":"7"}`, 201, "", "", nil},
		{"the next publication goes on above", "PUT", all + "/f/code", `{"Publish":true,"ZipFile":"` + encoded(t, "next") + `"}`, 200, "", "", map[string]any{"Version": "8"}},
		{"no code", "PUT", versions + "9", `{"Runtime":"python3.7","Role":"` + role + `","Handler":"h"}`, 400, "InvalidParameterValueException", "Code.ZipFile is missing", nil},
		{"no zip", "PUT", versions + "9", strings.Replace(body("x", ""), encoded(t, "x"), "eA==", 1), 400, "InvalidParameterValueException", "Could not unzip", nil},
		{"no runtime", "PUT", versions + "9", `{"Role":"` + role + `","Handler":"h","Code":{"ZipFile":"` + encoded(t, "x") + `"}}`, 400, "InvalidParameterValueException", "Runtime and Handler are mandatory", nil},
		{"number 0", "PUT", versions + "0", body("x", ""), 400, "ValidationException", "number of a published version", nil},
		{"a negative number", "PUT", versions + "-1", body("x", ""), 400, "ValidationException", "number of a published version", nil},
		{"a leading zero", "PUT", versions + "07", body("x", ""), 400, "ValidationException", "number of a published version", nil},
		{"$LATEST", "PUT", versions + "$LATEST", body("x", ""), 400, "ValidationException", "number of a published version", nil},
		{"a number beyond all", "PUT", versions + "9999999999999999999", body("x", ""), 400, "ValidationException", "number of a published version", nil},
		{"another function's ARN", "PUT", strings.Replace(versions, "/f/", "/arn:aws:lambda:eu-west-1:123456789012:function:f/", 1) + "9", body("x", ""), 404, "ResourceNotFoundException", "Function not found", nil},
		{"no body", "PUT", versions + "9", ``, 400, "InvalidParameterValueException", "Code.ZipFile is missing", nil},
	} {
		got := c.do(t, step.method, step.path, step.body).want(t, step.status, step.typ, step.text)
		got.members(t, step.members)
		if t.Failed() {
			t.Fatalf("at step %q", step.name)
		}
	}
}
