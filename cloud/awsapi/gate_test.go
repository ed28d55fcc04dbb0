package awsapi_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/policy"
)

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func TestAuthorization(t *testing.T) {
	t.Parallel()
	const group = "arn:aws:greengrass:us-east-1:123456789012:/greengrass/groups/g1"
	read := call{method: "GET", target: "/kept"}

	t.Run("what no policy allows", func(t *testing.T) {
		t.Parallel()
		e := open(t)
		e.caller.Access, e.caller.Policies = "reader", []policy.Set{documents(t, `{"Statement":{"Effect":"Allow","Action":"*:Get*","Resource":"*"}}`)}
		w := e.serve(call{}.sign(t, header("Resource", group)))
		wantRefusal(t, "greengrass", w, 403, "AccessDeniedException",
			"User: arn:aws:iam::123456789012:user/build is not authorized to perform: greengrass:Keep on resource: "+group+" because no identity-based policy allows the greengrass:Keep action (access key AKIDEXAMPLE has the access level reader)")
		if e.kept() != 0 {
			t.Error("it was done")
		}
		if w := e.serve(read.sign(t)); w.Code != 200 || e.kept() != 1 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if o := e.observed[0]; o.operation != "Keep" || o.status != 403 {
			t.Errorf("observed %+v", o)
		}
	})
	t.Run("an explicit deny", func(t *testing.T) {
		t.Parallel()
		e := open(t)
		e.caller.Policies = []policy.Set{documents(t, `{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"lambda:Keep","Resource":"*"}]}`)}
		wantRefusal(t, "lambda", e.serve(call{service: "lambda"}.sign(t)), 403, "AccessDeniedException", "lambda:Keep on resource: * with an explicit deny in an identity-based policy")
		if w := e.serve(call{}.sign(t)); w.Code != 200 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
	t.Run("every set has to allow", func(t *testing.T) {
		t.Parallel()
		e := open(t)
		e.caller.Policies = append(everything(t), documents(t, `{"Statement":{"Effect":"Allow","Action":"lambda:*","Resource":"*"}}`))
		wantRefusal(t, "greengrass", e.serve(call{}.sign(t)), 403, "AccessDeniedException", "greengrass:Keep")
		if w := e.serve(call{service: "lambda"}.sign(t)); w.Code != 200 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
	t.Run("nothing is allowed without policies, but to ask who one is", func(t *testing.T) {
		t.Parallel()
		e := open(t)
		e.caller.Policies = nil
		wantRefusal(t, "greengrass", e.serve(read.sign(t)), 403, "AccessDeniedException", "greengrass:GetKept")
		if w := e.serve(call{service: "sts", target: "/", body: "Action=GetCallerIdentity"}.sign(t)); w.Code != 200 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
	t.Run("conditions", func(t *testing.T) {
		t.Parallel()
		e := open(t)
		e.groups = map[string]map[string]string{home.Key() + "/g1": {"site": "north"}, "123456789012/eu-west-1/g2": {"site": "north"}}
		e.caller.Conditional = true
		e.caller.Policies = []policy.Set{documents(t, `{"Version":"2012-10-17","Statement":[
			{"Effect":"Allow","Action":"*:Keep","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/site":"north"},"IpAddress":{"aws:SourceIp":"192.0.2.1"}}},
			{"Effect":"Allow","Action":"*:GetKept","Resource":"*","Condition":{"StringEquals":{"aws:RequestTag/site":"east","aws:username":"build","aws:PrincipalArn":"arn:aws:iam::123456789012:user/build"},"Bool":{"aws:SecureTransport":"false"}}}]}`)}
		g2 := strings.Replace(group, "g1", "g2", 1)
		for _, c := range []struct {
			name   string
			call   call
			tamper []func(*http.Request)
			status int
		}{
			{"the group's tag", call{}, []func(*http.Request){header("Resource", group)}, 200},
			{"of what lies below it", call{}, []func(*http.Request){header("Resource", group+"/deployments/d")}, 200},
			{"another Region's group", call{}, []func(*http.Request){header("Resource", g2)}, 403},
			{"no group", call{}, nil, 403},
			{"another address", call{}, []func(*http.Request){header("Resource", group), func(r *http.Request) { r.RemoteAddr = "192.0.2.2:1" }}, 403},
			{"the request's tag", read, []func(*http.Request){header("Tag", "east")}, 200},
			{"another tag", read, []func(*http.Request){header("Tag", "west")}, 403},
		} {
			if w := e.serve(c.call.sign(t, c.tamper...)); w.Code != c.status {
				t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
			}
		}
		e.groupsFail = errors.New("disk on fire")
		w := e.serve(call{}.sign(t, header("Resource", group)))
		if wantRefusal(t, "greengrass", w, 500, "InternalServerErrorException", "log"); !strings.Contains(e.logs.String(), "fire") {
			t.Errorf("log %s", e.logs)
		}
	})
	t.Run("the query protocol's words", func(t *testing.T) {
		t.Parallel()
		e := open(t)
		e.caller = identity.Caller{Identity: "assumed-role/builder/s", Access: "admin"}
		wantRefusal(t, "iam", e.serve(call{service: "iam", target: "/", body: "Action=Forbidden"}.sign(t)), 403, "AccessDenied",
			"User: arn:aws:sts::123456789012:assumed-role/builder/s is not authorized to perform: iam:Forbidden")
	})
}

func TestNoRoom(t *testing.T) {
	t.Parallel()
	e := open(t)
	e.Room = func() error { return errors.New("no room") }
	for _, service := range []string{"greengrass", "lambda"} {
		wantRefusal(t, service, e.serve(call{service: service}.sign(t)), 503, "ServiceUnavailableException", "no room")
	}
	if e.kept() != 0 {
		t.Error("it was done")
	}
	if w := e.serve(call{method: "GET", target: "/kept"}.sign(t)); w.Code != 200 {
		t.Errorf("reading: %d %s", w.Code, w.Body)
	}
	e.Room = func() error { return nil }
	if w := e.serve(call{}.sign(t)); w.Code != 200 {
		t.Errorf("with room: %d %s", w.Code, w.Body)
	}
}
