package deploy_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/testkit"
	"github.com/fescue-edge/fescue/testkit/failurecoverage"
)

// ask is a core's poll with what it reads and what it has said.
func (s *site) ask(thing string, poll corelink.Poll) corelink.Offer {
	s.t.Helper()
	offer, err := s.Await(s.t.Context(), home, thing, poll, anybody)
	if err != nil {
		s.t.Fatal(err)
	}
	return offer
}

// built is the note of the step by which a deployment was offered.
func (s *site) builtNote(d fescue.Deployment) string {
	s.t.Helper()
	timeline, err := s.Timeline(s.t.Context(), home, d.GroupID, d.ID)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, step := range timeline.Steps {
		if step.Event == fescue.EventBuilt {
			return step.Note
		}
	}
	s.t.Fatal("the timeline does not say that it was built")
	return ""
}

// formatsOf are the manifest formats in an envelope, of its payload first.
func formatsOf(t *testing.T, envelope []byte) []int {
	t.Helper()
	var env bundle.Envelope
	if err := json.Unmarshal(envelope, &env); err != nil {
		t.Fatal(err)
	}
	var list []int
	for e := &env; e != nil; e = e.Newer {
		var head struct{ Format int }
		if err := json.Unmarshal(e.Payload, &head); err != nil {
			t.Fatal(err)
		}
		list = append(list, head.Format)
	}
	return list
}

func TestCoreInfo(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.run(s.Engine)
	info := fescue.CoreInfo{Version: "1.9", Architecture: "arm64", Formats: []int{1, 2}}

	t.Run("a core that has said nothing is not judged, and the timeline says so", func(t *testing.T) {
		s := s.with(t)
		d := s.offered(s.create(s.mill("unheard")))
		if note := s.builtNote(d); !strings.Contains(note, "unheard has not said yet") {
			t.Errorf("note %q", note)
		}
	})
	t.Run("a core is asked once for what it is", func(t *testing.T) {
		s := s.with(t)
		poll := corelink.Poll{Wait: time.Hour, Formats: info.Formats, Info: info.Hash()}
		if offer := s.ask("asked", poll); !offer.WantInfo || offer.DeploymentID != "" {
			t.Errorf("%+v", offer) // and it did not wait for an hour
		}
		if err := s.ReportCore(t.Context(), home, "asked", info); err != nil {
			t.Fatal(err)
		}
		poll.Wait = 0
		if offer := s.ask("asked", poll); offer.WantInfo {
			t.Error("it was asked again")
		}
		if offer := s.ask("asked", corelink.Poll{}); offer.WantInfo {
			t.Error("one that does not know of reports was asked")
		}
		changed := info
		changed.Kernel = "6.2"
		poll.Info = changed.Hash()
		if offer := s.ask("asked", poll); !offer.WantInfo {
			t.Error("what changed was not asked for")
		}
		d := s.offered(s.create(s.mill("asked")))
		if note := s.builtNote(d); !strings.Contains(note, "judged by what the core said at") || !strings.Contains(note, "version 1.9, arm64, formats [1 2]") {
			t.Errorf("note %q", note)
		}
	})
	t.Run("what makes no sense is refused", func(t *testing.T) {
		if err := s.ReportCore(t.Context(), home, "odd", fescue.CoreInfo{Version: "1"}); !errors.Is(err, deploy.ErrReport) {
			t.Errorf("%v", err)
		}
	})
	t.Run("the manifest comes in the formats that the core reads", func(t *testing.T) {
		s := s.with(t)
		s.offered(s.create(s.mill("reading")))
		for _, c := range []struct{ asked, want []int }{
			{nil, []int{1}}, {[]int{1}, []int{1}}, {[]int{1, 2}, []int{1, 2}}, {[]int{2, 9}, []int{2}},
		} {
			offer := s.ask("reading", corelink.Poll{Formats: c.asked})
			if got := formatsOf(t, offer.Envelope); len(got) != len(c.want) || got[0] != c.want[0] {
				t.Errorf("asked for %v, got %v", c.asked, got)
			}
			s.manifest(offer)
		}
	})
	t.Run("a core too new for this server", func(t *testing.T) {
		s := s.with(t)
		future := info
		future.Formats = []int{8, 9}
		if err := s.ReportCore(t.Context(), home, "future", future); err != nil {
			t.Fatal(err)
		}
		group, version := s.create(s.mill("future"))
		d := s.deploy(group, version)
		if d.Status != fescue.Failure || d.ErrorDetails[0].DetailedErrorCode != string(fescue.ManifestUnreadable) {
			t.Errorf("%s %v", d.Status, d.ErrorDetails)
		}
		check, err := s.Check(t.Context(), home, group, version, 0)
		if err != nil || len(check.Building) != 1 || check.Building[0].DetailedErrorCode != string(fescue.ManifestUnreadable) {
			t.Errorf("%+v, %v", check.Building, err)
		}
	})
	t.Run("what a core serves is for the core to say", func(t *testing.T) {
		s := s.with(t)
		strict := s.another(func(o *deploy.Options) { o.Serves = func(fescue.Feature) bool { return false } })
		for _, c := range []struct {
			engine   *deploy.Engine
			unserved []fescue.Feature
			problems int
		}{
			{s.Engine, []fescue.Feature{fescue.FeatureContainers}, 1}, // an older core than this server
			{strict, nil, 0}, // a newer one
		} {
			said := info
			said.Unserved = c.unserved
			if err := s.ReportCore(t.Context(), home, "serving", said); err != nil {
				t.Fatal(err)
			}
			group, version := s.create(s.mill("serving").functions(reader + ":1"))
			check, err := c.engine.Check(t.Context(), home, group, version, 0)
			if err != nil || len(check.Building) != c.problems {
				t.Errorf("%+v, %v", check.Building, err)
			}
		}
	})
	t.Run("a core of a version that serves no resources", func(t *testing.T) {
		s := s.with(t)
		said := info
		said.Unserved, said.Formats = []fescue.Feature{fescue.FeatureLocalResources, fescue.FeatureModels}, []int{bundle.OldestFormat}
		if err := s.ReportCore(t.Context(), home, "older", said); err != nil {
			t.Fatal(err)
		}
		g := s.mill("older").set(fescue.ResourceKind, fescue.ResourceDefinitionVersion{Resources: resources.Resources[:3]})
		s.wantFailure(s.deploy(s.create(g.set(fescue.FunctionKind, oneFunction("", container("", "device", "volume", "s3"))))),
			problem{fescue.ResourceUnsupported, "'device' is of type 'LOCAL_DEVICE', which this version of the core does not serve"},
			problem{fescue.ResourceUnsupported, "'s3' is of type 'ML_MODEL_S3_OBJECT'"}, problem{fescue.ResourceUnsupported, "'volume'"})
	})
	t.Run("a core whose machine cannot make containers", func(t *testing.T) {
		s := s.with(t)
		said := info
		said.Unserved, said.Missing = []fescue.Feature{fescue.FeatureContainers}, []string{"the core does not run as root; run it as root"}
		if err := s.ReportCore(t.Context(), home, "rootless", said); err != nil {
			t.Fatal(err)
		}
		s.wantFailure(s.deploy(s.create(s.mill("rootless").functions(reader+":1"))),
			problem{fescue.ContainerUnsupported, reader + ":1 is configured to run in IsolationMode=GreengrassContainer, which its core cannot do; what is missing: the core does not run as root"})
	})
	t.Run("a core of the version before, which sends no logs", func(t *testing.T) {
		s := s.with(t)
		said := info
		said.Unserved = []fescue.Feature{fescue.FeatureCloudWatchLogs}
		if err := s.ReportCore(t.Context(), home, "files-only", said); err != nil {
			t.Fatal(err)
		}
		g := s.mill("files-only").set(fescue.LoggerKind, fescue.LoggerDefinitionVersion{Loggers: []fescue.Logger{
			{Id: "a", Component: "Lambda", Level: "INFO", Type: "AWSCloudWatch"}, {Id: "b", Component: "GreengrassSystem", Level: "INFO", Type: "FileSystem"},
		}})
		group, version := s.create(g)
		check, err := s.Check(t.Context(), home, group, version, 0)
		if err != nil {
			t.Fatal(err)
		}
		failurecoverage.Note(check.Warnings)
		wantDetails(t, "warnings", check.Warnings, []problem{{fescue.LoggerUnserved, "logger of Lambda is of type AWSCloudWatch"}})
	})
	t.Run("a core of the version before, without an MQTT server for devices", func(t *testing.T) {
		s := s.with(t)
		said := info
		said.Unserved = []fescue.Feature{fescue.FeatureDeviceSubscriptions, fescue.FeatureClientDevices, fescue.FeatureIPDetector}
		if err := s.ReportCore(t.Context(), home, "old-gate", said); err != nil {
			t.Fatal(err)
		}
		pump, certificate := home.ThingARN("pump"), s.certificate(home, "pump")
		s.wantFailure(s.deploy(s.create(s.mill("old-gate").pump(certificate, false).subscriptions(
			fescue.Subscription{Id: "s1", Source: pump, Subject: "a", Target: "cloud"}, fescue.Subscription{Id: "s2", Source: "cloud", Subject: "b", Target: pump}))),
			problem{fescue.DeviceSubscriptionUnsupported, "The source of subscription 's1' is the client device " + pump},
			problem{fescue.DeviceSubscriptionUnsupported, "The target of subscription 's2'"})
		g := s.mill("old-gate").pump(certificate, false)
		g.set(fescue.FunctionKind, fescue.FunctionDefinitionVersion{Functions: []fescue.Function{
			{Id: "detector", FunctionArn: fescue.IPDetectorFunction.ARN() + ":1", FunctionConfiguration: &fescue.FunctionConfiguration{Pinned: ptr(true)}},
		}})
		d := s.offered(s.create(g))
		timeline, err := s.Timeline(t.Context(), home, d.GroupID, d.ID)
		if err != nil {
			t.Fatal(err)
		}
		failurecoverage.Note(timeline.Steps[1].Warnings)
		wantDetails(t, "warnings", timeline.Steps[1].Warnings,
			[]problem{{fescue.IPDetectorUnserved, "GGIPDetector"}, {fescue.ClientDevicesUnserved, "(pump)"}})
	})
	t.Run("a core of the version before, without shadows", func(t *testing.T) {
		s := s.with(t)
		said := info
		said.Unserved = []fescue.Feature{fescue.FeatureShadows, fescue.FeatureShadowSync}
		if err := s.ReportCore(t.Context(), home, "shadowless", said); err != nil {
			t.Fatal(err)
		}
		s.wantFailure(s.deploy(s.create(s.mill("shadowless").subscriptions(
			fescue.Subscription{Id: "s1", Source: "GGShadowService", Subject: "a", Target: "cloud"},
			fescue.Subscription{Id: "s2", Source: "cloud", Subject: "b", Target: "GGShadowService"}))),
			problem{fescue.ShadowSubscriptionUnsupported, "The source of subscription 's1'"},
			problem{fescue.ShadowSubscriptionUnsupported, "The target of subscription 's2'"})
		g := s.mill("shadowless")
		core := g.bodies[fescue.CoreKind.Segment].(fescue.CoreDefinitionVersion).Cores[0]
		core.SyncShadow = ptr(true)
		d := s.offered(s.create(g.set(fescue.CoreKind, fescue.CoreDefinitionVersion{Cores: []fescue.Core{core}})))
		timeline, err := s.Timeline(t.Context(), home, d.GroupID, d.ID)
		if err != nil {
			t.Fatal(err)
		}
		failurecoverage.Note(timeline.Steps[1].Warnings)
		wantDetails(t, "warnings", timeline.Steps[1].Warnings, []problem{{fescue.ShadowSyncUnserved, "for shadowless;"}})
	})
	t.Run("a core that became too new after the offer", func(t *testing.T) {
		s := s.with(t)
		for _, claimed := range []bool{false, true} {
			thing := map[bool]string{false: "became", true: "became-claimed"}[claimed]
			d := s.offered(s.create(s.mill(thing)))
			if claimed {
				d = s.reports(d, fescue.EventClaimed)
			}
			if offer := s.ask(thing, corelink.Poll{Formats: []int{9}}); offer.DeploymentID != "" {
				t.Errorf("offered %+v", offer)
			}
			ended := s.read(d)
			if ended.Status != fescue.Failure || len(ended.ErrorDetails) != 1 || ended.ErrorDetails[0].DetailedErrorCode != string(fescue.ManifestUnreadable) {
				t.Errorf("%s %v", ended.Status, ended.ErrorDetails)
			}
		}
	})
	t.Run("a forced reset that cannot be read goes on waiting", func(t *testing.T) {
		s := s.with(t)
		group, version := s.create(s.mill("reset-unread"))
		s.reports(s.offered(group, version), fescue.EventClaimed, fescue.EventSucceeded)
		if _, err := s.Reset(t.Context(), home, group, true, fescue.Token{}); err != nil {
			t.Fatal(err)
		}
		testkit.Until(s.t, "the reset waits", func() bool { return s.ask("reset-unread", corelink.Poll{After: 1}).DeploymentID != "" })
		_, err := s.Await(context.Background(), home, "reset-unread", corelink.Poll{After: 1, Formats: []int{9}}, anybody)
		if !errors.Is(err, bundle.ErrFormat) {
			t.Errorf("%v", err)
		}
		if offer := s.ask("reset-unread", corelink.Poll{After: 1}); offer.DeploymentID == "" {
			t.Error("the reset is lost")
		}
	})
}
