package deploy_test

import (
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/testkit/failurecoverage"
)

// system is a system function in a group.
func system(name string, variables map[string]string) fescue.Function {
	return fescue.Function{Id: name, FunctionArn: "arn:aws:lambda:::function:" + name + ":1", FunctionConfiguration: &fescue.FunctionConfiguration{
		Pinned: ptr(true), Environment: &fescue.FunctionEnvironment{Variables: variables},
	}}
}

// pump gives a group the client device pump.
func (g group) pump(certificate string, sync bool) group {
	return g.set(fescue.DeviceKind, fescue.DeviceDefinitionVersion{Devices: []fescue.Device{
		{Id: "pump", ThingArn: home.ThingARN("pump"), CertificateArn: home.CertificateARN(certificate), SyncShadow: &sync},
	}})
}

// TestUnserved: what cores of this version cannot do fails a deployment, or warns
// where the rest of the group runs all the same.
func TestUnserved(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.Engine = s.another(func(o *deploy.Options) { o.Serves = nil })
	s.run(s.Engine)
	s.function("Nodes", "nodejs12.x", "index.handler", "1")
	s.function("Beans", "java8", "App::handle", "1")
	s.function("Gems", "ruby2.5", "app.handler", "1")
	const nodes, beans, gems = "arn:aws:lambda:us-east-1:123456789012:function:Nodes:1", "arn:aws:lambda:us-east-1:123456789012:function:Beans:1",
		"arn:aws:lambda:us-east-1:123456789012:function:Gems:1"
	pump := home.ThingARN("pump")
	certificate := s.certificate(home, "pump")
	withDevice := func(g group, sync bool) group { return g.pump(certificate, sync) }
	functions := func(g group, list ...fescue.Function) group {
		return g.set(fescue.FunctionKind, fescue.FunctionDefinitionVersion{Functions: list})
	}
	noAddress := problem{fescue.CoreAddressMissing, "client devices (1)"}
	addressed := func(thing string) {
		if err := s.store.Cores().PutConnectivity(t.Context(), home, thing, cores.Connectivity{Version: "1", Info: []fescue.ConnectivityInfo{{ID: "lan", HostAddress: "192.0.2.1", PortNumber: 8883}}}); err != nil {
			t.Fatal(err)
		}
	}
	spooler := func(name, value string) func(group) {
		return func(g group) { functions(g, system("GGCloudSpooler", map[string]string{name: value})) }
	}
	// lacking has a core of the version before say what it does not serve.
	lacking := func(thing string, features ...fescue.Feature) {
		if err := s.ReportCore(t.Context(), home, thing, fescue.CoreInfo{Formats: []int{1, 2}, Unserved: features}); err != nil {
			t.Fatal(err)
		}
	}
	for name, row := range map[string]struct {
		change func(group)
		// fails and warns are what is found; both empty for a group that runs.
		fails, warns []problem
	}{
		"a function without a container": {func(g group) {
			functions(g, fescue.Function{Id: "f", FunctionArn: reader + ":1", FunctionConfiguration: bare()})
		}, nil, nil},
		"a container": {func(g group) { g.functions(reader + ":1") }, nil, nil},
		"other runtimes": {func(g group) {
			functions(g, fescue.Function{Id: "n", FunctionArn: nodes, FunctionConfiguration: bare()}, fescue.Function{Id: "b", FunctionArn: beans, FunctionConfiguration: bare()}, // both run
				fescue.Function{Id: "g", FunctionArn: gems, FunctionConfiguration: bare()})
		}, []problem{{fescue.RuntimeUnsupported, gems + " has the runtime ruby2.5"}}, nil},
		"a connector": {func(g group) {
			g.set(fescue.ConnectorKind, fescue.ConnectorDefinitionVersion{Connectors: []fescue.Connector{
				{Id: "sns", ConnectorArn: "arn:aws:greengrass:us-east-1::/connectors/SNS/versions/1"},
			}})
		}, []problem{{fescue.ConnectorUnsupported, "/connectors/SNS/versions/1"}}, nil},
		"resources": {func(g group) {
			g.set(fescue.ResourceKind, fescue.ResourceDefinitionVersion{Resources: []fescue.Resource{
				{Id: "device", ResourceDataContainer: fescue.ResourceDataContainer{LocalDeviceResourceData: &fescue.LocalDeviceResourceData{SourcePath: "/dev/ttyS1"}}},
				{Id: "model", ResourceDataContainer: fescue.ResourceDataContainer{S3MachineLearningModelResourceData: &fescue.S3ModelResourceData{S3Uri: "s3://b/k"}}},
			}})
		}, nil, nil},
		"the stream manager":            {func(g group) { functions(g, system("GGStreamManager", nil)) }, []problem{{fescue.SystemComponentUnsupported, "GGStreamManager"}}, nil},
		"a component that is not to be": {func(g group) { functions(g, system("GGTES", nil)) }, []problem{{fescue.SystemComponentUnsupported, "GGTES"}}, nil},
		"subscriptions that carry nothing": {func(g group) {
			g.subscriptions(fescue.Subscription{Id: "back", Source: "cloud", Subject: "a", Target: "cloud"},
				fescue.Subscription{Id: "answer", Source: "GGShadowService", Subject: "$aws/things/+/shadow/update/accepted", Target: "cloud"},
				fescue.Subscription{Id: "requests", Source: "GGShadowService", Subject: "$aws/things/pump/shadow/#", Target: "cloud"},
				fescue.Subscription{Id: "down", Source: "cloud", Subject: "$aws/things/pump/shadow/update/accepted", Target: "GGShadowService"})
		}, nil, []problem{{fescue.SubscriptionIdle, "'back' carries nothing: what it sent"}, {fescue.SubscriptionIdle, "'answer' carries nothing: to '$aws/things/+/shadow/update/accepted'"}}},
		"subscriptions of a device": {func(g group) {
			withDevice(g, false).subscriptions(fescue.Subscription{Id: "s1", Source: pump, Subject: "a", Target: "cloud"},
				fescue.Subscription{Id: "s2", Source: "cloud", Subject: "b", Target: pump})
		}, nil, []problem{noAddress}},
		"subscriptions of the shadow service": {func(g group) {
			g.subscriptions(fescue.Subscription{Id: "s1", Source: "GGShadowService", Subject: "a", Target: "cloud"},
				fescue.Subscription{Id: "s2", Source: "cloud", Subject: "b", Target: "GGShadowService"})
		}, nil, nil},
		"devices without a subscription": {func(g group) { withDevice(g, false) }, nil, []problem{noAddress}},
		"devices with an address":        {func(g group) { withDevice(g, false); addressed("devices-with-an-address") }, nil, nil},
		"devices and the IP detector":    {func(g group) { functions(withDevice(g, false), system("GGIPDetector", nil)) }, nil, nil},
		"SyncShadow of a device":         {func(g group) { withDevice(g, true) }, nil, []problem{noAddress}},
		"SyncShadow of the core": {func(g group) {
			cores := g.bodies[fescue.CoreKind.Segment].(fescue.CoreDefinitionVersion)
			core := cores.Cores[0]
			core.SyncShadow = ptr(true)
			g.set(fescue.CoreKind, fescue.CoreDefinitionVersion{Cores: []fescue.Core{core}})
		}, nil, nil},
		"a logger": {func(g group) {
			g.set(fescue.LoggerKind, fescue.LoggerDefinitionVersion{Loggers: []fescue.Logger{
				{Id: "a", Component: "Lambda", Level: "INFO", Type: "AWSCloudWatch"}, {Id: "b", Component: "GreengrassSystem", Level: "INFO", Type: "FileSystem"},
			}})
		}, nil, nil},
		"a queue on the disk":        {spooler("GG_CONFIG_STORAGE_TYPE", "FileSystem"), nil, nil},
		"persistent subscriptions":   {spooler("GG_CONFIG_SUBSCRIPTION_QUALITY", "AtLeastOncePersistent"), nil, nil},
		"another quality":            {spooler("GG_CONFIG_SUBSCRIPTION_QUALITY", "AtLeastOnce"), nil, []problem{{fescue.SpoolerSettingUnserved, "is AtLeastOnce"}}},
		"a setting that is none":     {spooler("GG_CONFIG_STORAGE_TYPE", "Disk"), nil, []problem{{fescue.SpoolerSettingUnserved, "is Disk"}}},
		"a queue in memory":          {spooler("GG_CONFIG_STORAGE_TYPE", "Memory"), nil, nil},
		"subscriptions at most once": {spooler("GG_CONFIG_SUBSCRIPTION_QUALITY", "AtMostOnce"), nil, nil},
		"the IP detector":            {func(g group) { functions(g, system("GGIPDetector", nil)) }, nil, nil},
		"failures and warnings at once": {func(g group) {
			lacking("failures-and-warnings-at-once", fescue.FeatureShadowSync, fescue.FeatureOtherRuntimes)
			functions(withDevice(g, true), fescue.Function{Id: "g", FunctionArn: gems, FunctionConfiguration: bare()})
		}, []problem{{fescue.RuntimeUnsupported, gems}},
			[]problem{{fescue.ShadowSyncUnserved, "pump"}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.with(t)
			g := s.mill(strings.ReplaceAll(name, " ", "-"))
			if strings.Contains(name, "the core") {
				g = s.mill("mill")
			}
			row.change(g)
			id, version := s.create(g)
			c, err := s.Check(t.Context(), home, id, version, 0)
			if err != nil {
				t.Fatal(err)
			}
			wantDetails(t, "a check's problems", c.Building, row.fails)
			wantDetails(t, "a check's warnings", c.Warnings, row.warns)

			d := s.deploy(id, version)
			if row.fails != nil {
				s.wantFailure(d, row.fails...)
			} else if d.Status != fescue.InProgress {
				t.Errorf("deployment is %s: %s", d.Status, d.ErrorMessage)
			}
			timeline, err := s.Timeline(t.Context(), home, d.GroupID, d.ID)
			if err != nil {
				t.Fatal(err)
			}
			failurecoverage.Note(timeline.Steps[1].Warnings)
			wantDetails(t, "the timeline's warnings", timeline.Steps[1].Warnings, row.warns)
			if len(timeline.Steps) != 2 || len(timeline.Steps[0].Warnings) != 0 {
				t.Errorf("steps %+v", timeline.Steps)
			}
			status, err := s.store.Deployments().DeploymentStatus(t.Context(), home, d.GroupID, d.ID)
			if err != nil || row.fails == nil && (status.ErrorMessage != "" || len(status.ErrorDetails) != 0) {
				t.Errorf("status %+v, %v", status, err)
			}
		})
	}
	t.Run("the group's role", func(t *testing.T) {
		s := s.with(t)
		id, version := s.create(s.mill("role"))
		if _, err := s.store.GroupRoles().AssociateRole(t.Context(), home, id, "arn:aws:iam::123456789012:role/mill"); err != nil {
			t.Fatal(err)
		}
		d := s.offered(id, version)
		timeline, err := s.Timeline(t.Context(), home, d.GroupID, d.ID)
		if err != nil {
			t.Fatal(err)
		}
		wantDetails(t, "warnings", timeline.Steps[1].Warnings, nil)
		// A core of the version before.
		before := fescue.CoreInfo{Formats: []int{1, 2}, Unserved: []fescue.Feature{fescue.FeatureGroupRole}}
		if err := s.ReportCore(t.Context(), home, d.CoreThing, before); err != nil {
			t.Fatal(err)
		}
		d = s.offered(id, version)
		if timeline, err = s.Timeline(t.Context(), home, d.GroupID, d.ID); err != nil {
			t.Fatal(err)
		}
		failurecoverage.Note(timeline.Steps[1].Warnings)
		wantDetails(t, "warnings", timeline.Steps[1].Warnings, []problem{{fescue.GroupRoleUnserved, "role/mill"}})
	})
	t.Run("a core's warnings stand at its step, without those that were there", func(t *testing.T) {
		s := s.with(t)
		g := s.mill("warns")
		lacking("warns", fescue.FeatureShadowSync)
		d := s.reports(s.offered(s.create(withDevice(g, true))), fescue.EventClaimed)
		timeline, err := s.Timeline(t.Context(), home, d.GroupID, d.ID)
		if err != nil {
			t.Fatal(err)
		}
		own := fescue.RunAsSystemID.Detail("f", "GID", 44, "video\x00")
		_, err = s.Report(t.Context(), home, d.CoreThing, d.GroupID, d.ID, corelink.StatusReport{
			Event: fescue.EventStaged, Epoch: d.Epoch, Warnings: append(timeline.Steps[1].Warnings, own),
		})
		if err != nil {
			t.Fatal(err)
		}
		if timeline, err = s.Timeline(t.Context(), home, d.GroupID, d.ID); err != nil {
			t.Fatal(err)
		}
		wantDetails(t, "warnings of Built", timeline.Steps[1].Warnings, []problem{{fescue.ShadowSyncUnserved, "pump"}, noAddress})
		wantDetails(t, "warnings of Staged", timeline.Steps[3].Warnings, []problem{{fescue.RunAsSystemID, "GID 44 (video\uFFFD)"}})
	})
	t.Run("too many warnings are refused", func(t *testing.T) {
		s := s.with(t)
		d := s.offered(s.create(s.mill("chatty")))
		_, err := s.Report(t.Context(), home, d.CoreThing, d.GroupID, d.ID, corelink.StatusReport{
			Event: fescue.EventClaimed, Epoch: d.Epoch, Warnings: make([]fescue.ErrorDetail, 201),
		})
		if err == nil || !strings.Contains(err.Error(), "201 warnings") {
			t.Errorf("error %v", err)
		}
	})
}

func wantDetails(t *testing.T, what string, got []fescue.ErrorDetail, want []problem) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s are %q, want %q", what, got, want)
		return
	}
	for i, w := range want {
		if got[i].DetailedErrorCode != string(w.code) || !strings.Contains(got[i].DetailedErrorMessage, w.text) {
			t.Errorf("%s: %d is %q, want %s with %q", what, i, got[i], w.code, w.text)
		}
	}
}
