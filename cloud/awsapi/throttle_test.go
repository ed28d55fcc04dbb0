package awsapi_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/policy"
)

func TestThrottling(t *testing.T) {
	t.Parallel()
	e, l := open(t), &ledger{}
	e.Audit, e.Rates = l, awsapi.Rates{"*": 3, "GetKept": 1}
	at := now
	e.Verifier.Now = func() time.Time { return at }
	status := func(c call) int { return e.serve(c.sign(t)).Code }
	read := call{method: "GET", target: "/kept"}
	for i := range 3 {
		if got := status(call{}); got != 200 {
			t.Fatalf("call %d: %d", i, got)
		}
	}
	wantRefusal(t, "greengrass", e.serve(call{}.sign(t)), 429, "ThrottlingException", "Rate exceeded")
	if got := status(call{key: temporaryID}); got != 429 {
		t.Errorf("a temporary key of the same: %d", got)
	}
	if got := status(call{key: otherID}); got != 200 {
		t.Errorf("another key: %d", got)
	}
	// Other services have buckets of their own, other operations their own rate.
	if got := status(call{service: "lambda"}); got != 200 {
		t.Errorf("another service: %d", got)
	}
	if first, second := status(read), status(read); first != 200 || second != 429 {
		t.Errorf("a named operation: %d, %d", first, second)
	}
	forbidden := call{service: "iam", target: "/", body: "Action=Forbidden"}
	for range 3 {
		status(forbidden)
	}
	wantRefusal(t, "iam", e.serve(forbidden.sign(t)), 400, "Throttling", "Rate exceeded")
	at = at.Add(time.Second / 3)
	if first, second := status(call{}), status(call{}); first != 200 || second != 429 {
		t.Errorf("after a third of a second: %d, %d", first, second)
	}
	for _, r := range l.records {
		if r.Code == "ThrottlingException" || r.Code == "Throttling" {
			t.Errorf("a call that was not looked at is recorded: %+v", r)
		}
	}
	t.Run("off", func(t *testing.T) {
		t.Parallel()
		e := open(t)
		for range 50 {
			if w := e.serve(call{}.sign(t)); w.Code != 200 {
				t.Fatal(w.Code)
			}
		}
	})
}

// Refusals are answered so often, to a key and to an address each; then it is said to
// come slower, and nothing is recorded. What is served does not count.
func TestRefusalsAreThrottled(t *testing.T) {
	t.Parallel()
	e, l := open(t), &ledger{}
	e.Audit, e.Refusals = l, 5
	at := now
	e.Verifier.Now = func() time.Time { return at }
	const burst = 50
	e.caller.Policies = []policy.Set{documents(t, `{"Statement":{"Effect":"Allow","Action":"greengrass:GetKept","Resource":"*"}}`)}
	denied := func() *httptest.ResponseRecorder { return e.serve(call{}.sign(t)) }
	unsigned := func(from string) *httptest.ResponseRecorder {
		return e.serve(call{secret: "wrong"}.sign(t, func(r *http.Request) { r.RemoteAddr = from + ":1" }))
	}
	for range burst {
		wantRefusal(t, "greengrass", denied(), 403, "AccessDeniedException", "")
		wantRefusal(t, "greengrass", unsigned("192.0.2.1"), 403, "InvalidSignatureException", "")
	}
	wantRefusal(t, "greengrass", denied(), 429, "ThrottlingException", "Rate exceeded")
	wantRefusal(t, "greengrass", e.serve(call{key: temporaryID}.sign(t)), 429, "ThrottlingException", "Rate exceeded")
	wantRefusal(t, "greengrass", unsigned("192.0.2.1"), 429, "ThrottlingException", "Rate exceeded")
	wantRefusal(t, "greengrass", unsigned("192.0.2.2"), 403, "InvalidSignatureException", "")
	wantRefusal(t, "greengrass", e.serve(httptest.NewRequest("GET", "/kept", nil)), 429, "ThrottlingException", "Rate exceeded")
	if len(l.records) != burst {
		t.Errorf("%d records", len(l.records))
	}
	if w := e.serve(call{method: "GET", target: "/kept"}.sign(t)); w.Code != 200 {
		t.Errorf("what is allowed: %d", w.Code)
	}
	at = at.Add(time.Second / 5)
	wantRefusal(t, "greengrass", denied(), 403, "AccessDeniedException", "")
	wantRefusal(t, "greengrass", denied(), 429, "ThrottlingException", "")
}

// Calls that take long are bounded for each key, whatever they do.
func TestCallsUnderWay(t *testing.T) {
	t.Parallel()
	e := open(t)
	e.Calls = 3
	release, begun := make(chan struct{}), make(chan struct{})
	e.serving = func() { begun <- struct{}{}; <-release }
	var wg sync.WaitGroup
	for range e.Calls {
		r := call{}.sign(t)
		wg.Go(func() {
			if w := e.serve(r); w.Code != 200 {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
		<-begun
	}
	for _, key := range []string{keyID, temporaryID} {
		wantRefusal(t, "greengrass", e.serve(call{key: key}.sign(t)), 429, "ThrottlingException", "3 calls of this access key and its temporary keys are under way")
	}
	wantRefusal(t, "greengrass", e.serve(call{secret: "wrong"}.sign(t)), 403, "InvalidSignatureException", "")
	close(release)
	wg.Wait()
	e.serving = nil
	if w := e.serve(call{}.sign(t)); w.Code != 200 {
		t.Errorf("afterwards: %d %s", w.Code, w.Body)
	}
}
