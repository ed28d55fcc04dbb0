package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
)

// TestEventStream: a browser gets what it can bear, and how much was left out.
func TestEventStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := httptest.NewRecorder()
		s := &eventStream{recorder: recorder{header: make(http.Header), status: http.StatusOK}, to: w, connection: http.NewResponseController(w), pace: rate.NewLimiter(streamRate, streamBurst)}
		line := func(m ownapi.StreamedMessage) {
			t.Helper()
			text, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			text = append(text, '\n')
			for _, part := range [][]byte{text[:len(text)/2], text[len(text)/2:]} { // lines come in whatever pieces
				if _, err := s.Write(part); err != nil {
					t.Fatal(err)
				}
			}
		}
		at := time.Now()
		line(ownapi.StreamedMessage{Subscribed: "a/#"})
		for i := range 3 * streamBurst {
			line(ownapi.StreamedMessage{Topic: fmt.Sprint("a/", i), At: &at, Payload: []byte("x")})
		}
		if got := strings.Count(w.Body.String(), "event: message"); got != streamBurst {
			t.Errorf("%d messages, want %d", got, streamBurst)
		}
		time.Sleep(time.Second) // the bubble's
		line(ownapi.StreamedMessage{Topic: "a/last", At: &at, Payload: []byte("\n\nevent: forged\ndata: 1\n\n")})
		if last := w.Body.String(); !strings.Contains(last, fmt.Sprintf(`"skipped":%d`, 2*streamBurst)) || strings.Contains(last, "\nevent: forged") {
			t.Errorf("%s", last[max(0, len(last)-300):])
		}
		if _, err := s.Write([]byte("\n")); err != nil || !strings.HasSuffix(w.Body.String(), "\n\n: \n\n") {
			t.Errorf("no sign of life: %v", err)
		}
		line(ownapi.StreamedMessage{Error: "it is over"})
		line(ownapi.StreamedMessage{Topic: "a/after", At: &at})
		if !strings.HasSuffix(w.Body.String(), "event: ended\ndata: \"it is over\"\n\n") {
			t.Error("something comes after the end")
		}
		if _, err := s.Write([]byte("no JSON\n")); err == nil {
			t.Error("a line that is no JSON was taken")
		}
	})
}

// TestPatch: what a shadow is sent so that it becomes what was typed.
func TestPatch(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ was, now, want string }{
		{`{}`, `{}`, `{}`},
		{`{"a":1,"b":{"c":2}}`, `{ "b" : { "c" : 2 }, "a":1}`, `{}`},
		{`{}`, `{"a":{"b":1}}`, `{"a":{"b":1}}`},
		{`{"a":1}`, `{}`, `{"a":null}`},
		{`{"a":{"b":1,"c":2}}`, `{"a":{"c":3}}`, `{"a":{"b":null,"c":3}}`},
		{`{"a":{"b":1}}`, `{"a":{}}`, `{"a":{"b":null}}`},
		{`{"a":{"b":1}}`, `{"a":7}`, `{"a":7}`},
		{`{"a":7}`, `{"a":{"b":1}}`, `{"a":{"b":1}}`},
		{`{"a":[1,2]}`, `{"a":[2]}`, `{"a":[2]}`},
		{`{"a":9007199254740993}`, `{"a":9007199254740995}`, `{"a":9007199254740995}`},
	} {
		var was, now map[string]json.RawMessage
		if json.Unmarshal([]byte(tc.was), &was) != nil || json.Unmarshal([]byte(tc.now), &now) != nil {
			t.Fatal(tc)
		}
		got, err := json.Marshal(patch(was, now))
		if err != nil || string(got) != tc.want {
			t.Errorf("%s to %s: %s, want %s, %v", tc.was, tc.now, got, tc.want, err)
		}
	}
}
