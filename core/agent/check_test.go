package agent_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/agent"
)

func ptr[T any](v T) *T { return &v }

// runAs gives the function of simple an identity.
func runAs(uid, gid *int) func(*bundle.Group) {
	return func(g *bundle.Group) {
		g.GroupDefinitions.Lambdas.Content[0].DeploymentConfiguration.Environment.Execution.RunAs = &fescue.RunAs{Uid: uid, Gid: gid}
	}
}

// lambda edits the function of simple.
func lambda(f func(*bundle.LambdaConfiguration)) func(*bundle.Group) {
	return func(g *bundle.Group) { f(&g.GroupDefinitions.Lambdas.Content[0].DeploymentConfiguration) }
}

func system(name string, variables map[string]string) func(*bundle.Group) {
	return func(g *bundle.Group) {
		l := bundle.Lambda{FunctionArn: "arn:aws:lambda:::function:" + name}
		l.DeploymentConfiguration.Environment.Variables = variables
		g.GroupDefinitions.Lambdas.Content = append(g.GroupDefinitions.Lambdas.Content, l)
	}
}

var known = rooted{users: map[string]int{"ggc_user": 112}, groups: map[string]int{"ggc_group": 119}}

func TestGroupsThatCannotRun(t *testing.T) {
	t.Parallel()
	arn := functionARN("hello", 1)
	for _, tc := range []struct {
		name       string
		edit       func(*bundle.Group)
		gateway    func(*gateway)
		release    func(*release)
		code, want string
	}{
		{name: "in a container by default", edit: lambda(func(l *bundle.LambdaConfiguration) { l.Environment.Execution = nil }),
			code: "CONTAINER_UNSUPPORTED_ERROR", want: "this version of the core runs IsolationMode=NoContainer only. Set DefaultConfig.Execution.IsolationMode"},
		{name: "in a container by its own word", edit: lambda(func(l *bundle.LambdaConfiguration) {
			l.Environment.Execution.IsolationMode = fescue.GreengrassContainer
		}),
			code: "CONTAINER_UNSUPPORTED_ERROR", want: arn},
		{name: "in an unknown mode", edit: lambda(func(l *bundle.LambdaConfiguration) { l.Environment.Execution.IsolationMode = "Jail" }),
			code: "ISOLATION_MODE_ERROR", want: "Your 'IsolationMode' configuration for function with arn " + arn + " is invalid."},
		{name: "with a memory size", edit: lambda(func(l *bundle.LambdaConfiguration) { l.MemorySize = ptr(16384) }),
			code: "ISOLATION_MODE_ERROR", want: "MemorySize configuration for function with arn " + arn + " is not allowed in IsolationMode=NoContainer."},
		{name: "with access to sysfs", edit: lambda(func(l *bundle.LambdaConfiguration) { l.Environment.AccessSysfs = ptr(true) }),
			code: "ISOLATION_MODE_ERROR", want: "Access Sysfs configuration for function with arn " + arn + " is not allowed in IsolationMode=NoContainer."},
		{name: "without its interpreter", gateway: func(g *gateway) { g.missing[arn] = "cannot find executable python3.8" },
			code: "RUNTIME_MISSING_ERROR", want: "cannot find executable python3.8"},
		{name: "as another user without being root", edit: runAs(ptr(1001), nil),
			code: "RUN_AS_USER_ERROR", want: "Run the core as root or remove RunAs"},
		{name: "without ggc_user", gateway: func(g *gateway) { g.accounts = rooted{groups: known.groups} },
			code: "RUN_AS_USER_ERROR", want: "unable to load the group file downloaded: could not find UID based on user name, userName: ggc_user: user: unknown user ggc_user. Make it on the gateway: useradd"},
		{name: "without ggc_group", gateway: func(g *gateway) { g.accounts = rooted{users: known.users} },
			code: "RUN_AS_USER_ERROR", want: "groupName: ggc_group: group: unknown group ggc_group. Make it on the gateway: groupadd"},
		{name: "as root", edit: runAs(ptr(0), ptr(0)), gateway: func(g *gateway) { g.accounts = known },
			code: "RUN_AS_ROOT_ERROR", want: arn + " are configured to run as root but Greengrass is not configured to run Lambda functions with root permissions."},
		{name: "in root's group", edit: runAs(nil, ptr(0)), gateway: func(g *gateway) { g.accounts = known },
			code: "RUN_AS_ROOT_ERROR", want: "allowFunctionsToRunAsRoot"},
		{name: "as a user that is none", edit: runAs(ptr(-1), nil), gateway: func(g *gateway) { g.accounts = known },
			code: "RUN_AS_USER_ERROR", want: "has the UID -1"},
		{name: "an executable that is not there", edit: lambda(func(l *bundle.LambdaConfiguration) { l.Runtime, l.Handler = fescue.ExecutableRuntime, "server" }),
			code: "HANDLER_MISSING_ERROR", want: "Unable to create server due to: failed to load group: chmod "},
		{name: "an executable that is a folder", edit: lambda(func(l *bundle.LambdaConfiguration) { l.Runtime, l.Handler = fescue.ExecutableRuntime, "lib" }),
			code: "HANDLER_MISSING_ERROR", want: "not a regular file"},
		{name: "an executable without a name", edit: lambda(func(l *bundle.LambdaConfiguration) { l.Runtime, l.Handler = fescue.ExecutableRuntime, "" }),
			code: "HANDLER_MISSING_ERROR", want: "no such file"},
		{name: "an executable outside", edit: lambda(func(l *bundle.LambdaConfiguration) {
			l.Runtime, l.Handler = fescue.ExecutableRuntime, "../../../../../../../../bin/sh"
		}), code: "HANDLER_MISSING_ERROR", want: "no such file"},
		{name: "an encoding that is none", edit: lambda(func(l *bundle.LambdaConfiguration) { l.EncodingType = "xml" }),
			code: "GROUP_FILE_ERROR", want: `EncodingType "xml"`},
		{name: "a timeout that is none", edit: lambda(func(l *bundle.LambdaConfiguration) { l.Timeout = ptr(-1) }),
			code: "GROUP_FILE_ERROR", want: "Timeout of function"},
		{name: "a variable that is none", edit: lambda(func(l *bundle.LambdaConfiguration) { l.Environment.Variables = map[string]string{"A=B": ""} }),
			code: "GROUP_FILE_ERROR", want: `environment variable "A=B"`},
		{name: "a function without a package", release: func(r *release) { r.manifest = func(m *bundle.Manifest) { m.Functions = nil } },
			code: "MANIFEST_REFUSED_ERROR", want: "names no package for function " + arn},
		{name: "a function twice", edit: func(g *bundle.Group) {
			l := &g.GroupDefinitions.Lambdas
			l.Content = append(l.Content, l.Content[0])
		}, code: "GROUP_FILE_ERROR", want: "stands in the group file twice"},
		{name: "a function by alias", edit: func(g *bundle.Group) {
			g.GroupDefinitions.Lambdas.Content[0].FunctionArn = "arn:aws:lambda:us-east-1:123456789012:function:hello"
		}, code: "GROUP_FILE_ERROR", want: "is not the ARN of a function version"},
		{name: "a connector", edit: func(g *bundle.Group) {
			g.GroupDefinitions.Lambdas.Content[0].FunctionArn = "arn:aws:lambda:us-east-1:aws:function:KinesisFirehose:1"
		}, code: "FEATURE_UNSUPPORTED_ERROR", want: "The connector arn:aws:lambda:us-east-1:aws:function:KinesisFirehose:1 cannot run"},
		{name: "stream manager", edit: system("GGStreamManager:1", nil), code: "FEATURE_UNSUPPORTED_ERROR", want: "GGStreamManager"},
		{name: "a resource", edit: func(g *bundle.Group) {
			g.GroupDefinitions.Resources.Content = []bundle.Resource{{Id: "serial", Type: "LOCAL_DEVICE"}}
		}, code: "FEATURE_UNSUPPORTED_ERROR", want: "The resource 'serial' is of type 'LOCAL_DEVICE'"},
		{name: "a small spool", edit: system("GGCloudSpooler:1", map[string]string{"GG_CONFIG_MAX_SIZE_BYTES": "262143"}),
			code: "SPOOLER_CONFIGURATION_ERROR", want: "Spool size should be at least 262144 bytes."},
		{name: "a spool that is no number", edit: system("GGCloudSpooler", map[string]string{"GG_CONFIG_MAX_SIZE_BYTES": "big"}),
			code: "SPOOLER_CONFIGURATION_ERROR", want: `is "big"`},
		{name: "a subscription to no topic", edit: func(g *bundle.Group) {
			g.GroupDefinitions.Subscriptions.Content = []fescue.Subscription{{Id: "s1", Source: "cloud", Subject: "a/#/b", Target: arn}}
		}, code: "SUBSCRIPTION_INVALID_ERROR", want: "The subject of subscription 's1'"},
		{name: "a subscription from nowhere", edit: func(g *bundle.Group) {
			g.GroupDefinitions.Subscriptions.Content = []fescue.Subscription{{Id: "s1", Subject: "a", Target: arn}}
		}, code: "SUBSCRIPTION_INVALID_ERROR", want: "'s1' lacks a source"},
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
			if tc.release != nil {
				tc.release(&r)
			}
			end := p.expect(p.offer(r.build(p)), fescue.Failure)
			if len(end.ErrorDetails) != 1 || end.ErrorDetails[0].DetailedErrorCode != tc.code || !strings.Contains(end.ErrorDetails[0].DetailedErrorMessage, tc.want) {
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

func TestSeveralProblemsAtOnce(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	g := newGateway(t, p)
	g.accounts = rooted{}
	g.run()
	r := simple(t, 1, 1)
	r.packages[functionARN("other", 1)] = zipOf(t, member{name: "app.py"})
	r.edit = func(g *bundle.Group) {
		lambda(func(l *bundle.LambdaConfiguration) { l.MemorySize = ptr(1) })(g)
		system("GGStreamManager:1", nil)(g)
	}
	end := p.expect(p.offer(r.build(p)), fescue.Failure)
	var codes []string
	for _, d := range end.ErrorDetails {
		codes = append(codes, d.DetailedErrorCode)
	}
	// ggc_user is missing for both functions and named once.
	want := []string{"ISOLATION_MODE_ERROR", "RUN_AS_USER_ERROR", "FEATURE_UNSUPPORTED_ERROR"}
	if diff := cmp.Diff(want, codes); diff != "" {
		t.Error(diff, end.ErrorDetails)
	}
}

func TestGroupsThatRun(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		edit    func(*bundle.Group)
		gateway func(*gateway)
		got     func(agent.Plan) any
		want    any
	}{
		{name: "as ggc_user", gateway: func(g *gateway) { g.accounts = known },
			got: func(p agent.Plan) any { return p.Functions[0].RunAs }, want: &agent.Identity{UID: 112, GID: 119}},
		{name: "as the function says", edit: runAs(ptr(1), ptr(2)), gateway: func(g *gateway) { g.accounts = known },
			got: func(p agent.Plan) any { return p.Functions[0].RunAs }, want: &agent.Identity{UID: 1, GID: 2}},
		{name: "half as the function says, half as the group says", gateway: func(g *gateway) { g.accounts = known },
			edit: func(g *bundle.Group) {
				runAs(ptr(1), nil)(g)
				g.GroupDefinitions.Lambdas.DefaultConfig = &fescue.FunctionDefaultConfig{Execution: &fescue.FunctionExecution{RunAs: &fescue.RunAs{Uid: ptr(7), Gid: ptr(8)}}}
			},
			got: func(p agent.Plan) any { return p.Functions[0].RunAs }, want: &agent.Identity{UID: 1, GID: 8}},
		{name: "as the core's own default", gateway: func(g *gateway) { g.accounts, g.uid, g.gid = rooted{}, ptr(65534), ptr(65534) },
			got: func(p agent.Plan) any { return p.Functions[0].RunAs }, want: &agent.Identity{UID: 65534, GID: 65534}},
		{name: "as root where it is allowed", edit: runAs(ptr(0), ptr(0)), gateway: func(g *gateway) { g.accounts, g.allowRoot = known, true },
			got: func(p agent.Plan) any { return p.Functions[0].RunAs }, want: &agent.Identity{}},
		{name: "as the ordinary user that the core is", edit: runAs(ptr(1000), ptr(1000)),
			got: func(p agent.Plan) any { return p.Functions[0].RunAs == nil }, want: true},
		{name: "without a container by the group's default", edit: func(g *bundle.Group) {
			lambda(func(l *bundle.LambdaConfiguration) { l.Environment.Execution = nil })(g)
			g.GroupDefinitions.Lambdas.DefaultConfig = &fescue.FunctionDefaultConfig{Execution: &fescue.FunctionExecution{IsolationMode: fescue.NoContainer}}
		}, got: func(p agent.Plan) any { return len(p.Functions) }, want: 1},
		{name: "an executable", edit: lambda(func(l *bundle.LambdaConfiguration) {
			l.Runtime, l.Handler, l.Executable = fescue.ExecutableRuntime, "ignored", "app.py"
		}), got: func(p agent.Plan) any {
			info, err := os.Stat(p.Functions[0].Dir + "/app.py")
			return err == nil && info.Mode().Perm() == 0o755 && p.Functions[0].Handler == "app.py"
		}, want: true},
		{name: "GGIPDetector and GGCloudSpooler", edit: func(g *bundle.Group) {
			system("GGIPDetector", nil)(g)
			system("GGCloudSpooler:1", map[string]string{"GG_CONFIG_MAX_SIZE_BYTES": "300000", "GG_CONFIG_STORAGE_TYPE": "Memory"})(g)
		}, got: func(p agent.Plan) any { return []int64{int64(len(p.Functions)), p.SpoolBytes} }, want: []int64{1, 300000}},
		{name: "loggers and subscriptions", edit: func(g *bundle.Group) {
			g.GroupDefinitions.Logging.Content = []bundle.Logger{{Type: "FileSystem", Component: "Lambda", Level: "DEBUG"}}
			g.GroupDefinitions.Subscriptions.Content = []fescue.Subscription{{Id: "s", Source: "cloud", Subject: "a/+", Target: functionARN("hello", 1)}}
		}, got: func(p agent.Plan) any { return []string{p.Functions[0].LogLevel, p.Subscriptions[0].Subject} }, want: []string{"DEBUG", "a/+"}},
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

func TestSpoolerSettingsWithoutEffectAreNamed(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	g := newGateway(t, p)
	g.run()
	r := simple(t, 1, 1)
	r.edit = system("GGCloudSpooler:1", map[string]string{"GG_CONFIG_STORAGE_TYPE": "FileSystem"})
	p.expect(p.offer(r.build(p)), fescue.Success)
	if !strings.Contains(g.log.String(), "variable=GG_CONFIG_STORAGE_TYPE value=FileSystem") {
		t.Errorf("log:\n%s", g.log)
	}
}
