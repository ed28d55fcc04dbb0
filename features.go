package fescue

import (
	"regexp"
	"slices"
)

// Feature is something that a group can ask of its core and that not every core
// serves.
type Feature string

// The features.
const (
	FeatureContainers          Feature = "containers"
	FeatureNodeJS              Feature = "nodejs"
	FeatureJava                Feature = "java"
	FeatureOtherRuntimes       Feature = "otherRuntimes"
	FeatureConnectors          Feature = "connectors"
	FeatureLocalResources      Feature = "localResources"
	FeatureModels              Feature = "models"
	FeatureSecrets             Feature = "secrets"
	FeatureStreams             Feature = "streams"
	FeatureSystemFunctions     Feature = "systemFunctions"
	FeatureDeviceSubscriptions Feature = "deviceSubscriptions"
	FeatureClientDevices       Feature = "clientDevices"
	FeatureShadows             Feature = "shadows"
	FeatureShadowSync          Feature = "shadowSync"
	FeatureCloudWatchLogs      Feature = "cloudWatchLogs"
	FeatureSpoolerSettings     Feature = "spoolerSettings"
	FeatureOtherSpooler        Feature = "otherSpoolerSettings"
	FeatureIPDetector          Feature = "ipDetector"
	FeatureGroupRole           Feature = "groupRole"
)

// UnservedFeature is a row of the table of what some cores cannot do.
type UnservedFeature struct {
	Feature Feature
	// Code is what becomes of a group that needs the feature: it fails with a code
	// of DeploymentFailures, or gets a warning of DeploymentWarnings.
	Code FailureCode
	// ByMachine marks a feature that cores of this version serve on a machine that
	// has what it takes. A core says itself where it does not.
	ByMachine bool
	// Served marks one that cores of this version serve everywhere. Those of the
	// version before say that they do not.
	Served bool
}

// UnservedFeatures is what cores of this version, or of the one before, cannot do.
// The control plane judges groups by it when it builds and checks them, the core
// before it changes anything, and recovery when it reads a folder. A feature that
// comes to be served is marked so, and loses its row with the version after.
var UnservedFeatures = []UnservedFeature{
	{Feature: FeatureContainers, Code: ContainerUnsupported, ByMachine: true},
	{Feature: FeatureNodeJS, Code: RuntimeUnsupported, Served: true},
	{Feature: FeatureJava, Code: RuntimeUnsupported, Served: true},
	{Feature: FeatureOtherRuntimes, Code: RuntimeUnsupported},
	{Feature: FeatureConnectors, Code: ConnectorUnsupported},
	{Feature: FeatureLocalResources, Code: ResourceUnsupported, Served: true},
	{Feature: FeatureModels, Code: ResourceUnsupported, Served: true},
	{Feature: FeatureSecrets, Code: ResourceUnsupported, Served: true},
	{Feature: FeatureStreams, Code: SystemComponentUnsupported},
	{Feature: FeatureSystemFunctions, Code: SystemComponentUnsupported},
	{Feature: FeatureDeviceSubscriptions, Code: DeviceSubscriptionUnsupported, Served: true},
	{Feature: FeatureShadows, Code: ShadowSubscriptionUnsupported, Served: true},
	{Feature: FeatureClientDevices, Code: ClientDevicesUnserved, Served: true},
	{Feature: FeatureShadowSync, Code: ShadowSyncUnserved, Served: true},
	{Feature: FeatureCloudWatchLogs, Code: LoggerUnserved, Served: true},
	{Feature: FeatureSpoolerSettings, Code: SpoolerSettingUnserved, Served: true},
	{Feature: FeatureOtherSpooler, Code: SpoolerSettingUnserved},
	{Feature: FeatureIPDetector, Code: IPDetectorUnserved, Served: true},
	{Feature: FeatureGroupRole, Code: GroupRoleUnserved, Served: true},
}

// UnservedNames are the features that cores of this version do not serve, whatever
// their machine.
func UnservedNames() []Feature {
	var list []Feature
	for _, u := range UnservedFeatures {
		if !u.ByMachine && !u.Served {
			list = append(list, u.Feature)
		}
	}
	return list
}

// Served reports whether cores of this version serve a feature, if their machine
// can.
func Served(f Feature) bool { return !slices.Contains(UnservedNames(), f) }

// Need is one place where a group needs a feature.
type Need struct {
	Feature Feature
	// Function is the ARN of the function that needs it, empty for the group.
	Function string
	// Values fill in the text of the feature's code.
	Values []any
}

// Unserved is a need that a core does not serve, as a failure or a warning says
// it.
type Unserved struct {
	Need
	Detail ErrorDetail
}

// Judge holds a group's needs against what a core serves: what keeps the group
// from running there, and what only has no effect. The core, as far as it is known,
// says why.
func Judge(needs []Need, core CoreInfo, serves func(Feature) bool) (failures, warnings []Unserved) {
	for _, n := range needs {
		if serves(n.Feature) {
			continue
		}
		n = core.Need(n)
		for _, u := range UnservedFeatures {
			if u.Feature != n.Feature {
				continue
			}
			found := Unserved{n, u.Code.Detail(n.Values...)}
			if u.Code.Warns() {
				warnings = append(warnings, found)
			} else {
				failures = append(failures, found)
			}
		}
	}
	return failures, warnings
}

// Runtimes by the features that they are; executables and Python are none.
var runtimeFeatures = []struct {
	pattern *regexp.Regexp
	feature Feature
}{
	{regexp.MustCompile(`^nodejs[0-9]+\.([0-9]+|x)$`), FeatureNodeJS},
	{regexp.MustCompile(`^java[0-9]+(\.al2)?$`), FeatureJava},
}

var pythonRuntime = regexp.MustCompile(`^python[23]\.[0-9]+$`)

// RuntimeFeature is the feature that a Lambda runtime is, and false for one that
// every core serves.
func RuntimeFeature(runtime string) (Feature, bool) {
	if runtime == ExecutableRuntime || pythonRuntime.MatchString(runtime) {
		return "", false
	}
	for _, r := range runtimeFeatures {
		if r.pattern.MatchString(runtime) {
			return r.feature, true
		}
	}
	return FeatureOtherRuntimes, true
}
