package agent_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/core/plan/plantest"
	"github.com/fescue-edge/fescue/core/sandbox"
	"github.com/fescue-edge/fescue/testkit/failurecoverage"
)

// people makes a gateway that can have functions be others, if this one can.
func people(g *gateway) {
	if os.Getuid() == 0 {
		g.accounts = plantest.Known
	}
}

// TestGroupsThatCannotRun: what package plan finds by an agent's options ends the
// deployment in Failure, and nothing is started. Its own tests have the problems one by one.
func TestGroupsThatCannotRun(t *testing.T) {
	t.Parallel()
	arn := functionARN("hello", 1)
	for _, tc := range []struct {
		name    string
		edit    func(*bundle.Group)
		gateway func(*gateway)
		code    fescue.FailureCode
		want    string
	}{
		{name: "in a container by default", edit: plantest.Lambda(func(l *bundle.LambdaConfiguration) { l.Environment.Execution = nil }), gateway: lacking,
			code: fescue.ContainerUnsupported, want: "what is missing: a root; an overlay. Supply what is missing and start the core again, or set DefaultConfig.Execution.IsolationMode"},
		{name: "without its interpreter", gateway: func(g *gateway) { g.missing[arn] = "cannot find executable python3.8" },
			code: fescue.RuntimeMissing, want: "cannot find executable python3.8"},
		{name: "without a user of its own", gateway: func(g *gateway) { g.accounts, g.functionUIDs = plantest.Known, plantest.NoUIDs{} },
			code: fescue.FunctionUIDMissing, want: arn + " gets no user of its own: no number is left for " + strings.TrimSuffix(arn, ":1")},
		{name: "the core's own folder", edit: plantest.WithVolume("/srv", "/data", "ro"), gateway: func(g *gateway) { g.private = []sandbox.HostPath{"/srv"} },
			code: fescue.ResourceSource, want: "/srv lies in /srv, which is the core's own"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			g := newGateway(t, p)
			if tc.gateway != nil {
				tc.gateway(g)
			}
			g.run()
			r := simple(t, 1, 1)
			r.edit = tc.edit
			end := p.expect(p.offer(r.build(p)), fescue.Failure)
			if len(end.ErrorDetails) != 1 || end.ErrorDetails[0].DetailedErrorCode != string(tc.code) || !strings.Contains(end.ErrorDetails[0].DetailedErrorMessage, tc.want) {
				t.Errorf("details %q; want %s with %q", end.ErrorDetails, tc.code, tc.want)
			}
			for _, plan := range g.applied() {
				if len(plan.Functions) > 0 {
					t.Errorf("functions %v were started", running(plan))
				}
			}
		})
	}
}

// lacking makes a gateway that cannot run containers.
func lacking(g *gateway) { g.lacks = []string{"a root", "an overlay"} }

// TestGroupsThatRun: what an agent's options say reaches the plan. The tests of package
// plan have the groups one by one.
func TestGroupsThatRun(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		edit    func(*bundle.Group)
		gateway func(*gateway)
		got     func(plan.Plan) any
		want    any
	}{
		{name: "as the core's own default", gateway: func(g *gateway) { g.accounts, g.uid, g.gid = plantest.Rooted{}, new(65534), new(65534) },
			got: func(p plan.Plan) any { return p.Functions[0].RunAs }, want: &sandbox.Credential{UID: 65534, GID: 65534}},
		{name: "as root where it is allowed", edit: plantest.RunAs(new(0), new(0)), gateway: func(g *gateway) { g.accounts, g.allowRoot = plantest.Known, true },
			got: func(p plan.Plan) any { return p.Functions[0].RunAs }, want: &sandbox.Credential{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			g := newGateway(t, p)
			if tc.gateway != nil {
				tc.gateway(g)
			}
			g.run()
			r := simple(t, 1, 1)
			r.edit = tc.edit
			p.expect(p.offer(r.build(p)), fescue.Success)
			if diff := cmp.Diff(tc.want, tc.got(g.last())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestWarnings: what fails nothing comes with the report that the deployment is
// staged, by the answer to a check, and in the log.
func TestWarnings(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		edit func(*bundle.Group)
		code fescue.FailureCode
		want string
	}{
		{name: "nothing"},
		{name: "less memory than an interpreter needs", edit: plantest.Lambda(func(l *bundle.LambdaConfiguration) {
			l.Environment.Execution, l.MemorySize = nil, new(8192)
		}), code: fescue.MemorySizeSmall, want: "has a MemorySize of 8192 KB; Python alone needs about 16384 KB"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			g := newGateway(t, p)
			g.accounts = plantest.Peopled
			g.run()
			r := simple(t, 1, 1)
			r.edit = tc.edit
			d := p.offer(r.build(p))
			p.expect(d, fescue.Success)
			var warnings []fescue.ErrorDetail
			p.mu.Change(func() {
				for _, report := range d.reports {
					if report.Event == fescue.EventStaged {
						warnings = report.Warnings
					}
				}
			})
			failurecoverage.Note(warnings)
			if tc.want == "" {
				if len(warnings) != 0 {
					t.Errorf("warnings %q", warnings)
				}
				return
			}
			if len(warnings) != 1 || warnings[0].DetailedErrorCode != string(tc.code) || !strings.Contains(warnings[0].DetailedErrorMessage, tc.want) {
				t.Fatalf("warnings %q, want %s with %q", warnings, tc.code, tc.want)
			}
			// What is planned before the switch is what is started after it.
			if strings.Count(g.log.String(), "code="+string(tc.code)) != 1 {
				t.Errorf("not said once, log:\n%s", g.log)
			}
		})
	}
}
