package awsapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/audit"
	"github.com/fescue-edge/fescue/policy"
)

// ledger is an audit record in memory that can fail.
type ledger struct {
	records           []audit.Record
	notReady, addFail error
}

func (l *ledger) Ready(context.Context) error { return l.notReady }

func (l *ledger) Add(_ context.Context, records ...audit.Record) error {
	if l.addFail != nil {
		return l.addFail
	}
	l.records = append(l.records, records...)
	return nil
}

func TestAudit(t *testing.T) {
	t.Parallel()
	const thing = "arn:aws:iot:us-east-1:123456789012:thing/t"
	start := func(t *testing.T) (*endpoint, *ledger) {
		e, l := open(t), &ledger{}
		e.Audit = l
		return e, l
	}
	t.Run("what changes something, carried out or refused", func(t *testing.T) {
		t.Parallel()
		e, l := start(t)
		var ids []string
		for _, c := range []call{{body: "a secret"}, {service: "lambda"}, {method: "GET", target: "/kept"}, {service: "sts", target: "/", body: "Action=GetCallerIdentity"}} {
			w := e.serve(c.sign(t, header("Resource", thing)))
			if w.Code != 200 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			ids = append(ids, w.Header().Get("x-amzn-RequestId"))
		}
		e.caller.Policies = []policy.Set{nil}
		for _, c := range []call{{}, {service: "iam", target: "/", body: "Action=Forbidden"}} {
			w := e.serve(c.sign(t))
			if w.Code != 403 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			ids = append(ids, w.Header().Get("x-amzn-RequestId"))
		}
		if w := e.serve(call{secret: "wrong"}.sign(t)); w.Code != 403 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		record := func(id string) audit.Record {
			return audit.Record{
				Partition: home, At: now, ID: id, KeyID: keyID, KeyName: "build server", Source: "192.0.2.1",
				Service: "greengrass", Operation: "Keep", Resource: thing, Status: 200,
			}
		}
		kept, code, refused, global := record(ids[0]), record(ids[1]), record(ids[4]), record(ids[5])
		code.Service = "lambda"
		refused.Resource, refused.Status, refused.Code = "*", 403, "AccessDeniedException"
		global.Service, global.Operation, global.Partition.Region = "iam", "Forbidden", ""
		global.Resource, global.Status, global.Code = "*", 403, "AccessDenied"
		if diff := cmp.Diff([]audit.Record{kept, code, refused, global}, l.records); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("everything that one call changes", func(t *testing.T) {
		t.Parallel()
		e, l := start(t)
		e.operation = "DeleteObject"
		w := e.serve(call{service: "iot"}.sign(t, func(r *http.Request) { r.Header["Resource"] = []string{"a", "b", ""} }))
		var got []string
		for _, r := range l.records {
			got = append(got, r.ID+" "+r.Resource)
		}
		id := w.Header().Get("x-amzn-RequestId")
		if diff := cmp.Diff([]string{id + " a", id + "/2 b", id + "/3 *"}, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("what was made", func(t *testing.T) {
		t.Parallel()
		e, l := start(t)
		for _, c := range []struct{ operation, answer, want string }{
			{"CreateThing", `{"thingName":"t","thingArn":"` + thing + `"}`, thing},
			{"CreateRole", `<Role><Path>/</Path><Arn>arn:aws:iam::123456789012:role/r</Arn></Role>`, "arn:aws:iam::123456789012:role/r"},
			{"CreateThing", `{"message":"arn:aws:iot:::thing/no"}`, "asked"},
			{"UpdateThing", `{"thingArn":"` + thing + `"}`, "asked"},
		} {
			e.operation, e.result = c.operation, c.answer
			if w := e.serve(call{service: "iot"}.sign(t, header("Resource", "asked"))); w.Code != 200 || w.Body.String() != c.answer {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			if got := l.records[len(l.records)-1]; got.Resource != c.want || got.Operation != c.operation {
				t.Errorf("%+v, want %s", got, c.want)
			}
		}
	})
	t.Run("nothing is changed while records cannot be written", func(t *testing.T) {
		t.Parallel()
		e, l := start(t)
		l.notReady = errors.New("disk full")
		wantRefusal(t, "greengrass", e.serve(call{}.sign(t)), 503, "ServiceUnavailableException", "audit record")
		if e.kept() != 0 || !strings.Contains(e.logs.String(), "disk full") {
			t.Errorf("%d calls, log %s", e.kept(), e.logs)
		}
		if w := e.serve(call{method: "GET", target: "/kept"}.sign(t)); w.Code != 200 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
	t.Run("a call without its record does not succeed", func(t *testing.T) {
		t.Parallel()
		e, l := start(t)
		l.addFail = errors.New("disk full")
		for _, service := range []string{"greengrass", "iam"} {
			c := call{service: service}
			if service == "iam" {
				c.target, c.body = "/", "Action=Forbidden"
			}
			w := e.serve(c.sign(t))
			wantRefusal(t, service, w, 500, "InternalFailure", "audit record could not be written")
			if strings.Contains(w.Body.String(), "disk full") {
				t.Errorf("%s", w.Body)
			}
		}
		l.addFail = fmt.Errorf("write: %w", fescue.ErrUncertain)
		wantRefusal(t, "greengrass", e.serve(call{}.sign(t)), 503, "ServiceUnavailableException", "audit record could not be written")
		if o := e.observed[0]; o.status != 500 || o.operation != "Keep" {
			t.Errorf("observed %+v", o)
		}
	})
}
