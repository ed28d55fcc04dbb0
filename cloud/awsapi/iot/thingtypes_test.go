package iot_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestThingTypes(t *testing.T) {
	t.Parallel()
	a := open(t)
	const settings = `{"thingTypeProperties":{"thingTypeDescription":"it shines","searchableAttributes":["colour","size"]}}`
	at := float64(now.UnixMilli()) / 1000

	made := a.do("POST", "/thing-types/light", "", settings).ok()
	id, _ := made["thingTypeId"].(string)
	if diff := cmp.Diff(map[string]any{"thingTypeName": "light", "thingTypeArn": arnPrefix + "thingtype/light", "thingTypeId": id}, made); diff != "" || len(id) != 36 {
		t.Error(diff)
	}
	if diff := cmp.Diff(made, a.do("POST", "/thing-types/light", "", settings).ok()); diff != "" {
		t.Error(diff)
	}
	body := a.do("POST", "/thing-types/light", "", "{}").refused(409, "ResourceAlreadyExistsException", "Thing type light already exists")
	if body["resourceArn"] != made["thingTypeArn"] || body["resourceId"] != "light" {
		t.Errorf("got %v", body)
	}
	described := func(metadata map[string]any, properties map[string]any) map[string]any {
		return map[string]any{
			"thingTypeName": "light", "thingTypeArn": made["thingTypeArn"], "thingTypeId": id, "thingTypeProperties": properties, "thingTypeMetadata": metadata,
		}
	}
	is := func(want map[string]any) {
		t.Helper()
		if diff := cmp.Diff(want, a.do("GET", "/thing-types/light", "", "").ok()); diff != "" {
			t.Error(diff)
		}
	}
	properties := map[string]any{"thingTypeDescription": "it shines", "searchableAttributes": []any{"colour", "size"}}
	is(described(map[string]any{"deprecated": false, "creationDate": at}, properties))
	a.do("PATCH", "/thing-types/light", "", `{"thingTypeProperties":{"thingTypeDescription":"it glows"}}`).ok()
	properties = map[string]any{"thingTypeDescription": "it glows"}
	is(described(map[string]any{"deprecated": false, "creationDate": at}, properties))

	a.do("POST", "/things/lamp", "", `{"thingTypeName":"light"}`).ok()
	a.do("POST", "/things/bare", "", "").ok()
	if list := a.do("GET", "/things?thingTypeName=light", "", "").ok(); len(list["things"].([]any)) != 1 {
		t.Errorf("got %v", list)
	}
	a.do("DELETE", "/thing-types/light", "", "").refused(400, "InvalidRequestException", "light is not deprecated")
	a.do("POST", "/thing-types/light/deprecate", "", "").ok()
	is(described(map[string]any{"deprecated": true, "deprecationDate": at, "creationDate": at}, properties))
	a.do("POST", "/things/late", "", `{"thingTypeName":"light"}`).refused(400, "InvalidRequestException", "deprecated thing type:light")
	a.do("PATCH", "/things/bare", "", `{"thingTypeName":"light"}`).refused(400, "InvalidRequestException", "deprecated thing type:light")
	a.do("DELETE", "/thing-types/light", "", "").refused(400, "InvalidRequestException", "light still has things")
	a.do("POST", "/thing-types/light/deprecate", "", `{"undoDeprecate":true}`).ok()
	a.do("POST", "/things/late", "", `{"thingTypeName":"light"}`).ok()

	a.do("POST", "/thing-types/heavy", "", "").ok()
	list := a.do("GET", "/thing-types?maxResults=1", "", "").ok()
	types := list["thingTypes"].([]any)
	want := map[string]any{
		"thingTypeName": "heavy", "thingTypeArn": arnPrefix + "thingtype/heavy", "thingTypeProperties": map[string]any{},
		"thingTypeMetadata": map[string]any{"deprecated": false, "creationDate": at},
	}
	next, _ := list["nextToken"].(string)
	if diff := cmp.Diff([]any{want}, types); diff != "" || next == "" {
		t.Error(diff, next)
	}
	list = a.do("GET", "/thing-types?nextToken="+next, "", "").ok()
	if _, more := list["nextToken"]; more || len(list["thingTypes"].([]any)) != 1 {
		t.Errorf("got %v", list)
	}
	for name, want := range map[string]int{"light": 1, "none": 0} {
		if list := a.do("GET", "/thing-types?thingTypeName="+name, "", "").ok(); len(list["thingTypes"].([]any)) != want {
			t.Errorf("%s: %v", name, list)
		}
	}
	if diff := cmp.Diff(map[string]any{"thingTypes": []any{}}, a.call(there, "GET", "/thing-types", "", "").ok()); diff != "" {
		t.Error(diff)
	}
	a.call(there, "GET", "/thing-types/light", "", "").refused(404, "ResourceNotFoundException", "thing type light not found")
	for _, call := range []struct{ method, path, body string }{
		{"GET", "/thing-types/none", ""}, {"PATCH", "/thing-types/none", "{}"}, {"DELETE", "/thing-types/none", ""}, {"POST", "/thing-types/none/deprecate", ""},
	} {
		a.do(call.method, call.path, "", call.body).refused(404, "ResourceNotFoundException", "thing type none not found")
	}
	for _, tc := range []struct{ title, method, path, body, text string }{
		{"a space", "POST", "/thing-types/a%20b", "", "thing type name"},
		{"no name", "POST", "/thing-types/", "", "thingTypeName of CreateThingType is empty"},
		{"not JSON", "POST", "/thing-types/x", "{", "JSON"},
		{"a number for a text", "POST", "/thing-types/x", `{"thingTypeProperties":{"thingTypeDescription":1}}`, "thingTypeDescription"},
		{"too many attributes", "POST", "/thing-types/x", `{"thingTypeProperties":{"searchableAttributes":["a","b","c","d"]}}`, "at most 3"},
		{"MQTT 5", "POST", "/thing-types/x", `{"thingTypeProperties":{"mqtt5Configuration":{"propagatingAttributes":[]}}}`, "mqtt5Configuration"},
		{"tags", "POST", "/thing-types/x", `{"tags":[{"Key":"a","Value":"b"}]}`, "tags"},
		{"a text for a truth", "POST", "/thing-types/light/deprecate", `{"undoDeprecate":"yes"}`, "undoDeprecate"},
		{"a page of none", "GET", "/thing-types?maxResults=0", "", "maxResults"},
		{"a foreign token", "GET", "/thing-types?nextToken=x", "", "nextToken"},
		{"a name that is none", "GET", "/thing-types?thingTypeName=a%20b", "", "thing type name"},
	} {
		a.do(tc.method, tc.path, "", tc.body).refused(400, "InvalidRequestException", tc.text)
	}
	for _, name := range []string{"lamp", "late"} {
		a.do("DELETE", "/things/"+name, "", "").ok()
	}
	a.do("POST", "/thing-types/light/deprecate", "", `{"undoDeprecate":false}`).ok()
	a.do("DELETE", "/thing-types/light", "", "").ok()
}
