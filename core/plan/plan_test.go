package plan_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/failure"
	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/core/sandbox"
)

// lacking makes a core that cannot run containers.
func lacking(s *site) { s.lacks = []string{"a root", "an overlay"} }

// wants checks for exactly one problem.
func wants(t *testing.T, problems []failure.Problem, code fescue.FailureCode, text string) {
	t.Helper()
	if len(problems) != 1 || problems[0].Code != string(code) || !strings.Contains(problems[0].Message, text) {
		t.Errorf("problems %q; want %s with %q", problems, code, text)
	}
}

func TestGroupsThatCannotRun(t *testing.T) {
	t.Parallel()
	closed, link := filepath.Join(t.TempDir(), "closed"), filepath.Join(t.TempDir(), "link")
	if err := errors.Join(os.WriteFile(closed, nil, 0o400), os.Symlink("/var/tmp", link)); err != nil {
		t.Fatal(err)
	}
	owned := func(group, permission string) *fescue.OwnerSetting {
		return &fescue.OwnerSetting{GroupOwner: group, GroupPermission: permission}
	}
	for _, tc := range []struct {
		name     string
		edit     func(*bundle.Group)
		core     func(*site)
		manifest func(*bundle.Manifest)
		code     fescue.FailureCode
		want     string
	}{
		{name: "in a mode that is none, as a group", edit: func(g *bundle.Group) {
			g.GroupDefinitions.Lambdas.DefaultConfig = &fescue.FunctionDefaultConfig{Execution: &fescue.FunctionExecution{IsolationMode: "Jail"}}
		}, code: fescue.IsolationModeOfGroup, want: "Your 'IsolationMode' configuration for the group is invalid."},
		{name: "a system component with an execution", edit: func(g *bundle.Group) {
			system("GGCloudSpooler:1", nil)(g)
			l := g.GroupDefinitions.Lambdas.Content
			l[len(l)-1].DeploymentConfiguration.Environment.Execution = &fescue.FunctionExecution{}
		}, code: fescue.ExecutionUnexpected, want: "Execution configuration for function with arn arn:aws:lambda:::function:GGCloudSpooler:1 is not allowed."},
		{name: "in a container by default", edit: lambda(func(l *bundle.LambdaConfiguration) { l.Environment.Execution = nil }), core: lacking,
			code: fescue.ContainerUnsupported, want: "what is missing: a root; an overlay. Supply what is missing and start the core again, or set DefaultConfig.Execution.IsolationMode"},
		{name: "in a container by its own word", edit: lambda(func(l *bundle.LambdaConfiguration) {
			l.Environment.Execution.IsolationMode = fescue.GreengrassContainer
		}), core: lacking,
			code: fescue.ContainerUnsupported, want: arn},
		{name: "in an unknown mode", edit: lambda(func(l *bundle.LambdaConfiguration) { l.Environment.Execution.IsolationMode = "Jail" }),
			code: fescue.IsolationModeOfFunction, want: "Your 'IsolationMode' configuration for function with arn " + arn + " is invalid."},
		{name: "with a memory size", edit: lambda(func(l *bundle.LambdaConfiguration) { l.MemorySize = new(16384) }),
			code: fescue.MemorySizeUnexpected, want: "MemorySize configuration for function with arn " + arn + " is not allowed in IsolationMode=NoContainer."},
		{name: "with access to sysfs", edit: lambda(func(l *bundle.LambdaConfiguration) { l.Environment.AccessSysfs = new(true) }),
			code: fescue.AccessSysfsUnexpected, want: "Access Sysfs configuration for function with arn " + arn + " is not allowed in IsolationMode=NoContainer."},
		{name: "without its interpreter", core: func(s *site) { s.missing[arn] = "cannot find executable python3.8" },
			code: fescue.RuntimeMissing, want: "cannot find executable python3.8"},
		{name: "in a folder that is closed to its user", core: func(s *site) { s.missing[arn], s.kind = "ggc_user may not enter the folder /home/pi", plan.Closed },
			code: fescue.FunctionClosed, want: arn + " cannot use what it needs to run: ggc_user may not enter the folder /home/pi"},
		{name: "a program that cannot be started", core: func(s *site) { s.missing[arn], s.kind = "run.sh: CR LF", plan.ProgramInvalid },
			code: fescue.ProgramInvalid, want: arn + " cannot be started: run.sh: CR LF"},
		{name: "as another user without being root", edit: runAs(new(1001), nil),
			code: fescue.RunAsOtherUser, want: "Run the core as root or remove RunAs"},
		{name: "without ggc_user", core: func(s *site) { s.accounts = rooted{Groups: known.Groups} },
			code: fescue.AccountMissing, want: "unable to load the group file downloaded: could not find UID based on user name, userName: ggc_user: user: unknown user ggc_user. Make the accounts on the gateway: groupadd"},
		{name: "without ggc_group", core: func(s *site) { s.accounts = rooted{Users: known.Users} },
			code: fescue.AccountMissing, want: "groupName: ggc_group: group: unknown group ggc_group. Make the accounts"},
		{name: "without a user of its own", core: func(s *site) { s.accounts, s.functionUIDs = known, noUIDs{} },
			code: fescue.FunctionUIDMissing, want: arn + " gets no user of its own: no number is left for " + strings.TrimSuffix(arn, ":1")},
		{name: "as root", edit: runAs(new(0), new(0)), core: func(s *site) { s.accounts = known },
			code: fescue.RunAsRoot, want: arn + " are configured to run as root but Greengrass is not configured to run Lambda functions with root permissions."},
		{name: "in a group that amounts to root", edit: runAs(nil, new(42)), core: func(s *site) { s.accounts = peopled },
			code: fescue.RunAsPrivileged, want: arn + " is configured to run with the GID 42, which is shadow on this machine and amounts to root"},
		{name: "in another one, by a second name", edit: runAs(nil, new(998)), core: func(s *site) { s.accounts = peopled },
			code: fescue.RunAsPrivileged, want: "which is docker on this machine"},
		{name: "in root's group", edit: runAs(nil, new(0)), core: func(s *site) { s.accounts = known },
			code: fescue.RunAsRoot, want: "allowFunctionsToRunAsRoot"},
		{name: "as a user that is none", edit: runAs(new(-1), nil), core: func(s *site) { s.accounts = known },
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
		{name: "a timeout that is none", edit: lambda(func(l *bundle.LambdaConfiguration) { l.Timeout = new(-1) }),
			code: fescue.FunctionMisconfigured, want: "Timeout is -1 s"},
		{name: "a variable that is none", edit: lambda(func(l *bundle.LambdaConfiguration) { l.Environment.Variables = map[string]string{"A=B": ""} }),
			code: fescue.FunctionMisconfigured, want: `environment variable "A=B"`},
		{name: "an argument that is none", edit: lambda(func(l *bundle.LambdaConfiguration) { l.ExecArgs = []string{"a\x00b"} }),
			code: fescue.FunctionMisconfigured, want: "cannot stand in a command line"},
		{name: "a function without a package", manifest: func(m *bundle.Manifest) { m.Artifacts = nil },
			code: fescue.ManifestIncomplete, want: "names no package for function " + arn},
		{name: "a connector", edit: func(g *bundle.Group) {
			g.GroupDefinitions.Lambdas.Content[0].FunctionArn = "arn:aws:lambda:us-east-1:aws:function:KinesisFirehose:1"
		}, code: fescue.ConnectorUnsupported, want: "The connector arn:aws:lambda:us-east-1:aws:function:KinesisFirehose:1 cannot be run"},
		{name: "stream manager", edit: system("GGStreamManager:1", nil), code: fescue.SystemComponentUnsupported, want: "GGStreamManager"},
		{name: "a component that is not to be configured", edit: system("GGTES", nil), code: fescue.SystemComponentUnsupported, want: "GGTES"},
		{name: "a function twice", edit: func(g *bundle.Group) {
			l := &g.GroupDefinitions.Lambdas
			l.Content = append(l.Content, l.Content[0])
		}, code: fescue.FunctionMisconfigured, want: "stands in the group file twice"},
		{name: "a function by alias", edit: func(g *bundle.Group) {
			g.GroupDefinitions.Lambdas.Content[0].FunctionArn = "arn:aws:lambda:us-east-1:123456789012:function:hello"
		}, code: fescue.FunctionMisconfigured, want: "not the ARN of a function version"},
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
		{name: "the core's own folder", edit: withVolume("/srv", "/data", "ro"), core: func(s *site) { s.private = []sandbox.HostPath{"/srv"} },
			code: fescue.ResourceSource, want: "/srv lies in /srv, which is the core's own"},
		{name: "a device that is not there", edit: withDevice("/dev/ttyNone", "rw"), code: fescue.ResourceSource, want: "/dev/ttyNone: no such file"},
		{name: "a device that is a folder", edit: withDevice("/dev/net", "rw"), code: fescue.ResourceSource, want: "/dev/net is neither a character nor a block device"},
		{name: "a file that is closed", edit: withVolume(closed, "/data", "rw"), core: people,
			code: fescue.ResourceClosed, want: "don't have rw permission on the file: " + closed + ". Open it on the gateway to that UID"},
		{name: "a group that is not there", edit: func(g *bundle.Group) {
			withVolume("/srv", "/data", "ro")(g)
			g.GroupDefinitions.Resources.Content[0].Data.GroupOwnerSetting = &fescue.GroupOwnerSetting{GroupOwner: "millers"}
		}, core: func(s *site) { s.accounts = known },
			code: fescue.ResourceGroup, want: "The group 'millers' of the resource 'r' cannot be used on this core: group: unknown group millers"},
		{name: "in Ruby", edit: lambda(func(l *bundle.LambdaConfiguration) { l.Runtime = "ruby2.5" }),
			code: fescue.RuntimeUnsupported, want: arn + " has the runtime ruby2.5"},
		{name: "a device without a certificate", edit: func(g *bundle.Group) {
			g.Devices = []bundle.Identity{{ThingArn: "arn:aws:iot:us-east-1:123456789012:thing/pump"}}
		}, code: fescue.GroupFile, want: `the client device "arn:aws:iot:us-east-1:123456789012:thing/pump" with the certificate "" is none`},
		{name: "a device that is no thing", edit: func(g *bundle.Group) {
			g.Devices = []bundle.Identity{{ThingArn: "pump", CertArn: "arn:aws:iot:us-east-1:123456789012:cert/f9"}}
		}, code: fescue.GroupFile, want: `the client device "pump"`},
		{name: "a shadow of no thing", edit: func(g *bundle.Group) {
			g.GroupDefinitions.ShadowSync.Content = []bundle.ShadowSync{{ThingArn: "pump"}}
		}, code: fescue.GroupFile, want: `"pump", whose shadow is to be kept in step, is no thing`},
		{name: "a small spool", edit: system("GGCloudSpooler:1", map[string]string{"GG_CONFIG_MAX_SIZE_BYTES": "262143"}),
			code: fescue.SpoolSize, want: "Spool size should be at least 262144 bytes."},
		{name: "a spool that is no number", edit: system("GGCloudSpooler", map[string]string{"GG_CONFIG_MAX_SIZE_BYTES": "big"}),
			code: fescue.SpoolSizeInvalid, want: `is "big"`},
		{name: "a subscription to no topic", edit: func(g *bundle.Group) {
			g.GroupDefinitions.Subscriptions.Content = []fescue.Subscription{{Id: "s1", Source: "cloud", Subject: "a/#/b", Target: arn}}
		}, code: fescue.SubscriptionInvalid, want: "The subscription 's1' cannot be routed: "},
		{name: "a subscription from nowhere", edit: func(g *bundle.Group) {
			g.GroupDefinitions.Subscriptions.Content = []fescue.Subscription{{Id: "s1", Subject: "a", Target: arn}}
		}, code: fescue.SubscriptionInvalid, want: "'s1' cannot be routed: it has no source"},
		{name: "a function whose package is not staged", core: func(s *site) { os.RemoveAll(s.code(hashOf(arn))) },
			code: fescue.PackageMissing, want: arn},
		{name: "models of one content and two owners", core: func(s *site) {
			s.accounts = known
			s.model("a", "weights", owned("1234", "ro"), true)
			s.model("b", "weights", owned("1234", "rw"), true)
		}, code: fescue.ResourceRefused, want: "'b' cannot be given to function " + arn + ": it has the content of the resource 'a', but another OwnerSetting"},
		{name: "a model of a group that is not there", core: func(s *site) { s.accounts = known; s.model("a", "weights", owned("millers", "ro"), true) },
			code: fescue.ResourceGroup, want: "The group 'millers' of the resource 'a' cannot be used on this core: group: unknown group millers"},
		{name: "a model of a group that amounts to root", core: func(s *site) { s.accounts = peopled; s.model("a", "weights", owned("docker", "ro"), true) },
			code: fescue.ResourceGroup, want: "it amounts to root"},
		{name: "a model of a group that the core cannot give", core: func(s *site) { s.model("a", "weights", owned("1234", "ro"), true) },
			code: fescue.ResourceGroup, want: "the core runs as the user with UID 1000 and GID 1000"},
		{name: "a model that a function could use without being given it", core: func(s *site) { s.accounts = known; s.model("a", "weights", owned("ggc_group", "ro"), false) },
			code: fescue.ModelGroupShared, want: "Lambda " + arn + " gains access to resource a by sharing the same group owner id"},
		{name: "a model without an archive", core: func(s *site) { s.accounts = known; s.model("a", "weights", owned("1234", "ro"), true) },
			manifest: func(m *bundle.Manifest) { m.Artifacts = m.Artifacts[:1] }, code: fescue.ManifestIncomplete, want: arn},
		{name: "a model that is not staged", core: func(s *site) {
			s.accounts = known
			s.model("a", "weights", owned("1234", "ro"), true)
			os.RemoveAll(s.modelFolder(hashOf("weights")))
		}, code: fescue.PackageMissing, want: arn},
		{name: "secrets that cannot be opened", edit: func(g *bundle.Group) {
			g.GroupDefinitions.Resources.Content = []bundle.Resource{{Id: "r", Data: bundle.ResourceData{Class: fescue.SecretType.Class, ARN: "arn:aws:secretsmanager:us-east-1:123456789012:secret:s-AbCdEf"}}}
		}, core: func(s *site) { s.sealed = failure.Fail(fescue.SecretsRefused, "signed by no trusted key") },
			code: fescue.SecretsRefused, want: "signed by no trusted key"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			if tc.core != nil {
				tc.core(s)
			}
			if tc.edit != nil {
				tc.edit(&s.group)
			}
			if tc.manifest != nil {
				tc.manifest(&s.manifest)
			}
			_, problems := s.plan()
			wants(t, problems, tc.code, tc.want)
		})
	}
}

// TestDocumentsThatAreNone: what is no group document is one problem of the group.
func TestDocumentsThatAreNone(t *testing.T) {
	t.Parallel()
	for name, document := range map[string]string{
		"nothing": "", "no JSON": "{", "a list": "[]", "text": `"group"`, "functions that are none": `{"GroupDefinitions":{"Lambdas":{"Content":[1]}}}`,
		"more after it": "{}{}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			for kind, plan := range map[string]func(context.Context, bundle.Manifest, []byte) (plan.Plan, []failure.Problem){
				"Plan": s.planner().Plan, "Check": s.planner().Check,
			} {
				p, problems := plan(t.Context(), s.manifest, []byte(document))
				if len(problems) != 1 || problems[0].Code != string(fescue.GroupFile) || len(p.Functions) != 0 {
					t.Errorf("%s: functions %v, problems %q", kind, p.Functions, problems)
				}
			}
		})
	}
}

// TestAllProblemsAtOnce: every problem is reported, and one that all functions meet once.
func TestAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.accounts = rooted{}
	s.function("arn:aws:lambda:us-east-1:123456789012:function:other:1")
	lambda(func(l *bundle.LambdaConfiguration) { l.MemorySize = new(1) })(&s.group)
	system("GGStreamManager:1", nil)(&s.group)
	rows(fescue.Subscription{Id: "s1", Source: "cloud", Target: arn})(&s.group)
	_, problems := s.plan()
	var codes []string
	for _, p := range problems {
		codes = append(codes, p.Code)
	}
	want := []string{string(fescue.SystemComponentUnsupported), string(fescue.MemorySizeUnexpected), string(fescue.AccountMissing), string(fescue.SubscriptionInvalid)}
	if diff := cmp.Diff(want, codes); diff != "" {
		t.Error(diff, problems)
	}
}

// TestCheck: what is not staged is no problem yet, and nothing is changed.
func TestCheck(t *testing.T) {
	t.Parallel()
	s := open(t)
	lambda(func(l *bundle.LambdaConfiguration) { l.Runtime, l.Handler = fescue.ExecutableRuntime, "app.py" })(&s.group)
	document, err := s.group.Encode()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(s.code(hashOf(arn)), "app.py")
	if p, problems := s.planner().Check(t.Context(), s.manifest, document); len(problems) > 0 || len(p.Functions) != 1 {
		t.Errorf("functions %v, problems %q", p.Functions, problems)
	}
	if info, err := os.Stat(program); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("the program is %v, %v", info, err)
	}
	os.RemoveAll(s.code(hashOf(arn)))
	if p, problems := s.planner().Check(t.Context(), s.manifest, document); len(problems) > 0 || len(p.Functions) != 1 {
		t.Errorf("without the package: functions %v, problems %q", p.Functions, problems)
	}
}

// TestHash: a function keeps its hash as long as nothing changes that it was started with.
func TestHash(t *testing.T) {
	t.Parallel()
	s := open(t)
	saved := s.group.GroupDefinitions.Lambdas.Content[0]
	hash := func(edit func(*bundle.Group)) string {
		t.Helper()
		s.group.GroupDefinitions.Lambdas.Content[0] = saved
		edit(&s.group)
		p, problems := s.plan()
		if len(problems) > 0 || len(p.Functions) != 1 {
			t.Fatalf("functions %v, problems %q", p.Functions, problems)
		}
		return p.Functions[0].Hash
	}
	as := func(*bundle.Group) {}
	seen := map[string]string{hash(as): "as it is"}
	if seen[hash(as)] == "" {
		t.Error("the same function has another hash")
	}
	for name, edit := range map[string]func(*bundle.Group){
		"with a timeout":      lambda(func(l *bundle.LambdaConfiguration) { l.Timeout = new(7) }),
		"with a variable":     lambda(func(l *bundle.LambdaConfiguration) { l.Environment.Variables = map[string]string{"A": "1"} }),
		"with an argument":    lambda(func(l *bundle.LambdaConfiguration) { l.ExecArgs = []string{"a"} }),
		"on demand":           lambda(func(l *bundle.LambdaConfiguration) { l.Pinned = new(false) }),
		"with binary payload": lambda(func(l *bundle.LambdaConfiguration) { l.EncodingType = fescue.EncodingBinary }),
		"in a container":      lambda(func(l *bundle.LambdaConfiguration) { l.Environment.Execution = nil }),
	} {
		h := hash(edit)
		if other := seen[h]; other != "" {
			t.Errorf("%s has the hash of one %s", name, other)
		}
		seen[h] = name
	}
}

func TestGroupsThatRun(t *testing.T) {
	t.Parallel()
	folder, folderGID := t.TempDir(), uint32(os.Getgid())
	if err := os.Chmod(folder, 0o770); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		edit func(*bundle.Group)
		core func(*site)
		got  func(plan.Plan) any
		want any
	}{
		{name: "as ggc_user", core: func(s *site) { s.accounts = known },
			got: func(p plan.Plan) any { return p.Functions[0].RunAs }, want: &sandbox.Credential{UID: 112, GID: 119}},
		{name: "as the function says", edit: runAs(new(1), new(2)), core: func(s *site) { s.accounts = known },
			got: func(p plan.Plan) any { return p.Functions[0].RunAs }, want: &sandbox.Credential{UID: 1, GID: 2}},
		{name: "half as the function says, half as the group says", core: func(s *site) { s.accounts = known },
			edit: func(g *bundle.Group) {
				runAs(new(1), nil)(g)
				g.GroupDefinitions.Lambdas.DefaultConfig = &fescue.FunctionDefaultConfig{Execution: &fescue.FunctionExecution{RunAs: &fescue.RunAs{Uid: new(7), Gid: new(8)}}}
			},
			got: func(p plan.Plan) any { return p.Functions[0].RunAs }, want: &sandbox.Credential{UID: 1, GID: 8}},
		{name: "as the core's own default", core: func(s *site) { s.accounts, s.uid, s.gid = rooted{}, new(65534), new(65534) },
			got: func(p plan.Plan) any { return p.Functions[0].RunAs }, want: &sandbox.Credential{UID: 65534, GID: 65534}},
		{name: "as root where it is allowed", edit: runAs(new(0), new(0)), core: func(s *site) { s.accounts, s.allowRoot = known, true },
			got: func(p plan.Plan) any { return p.Functions[0].RunAs }, want: &sandbox.Credential{}},
		{name: "as the ordinary user that the core is", edit: runAs(new(1000), new(1000)),
			got: func(p plan.Plan) any { return p.Functions[0].RunAs == nil }, want: true},
		{name: "without a container by the group's default", edit: func(g *bundle.Group) {
			lambda(func(l *bundle.LambdaConfiguration) { l.Environment.Execution = nil })(g)
			g.GroupDefinitions.Lambdas.DefaultConfig = &fescue.FunctionDefaultConfig{Execution: &fescue.FunctionExecution{IsolationMode: fescue.NoContainer}}
		}, got: func(p plan.Plan) any { return len(p.Functions) }, want: 1},
		{name: "in a group that amounts to root where that is allowed", edit: runAs(nil, new(42)),
			core: func(s *site) { s.accounts, s.allowRoot = peopled, true },
			got:  func(p plan.Plan) any { return p.Functions[0].RunAs }, want: &sandbox.Credential{UID: 112, GID: 42}},
		{name: "in a container of the original's default size", edit: lambda(func(l *bundle.LambdaConfiguration) { l.Environment.Execution = nil }),
			got: func(p plan.Plan) any { return p.Functions[0].Container }, want: &plan.Container{MemoryKB: 16384}},
		{name: "in a container of its own size with /sys", edit: lambda(func(l *bundle.LambdaConfiguration) {
			l.Environment.Execution, l.MemorySize, l.Environment.AccessSysfs = nil, new(65536), new(true)
		}), got: func(p plan.Plan) any { return p.Functions[0].Container }, want: &plan.Container{MemoryKB: 65536, Sysfs: true}},
		{name: "with a device, by its link", edit: withDevice("/dev/stdin/../zero", "ro"), got: func(p plan.Plan) any { return p.Functions[0].Container.Devices },
			want: []sandbox.Device{{Source: "/dev/zero", Path: "/dev/zero", Major: 1, Minor: 5}}},
		{name: "with a volume and its group", edit: func(g *bundle.Group) {
			withVolume(folder, "/data", "rw")(g)
			g.GroupDefinitions.Resources.Content[0].Data.GroupOwnerSetting = &fescue.GroupOwnerSetting{AutoAddGroupOwner: new(true), GroupOwner: "ignored"}
		}, core: func(s *site) { people(s); s.allowRoot = true }, got: func(p plan.Plan) any {
			return []any{p.Functions[0].Container.Mounts, p.Functions[0].RunAs == nil || slices.Equal(p.Functions[0].RunAs.Groups, []uint32{folderGID})}
		}, want: []any{[]sandbox.Mount{{Source: sandbox.HostPath(folder), Destination: "/data", Writable: true}}, true}},
		{name: "with a volume and another group", edit: func(g *bundle.Group) {
			withVolume("/", "/data", "")(g)
			g.GroupDefinitions.Resources.Content[0].Data.GroupOwnerSetting = &fescue.GroupOwnerSetting{GroupOwner: "video"}
		}, core: func(s *site) {
			if people(s); os.Getuid() == 0 {
				s.accounts = peopled
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
		{name: "messages that the cloud keeps", edit: system("GGCloudSpooler:1", map[string]string{"GG_CONFIG_SUBSCRIPTION_QUALITY": "AtLeastOncePersistent"}),
			got: func(p plan.Plan) any { return p.CloudKeeps }, want: true},
		{name: "messages that it does not keep", edit: system("GGCloudSpooler:1", map[string]string{"GG_CONFIG_SUBSCRIPTION_QUALITY": "AtMostOnce"}),
			got: func(p plan.Plan) any { return p.CloudKeeps }, want: false},
		{name: "loggers and subscriptions", edit: func(g *bundle.Group) {
			g.GroupDefinitions.Logging.Content = []bundle.Logger{{Type: "FileSystem", Component: "Lambda", Level: "DEBUG"}}
			g.GroupDefinitions.Subscriptions.Content = []fescue.Subscription{{Id: "s", Source: "cloud", Subject: "a/+", Target: arn}}
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
		{name: "two models of one content", core: func(s *site) {
			s.accounts = known
			s.model("a", "weights", &fescue.OwnerSetting{GroupOwner: "1234", GroupPermission: "ro"}, true)
			s.model("b", "weights", &fescue.OwnerSetting{GroupOwner: "1234", GroupPermission: "ro"}, true)
		}, got: func(p plan.Plan) any {
			return []any{len(p.Models), slices.Sorted(maps.Keys(p.Functions[0].Links)), p.Functions[0].RunAs.Groups}
		}, want: []any{1, []string{"/ml/a", "/ml/b"}, []uint32{1234}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			if tc.core != nil {
				tc.core(s)
			}
			if tc.edit != nil {
				tc.edit(&s.group)
			}
			p, problems := s.plan()
			if len(problems) > 0 {
				t.Fatalf("problems %q", problems)
			}
			if diff := cmp.Diff(tc.want, tc.got(p)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestWarnings: what fails nothing is in the plan, and in the log.
func TestWarnings(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		edit func(*bundle.Group)
		code fescue.FailureCode
		want string
	}{
		{name: "nothing"},
		{name: "a logger", edit: func(g *bundle.Group) {
			g.GroupDefinitions.Logging.Content = []bundle.Logger{{Type: "AWSCloudWatch", Component: "Lambda", Level: "INFO"}}
		}},
		{name: "shadows to sync", edit: func(g *bundle.Group) {
			for range 7 {
				g.GroupDefinitions.ShadowSync.Content = append(g.GroupDefinitions.ShadowSync.Content, bundle.ShadowSync{ThingArn: "arn:aws:iot:us-east-1:123456789012:thing/pump"})
			}
		}},
		{name: "a setting of the spooler", edit: system("GGCloudSpooler:1", map[string]string{"GG_CONFIG_STORAGE_TYPE": "Disk"}),
			code: fescue.SpoolerSettingUnserved, want: "GG_CONFIG_STORAGE_TYPE of GGCloudSpooler is Disk"},
		{name: "less memory than an interpreter needs", edit: lambda(func(l *bundle.LambdaConfiguration) {
			l.Environment.Execution, l.MemorySize = nil, new(8192)
		}), code: fescue.MemorySizeSmall, want: "has a MemorySize of 8192 KB; Python alone needs about 16384 KB"},
		{name: "little memory for Java", edit: lambda(func(l *bundle.LambdaConfiguration) {
			l.Runtime, l.Environment.Execution, l.MemorySize = "java8", nil, new(16384)
		}), code: fescue.MemorySizeSmall, want: "has a MemorySize of 16384 KB; Java alone needs about 32768 KB"},
		{name: "a group of the system", edit: runAs(nil, new(44)), code: fescue.RunAsSystemID, want: "GID 44 (video)"},
		{name: "a user of the system", edit: runAs(new(1), nil), code: fescue.RunAsSystemID, want: "UID 1 (daemon)"},
		{name: "a group that there is not", edit: runAs(nil, new(999)), code: fescue.RunAsSystemID, want: "GID 999 (without a name)"},
		{name: "ggc_user by its number", edit: runAs(new(112), new(119))},
		{name: "a person", edit: runAs(new(1000), new(1000))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			s.accounts = peopled
			if tc.edit != nil {
				tc.edit(&s.group)
			}
			p, problems := s.plan()
			if len(problems) > 0 {
				t.Fatalf("problems %q", problems)
			}
			if tc.want == "" {
				if len(p.Warnings) > 0 {
					t.Errorf("warnings %q", p.Warnings)
				}
				return
			}
			if len(p.Warnings) != 1 || p.Warnings[0].DetailedErrorCode != string(tc.code) || !strings.Contains(p.Warnings[0].DetailedErrorMessage, tc.want) {
				t.Fatalf("warnings %q, want %s with %q", p.Warnings, tc.code, tc.want)
			}
			if !strings.Contains(s.log.String(), "code="+string(tc.code)) {
				t.Errorf("log:\n%s", s.log.String())
			}
		})
	}
}
