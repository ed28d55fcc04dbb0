package bundle

import (
	"fmt"
	"strings"

	"github.com/fescue-edge/fescue"
)

// Needs is what the group asks of its core beyond what every core serves, in the
// order of the document's sections. It gives what the text of each feature's code
// wants to know.
func (g Group) Needs() []fescue.Need {
	var list needs
	d := g.GroupDefinitions
	for _, l := range d.Lambdas.Content {
		list.function(l, d.Lambdas.DefaultConfig.DefaultExecution())
	}
	for _, r := range d.Resources.Content {
		list.add(resourceFeature(r.Data), "", r.Id, r.Type)
	}
	list.subscriptions(d.Subscriptions.Content, g.Devices)
	var synced []string
	for _, s := range d.ShadowSync.Content {
		synced = append(synced, thingName(s.ThingArn))
	}
	if len(synced) > 0 {
		list.add(fescue.FeatureShadowSync, "", some(synced))
	}
	for _, l := range d.Logging.Content {
		if l.Type != "FileSystem" {
			list.add(fescue.FeatureCloudWatchLogs, "", l.Component, l.Type)
		}
	}
	return list
}

type needs []fescue.Need

func (n *needs) add(f fescue.Feature, function string, values ...any) {
	*n = append(*n, fescue.Need{Feature: f, Function: function, Values: values})
}

func (n *needs) function(l Lambda, group *fescue.FunctionExecution) {
	c := l.DeploymentConfiguration
	arn, err := fescue.ParseARN(l.FunctionArn)
	if err != nil {
		return
	}
	if name, ok := arn.SystemFunction(); ok {
		n.system(name, l)
		return
	}
	if arn.Account == ConnectorAccount {
		n.add(fescue.FeatureConnectors, l.FunctionArn, l.FunctionArn)
		return
	}
	if fescue.Isolation(c.Environment.Execution, group) == fescue.GreengrassContainer {
		n.add(fescue.FeatureContainers, l.FunctionArn, l.FunctionArn)
	}
	if c.Runtime == "" {
		return
	}
	if f, ok := fescue.RuntimeFeature(c.Runtime); ok {
		n.add(f, l.FunctionArn, l.FunctionArn, c.Runtime)
	}
}

// ConnectorAccount is the account in the ARNs of the functions that connectors run
// as.
const ConnectorAccount = "aws"

// spoolerSettings are the settings of the spooler: what every core serves, and what it
// does then, and the other value that cores of this version serve (AWS IoT Greengrass V1 developer guide,
// "MQTT message queue").
var spoolerSettings = []struct{ variable, value, other, effect string }{
	{SpoolStorage, "Memory", SpoolFileSystem, "messages queued for the cloud are kept in memory and lost when it stops"},
	{SubscriptionQuality, "AtMostOnce", AtLeastOncePersistent, "messages from the cloud come at most once"},
}

// Variables in the environment of GGCloudSpooler, and the value of one that is not the
// default.
const (
	SpoolStorage          = "GG_CONFIG_STORAGE_TYPE"
	SpoolFileSystem       = "FileSystem"
	SpoolSize             = "GG_CONFIG_MAX_SIZE_BYTES"
	SubscriptionQuality   = "GG_CONFIG_SUBSCRIPTION_QUALITY"
	AtLeastOncePersistent = "AtLeastOncePersistent"
)

func (n *needs) system(name fescue.SystemFunction, l Lambda) {
	switch name {
	case fescue.IPDetectorFunction:
		n.add(fescue.FeatureIPDetector, l.FunctionArn)
	case fescue.StreamFunction:
		n.add(fescue.FeatureStreams, l.FunctionArn, name)
	case fescue.SpoolerFunction:
		for _, s := range spoolerSettings {
			v, ok := l.DeploymentConfiguration.Environment.Variables[s.variable]
			if !ok || v == s.value {
				continue
			}
			feature := fescue.FeatureOtherSpooler
			if v == s.other {
				feature = fescue.FeatureSpoolerSettings
			}
			n.add(feature, l.FunctionArn, s.variable, v, s.effect)
		}
	default:
		n.add(fescue.FeatureSystemFunctions, l.FunctionArn, name)
	}
}

// subscriptions are needs of the rows, and of the devices when no row names one.
func (n *needs) subscriptions(rows []fescue.Subscription, devices []Identity) {
	named := false
	for _, s := range rows {
		for _, end := range []struct{ what, endpoint string }{{"source", s.Source}, {"target", s.Target}} {
			switch fescue.EndpointKindOf(end.endpoint) {
			case fescue.EndpointDevice:
				named = true
				n.add(fescue.FeatureDeviceSubscriptions, "", end.what, s.Id, end.endpoint)
			case fescue.EndpointShadow:
				n.add(fescue.FeatureShadows, "", end.what, s.Id)
			}
		}
	}
	if len(devices) == 0 || named {
		return
	}
	var names []string
	for _, d := range devices {
		names = append(names, thingName(d.ThingArn))
	}
	n.add(fescue.FeatureClientDevices, "", some(names))
}

// resourceFeature is the feature that a resource is, by the members that its data
// have: what type names stand beside them is not known of all.
func resourceFeature(d ResourceData) fescue.Feature {
	switch {
	case d.ARN != "":
		return fescue.FeatureSecrets
	case d.S3Arn != "" || d.SageMakerJobArn != "":
		return fescue.FeatureModels
	}
	return fescue.FeatureLocalResources
}

// thingName is the name in a thing's ARN, else the text.
func thingName(text string) string {
	if arn, err := fescue.ParseARN(text); err == nil {
		if name, ok := arn.ThingName(); ok {
			return name
		}
	}
	return text
}

// some is a list for a message: not all of many.
func some(names []string) string {
	const most = 5
	text := strings.Join(names[:min(len(names), most)], ", ")
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
