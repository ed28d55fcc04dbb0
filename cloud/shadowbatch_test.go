package cloud_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/shadow"
)

// TestShadowBatch has requests carried out together, and holds what comes of each to what
// comes of it alone.
func TestShadowBatch(t *testing.T) {
	t.Parallel()
	s := start(t, options(t.TempDir()))
	mill := s.provision("us-east-1", "mill")
	device := s.mqttClient(mill)
	client := s.link(mill)
	ctx, of := t.Context(), corelink.Shadows{Client: client, Core: "mill", Timeout: patience}
	update := func(text string) (u shadow.Update) {
		t.Helper()
		u, err := shadow.ParseUpdate([]byte(text), shadow.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	versioned := func(version int64) shadow.Update { return shadow.Update{Request: shadow.Request{Version: version}} }
	alone := func(c corelink.ShadowCall) (a corelink.ShadowAnswer) {
		switch c.Operation {
		case shadow.OpUpdate:
			a.Document.Version, a.Err = of.UpdateShadow(ctx, c.ID, c.Update)
		case shadow.OpDelete:
			a.Err = of.DeleteShadow(ctx, c.ID, c.Update.Version)
		default:
			a.Document, a.Err = of.Shadow(ctx, c.ID)
		}
		return a
	}
	// said is an answer as text, whosever it is.
	said := func(a corelink.ShadowAnswer) string {
		text := fmt.Sprintf("%d, deleted %t, %v", a.Document.Version, !a.Document.Deleted.IsZero(), a.Document.State())
		if a.Err != nil {
			var refused *corelink.StatusError
			if !errors.As(a.Err, &refused) {
				t.Error(a.Err)
				return text
			}
			text += fmt.Sprintf(": %+v", *refused)
		}
		return strings.NewReplacer("alone-", "", "batch-", "").Replace(text)
	}
	const get, put, del = shadow.OpGet, shadow.OpUpdate, shadow.OpDelete
	there, gone := update(`{"state":{"desired":{"a":1.10,"text":"<ü>&\u2028"},"reported":{"a":[1]}}}`), update(`{"state":{}}`)
	node := update(`{"state":{"desired":{"a":1}}}`)
	node.Desired.Values["a"] = []any{nil}
	requests := []struct {
		title, thing, name string
		operation          shadow.Operation
		update             shadow.Update
	}{
		{"a get", "there", "", get, shadow.Update{}},
		{"a get of a named one", "there", "night", get, shadow.Update{}},
		{"a get of one that never was", "none", "", get, shadow.Update{}},
		{"a get of a deleted one", "gone", "", get, shadow.Update{}},
		{"a thing's name that is none", "a b", "", get, shadow.Update{}},
		{"a shadow's name that is none", "there", "a b", put, update(`{"state":{}}`)},
		{"an update", "changes", "", put, update(`{"state":{"desired":{"a":2},"reported":{"a":null}}}`)},
		{"an update of the version", "changes", "night", put, update(`{"state":{"desired":{"a":2}},"version":1}`)},
		{"an update of another version", "changes", "day", put, update(`{"state":{"desired":{"a":2}},"version":7}`)},
		{"an update of one that never was", "new", "", put, update(`{"state":{"reported":{"a":2}},"version":1}`)},
		{"an update of a version that never was", "new", "night", put, update(`{"state":{"reported":{"a":2}},"version":2}`)},
		{"what clears", "clear", "", put, update(`{"state":null}`)},
		{"what is too large", "large", "", put, update(`{"state":{"desired":{"a":"` + strings.Repeat("x", 9000) + `"}}}`)},
		{"what is too deep", "deep", "", put, update(`{"state":{"desired":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":1}}}}}}}}}}}`)},
		{"what has a null in an array", "node", "", put, node},
		{"a deletion", "delete", "", del, versioned(1)},
		{"a deletion of another version", "delete", "night", del, versioned(7)},
		{"a deletion of one that never was", "delete", "day", del, versioned(1)},
	}
	made := make(map[string]bool)
	for _, side := range []string{"alone-", "batch-"} {
		for _, r := range requests {
			id := shadow.ID{Thing: side + r.thing, Name: r.name}
			first := there
			if r.thing == "gone" {
				first = gone
			}
			if strings.Contains(r.title, "never was") || id.Validate() != nil || made[id.Thing+"/"+id.Name] {
				continue
			}
			made[id.Thing+"/"+id.Name] = true
			if _, err := of.UpdateShadow(ctx, id, first); err != nil {
				t.Fatal(err)
			}
			if r.thing == "gone" {
				if err := of.DeleteShadow(ctx, id, 1); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	device.catchUp()
	const p = "$aws/things/batch-changes/shadow/"
	device.wait("SUBSCRIBE", device.SubscribeMultiple(map[string]byte{
		p + "#": 1, "$aws/things/batch-there/shadow/#": 1, "$aws/things/batch-large/shadow/#": 1, "$aws/things/batch-delete/shadow/#": 1,
	}, nil))
	var calls []corelink.ShadowCall
	for _, r := range requests {
		calls = append(calls, corelink.ShadowCall{ID: shadow.ID{Thing: "batch-" + r.thing, Name: r.name}, Operation: r.operation, Update: r.update})
	}
	answers, err := of.ShadowBatch(ctx, calls)
	if err != nil || len(answers) != len(calls) {
		t.Fatalf("%d answers, %v", len(answers), err)
	}
	for i, r := range requests {
		c := calls[i]
		c.ID.Thing = "alone-" + r.thing
		if diff := cmp.Diff(said(alone(c)), said(answers[i])); diff != "" {
			t.Errorf("%s (-alone +batch):\n%s", r.title, diff)
		}
	}
	t.Run("what became of it is the same", func(t *testing.T) {
		for _, r := range requests {
			c := corelink.ShadowCall{ID: shadow.ID{Thing: "alone-" + r.thing, Name: r.name}, Operation: get}
			want := said(alone(c))
			c.ID.Thing = "batch-" + r.thing
			if diff := cmp.Diff(want, said(alone(c))); diff != "" {
				t.Errorf("%s (-alone +batch):\n%s", r.title, diff)
			}
		}
	})
	t.Run("those who subscribe hear of changes, and of nothing else", func(t *testing.T) {
		got := device.expect("$aws/things/batch-", "changes/shadow/update/delta", "changes/shadow/update/documents", "changes/shadow/update/accepted",
			"changes/shadow/name/night/update/delta", "changes/shadow/name/night/update/documents", "changes/shadow/name/night/update/accepted", "delete/shadow/delete/accepted")
		if state, _ := got["changes/shadow/update/delta"]["state"].(map[string]any); state["a"] != 2.0 {
			t.Errorf("%v", got)
		}
		if len(device.got) > 0 {
			topic, body := device.next()
			t.Errorf("%s %v", topic, body)
		}
	})
	t.Run("each needs its right", func(t *testing.T) {
		s.replacePolicy("us-east-1", "mill", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},`+
			`{"Effect":"Deny","Action":"iot:GetThingShadow","Resource":"*/night"},{"Effect":"Deny","Action":["iot:UpdateThingShadow","iot:DeleteThingShadow"],"Resource":"*/batch-there"}]}`)
		calls := []corelink.ShadowCall{
			{ID: shadow.ID{Thing: "batch-there"}, Operation: get},
			{ID: shadow.ID{Thing: "batch-there", Name: "night"}, Operation: get},
			{ID: shadow.ID{Thing: "batch-new"}, Operation: get},
		}
		changes := []corelink.ShadowCall{
			{ID: shadow.ID{Thing: "batch-there"}, Operation: put, Update: there},
			{ID: shadow.ID{Thing: "batch-there", Name: "night"}, Operation: put, Update: there},
			{ID: shadow.ID{Thing: "batch-new"}, Operation: put, Update: there},
		}
		deletions := []corelink.ShadowCall{{ID: shadow.ID{Thing: "batch-there"}, Operation: del, Update: versioned(1)}}
		for _, list := range [][]corelink.ShadowCall{calls, changes, deletions} {
			answers, err := of.ShadowBatch(ctx, list)
			if err != nil {
				t.Fatal(err)
			}
			for i, c := range list {
				denied := c.Operation == get && c.ID.Name == "night" || c.Operation != get && c.ID == (shadow.ID{Thing: "batch-there"})
				refused, ok := corelink.Refused(answers[i].Err)
				if ok != denied || denied && (refused.HTTPStatus != 403 || refused.Code != "Forbidden" || alone(c).Err.Error() != answers[i].Err.Error()) {
					t.Errorf("%s of %v: %v", c.Operation, c.ID, answers[i].Err)
				}
			}
		}
		if d, err := of.Shadow(ctx, shadow.ID{Thing: "batch-there"}); err != nil || d.Version != 1 {
			t.Errorf("%+v, %v", d, err)
		}
	})
	t.Run("too many of a thing", func(t *testing.T) {
		refused := 0
		for page := range 5 {
			var calls []corelink.ShadowCall
			for n := range 45 {
				calls = append(calls, corelink.ShadowCall{ID: shadow.ID{Thing: "crowd", Name: fmt.Sprintf("n%d-%d", page, n)}, Operation: put, Update: gone})
			}
			answers, err := of.ShadowBatch(ctx, calls)
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range answers {
				var said *corelink.StatusError
				if errors.As(a.Err, &said) && said.HTTPStatus == 429 {
					refused++
				} else if a.Err != nil {
					t.Error(a.Err)
				}
			}
		}
		if names, err := of.ShadowNames(ctx, "crowd"); refused != 25 || len(names) != 200 || err != nil {
			t.Errorf("%d were refused, there are %d, %v", refused, len(names), err)
		}
	})
	t.Run("what is refused as a whole", func(t *testing.T) {
		cfg := s.trusting()
		cfg.Certificates = []tls.Certificate{mill.tls}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: cfg}}
		defer client.CloseIdleConnections()
		entry := func(i int) string {
			return fmt.Sprintf(`{"operation":"update","thing":"w%d","payload":{"state":{}}}`, i)
		}
		many := []string{entry(0)}
		for i := range corelink.MaxShadowBatch {
			many = append(many, entry(i+1))
		}
		long := `{"entries":[` + entry(1) + strings.Repeat(" ", corelink.MaxShadowBatchBytes) + `]}`
		for _, tc := range []struct {
			title, core, body string
			status            int
			want              string
		}{
			{"too many entries", "mill", `{"entries":[` + strings.Join(many, ",") + `]}`, 400, "at most 50"},
			{"one twice", "mill", `{"entries":[` + entry(1) + "," + entry(2) + "," + entry(1) + `]}`, 400, "named twice"},
			{"an unknown operation", "mill", `{"entries":[` + entry(1) + `,{"operation":"patch","thing":"w"}]}`, 400, "patch"},
			{"no operation", "mill", `{"entries":[{"thing":"w"}]}`, 400, "the operation"},
			{"no JSON", "mill", `{"entries":[`, 400, "does not parse"},
			{"more after it", "mill", `{"entries":[]}{}`, 400, "does not parse"},
			{"too long", "mill", long, 413, "bytes"},
			{"nothing", "mill", `{"entries":[]}`, 200, `{"results":[]}`},
			{"the core of others", "lamp", `{"entries":[` + entry(1) + `]}`, 403, "not attached"},
		} {
			for _, chunked := range []bool{false, true} {
				body := io.Reader(bytes.NewReader([]byte(tc.body)))
				if chunked {
					body = struct{ io.Reader }{body}
				}
				req, err := http.NewRequestWithContext(t.Context(), "POST", "https://"+s.DeviceAddr()+"/greengrass/cores/"+tc.core+"/shadows/batch", body)
				if err != nil {
					t.Fatal(err)
				}
				if status, _, answer := answered(t, client, req); status != tc.status || !strings.Contains(answer, tc.want) {
					t.Errorf("%s, in chunks %t: %d %s; want %d with %s", tc.title, chunked, status, answer, tc.status, tc.want)
				}
			}
		}
		if d, err := of.Shadow(ctx, shadow.ID{Thing: "w1"}); err != nil || d.Exists() {
			t.Errorf("%+v, %v", d, err)
		}
		// The head decides.
		body, never := io.Pipe()
		defer never.Close()
		req, err := http.NewRequestWithContext(t.Context(), "POST", "https://"+s.DeviceAddr()+"/greengrass/cores/lamp/shadows/batch", body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Expect", "100-continue")
		if status, _, answer := answered(t, client, req); status != 403 {
			t.Errorf("before the body: %d %s", status, answer)
		}
	})
}
