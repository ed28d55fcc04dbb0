package agent_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/core/sandbox"
	"github.com/fescue-edge/fescue/testkit/archive"
	"github.com/fescue-edge/fescue/testkit/failurecoverage"
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

// noUIDs has no users left.
type noUIDs struct{}

func (noUIDs) UID(function string) (int, error) {
	return 0, errors.New("no number is left for " + function)
}

// peopled is a machine with the groups of a distribution.
var peopled = rooted{
	users:  map[string]int{"ggc_user": 112, "daemon": 1},
	groups: map[string]int{"ggc_group": 119, "shadow": 42, "video": 44, "docker": 998, "whale": 998},
}

// rows are the group's subscriptions.
func rows(list ...fescue.Subscription) func(*bundle.Group) {
	return func(g *bundle.Group) { g.GroupDefinitions.Subscriptions.Content = list }
}

// withResource gives the function of simple a resource, in a container.
func withResource(r bundle.Resource, permission string) func(*bundle.Group) {
	r.Id = "r"
	return func(g *bundle.Group) {
		g.GroupDefinitions.Resources.Content = append(g.GroupDefinitions.Resources.Content, r)
		lambda(func(l *bundle.LambdaConfiguration) {
			l.Environment.Execution = nil
			l.Environment.ResourceAccessPolicies = append(l.Environment.ResourceAccessPolicies, fescue.ResourceAccessPolicy{ResourceId: "r", Permission: permission})
		})(g)
	}
}

func withVolume(source, destination, permission string) func(*bundle.Group) {
	return withResource(bundle.Resource{Type: "LOCAL_VOLUME", Data: bundle.ResourceData{SourcePath: source, DestinationPath: destination}}, permission)
}

func withDevice(path, permission string) func(*bundle.Group) {
	return withResource(bundle.Resource{Type: "LOCAL_DEVICE", Data: bundle.ResourceData{SourcePath: path}}, permission)
}

// people makes a gateway that can have functions be others, if this one can.
func people(g *gateway) {
	if os.Getuid() == 0 {
		g.accounts = known
	}
}

func TestGroupsThatCannotRun(t *testing.T) {
	t.Parallel()
	closed, link := filepath.Join(t.TempDir(), "closed"), filepath.Join(t.TempDir(), "link")
	if err := errors.Join(os.WriteFile(closed, nil, 0o400), os.Symlink("/var/tmp", link)); err != nil {
		t.Fatal(err)
	}
	arn := functionARN("hello", 1)
	for _, tc := range []struct {
		name    string
		edit    func(*bundle.Group)
		gateway func(*gateway)
		release func(*release)
		code    fescue.FailureCode
		want    string
	}{
		{name: "in a mode that is none, as a group", edit: func(g *bundle.Group) {
			g.GroupDefinitions.Lambdas.DefaultConfig = &fescue.FunctionDefaultConfig{Execution: &fescue.FunctionExecution{IsolationMode: "Jail"}}
		}, code: fescue.IsolationModeOfGroup, want: "Your 'IsolationMode' configuration for the group is invalid."},
		{name: "a system component with an execution", edit: func(g *bundle.Group) {
			system("GGCloudSpooler:1", nil)(g)
			l := g.GroupDefinitions.Lambdas.Content
			l[len(l)-1].DeploymentConfiguration.Environment.Execution = &fescue.FunctionExecution{}
		}, code: fescue.ExecutionUnexpected, want: "Execution configuration for function with arn arn:aws:lambda:::function:GGCloudSpooler:1 is not allowed."},
		{name: "in a container by default", edit: lambda(func(l *bundle.LambdaConfiguration) { l.Environment.Execution = nil }), gateway: lacking,
			code: fescue.ContainerUnsupported, want: "what is missing: a root; an overlay. Supply what is missing and start the core again, or set DefaultConfig.Execution.IsolationMode"},
		{name: "in a container by its own word", edit: lambda(func(l *bundle.LambdaConfiguration) {
			l.Environment.Execution.IsolationMode = fescue.GreengrassContainer
		}), gateway: lacking,
			code: fescue.ContainerUnsupported, want: arn},
		{name: "in an unknown mode", edit: lambda(func(l *bundle.LambdaConfiguration) { l.Environment.Execution.IsolationMode = "Jail" }),
			code: fescue.IsolationModeOfFunction, want: "Your 'IsolationMode' configuration for function with arn " + arn + " is invalid."},
		{name: "with a memory size", edit: lambda(func(l *bundle.LambdaConfiguration) { l.MemorySize = ptr(16384) }),
			code: fescue.MemorySizeUnexpected, want: "MemorySize configuration for function with arn " + arn + " is not allowed in IsolationMode=NoContainer."},
		{name: "with access to sysfs", edit: lambda(func(l *bundle.LambdaConfiguration) { l.Environment.AccessSysfs = ptr(true) }),
			code: fescue.AccessSysfsUnexpected, want: "Access Sysfs configuration for function with arn " + arn + " is not allowed in IsolationMode=NoContainer."},
		{name: "without its interpreter", gateway: func(g *gateway) { g.missing[arn] = "cannot find executable python3.8" },
			code: fescue.RuntimeMissing, want: "cannot find executable python3.8"},
		{name: "in a folder that is closed to its user", gateway: func(g *gateway) { g.missing[arn], g.kind = "ggc_user may not enter the folder /home/pi", plan.Closed },
			code: fescue.FunctionClosed, want: arn + " cannot use what it needs to run: ggc_user may not enter the folder /home/pi"},
		{name: "a program that cannot be started", gateway: func(g *gateway) { g.missing[arn], g.kind = "run.sh: CR LF", plan.ProgramInvalid },
			code: fescue.ProgramInvalid, want: arn + " cannot be started: run.sh: CR LF"},
		{name: "as another user without being root", edit: runAs(ptr(1001), nil),
			code: fescue.RunAsOtherUser, want: "Run the core as root or remove RunAs"},
		{name: "without ggc_user", gateway: func(g *gateway) { g.accounts = rooted{groups: known.groups} },
			code: fescue.AccountMissing, want: "unable to load the group file downloaded: could not find UID based on user name, userName: ggc_user: user: unknown user ggc_user. Make the accounts on the gateway: groupadd"},
		{name: "without ggc_group", gateway: func(g *gateway) { g.accounts = rooted{users: known.users} },
			code: fescue.AccountMissing, want: "groupName: ggc_group: group: unknown group ggc_group. Make the accounts"},
		{name: "without a user of its own", gateway: func(g *gateway) { g.accounts, g.functionUIDs = known, noUIDs{} },
			code: fescue.FunctionUIDMissing, want: arn + " gets no user of its own: no number is left for " + strings.TrimSuffix(arn, ":1")},
		{name: "as root", edit: runAs(ptr(0), ptr(0)), gateway: func(g *gateway) { g.accounts = known },
			code: fescue.RunAsRoot, want: arn + " are configured to run as root but Greengrass is not configured to run Lambda functions with root permissions."},
		{name: "in a group that amounts to root", edit: runAs(nil, ptr(42)), gateway: func(g *gateway) { g.accounts = peopled },
			code: fescue.RunAsPrivileged, want: arn + " is configured to run with the GID 42, which is shadow on this machine and amounts to root"},
		{name: "in another one, by a second name", edit: runAs(nil, ptr(998)), gateway: func(g *gateway) { g.accounts = peopled },
			code: fescue.RunAsPrivileged, want: "which is docker on this machine"},
		{name: "in root's group", edit: runAs(nil, ptr(0)), gateway: func(g *gateway) { g.accounts = known },
			code: fescue.RunAsRoot, want: "allowFunctionsToRunAsRoot"},
		{name: "as a user that is none", edit: runAs(ptr(-1), nil), gateway: func(g *gateway) { g.accounts = known },
			code: fescue.RunAsInvalid, want: "has the UID -1"},
		{name: "an executable that is not there", edit: lambda(func(l *bundle.LambdaConfiguration) { l.Runtime, l.Handler = fescue.ExecutableRuntime, "server" }),
			code: fescue.HandlerMissing, want: "Unable to create server due to: failed to load group: chmod "},
		{name: "an executable that is a folder", edit: lambda(func(l *bundle.LambdaConfiguration) { l.Runtime, l.Handler = fescue.ExecutableRuntime, "lib" }),
			code: fescue.HandlerMissing, want: "not a regular file"},
		{name: "an executable without a name", edit: lambda(func(l *bundle.LambdaConfiguration) { l.Runtime, l.Handler = fescue.ExecutableRuntime, "" }),
			code: fescue.HandlerMissing, want: "no such file"},
		{name: "an executable outside", edit: lambda(func(l *bundle.LambdaConfiguration) {
			l.Runtime, l.Handler = fescue.ExecutableRuntime, "../../../../../../../../bin/sh"
		}), code: fescue.HandlerMissing, want: "no such file"},
		{name: "an encoding that is none", edit: lambda(func(l *bundle.LambdaConfiguration) { l.EncodingType = "xml" }),
			code: fescue.FunctionMisconfigured, want: `EncodingType "xml"`},
		{name: "a timeout that is none", edit: lambda(func(l *bundle.LambdaConfiguration) { l.Timeout = ptr(-1) }),
			code: fescue.FunctionMisconfigured, want: "Timeout is -1 s"},
		{name: "a variable that is none", edit: lambda(func(l *bundle.LambdaConfiguration) { l.Environment.Variables = map[string]string{"A=B": ""} }),
			code: fescue.FunctionMisconfigured, want: `environment variable "A=B"`},
		{name: "an argument that is none", edit: lambda(func(l *bundle.LambdaConfiguration) { l.ExecArgs = []string{"a\x00b"} }),
			code: fescue.FunctionMisconfigured, want: "cannot stand in a command line"},
		{name: "a function without a package", release: func(r *release) { r.manifest = func(m *bundle.Manifest) { m.Artifacts = m.Artifacts[:1] } },
			code: fescue.ManifestIncomplete, want: "names no package for function " + arn},
		{name: "a function twice", edit: func(g *bundle.Group) {
			l := &g.GroupDefinitions.Lambdas
			l.Content = append(l.Content, l.Content[0])
		}, code: fescue.FunctionMisconfigured, want: "stands in the group file twice"},
		{name: "a function by alias", edit: func(g *bundle.Group) {
			g.GroupDefinitions.Lambdas.Content[0].FunctionArn = "arn:aws:lambda:us-east-1:123456789012:function:hello"
		}, code: fescue.FunctionMisconfigured, want: "not the ARN of a function version"},
		{name: "a connector", edit: func(g *bundle.Group) {
			g.GroupDefinitions.Lambdas.Content[0].FunctionArn = "arn:aws:lambda:us-east-1:aws:function:KinesisFirehose:1"
		}, code: fescue.ConnectorUnsupported, want: "The connector arn:aws:lambda:us-east-1:aws:function:KinesisFirehose:1 cannot be run"},
		{name: "stream manager", edit: system("GGStreamManager:1", nil), code: fescue.SystemComponentUnsupported, want: "GGStreamManager"},
		{name: "a resource that is not there", edit: func(g *bundle.Group) {
			withDevice("/dev/null", "ro")(g)
			g.GroupDefinitions.Resources.Content = nil
		}, code: fescue.ResourceNotFound, want: "refers to the resource 'r', which is not in the group"},
		{name: "a volume without a container", edit: func(g *bundle.Group) {
			execution := g.GroupDefinitions.Lambdas.Content[0].DeploymentConfiguration.Environment.Execution
			withVolume("/srv", "/data", "ro")(g)
			g.GroupDefinitions.Lambdas.Content[0].DeploymentConfiguration.Environment.Execution = execution
		}, code: fescue.ResourceUnexpected, want: "'Local.Volume' that is not allowed in IsolationMode='NoContainer'"},
		{name: "a volume that is refused", edit: withVolume("/var/lib", "/data", "ro"),
			code: fescue.ResourceRefused, want: "The resource 'r' cannot be given to function " + arn + ": '/var/lib' cannot be a volume"},
		{name: "a volume that is not there", edit: withVolume("/nowhere", "/data", "ro"),
			code: fescue.ResourceSource, want: "'r' cannot be given to function " + arn + ": lstat /nowhere: no such file or directory. Connect or make it on the gateway"},
		{name: "a volume that a link hides", edit: withVolume(link, "/data", "ro"),
			code: fescue.ResourceSource, want: "leads to /var/tmp: '/var/tmp' cannot be a volume"},
		{name: "a device as a volume", edit: withVolume("/proc/self/root/dev/null", "/data", "ro"),
			code: fescue.ResourceSource, want: "is a device; give it as LocalDeviceResourceData"},
		{name: "a volume that is seen nowhere", edit: withVolume("/srv", "/root/data", "ro"),
			code: fescue.ResourceSource, want: "/root/data lies in /root, which is empty in a container"},
		{name: "the core's own folder", edit: withVolume("/srv", "/data", "ro"), gateway: func(g *gateway) { g.private = []sandbox.HostPath{"/srv"} },
			code: fescue.ResourceSource, want: "/srv lies in /srv, which is the core's own"},
		{name: "a device that is not there", edit: withDevice("/dev/ttyNone", "rw"), code: fescue.ResourceSource, want: "/dev/ttyNone: no such file"},
		{name: "a device that is a folder", edit: withDevice("/dev/net", "rw"), code: fescue.ResourceSource, want: "/dev/net is neither a character nor a block device"},
		{name: "a file that is closed", edit: withVolume(closed, "/data", "rw"), gateway: people,
			code: fescue.ResourceClosed, want: "don't have rw permission on the file: " + closed + ". Open it on the gateway to that UID"},
		{name: "a group that is not there", edit: func(g *bundle.Group) {
			withVolume("/srv", "/data", "ro")(g)
			g.GroupDefinitions.Resources.Content[0].Data.GroupOwnerSetting = &fescue.GroupOwnerSetting{GroupOwner: "millers"}
		}, gateway: func(g *gateway) { g.accounts = known },
			code: fescue.ResourceGroup, want: "The group 'millers' of the resource 'r' cannot be used on this core: group: unknown group millers"},
		{name: "in Ruby", edit: lambda(func(l *bundle.LambdaConfiguration) { l.Runtime = "ruby2.5" }),
			code: fescue.RuntimeUnsupported, want: arn + " has the runtime ruby2.5"},
		{name: "a device without a certificate", edit: func(g *bundle.Group) {
			g.Devices = []bundle.Identity{{ThingArn: "arn:aws:iot:us-east-1:123456789012:thing/pump"}}
		}, code: fescue.GroupFile, want: `the client device "arn:aws:iot:us-east-1:123456789012:thing/pump" with the certificate "" is none`},
		{name: "a device that is no thing", edit: func(g *bundle.Group) {
			g.Devices = []bundle.Identity{{ThingArn: "pump", CertArn: "arn:aws:iot:us-east-1:123456789012:cert/f9"}}
		}, code: fescue.GroupFile, want: `the client device "pump"`},
		{name: "a subscription of the shadow service", edit: rows(fescue.Subscription{Id: "s1", Source: arn, Subject: "a", Target: "GGShadowService"}),
			code: fescue.ShadowSubscriptionUnsupported, want: "The target of subscription 's1' is GGShadowService"},
		{name: "a component that is not to be configured", edit: system("GGTES", nil), code: fescue.SystemComponentUnsupported, want: "GGTES"},
		{name: "a small spool", edit: system("GGCloudSpooler:1", map[string]string{"GG_CONFIG_MAX_SIZE_BYTES": "262143"}),
			code: fescue.SpoolSize, want: "Spool size should be at least 262144 bytes."},
		{name: "a spool that is no number", edit: system("GGCloudSpooler", map[string]string{"GG_CONFIG_MAX_SIZE_BYTES": "big"}),
			code: fescue.SpoolSizeInvalid, want: `is "big"`},
		{name: "a subscription to no topic", edit: func(g *bundle.Group) {
			g.GroupDefinitions.Subscriptions.Content = []fescue.Subscription{{Id: "s1", Source: "cloud", Subject: "a/#/b", Target: arn}}
		}, code: fescue.SubscriptionInvalid, want: "The subscription 's1' cannot be routed: "},
		{name: "a subscription from nowhere", edit: func(g *bundle.Group) {
			g.GroupDefinitions.Subscriptions.Content = []fescue.Subscription{{Id: "s1", Subject: "a", Target: arn}}
		}, code: fescue.SubscriptionInvalid, want: "'s1' cannot be routed: it lacks a source"},
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

func TestSeveralProblemsAtOnce(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	g := newGateway(t, p)
	g.accounts = rooted{}
	g.run()
	r := simple(t, 1, 1)
	r.packages[functionARN("other", 1)] = archive.Zip(t, archive.Member{Name: "app.py"})
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
	want := []string{string(fescue.SystemComponentUnsupported), string(fescue.MemorySizeUnexpected), string(fescue.AccountMissing)}
	if diff := cmp.Diff(want, codes); diff != "" {
		t.Error(diff, end.ErrorDetails)
	}
}

// lacking makes a gateway that cannot run containers.
func lacking(g *gateway) { g.lacks = []string{"a root", "an overlay"} }

func TestGroupsThatRun(t *testing.T) {
	t.Parallel()
	folder, folderGID := t.TempDir(), uint32(os.Getgid())
	if err := os.Chmod(folder, 0o770); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name    string
		edit    func(*bundle.Group)
		gateway func(*gateway)
		got     func(plan.Plan) any
		want    any
	}{
		{name: "as ggc_user", gateway: func(g *gateway) { g.accounts = known },
			got: func(p plan.Plan) any { return p.Functions[0].RunAs }, want: &sandbox.Credential{UID: 112, GID: 119}},
		{name: "as the function says", edit: runAs(ptr(1), ptr(2)), gateway: func(g *gateway) { g.accounts = known },
			got: func(p plan.Plan) any { return p.Functions[0].RunAs }, want: &sandbox.Credential{UID: 1, GID: 2}},
		{name: "half as the function says, half as the group says", gateway: func(g *gateway) { g.accounts = known },
			edit: func(g *bundle.Group) {
				runAs(ptr(1), nil)(g)
				g.GroupDefinitions.Lambdas.DefaultConfig = &fescue.FunctionDefaultConfig{Execution: &fescue.FunctionExecution{RunAs: &fescue.RunAs{Uid: ptr(7), Gid: ptr(8)}}}
			},
			got: func(p plan.Plan) any { return p.Functions[0].RunAs }, want: &sandbox.Credential{UID: 1, GID: 8}},
		{name: "as the core's own default", gateway: func(g *gateway) { g.accounts, g.uid, g.gid = rooted{}, ptr(65534), ptr(65534) },
			got: func(p plan.Plan) any { return p.Functions[0].RunAs }, want: &sandbox.Credential{UID: 65534, GID: 65534}},
		{name: "as root where it is allowed", edit: runAs(ptr(0), ptr(0)), gateway: func(g *gateway) { g.accounts, g.allowRoot = known, true },
			got: func(p plan.Plan) any { return p.Functions[0].RunAs }, want: &sandbox.Credential{}},
		{name: "as the ordinary user that the core is", edit: runAs(ptr(1000), ptr(1000)),
			got: func(p plan.Plan) any { return p.Functions[0].RunAs == nil }, want: true},
		{name: "without a container by the group's default", edit: func(g *bundle.Group) {
			lambda(func(l *bundle.LambdaConfiguration) { l.Environment.Execution = nil })(g)
			g.GroupDefinitions.Lambdas.DefaultConfig = &fescue.FunctionDefaultConfig{Execution: &fescue.FunctionExecution{IsolationMode: fescue.NoContainer}}
		}, got: func(p plan.Plan) any { return len(p.Functions) }, want: 1},
		{name: "in a group that amounts to root where that is allowed", edit: runAs(nil, ptr(42)),
			gateway: func(g *gateway) { g.accounts, g.allowRoot = peopled, true },
			got:     func(p plan.Plan) any { return p.Functions[0].RunAs }, want: &sandbox.Credential{UID: 112, GID: 42}},
		{name: "in a container of the original's default size", edit: lambda(func(l *bundle.LambdaConfiguration) { l.Environment.Execution = nil }),
			got: func(p plan.Plan) any { return p.Functions[0].Container }, want: &plan.Container{MemoryKB: 16384}},
		{name: "in a container of its own size with /sys", edit: lambda(func(l *bundle.LambdaConfiguration) {
			l.Environment.Execution, l.MemorySize, l.Environment.AccessSysfs = nil, ptr(65536), ptr(true)
		}), got: func(p plan.Plan) any { return p.Functions[0].Container }, want: &plan.Container{MemoryKB: 65536, Sysfs: true}},
		{name: "with a device, by its link", edit: withDevice("/dev/stdin/../zero", "ro"), got: func(p plan.Plan) any { return p.Functions[0].Container.Devices },
			want: []sandbox.Device{{Source: "/dev/zero", Path: "/dev/zero", Major: 1, Minor: 5}}},
		{name: "with a volume and its group", edit: func(g *bundle.Group) {
			withVolume(folder, "/data", "rw")(g)
			g.GroupDefinitions.Resources.Content[0].Data.GroupOwnerSetting = &fescue.GroupOwnerSetting{AutoAddGroupOwner: ptr(true), GroupOwner: "ignored"}
		}, gateway: func(g *gateway) { people(g); g.allowRoot = true }, got: func(p plan.Plan) any {
			return []any{p.Functions[0].Container.Mounts, p.Functions[0].RunAs == nil || slices.Equal(p.Functions[0].RunAs.Groups, []uint32{folderGID})}
		}, want: []any{[]sandbox.Mount{{Source: sandbox.HostPath(folder), Destination: "/data", Writable: true}}, true}},
		{name: "with a volume and another group", edit: func(g *bundle.Group) {
			withVolume("/", "/data", "")(g)
			g.GroupDefinitions.Resources.Content[0].Data.GroupOwnerSetting = &fescue.GroupOwnerSetting{GroupOwner: "video"}
		}, gateway: func(g *gateway) {
			if people(g); os.Getuid() == 0 {
				g.accounts = peopled
			}
		}, got: func(p plan.Plan) any {
			return []any{p.Functions[0].Container.Mounts, p.Functions[0].RunAs == nil || slices.Equal(p.Functions[0].RunAs.Groups, []uint32{44})}
		}, want: []any{[]sandbox.Mount{{Source: "/", Destination: "/data"}}, true}},
		{name: "with a file of /proc, whatever it asks", edit: withVolume("/proc/stat", "/host/stat", "rw"), got: func(p plan.Plan) any { return p.Functions[0].Container.Mounts },
			want: []sandbox.Mount{{Source: "/proc/stat", Destination: "/host/stat"}}},
		{name: "a handler beside the name of an interpreter", edit: lambda(func(l *bundle.LambdaConfiguration) { l.Executable = "python3.7" }),
			got: func(p plan.Plan) any { return p.Functions[0].Handler }, want: "app.handler"},
		{name: "a handler that only Executable names", edit: lambda(func(l *bundle.LambdaConfiguration) { l.Handler, l.Executable = "", "app.handler" }),
			got: func(p plan.Plan) any { return p.Functions[0].Handler }, want: "app.handler"},
		{name: "an executable", edit: lambda(func(l *bundle.LambdaConfiguration) {
			l.Runtime, l.Handler, l.Executable = fescue.ExecutableRuntime, "ignored", "app.py"
		}), got: func(p plan.Plan) any {
			info, err := os.Stat(string(p.Functions[0].Code.Join("app.py")))
			return err == nil && info.Mode().Perm() == 0o755 && p.Functions[0].Handler == "app.py"
		}, want: true},
		{name: "GGIPDetector and GGCloudSpooler", edit: func(g *bundle.Group) {
			system("GGIPDetector", nil)(g)
			system("GGCloudSpooler:1", map[string]string{"GG_CONFIG_MAX_SIZE_BYTES": "300000", "GG_CONFIG_STORAGE_TYPE": "Memory"})(g)
		}, got: func(p plan.Plan) any { return []any{len(p.Functions), p.SpoolBytes, p.DetectAddresses} }, want: []any{1, int64(300000), true}},
		{name: "loggers and subscriptions", edit: func(g *bundle.Group) {
			g.GroupDefinitions.Logging.Content = []bundle.Logger{{Type: "FileSystem", Component: "Lambda", Level: "DEBUG"}}
			g.GroupDefinitions.Subscriptions.Content = []fescue.Subscription{{Id: "s", Source: "cloud", Subject: "a/+", Target: functionARN("hello", 1)}}
		}, got: func(p plan.Plan) any { return []string{p.Functions[0].LogLevel, p.Subscriptions[0].Subject} }, want: []string{"DEBUG", "a/+"}},
		{name: "the lowest level of two loggers", edit: func(g *bundle.Group) {
			g.GroupDefinitions.Logging.Content = []bundle.Logger{
				{Type: "FileSystem", Component: "Lambda", Level: "WARN"}, {Type: "AWSCloudWatch", Component: "Lambda", Level: "DEBUG"}, {Type: "FileSystem", Component: "GreengrassSystem", Level: "TRACE"},
			}
		}, got: func(p plan.Plan) any { return p.Functions[0].LogLevel }, want: "DEBUG"},
		{name: "the level of files without a logger", edit: func(g *bundle.Group) {
			g.GroupDefinitions.Logging.Content = []bundle.Logger{{Type: "AWSCloudWatch", Component: "Lambda", Level: "ERROR"}}
		}, got: func(p plan.Plan) any { return p.Functions[0].LogLevel }, want: "INFO"},
		{name: "client devices", edit: func(g *bundle.Group) {
			g.Devices = []bundle.Identity{{ThingArn: "arn:aws:iot:us-east-1:123456789012:thing/pump", CertArn: "arn:aws:iot:us-east-1:123456789012:cert/f9"}}
		}, got: func(p plan.Plan) any { return p.Devices },
			want: []plan.Device{{ThingARN: "arn:aws:iot:us-east-1:123456789012:thing/pump", Thing: "pump", CertificateID: "f9"}}},
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

// TestWarnings: what fails nothing is told with the report that the deployment is
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
		{name: "a setting of the spooler", edit: system("GGCloudSpooler:1", map[string]string{"GG_CONFIG_STORAGE_TYPE": "FileSystem"}),
			code: fescue.SpoolerSettingUnserved, want: "GG_CONFIG_STORAGE_TYPE of GGCloudSpooler is FileSystem"},
		{name: "less memory than an interpreter needs", edit: lambda(func(l *bundle.LambdaConfiguration) {
			l.Environment.Execution, l.MemorySize = nil, ptr(8192)
		}), code: fescue.MemorySizeSmall, want: "has a MemorySize of 8192 KB; Python alone needs about 16384 KB"},
		{name: "little memory for Java", edit: lambda(func(l *bundle.LambdaConfiguration) {
			l.Runtime, l.Environment.Execution, l.MemorySize = "java8", nil, ptr(16384)
		}), code: fescue.MemorySizeSmall, want: "has a MemorySize of 16384 KB; Java alone needs about 32768 KB"},
		{name: "a logger", edit: func(g *bundle.Group) {
			g.GroupDefinitions.Logging.Content = []bundle.Logger{{Type: "AWSCloudWatch", Component: "Lambda", Level: "INFO"}}
		}},
		{name: "shadows to sync", edit: func(g *bundle.Group) {
			for range 7 {
				g.GroupDefinitions.ShadowSync.Content = append(g.GroupDefinitions.ShadowSync.Content, bundle.ShadowSync{ThingArn: "arn:aws:iot:us-east-1:123456789012:thing/pump"})
			}
		}, code: fescue.ShadowSyncUnserved, want: "for pump, pump, pump, pump, pump and 2 more"},
		{name: "a group of the system", edit: runAs(nil, ptr(44)), code: fescue.RunAsSystemID, want: "GID 44 (video)"},
		{name: "a user of the system", edit: runAs(ptr(1), nil), code: fescue.RunAsSystemID, want: "UID 1 (daemon)"},
		{name: "a group that there is not", edit: runAs(nil, ptr(999)), code: fescue.RunAsSystemID, want: "GID 999 (without a name)"},
		{name: "ggc_user by its number", edit: runAs(ptr(112), ptr(119))},
		{name: "a person", edit: runAs(ptr(1000), ptr(1000))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			g := newGateway(t, p)
			g.accounts = peopled
			g.run()
			r := simple(t, 1, 1)
			r.edit = tc.edit
			d := p.offer(r.build(p))
			p.expect(d, fescue.Success)
			var told []fescue.ErrorDetail
			p.mu.Change(func() {
				for _, report := range d.reports {
					if report.Event == fescue.EventStaged {
						told = report.Warnings
					}
				}
			})
			failurecoverage.Note(told)
			if tc.want == "" {
				if len(told) != 0 {
					t.Errorf("warnings %q", told)
				}
				return
			}
			if len(told) != 1 || told[0].DetailedErrorCode != string(tc.code) || !strings.Contains(told[0].DetailedErrorMessage, tc.want) {
				t.Fatalf("warnings %q, want %s with %q", told, tc.code, tc.want)
			}
			if !strings.Contains(g.log.String(), "code="+string(tc.code)) {
				t.Errorf("log:\n%s", g.log)
			}
		})
	}
}
