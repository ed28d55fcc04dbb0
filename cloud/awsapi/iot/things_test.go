package iot_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestThings(t *testing.T) {
	t.Parallel()
	a := open(t)
	const settings = `{"thingTypeName":"light","attributePayload":{"attributes":{"colour":"red"}}}`

	a.do("POST", "/things/a%3Ab", "", settings).refused(404, "ResourceNotFoundException", "thing type light not found")
	a.do("POST", "/thing-types/light", "", "").ok()
	made := a.do("POST", "/things/a%3Ab", "", settings).ok()
	t.Run("create answers name, ARN and id", func(t *testing.T) {
		id, _ := made["thingId"].(string)
		want := map[string]any{"thingName": "a:b", "thingArn": arnPrefix + "thing/a:b", "thingId": id}
		if diff := cmp.Diff(want, made); diff != "" || len(id) != 36 {
			t.Error(diff)
		}
	})
	t.Run("the same again is the same", func(t *testing.T) {
		a := a.with(t)
		if diff := cmp.Diff(made, a.do("POST", "/things/a:b/", "", settings).ok()); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("other settings are refused", func(t *testing.T) {
		a := a.with(t)
		body := a.do("POST", "/things/a:b", "", "").refused(409, "ResourceAlreadyExistsException", "already exists in account with different attributes")
		if body["resourceArn"] != made["thingArn"] || body["resourceId"] != "a:b" {
			t.Errorf("got %v", body)
		}
	})
	t.Run("describe", func(t *testing.T) {
		a := a.with(t)
		want := map[string]any{
			"defaultClientId": "a:b", "thingName": "a:b", "thingId": made["thingId"], "thingArn": made["thingArn"],
			"thingTypeName": "light", "attributes": map[string]any{"colour": "red"}, "version": 1.0,
		}
		if diff := cmp.Diff(want, a.do("GET", "/things/a:b", "", "").ok()); diff != "" {
			t.Error(diff)
		}
		a.do("POST", "/things/bare", "", "{}").ok()
		bare := a.do("GET", "/things/bare", "", "").ok()
		if _, ok := bare["thingTypeName"]; ok || cmp.Diff(map[string]any{}, bare["attributes"]) != "" {
			t.Errorf("got %v", bare)
		}
	})
	t.Run("update", func(t *testing.T) {
		a := a.with(t)
		a.do("PATCH", "/things/a:b", "", `{"expectedVersion":1,"removeThingType":true,"attributePayload":{"attributes":{"size":"2"},"merge":true}}`).ok()
		got := a.do("GET", "/things/a:b", "", "").ok()
		delete(got, "thingId")
		want := map[string]any{
			"defaultClientId": "a:b", "thingName": "a:b", "thingArn": made["thingArn"],
			"attributes": map[string]any{"colour": "red", "size": "2"}, "version": 2.0,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		a.do("PATCH", "/things/a:b", "", `{"expectedVersion":1}`).refused(409, "VersionConflictException", "a:b")
	})
	t.Run("list", func(t *testing.T) {
		a := a.with(t)
		list := a.do("GET", "/things?maxResults=1", "", "").ok()
		next, _ := list["nextToken"].(string)
		things := list["things"].([]any)
		if len(things) != 1 || things[0].(map[string]any)["thingName"] != "a:b" || next == "" {
			t.Fatalf("got %v", list)
		}
		a.do("POST", "/things/aa", "", "").ok() // before the page that follows
		list = a.do("GET", "/things?nextToken="+next, "", "").ok()
		if _, more := list["nextToken"]; more || len(list["things"].([]any)) != 2 {
			t.Errorf("got %v", list)
		}
		list = a.do("GET", "/things?attributeName=colour&attributeValue=red", "", "").ok()
		if len(list["things"].([]any)) != 1 {
			t.Errorf("got %v", list)
		}
		if diff := cmp.Diff(map[string]any{"things": []any{}}, a.call(there, "GET", "/things", "", "").ok()); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("delete", func(t *testing.T) {
		a := a.with(t)
		a.do("DELETE", "/things/a:b?expectedVersion=1", "", "").refused(409, "VersionConflictException", "a:b")
		a.do("DELETE", "/things/a:b?expectedVersion=2", "", "").ok()
		a.do("DELETE", "/things/a:b", "", "").ok()
		a.do("GET", "/things/a:b", "", "").refused(404, "ResourceNotFoundException", "thing a:b not found")
	})
	for _, tc := range []struct{ title, method, path, body, text string }{
		{"a slash in the name", "POST", "/things/..%2fx", "", "thing name"},
		{"dots alone", "GET", "/things/%2e%2e", "", "thing name"},
		{"NUL", "GET", "/things/a%00b", "", "malformed"},
		{"bad UTF-8", "GET", "/things/%ff", "", "malformed"},
		{"a space", "GET", "/things/a%20b", "", "thing name"},
		{"129 characters", "GET", "/things/" + strings.Repeat("a", 129), "", "thing name"},
		{"not JSON", "POST", "/things/x", "{", "JSON"},
		{"a list", "POST", "/things/x", "[]", "array"},
		{"two documents", "POST", "/things/x", "{}{}", "after"},
		{"a number for a name", "POST", "/things/x", `{"thingTypeName":1}`, "thingTypeName"},
		{"a number for a value", "POST", "/things/x", `{"attributePayload":{"attributes":{"a":1}}}`, "attributes"},
		{"null for a value", "POST", "/things/x", `{"attributePayload":{"attributes":{"a":null}}}`, "attribute"},
		{"bad UTF-8 in the body", "POST", "/things/x", "{\"thingTypeName\":\"\xff\"}", "UTF-8"},
		{"NUL in the body", "POST", "/things/x", `{"thingTypeName":"\u0000"}`, "NUL"},
		{"a body too large", "POST", "/things/x", `{"thingTypeName":"` + strings.Repeat("x", 1<<20) + `"}`, "body"},
		{"a billing group", "POST", "/things/x", `{"billingGroupName":"b"}`, "billingGroupName"},
		{"an expected version that is text", "PATCH", "/things/x", `{"expectedVersion":"1"}`, "expectedVersion"},
		{"an expected version that is none", "DELETE", "/things/x?expectedVersion=x", "", "expectedVersion"},
		{"a page of none", "GET", "/things?maxResults=0", "", "maxResults"},
		{"a page too large", "GET", "/things?maxResults=251", "", "maxResults"},
		{"a foreign token", "GET", "/things?nextToken=x", "", "nextToken"},
		{"a token of nothing", "GET", "/things?nextToken=e30", "", "nextToken"},
		{"a value without a name", "GET", "/things?attributeValue=x", "", "attributeName"},
		{"a broken query", "GET", "/things?maxResults=%zz", "", "query"},
	} {
		t.Run("refused: "+tc.title, func(t *testing.T) {
			a := a.with(t)
			a.do(tc.method, tc.path, "", tc.body).refused(400, "InvalidRequestException", tc.text)
		})
	}
}
