package agent_test

import (
	"encoding/json"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/agent"
	"github.com/fescue-edge/fescue/core/plan/plantest"
	"github.com/fescue-edge/fescue/corelink"
)

func TestCheckWithoutDeploying(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	g := newGateway(t, p)
	disk := room(1 << 30)
	g.disk = disk
	g.run()
	p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
	before := g.onDisk("manifest.dsse")
	plans := len(g.applied())

	ask := func(r release, change func(*corelink.Check)) corelink.CheckReport {
		t.Helper()
		m := r.build(p)
		p.mu.Lock()
		check := corelink.Check{ID: fescue.NewID(), GroupID: groupID, Group: json.RawMessage(p.content[documentOf(m).SHA256])}
		p.mu.Unlock()
		for _, a := range packagesOf(m) {
			check.Functions = append(check.Functions, corelink.CheckedFunction{ARN: a.Name, SHA256: a.SHA256, Size: a.Size})
		}
		if change != nil {
			change(&check)
		}
		return p.ask(check)
	}

	t.Run("a group that could run", func(t *testing.T) {
		r := simple(t, 2, 2)
		report := ask(r, nil)
		if len(report.Problems) != 0 || report.ToFetch != int64(len(r.packages[functionARN("hello", 2)])) {
			t.Errorf("%+v", report)
		}
	})
	t.Run("what fails nothing is a warning", func(t *testing.T) {
		r := simple(t, 2, 2)
		r.edit = plantest.System("GGCloudSpooler:1", map[string]string{"GG_CONFIG_STORAGE_TYPE": "Disk"})
		report := ask(r, nil)
		if len(report.Problems) != 0 || len(report.Warnings) != 1 || report.Warnings[0].DetailedErrorCode != string(fescue.SpoolerSettingUnserved) {
			t.Errorf("%+v", report)
		}
	})
	t.Run("what is on the disk is not fetched again", func(t *testing.T) {
		if report := ask(simple(t, 2, 1), nil); len(report.Problems) != 0 || report.ToFetch != 0 {
			t.Errorf("%+v", report)
		}
	})
	t.Run("all that is wrong", func(t *testing.T) {
		g.mu.Change(func() { g.missing[functionARN("hello", 3)] = "no interpreter" })
		r := simple(t, 2, 3)
		r.edit = func(group *bundle.Group) {
			group.GroupDefinitions.Subscriptions.Content = []fescue.Subscription{{Id: "s", Source: "cloud", Subject: "a/#/b", Target: functionARN("hello", 3)}}
		}
		report := ask(r, nil)
		if len(report.Problems) != 2 || report.Problems[0].DetailedErrorCode != "SUBSCRIPTION_INVALID_ERROR" || report.Problems[1].DetailedErrorCode != "RUNTIME_MISSING_ERROR" {
			t.Errorf("%+v", report)
		}
	})
	t.Run("a document that is none", func(t *testing.T) {
		report := ask(simple(t, 2, 2), func(c *corelink.Check) { c.Group = json.RawMessage(`{"Cores":7}`) })
		if len(report.Problems) != 1 || report.Problems[0].DetailedErrorCode != "GROUP_FILE_ERROR" {
			t.Errorf("%+v", report)
		}
	})
	t.Run("a disk without room, and a machine that is not well", func(t *testing.T) {
		disk.free.Store(1 << 20)
		defer disk.free.Store(1 << 30)
		report := ask(simple(t, 2, 4), nil)
		if len(report.Problems) != 1 || report.Problems[0].DetailedErrorCode != string(fescue.CoreDiskFull) ||
			len(report.Warnings) != 1 || report.Warnings[0].DetailedErrorCode != agent.FindingDiskFull {
			t.Errorf("%+v", report)
		}
	})
	if g.onDisk("manifest.dsse") != before || len(g.applied()) != plans {
		t.Error("a check changed what runs")
	}
	p.expect(p.offer(simple(t, 5, 1).build(p)), fescue.Success)
}
