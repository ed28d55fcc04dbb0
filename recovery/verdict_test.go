package recovery_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/fescue-edge/fescue"
)

// TestVerdict: what is read says what cores of this version cannot run of it.
func TestVerdict(t *testing.T) {
	t.Parallel()
	codes := func(list []fescue.ErrorDetail) string {
		var texts []string
		for _, d := range list {
			texts = append(texts, d.DetailedErrorCode)
		}
		return strings.Join(texts, " ")
	}
	allowed := replaced(configFile, `"cgroup"`, `"allowFunctionsToRunAsRoot":"yes","cgroup"`)
	for _, tc := range []struct {
		name                string
		folder              string
		changes             []func(fstest.MapFS)
		noContainer         bool
		cannotRun, noEffect string
	}{
		{name: "everything at once", folder: "mill",
			cannotRun: "CONNECTOR_UNSUPPORTED_ERROR"},
		// Its model has no owner, which it takes without a container.
		{name: "without containers", folder: "mill", noContainer: true,
			cannotRun: "CONNECTOR_UNSUPPORTED_ERROR RESOURCE_TYPE_UNEXPECTED_ERROR"},
		{name: "without containers, with an owner of the model", folder: "mill", noContainer: true,
			changes:   []func(fstest.MapFS){replaced(groupFile, `"DestinationPath":"/models/wear"`, `"DestinationPath":"/models/wear","OwnerSetting":{"GroupOwner":"1003","GroupPermission":"ro"}`)},
			cannotRun: "CONNECTOR_UNSUPPORTED_ERROR"},
		{name: "nothing", folder: "minimal"},
		{name: "as root", folder: "mill", changes: []func(fstest.MapFS){replaced(groupFile, `"Gid":1002`, `"Gid":0`)},
			cannotRun: "CONNECTOR_UNSUPPORTED_ERROR RUN_AS_ROOT_ERROR"},
		{name: "as root where that is allowed", folder: "mill", noContainer: true, changes: []func(fstest.MapFS){replaced(groupFile, `"Gid":1002`, `"Gid":0`), allowed},
			cannotRun: "CONNECTOR_UNSUPPORTED_ERROR RESOURCE_TYPE_UNEXPECTED_ERROR"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			o := operator
			o.NoContainer = tc.noContainer
			_, report := read(t, fixture(t, tc.folder, tc.changes...), o)
			same(t, strings.TrimSpace(tc.cannotRun), codes(report.CannotRun))
			same(t, tc.noEffect, codes(report.NoEffect))
		})
	}
	t.Run("ids of the system are named", func(t *testing.T) {
		t.Parallel()
		_, report := read(t, fixture(t, "mill", replaced(groupFile, `"Gid":1002`, `"Gid":42`)), operator)
		says(t, report.Warnings, "function "+reader, "RunAs.Gid 42", "shadow", "allowFunctionsToRunAsRoot")
		_, report = read(t, fixture(t, "mill", replaced(groupFile, `"Gid":1002`, `"Gid":42`), allowed), operator)
		for _, n := range report.Warnings {
			if strings.Contains(n.Text, "RunAs") {
				t.Errorf("warned where it is allowed: %+v", n)
			}
		}
	})
}

// TestWithoutContainers: functions lose what only a container has, and each loss is
// named.
func TestWithoutContainers(t *testing.T) {
	t.Parallel()
	o := operator
	o.NoContainer = true
	g, report := read(t, fixture(t, "mill", replaced(groupFile, `"AccessSysfs":false`, `"AccessSysfs":true`)), o)
	v := definition[fescue.FunctionDefinitionVersion](t, g, fescue.FunctionKind)
	same(t, &fescue.FunctionExecution{IsolationMode: fescue.NoContainer, RunAs: &fescue.RunAs{Uid: ptr(1001), Gid: ptr(1002)}}, v.DefaultConfig.Execution)
	same(t, &fescue.FunctionConfiguration{
		EncodingType: "json", Executable: "reader.handler", Pinned: ptr(true), Timeout: ptr(20),
		Environment: &fescue.FunctionEnvironment{
			Execution:              &fescue.FunctionExecution{IsolationMode: fescue.NoContainer},
			ResourceAccessPolicies: []fescue.ResourceAccessPolicy{{ResourceId: "c-model"}},
			Variables:              map[string]string{"PERIOD": "5"},
		},
	}, v.Functions[2].FunctionConfiguration)
	same(t, ptr(32768), v.Functions[0].FunctionConfiguration.MemorySize) // GGIPDetector has no container
	says(t, report.Assumed, "function "+reader, "NoContainer in place of GreengrassContainer", "MemorySize 32768 KB", "AccessSysfs", "resource b-serial", "Permission ro of resource c-model")
	for _, n := range report.Assumed {
		if n.About == "function "+grinder {
			t.Errorf("a function that had no container is named: %+v", n)
		}
	}
	resources := definition[fescue.ResourceDefinitionVersion](t, g, fescue.ResourceKind).Resources
	var ids []string
	for _, r := range resources {
		ids = append(ids, r.Id)
	}
	same(t, []string{"c-model", "d-job", "e-secret"}, ids)
	says(t, report.Assumed, "resource b-serial", "/dev/ttyS1", "RunAs.Gid")

	t.Run("a group without defaults", func(t *testing.T) {
		t.Parallel()
		g, report := read(t, fixture(t, "mill", replaced(groupFile, `"DefaultConfig":{"Execution":{"IsolationMode":"NoContainer","RunAs":{"Uid":1001,"Gid":1002}}}`, `"DefaultConfig":null`),
			replaced(groupFile, `"Environment":{"Execution":{"IsolationMode":"NoContainer"}}`, `"Environment":{}`)), o)
		v := definition[fescue.FunctionDefinitionVersion](t, g, fescue.FunctionKind)
		same(t, &fescue.FunctionDefaultConfig{Execution: &fescue.FunctionExecution{IsolationMode: fescue.NoContainer}}, v.DefaultConfig)
		says(t, report.Assumed, "function "+grinder, "NoContainer in place of GreengrassContainer")
	})
}
