package corelink_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/shadow"
)

// What the client sends has to match the patterns that the server answers, odd
// names included.
func TestPaths(t *testing.T) {
	t.Parallel()
	t.Run("GetDeployment", func(t *testing.T) {
		t.Parallel()
		var thing, query string
		address, cfg := serve(t, corelink.GetDeploymentPattern, func(w http.ResponseWriter, r *http.Request) {
			thing, query = r.PathValue("ThingName"), r.URL.RawQuery
			io.WriteString(w, `{"epoch":7,"groupId":"g","deploymentId":"d","phase":"Claimed","envelope":"aGk=","later":{}}`)
		})
		client := corelink.NewClient(address, cfg)
		defer client.Close()
		for _, name := range []string{"mill", "a:b_c-d", "a/../b", "%2f", "ü?#&"} {
			offer, err := client.GetDeployment(t.Context(), name, corelink.Poll{After: 6, Wait: 90 * time.Second})
			if err != nil || thing != name {
				t.Errorf("thing %q arrived as %q, %v", name, thing, err)
			}
			want := corelink.Offer{Epoch: 7, GroupID: "g", DeploymentID: "d", Phase: fescue.Claimed, Envelope: []byte("hi")}
			if diff := cmp.Diff(want, offer); diff != "" {
				t.Error(diff)
			}
		}
		if query != "after=6&wait=55" {
			t.Errorf("query %q", query)
		}
	})
	t.Run("UpdateStatus", func(t *testing.T) {
		t.Parallel()
		var core, body string
		address, cfg := serve(t, corelink.UpdateStatusPattern, func(w http.ResponseWriter, r *http.Request) {
			data, _ := io.ReadAll(r.Body)
			core, body = r.PathValue("CoreArn"), r.Header.Get("Content-Type")+" "+string(data)
			io.WriteString(w, `{"status":"InProgress","phase":"Staged","epoch":3}`)
		})
		client := corelink.NewClient(address, cfg)
		defer client.Close()
		const arn = "arn:aws:iot:us-east-1:123456789012:thing/mill"
		answer, err := client.UpdateStatus(t.Context(), "g", "d", arn, corelink.StatusReport{Event: fescue.EventStaged, Epoch: 3})
		if err != nil || core != arn || answer != (corelink.StatusAnswer{Status: fescue.InProgress, Phase: fescue.Staged, Epoch: 3}) {
			t.Errorf("core %q, answer %+v, %v", core, answer, err)
		}
		if want := `application/json {"event":"Staged","epoch":3}`; body != want {
			t.Errorf("sent %s, want %s", body, want)
		}
	})
	t.Run("WakeTopic", func(t *testing.T) {
		t.Parallel()
		if got := corelink.WakeTopic("mill"); got != "$aws/things/mill-gda/shadow/update/delta" {
			t.Error(got)
		}
	})
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, body string
		status     int
		// refused says that trying again is of no use; code is then the refusal's.
		refused    bool
		code, text string
	}{
		{"a refusal", `{"code":"Forbidden","message":"no policy allows it"}`, 403, true, "Forbidden", "no policy allows it"},
		{"a refusal of another form", "<html>denied</html>\n", 403, true, "Unknown", "403 Forbidden: <html>denied</html> (Unknown)"},
		{"an empty refusal", "", 404, true, "Unknown", "404 Not Found"},
		{"null", "null", 409, true, "Unknown", "409 Conflict: null"},
		{"a long refusal", strings.Repeat("x", 1<<20), 400, true, "Unknown", "400 Bad Request"},
		{"a certificate that is not valid now", `{"code":"CertificateExpired","message":"the time here is"}`, 401, false, "", "the time here is"},
		{"too many requests", `{"code":"Slow","message":"wait"}`, 429, false, "", "wait"},
		{"a broken server", `{"code":"Internal","message":"see the log"}`, 500, false, "", "see the log"},
		{"a stopping server", `{"code":"Unavailable","message":"stopping"}`, 503, false, "", "stopping"},
		{"a redirection", "", 304, false, "", "unexpected answer 304"},
		{"no content", "", 204, false, "", "unexpected answer 204"},
		{"no JSON", "hello", 200, false, "", "the answer does not parse"},
		{"half an answer", `{"keys":[`, 200, false, "", "the answer does not parse"},
		{"another type", `{"keys":7}`, 200, false, "", "the answer does not parse"},
		{"an endless answer", `{"keys":[{"pem":"` + strings.Repeat("x", 9<<20), 200, false, "", "the answer does not parse"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			address, cfg := serve(t, corelink.GetSigningKeysPattern, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tc.status)
				io.WriteString(w, tc.body)
			})
			client := corelink.NewClient(address, cfg)
			defer client.Close()
			_, err := client.SigningKeys(t.Context())
			if err == nil || !strings.Contains(err.Error(), tc.text) || !strings.HasPrefix(err.Error(), "GetSigningKeys: ") || len(err.Error()) > 5000 {
				t.Fatalf("error %.300v, want %q", err, tc.text)
			}
			refusal, ok := corelink.Refused(err)
			if ok != tc.refused || ok && (refusal.Code != tc.code || refusal.HTTPStatus != tc.status) {
				t.Errorf("refused is %v: %+v", ok, refusal)
			}
		})
	}
	t.Run("a server of another name", func(t *testing.T) {
		t.Parallel()
		address, cfg := serve(t, corelink.GetSigningKeysPattern, func(http.ResponseWriter, *http.Request) {})
		cfg.ServerName = "another.example.com"
		client := corelink.NewClient(address, cfg)
		defer client.Close()
		_, err := client.SigningKeys(t.Context())
		if _, ok := corelink.Refused(err); err == nil || ok {
			t.Errorf("error %v, refused %v", err, ok)
		}
	})
	t.Run("a caller who gives up", func(t *testing.T) {
		t.Parallel()
		entered, release := make(chan struct{}), make(chan struct{})
		address, cfg := serve(t, corelink.GetDeploymentPattern, func(_ http.ResponseWriter, r *http.Request) {
			close(entered)
			<-release
		})
		defer close(release)
		client := corelink.NewClient(address, cfg)
		defer client.Close()
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-entered; cancel() }()
		if _, err := client.GetDeployment(ctx, "mill", corelink.Poll{Wait: corelink.MaxPoll}); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

// TestShadowBatch looks at what goes into one request, and what is made of answers that do
// not fit it.
func TestShadowBatch(t *testing.T) {
	t.Parallel()
	calls := func(n, size int) (list []corelink.ShadowCall) {
		for i := range n {
			list = append(list, corelink.ShadowCall{ID: shadow.ID{Thing: fmt.Sprint("t", i)}, Operation: shadow.OpUpdate, Update: shadow.Update{
				Reported: shadow.Section{Present: true, Values: map[string]any{"text": strings.Repeat("<", size)}},
			}})
		}
		return list
	}
	for _, tc := range []struct {
		title    string
		calls    []corelink.ShadowCall
		at, most int
	}{
		{"one", calls(1, 10), 1, 1},
		{"as many as may be", calls(50, 8000), 50, 50},
		{"more", calls(120, 10), 50, 50},
		{"large ones", calls(50, 30000), 15, 17},
		{"one that is larger than may be", calls(3, 1<<20), 1, 1},
	} {
		t.Run(tc.title, func(t *testing.T) {
			t.Parallel()
			var size int
			address, cfg := serve(t, corelink.ShadowBatchPattern, func(w http.ResponseWriter, r *http.Request) {
				text, err := io.ReadAll(r.Body)
				var batch corelink.ShadowBatch
				if err == nil {
					err = json.Unmarshal(text, &batch)
				}
				if err != nil {
					t.Error(err)
				}
				size = len(text)
				answer := corelink.ShadowResults{}
				for i, e := range batch.Entries {
					if e.Thing != fmt.Sprint("t", i) || e.Operation != shadow.OpUpdate || !strings.Contains(string(e.Payload), "<") {
						t.Errorf("entry %d is %.300v", i, e)
					}
					answer.Results = append(answer.Results, corelink.ShadowResult{Status: 200, Body: json.RawMessage(fmt.Sprintf(`{"version":%d}`, i+1))})
				}
				json.NewEncoder(w).Encode(answer)
			})
			client := corelink.NewClient(address, cfg)
			defer client.Close()
			answers, err := corelink.Shadows{Client: client, Core: "mill", Timeout: time.Minute}.ShadowBatch(t.Context(), tc.calls)
			if err != nil || len(answers) < tc.at || len(answers) > tc.most || len(answers) > 1 && size > corelink.MaxShadowBatchBytes {
				t.Fatalf("%d answers to %d bytes, %v", len(answers), size, err)
			}
			for i, a := range answers {
				if a.Err != nil || a.Document.Version != int64(i+1) {
					t.Errorf("%d: %+v", i, a)
				}
			}
		})
	}
	for _, tc := range []struct{ title, body, want string }{
		{"no JSON", `{"results":[`, "does not parse"},
		{"too few", `{"results":[{"status":200,"body":{"version":1}}]}`, "2 requests have 1 answers"},
		{"too many", `{"results":[{},{},{}]}`, "2 requests have 3 answers"},
		{"nothing", `{}`, "2 requests have 0 answers"},
		{"no body", `{"results":[{"status":200},{"status":409}]}`, "shadow document; 409 Conflict"},
		{"no version", `{"results":[{"status":200,"body":{}},{"status":500,"body":{"code":"Internal","message":"see its log"}}]}`, "version 0; 500 Internal Server Error: see its log (Internal)"},
		{"no status", `{"results":[{"body":{"version":1}},{"status":409,"body":{"code":409,"message":"Version conflict"}}]}`, "UpdateThingShadow of t0: 0 ; 409 Conflict: Version conflict (Shadow)"},
	} {
		t.Run(tc.title, func(t *testing.T) {
			t.Parallel()
			address, cfg := serve(t, corelink.ShadowBatchPattern, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, tc.body) })
			client := corelink.NewClient(address, cfg)
			defer client.Close()
			answers, err := corelink.Shadows{Client: client, Core: "mill", Timeout: time.Minute}.ShadowBatch(t.Context(), calls(2, 1))
			for i, want := range strings.Split(tc.want, "; ") {
				if err == nil && len(answers) > i {
					err = answers[i].Err
				}
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %s", err, want)
				}
				if len(answers) > 0 {
					err = nil
				}
			}
		})
	}
}
