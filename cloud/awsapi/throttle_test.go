package awsapi_test

import (
	"testing"
	"time"

	"github.com/fescue-edge/fescue/cloud/awsapi"
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
	// Others have buckets of their own, with their own rate.
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
