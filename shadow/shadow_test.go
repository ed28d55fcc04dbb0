package shadow_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/shadow"
)

var (
	lamp  = shadow.ID{Thing: "lamp"}
	first = time.Unix(1000, 0)
)

// run applies updates one second after another, each of which must be accepted.
func run(t *testing.T, updates ...string) (d shadow.Document, u shadow.Update, at time.Time) {
	t.Helper()
	at = first
	for i, payload := range updates {
		at = first.Add(time.Duration(i) * time.Second)
		var err error
		if u, err = shadow.ParseUpdate([]byte(payload), shadow.CloudLimits); err != nil {
			t.Fatalf("%s: %v", payload, err)
		}
		if d, err = d.Apply(u, at, shadow.CloudLimits); err != nil {
			t.Fatalf("%s: %v", payload, err)
		}
	}
	return d, u, at
}

// sameJSON compares texts as JSON.
func sameJSON(t *testing.T, what, want string, got []byte) {
	t.Helper()
	var a, b any
	if err := json.Unmarshal([]byte(want), &a); err != nil {
		t.Fatalf("%s: %v in %s", what, err, want)
	}
	if err := json.Unmarshal(got, &b); err != nil {
		t.Fatalf("%s: %v in %s", what, err, got)
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// TestUpdates drives documents through updates at 1000, 1001, … and looks at what
// a get answers after the last, and at the answer to the last.
func TestUpdates(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		title    string
		updates  []string
		got      string
		accepted string
	}{
		{
			"the first", []string{`{"state":{"desired":{"color":"red"}},"clientToken":"t1"}`},
			`{"state":{"desired":{"color":"red"},"delta":{"color":"red"}},"metadata":{"desired":{"color":{"timestamp":1000}}},"version":1,"timestamp":1000,"clientToken":"x"}`,
			`{"state":{"desired":{"color":"red"}},"metadata":{"desired":{"color":{"timestamp":1000}}},"version":1,"timestamp":1000,"clientToken":"t1"}`,
		},
		{
			"objects merge, the answer says only what was asked",
			[]string{`{"state":{"reported":{"a":{"b":1,"c":2}}}}`, `{"state":{"reported":{"a":{"c":3}}}}`},
			`{"state":{"reported":{"a":{"b":1,"c":3}}},"metadata":{"reported":{"a":{"b":{"timestamp":1000},"c":{"timestamp":1001}}}},"version":2,"timestamp":1001,"clientToken":"x"}`,
			`{"state":{"reported":{"a":{"c":3}}},"metadata":{"reported":{"a":{"c":{"timestamp":1001}}}},"version":2,"timestamp":1001}`,
		},
		{
			"arrays are replaced as a whole and have metadata for each element",
			[]string{`{"state":{"reported":{"a":[1,2,3]}}}`, `{"state":{"reported":{"a":[4,[5],{"b":6}]}}}`},
			`{"state":{"reported":{"a":[4,[5],{"b":6}]}},"metadata":{"reported":{"a":[{"timestamp":1001},[{"timestamp":1001}],{"b":{"timestamp":1001}}]}},"version":2,"timestamp":1001,"clientToken":"x"}`,
			`{"state":{"reported":{"a":[4,[5],{"b":6}]}},"metadata":{"reported":{"a":[{"timestamp":1001},[{"timestamp":1001}],{"b":{"timestamp":1001}}]}},"version":2,"timestamp":1001}`,
		},
		{
			"a value of another type is replaced",
			[]string{`{"state":{"reported":{"a":{"b":1},"c":1}}}`, `{"state":{"reported":{"a":2,"c":{"d":1}}}}`},
			`{"state":{"reported":{"a":2,"c":{"d":1}}},"metadata":{"reported":{"a":{"timestamp":1001},"c":{"d":{"timestamp":1001}}}},"version":2,"timestamp":1001,"clientToken":"x"}`,
			`{"state":{"reported":{"a":2,"c":{"d":1}}},"metadata":{"reported":{"a":{"timestamp":1001},"c":{"d":{"timestamp":1001}}}},"version":2,"timestamp":1001}`,
		},
		{
			"null removes and is echoed",
			[]string{`{"state":{"desired":{"a":1,"b":2}}}`, `{"state":{"desired":{"a":null,"none":null}}}`},
			`{"state":{"desired":{"b":2},"delta":{"b":2}},"metadata":{"desired":{"b":{"timestamp":1000}}},"version":2,"timestamp":1001,"clientToken":"x"}`,
			`{"state":{"desired":{"a":null,"none":null}},"metadata":{"desired":{}},"version":2,"timestamp":1001}`,
		},
		{
			"a section left empty disappears, an object in it does not",
			[]string{`{"state":{"desired":{"a":1},"reported":{"b":{"c":1}}}}`, `{"state":{"desired":{"a":null},"reported":{"b":{"c":null}}}}`},
			`{"state":{"reported":{"b":{}}},"metadata":{"reported":{"b":{}}},"version":2,"timestamp":1001,"clientToken":"x"}`,
			`{"state":{"desired":{"a":null},"reported":{"b":{"c":null}}},"metadata":{"desired":{},"reported":{"b":{}}},"version":2,"timestamp":1001}`,
		},
		{
			"an object of nulls is not made", []string{`{"state":{"reported":{"a":{"b":null},"c":{"d":{"e":null}},"f":{"g":null,"h":1}}}}`},
			`{"state":{"reported":{"f":{"h":1}}},"metadata":{"reported":{"f":{"h":{"timestamp":1000}}}},"version":1,"timestamp":1000,"clientToken":"x"}`,
			`{"state":{"reported":{"a":{"b":null},"c":{"d":{"e":null}},"f":{"g":null,"h":1}}},"metadata":{"reported":{"a":{},"c":{"d":{}},"f":{"h":{"timestamp":1000}}}},"version":1,"timestamp":1000}`,
		},
		{
			"null for a section removes it",
			[]string{`{"state":{"desired":{"a":1},"reported":{"b":1}}}`, `{"state":{"desired":null}}`},
			`{"state":{"reported":{"b":1}},"metadata":{"reported":{"b":{"timestamp":1000}}},"version":2,"timestamp":1001,"clientToken":"x"}`,
			`{"state":{"desired":null},"metadata":{},"version":2,"timestamp":1001}`,
		},
		{
			"null for the state clears everything",
			[]string{`{"state":{"desired":{"a":1}}}`, `{"state":null,"clientToken":"t"}`},
			`{"state":{},"metadata":{},"version":2,"timestamp":1001,"clientToken":"x"}`,
			`{"state":null,"metadata":{"timestamp":1001},"version":2,"timestamp":1001,"clientToken":"t"}`,
		},
		{
			"null for the state of nothing", []string{`{"state":null}`},
			`{"state":{},"metadata":{},"version":1,"timestamp":1000,"clientToken":"x"}`,
			`{"state":null,"metadata":{"timestamp":1000},"version":1,"timestamp":1000}`,
		},
		{
			"empty objects change nothing but the version",
			[]string{`{"state":{"reported":{"a":1}}}`, `{"state":{}}`, `{"state":{"desired":{}}}`},
			`{"state":{"reported":{"a":1}},"metadata":{"reported":{"a":{"timestamp":1000}}},"version":3,"timestamp":1002,"clientToken":"x"}`,
			`{"state":{},"metadata":{},"version":3,"timestamp":1002}`,
		},
		{
			"an empty object below a key is a value", []string{`{"state":{"desired":{"a":{}}}}`},
			`{"state":{"desired":{"a":{}},"delta":{"a":{}}},"metadata":{"desired":{"a":{}}},"version":1,"timestamp":1000,"clientToken":"x"}`,
			`{"state":{"desired":{"a":{}}},"metadata":{"desired":{"a":{}}},"version":1,"timestamp":1000}`,
		},
		{
			"the same value again renews its time",
			[]string{`{"state":{"reported":{"a":1}}}`, `{"state":{"reported":{"a":1}},"version":1}`},
			`{"state":{"reported":{"a":1}},"metadata":{"reported":{"a":{"timestamp":1001}}},"version":2,"timestamp":1001,"clientToken":"x"}`,
			`{"state":{"reported":{"a":1}},"metadata":{"reported":{"a":{"timestamp":1001}}},"version":2,"timestamp":1001}`,
		},
		{
			"what is not of the request is ignored",
			[]string{`{"state":{"reported":{"a":1},"delta":{"b":1},"other":2},"metadata":{"x":1},"timestamp":5,"enabled":true}`},
			`{"state":{"reported":{"a":1}},"metadata":{"reported":{"a":{"timestamp":1000}}},"version":1,"timestamp":1000,"clientToken":"x"}`,
			`{"state":{"reported":{"a":1}},"metadata":{"reported":{"a":{"timestamp":1000}}},"version":1,"timestamp":1000}`,
		},
	} {
		t.Run(tc.title, func(t *testing.T) {
			t.Parallel()
			d, u, at := run(t, tc.updates...)
			sameJSON(t, "get", tc.got, d.Got(at, "x"))
			sameJSON(t, "accepted", tc.accepted, d.Accepted(u, at))
			kept, err := shadow.Decode(d.Encode())
			kept.Version = d.Version
			if err != nil {
				t.Fatal(err)
			}
			sameJSON(t, "get after it was kept", tc.got, kept.Got(at, "x"))
		})
	}
}

func TestNumbersStayAsWritten(t *testing.T) {
	t.Parallel()
	d, _, at := run(t, `{"state":{"reported":{"big":12345678901234567890,"exact":1.10,"huge":1e400}}}`)
	for _, want := range []string{`"big":12345678901234567890`, `"exact":1.10`, `"huge":1e400`} {
		if got := string(d.Got(at, "")); !strings.Contains(got, want) {
			t.Errorf("%s lacks %s", got, want)
		}
	}
}

func TestDelta(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ title, desired, reported, want string }{
		{"nothing reported", `{"a":1,"b":{"c":2}}`, ``, `{"a":1,"b":{"c":2}}`},
		{"all reported", `{"a":1,"b":{"c":[1,2]}}`, `{"b":{"c":[1,2]},"a":1}`, ``},
		{"more reported", `{"a":{"b":1}}`, `{"a":{"b":1,"c":2},"d":3}`, ``},
		{"a part of an object", `{"a":{"b":1,"c":2}}`, `{"a":{"b":1,"c":3}}`, `{"a":{"c":2}}`},
		{"numbers by value", `{"a":1,"b":100,"c":0,"d":-0.0,"e":1e2}`, `{"a":1.0,"b":1e2,"c":-0,"d":0,"e":0.1E+3}`, ``},
		{"numbers that no float distinguishes", `{"a":9007199254740993}`, `{"a":9007199254740992}`, `{"a":9007199254740993}`},
		{"exponents beyond reason", `{"a":1e99999999999999999999,"b":1e999999999}`, `{"a":2e99999999999999999999,"b":10e999999998}`, `{"a":1e99999999999999999999}`},
		{"arrays as a whole", `{"a":[1,2]}`, `{"a":[1,2,3]}`, `{"a":[1,2]}`},
		{"arrays in order", `{"a":[1,2]}`, `{"a":[2,1]}`, `{"a":[1,2]}`},
		{"objects in arrays without order", `{"a":[{"b":1,"c":2}]}`, `{"a":[{"c":2,"b":1.0}]}`, ``},
		{"objects in arrays that differ", `{"a":[{"b":1}]}`, `{"a":[{"c":1}]}`, `{"a":[{"b":1}]}`},
		{"types", `{"a":"1","b":true,"c":{},"d":[]}`, `{"a":1,"b":"true","c":[],"d":{}}`, `{"a":"1","b":true,"c":{},"d":[]}`},
		{"empty objects", `{"a":{},"b":{}}`, `{"a":{}}`, `{"b":{}}`},
		{"an empty object of something", `{"a":{}}`, `{"a":{"b":1}}`, ``},
	} {
		t.Run(tc.title, func(t *testing.T) {
			t.Parallel()
			updates := []string{`{"state":{"desired":` + tc.desired + `}}`}
			if tc.reported != "" {
				updates = append(updates, `{"state":{"reported":`+tc.reported+`},"clientToken":"t"}`)
			}
			d, _, at := run(t, updates...)
			got := d.DeltaMessage(at, "t")
			if tc.want == "" {
				if got != nil {
					t.Errorf("delta %s, want none", got)
				}
				return
			}
			var message struct {
				State    json.RawMessage
				Metadata map[string]any
			}
			if err := json.Unmarshal(got, &message); err != nil || string(message.State) != tc.want || len(message.Metadata) == 0 {
				t.Errorf("delta %s (%v), want the state %s with metadata", got, err, tc.want)
			}
		})
	}
	t.Run("its message", func(t *testing.T) {
		t.Parallel()
		d, _, at := run(t, `{"state":{"desired":{"a":{"b":1,"c":2}}}}`, `{"state":{"reported":{"a":{"b":1}}}}`)
		sameJSON(t, "delta", `{"version":2,"timestamp":1001,"state":{"a":{"c":2}},"metadata":{"a":{"c":{"timestamp":1000}}},"clientToken":"t1"}`, d.DeltaMessage(at, "t1"))
	})
}

func TestDocumentsMessage(t *testing.T) {
	t.Parallel()
	before, _, _ := run(t, `{"state":{"desired":{"a":1}}}`)
	after, _, at := run(t, `{"state":{"desired":{"a":1}}}`, `{"state":{"reported":{"a":1}}}`)
	sameJSON(t, "the first", `{"previous":null,"current":{"state":{"desired":{"a":1}},"metadata":{"desired":{"a":{"timestamp":1000}}},"version":1},"timestamp":1000}`,
		shadow.DocumentsMessage(shadow.Document{}, before, first, ""))
	sameJSON(t, "the second", `{"previous":{"state":{"desired":{"a":1}},"metadata":{"desired":{"a":{"timestamp":1000}}},"version":1},
		"current":{"state":{"desired":{"a":1},"reported":{"a":1}},"metadata":{"desired":{"a":{"timestamp":1000}},"reported":{"a":{"timestamp":1001}}},"version":2},
		"timestamp":1001,"clientToken":"t"}`, shadow.DocumentsMessage(before, after, at, "t"))
}

func TestDelete(t *testing.T) {
	t.Parallel()
	d, u, _ := run(t, `{"state":{"desired":{"a":1}}}`, `{"state":{"desired":{"a":2}}}`)
	if _, err := d.Delete(lamp, shadow.Request{Version: 1}, first); !errors.Is(err, shadow.ErrConflict) {
		t.Errorf("another version: %v", err)
	}
	gone, err := d.Delete(lamp, shadow.Request{Version: 2}, first)
	if err != nil || gone.Exists() || gone.Version != 2 {
		t.Fatalf("%+v, %v", gone, err)
	}
	sameJSON(t, "answer", `{"version":2,"timestamp":1000}`, gone.DeletedMessage(first, ""))
	var refusal *shadow.Error
	if _, err := gone.Delete(lamp, shadow.Request{}, first); !errors.As(err, &refusal) || refusal.Code != 404 {
		t.Errorf("again: %v", err)
	}
	for _, tc := range []struct {
		title string
		after time.Duration
		want  int64
	}{
		{"within 48 hours the version goes on", 48 * time.Hour, 3},
		{"later it starts anew", 48*time.Hour + time.Second, 1},
	} {
		t.Run(tc.title, func(t *testing.T) {
			again, err := gone.Apply(u, first.Add(tc.after), shadow.CloudLimits)
			if err != nil || again.Version != tc.want || !again.Exists() {
				t.Errorf("%+v, %v; want version %d", again, err, tc.want)
			}
		})
	}
}

// What is said of a document that is not there.
func TestMissing(t *testing.T) {
	t.Parallel()
	for title, tc := range map[string]struct {
		d    shadow.Document
		want int64
	}{
		"one that never was":               {shadow.Document{}, 0},
		"deleted now":                      {shadow.Document{Version: 7, Deleted: first}, 7},
		"deleted 48 hours ago":             {shadow.Document{Version: 7, Deleted: first.Add(-shadow.VersionsKept)}, 7},
		"deleted longer ago than is known": {shadow.Document{Version: 7, Deleted: first.Add(-shadow.VersionsKept - time.Second)}, 0},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			err := tc.d.Missing(lamp, first)
			var refusal *shadow.Error
			if !errors.As(err, &refusal) || refusal.Code != 404 || refusal.Message != "No shadow exists with name: 'lamp'" {
				t.Errorf("%v", err)
			}
			var deleted *shadow.DeletedError
			if said := errors.As(err, &deleted); said != (tc.want != 0) || said && deleted.Version != tc.want {
				t.Errorf("%+v, want the version %d", deleted, tc.want)
			}
		})
	}
}
