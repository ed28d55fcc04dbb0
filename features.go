package fescue

import "regexp"

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
	FeatureIPDetector          Feature = "ipDetector"
	FeatureGroupRole           Feature = "groupRole"
)

// UnservedFeature is a row of the table of what cores cannot do.
type UnservedFeature struct {
	Feature Feature
	// Code is what becomes of a group that needs the feature: it fails with a code
	// of DeploymentFailures, or gets a warning of DeploymentWarnings.
	Code FailureCode
}

// UnservedFeatures is what cores of this version cannot do. The control plane
// judges groups by it when it builds and checks them, the core before it changes
// anything, and recovery when it reads a folder. A feature that comes to be served
// loses its row.
var UnservedFeatures = []UnservedFeature{
	{FeatureContainers, ContainerUnsupported},
	{FeatureJava, RuntimeUnsupported},
	{FeatureOtherRuntimes, RuntimeUnsupported},
	{FeatureConnectors, ConnectorUnsupported},
	{FeatureLocalResources, ResourceUnsupported},
	{FeatureModels, ResourceUnsupported},
	{FeatureSecrets, ResourceUnsupported},
	{FeatureStreams, SystemComponentUnsupported},
	{FeatureSystemFunctions, SystemComponentUnsupported},
	{FeatureDeviceSubscriptions, DeviceSubscriptionUnsupported},
	{FeatureShadows, ShadowSubscriptionUnsupported},
	{FeatureClientDevices, ClientDevicesUnserved},
	{FeatureShadowSync, ShadowSyncUnserved},
	{FeatureCloudWatchLogs, LoggerUnserved},
	{FeatureSpoolerSettings, SpoolerSettingUnserved},
	{FeatureIPDetector, IPDetectorUnserved},
	{FeatureGroupRole, GroupRoleUnserved},
}

// UnservedNames are the features that cores of this version do not serve.
func UnservedNames() []Feature {
	list := make([]Feature, len(UnservedFeatures))
	for i, u := range UnservedFeatures {
		list[i] = u.Feature
	}
	return list
}

// Served reports whether cores of this version serve a feature.
func Served(f Feature) bool {
	for _, u := range UnservedFeatures {
		if u.Feature == f {
			return false
		}
	}
	return true
}

// Need is one place where a group needs a feature.
type Need struct {
	Feature Feature
	// Function is the ARN of the function that needs it, empty for the group.
	Function string
	// Values fill in the text of the feature's code.
	Values []any
}

// Unserved is a need that a core does not serve, as a failure or a warning tells
// it.
type Unserved struct {
	Need
	Detail ErrorDetail
}

// Judge holds a group's needs against what a core serves: what keeps the group
// from running there, and what only has no effect.
func Judge(needs []Need, serves func(Feature) bool) (failures, warnings []Unserved) {
	for _, n := range needs {
		if serves(n.Feature) {
			continue
		}
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
	{regexp.MustCompile(`^java[0-9]`), FeatureJava},
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
