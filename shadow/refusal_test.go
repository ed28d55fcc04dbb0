package shadow_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/shadow"
)

func nested(levels int) string {
	return strings.Repeat(`{"a":`, levels) + "1" + strings.Repeat("}", levels)
}

func TestRefusedUpdates(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ title, payload, want string }{
		{"nothing", ``, "400: Missing update payload"},
		{"white space", " \n", "400: Missing update payload"},
		{"no JSON", `{"state":`, "400: Invalid JSON"},
		{"two documents", `{"state":{}}{}`, "400: Invalid JSON"},
		{"an array", `[]`, "400: Invalid JSON"},
		{"null", `null`, "400: Invalid JSON"},
		{"a text", `"state"`, "400: Invalid JSON"},
		{"no UTF-8", "{\"state\":{\"desired\":{\"a\":\"\xff\"}}}", "415: Unsupported documented encoding; supported encoding is UTF-8"},
		{"no state", `{"desired":{}}`, "400: Missing required node: state"},
		{"a state of another type", `{"state":[]}`, "400: State node must be an object"},
		{"desired of another type", `{"state":{"desired":1}}`, "400: Desired node must be an object"},
		{"reported of another type", `{"state":{"reported":[1]}}`, "400: Reported node must be an object"},
		{"a version of another type", `{"state":{},"version":"1"}`, "400: Invalid version"},
		{"a version with a fraction", `{"state":{},"version":1.5}`, "400: Invalid version"},
		{"version 0", `{"state":{},"version":0}`, "400: Invalid version"},
		{"a version beyond all", `{"state":{},"version":99999999999999999999}`, "400: Invalid version"},
		{"a version of what never was", `{"state":{},"version":2}`, "400: Invalid version"},
		{"a token of another type", `{"state":{},"clientToken":1}`, "400: Invalid clientToken"},
		{"a token too long", `{"state":{},"clientToken":"` + strings.Repeat("x", 65) + `"}`, "400: Invalid clientToken"},
		{"null in an array", `{"state":{"desired":{"a":[1,null]}}}`, "400: State contains an invalid node"},
		{"null deep in an array", `{"state":{"desired":{"a":[{"b":null}]}}}`, "400: State contains an invalid node"},
		{"nine levels", `{"state":{"desired":` + nested(9) + `}}`, "400: JSON contains too many levels of nesting; maximum is 8"},
		{"nine levels of arrays", `{"state":{"reported":{"a":` + strings.Repeat("[", 9) + strings.Repeat("]", 9) + `}}}`, "400: JSON contains too many levels of nesting; maximum is 8"},
		{"levels beyond all", `{"state":{"reported":{"a":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}}}`, "400: Invalid JSON"},
		{"more than 8 KB", `{"state":{"reported":{"a":"` + strings.Repeat("x", 8<<10) + `"}}}`, "413: The payload exceeds the maximum size allowed"},
		{"more than 8 KB in both", `{"state":{"reported":{"a":"` + strings.Repeat("x", 4<<10) + `"},"desired":{"a":"` + strings.Repeat("x", 4<<10) + `"}}}`, "413: The payload exceeds the maximum size allowed"},
	} {
		t.Run(tc.title, func(t *testing.T) {
			t.Parallel()
			u, err := shadow.ParseUpdate([]byte(tc.payload), shadow.CloudLimits)
			if err == nil {
				_, err = shadow.Document{}.Apply(u, first, shadow.CloudLimits)
			}
			if err == nil || err.Error() != tc.want {
				t.Errorf("%v, want %s", err, tc.want)
			}
		})
	}
}

func TestTakenUpdates(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ title, payload string }{
		{"eight levels", `{"state":{"desired":` + nested(8) + `}}`},
		{"8 KB", `{"state":{"reported":{"a":"` + strings.Repeat("x", 8<<10-8) + `"}}}`},
		{"version 1 of nothing", `{"state":{},"version":1}`},
		{"a token of 64 bytes", `{"state":{},"clientToken":"` + strings.Repeat("x", 64) + `"}`},
		{"letters of any script", `{"state":{"reported":{"温度":"\u0000<&>"}}}`},
	} {
		t.Run(tc.title, func(t *testing.T) {
			t.Parallel()
			run(t, tc.payload)
		})
	}
}

func TestVersionConflict(t *testing.T) {
	t.Parallel()
	d, _, _ := run(t, `{"state":{}}`, `{"state":{}}`)
	for version := int64(1); version <= 3; version++ {
		u, err := shadow.ParseUpdate(fmt.Appendf(nil, `{"state":{},"version":%d}`, version), shadow.CloudLimits)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Apply(u, first, shadow.CloudLimits); (err == nil) != (version == 2) {
			t.Errorf("version %d of 2: %v", version, err)
		}
	}
}

func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		payload string
		want    shadow.Request
		refusal string
	}{
		{``, shadow.Request{}, ""},
		{`{}`, shadow.Request{}, ""},
		{`{"clientToken":"t","version":3}`, shadow.Request{ClientToken: "t", Version: 3}, ""},
		{`{`, shadow.Request{}, "400: Invalid JSON"},
		{`[]`, shadow.Request{}, "400: Invalid JSON"},
		{"\xff", shadow.Request{}, "415: Unsupported documented encoding; supported encoding is UTF-8"},
		{`{"clientToken":{}}`, shadow.Request{}, "400: Invalid clientToken"},
		{`{"clientToken":"t","version":"x"}`, shadow.Request{ClientToken: "t"}, "400: Invalid version"},
	} {
		got, err := shadow.ParseRequest([]byte(tc.payload))
		if got != tc.want || (err == nil) != (tc.refusal == "") || err != nil && err.Error() != tc.refusal {
			t.Errorf("%s: %+v, %v; want %+v, %s", tc.payload, got, err, tc.want, tc.refusal)
		}
	}
}

func TestAnswerOfARefusal(t *testing.T) {
	t.Parallel()
	sameJSON(t, "with a token", `{"code":409,"message":"Version conflict","timestamp":1000,"clientToken":"t"}`, shadow.ErrConflict.Answer(first, "t"))
	sameJSON(t, "without", `{"code":400,"message":"Invalid JSON","timestamp":1000}`, shadow.ErrInvalidJSON.Answer(first, ""))
	sameJSON(t, "classic", `{"code":404,"message":"No shadow exists with name: 'lamp'","timestamp":1000}`, shadow.ErrNotFound(lamp).Answer(first, ""))
	sameJSON(t, "named", `{"code":404,"message":"No shadow exists with name: 'night'","timestamp":1000}`, shadow.ErrNotFound(shadow.ID{Thing: "lamp", Name: "night"}).Answer(first, ""))
}

func TestNames(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		id shadow.ID
		ok bool
	}{
		{lamp, true},
		{shadow.ID{Thing: "Mill_Core-gda"}, true},
		{shadow.ID{Thing: "lamp", Name: "$night:1-_"}, true},
		{shadow.ID{Thing: strings.Repeat("x", 128), Name: strings.Repeat("x", 64)}, true},
		{shadow.ID{}, false},
		{shadow.ID{Thing: "a b"}, false},
		{shadow.ID{Thing: "a\n"}, false},
		{shadow.ID{Thing: strings.Repeat("x", 129)}, false},
		{shadow.ID{Thing: "lamp", Name: "a/b"}, false},
		{shadow.ID{Thing: "lamp", Name: strings.Repeat("x", 65)}, false},
	} {
		if err := tc.id.Validate(); (err == nil) != tc.ok {
			t.Errorf("%+v: %v", tc.id, err)
		}
	}
}
