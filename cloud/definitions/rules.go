package definitions

import (
	"fmt"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/topic"
)

// shape is how the body of a kind's version decodes and what is asked of it.
type shape struct {
	make  func() any
	check func(any) []string
}

func shapeOf[T any](check func(*T) []string) shape {
	return shape{
		make:  func() any { return new(T) },
		check: func(v any) []string { return check(v.(*T)) },
	}
}

// shapes are the bodies by kind.
var shapes = map[string]shape{
	fescue.GroupKind.Segment:        shapeOf(func(*fescue.GroupVersion) []string { return nil }),
	fescue.ConnectorKind.Segment:    shapeOf(checkConnectors),
	fescue.CoreKind.Segment:         shapeOf(checkCores),
	fescue.DeviceKind.Segment:       shapeOf(checkDevices),
	fescue.FunctionKind.Segment:     shapeOf(checkFunctions),
	fescue.LoggerKind.Segment:       shapeOf(checkLoggers),
	fescue.ResourceKind.Segment:     shapeOf(checkResources),
	fescue.SubscriptionKind.Segment: shapeOf(checkSubscriptions),
}

// ids checks the Ids of a list: form and uniqueness.
type ids struct {
	problems []string
	seen     map[string]bool
}

func (c *ids) add(what, id string) {
	if c.seen == nil {
		c.seen = make(map[string]bool)
	}
	switch {
	case !fescue.ValidEntityID(id):
		c.problems = append(c.problems, fmt.Sprintf("%s '%s' is invalid. It must have 1 to 128 characters of [a-zA-Z0-9:_-]", what, id))
	case c.seen[what+id]:
		c.problems = append(c.problems, fmt.Sprintf("%s '%s' is used more than once", what, id))
	}
	c.seen[what+id] = true
}

func (c *ids) fail(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

func checkCores(v *fescue.CoreDefinitionVersion) []string {
	var c ids
	if len(v.Cores) > 1 {
		c.fail("A core definition version may have only one core, but has %d", len(v.Cores))
	}
	for _, e := range v.Cores {
		c.add("Id", e.Id)
		c.identity(e.Id, e.ThingArn, e.CertificateArn)
	}
	return c.problems
}

func checkDevices(v *fescue.DeviceDefinitionVersion) []string {
	var c ids
	for _, e := range v.Devices {
		c.add("Id", e.Id)
		c.identity(e.Id, e.ThingArn, e.CertificateArn)
	}
	return c.problems
}

func (c *ids) identity(id, thingARN, certARN string) {
	if arn, err := fescue.ParseARN(thingARN); err != nil {
		c.fail("ThingArn of '%s' is invalid: '%s'", id, thingARN)
	} else if _, ok := arn.ThingName(); !ok {
		c.fail("ThingArn of '%s' is not the ARN of a thing: '%s'", id, thingARN)
	}
	if arn, err := fescue.ParseARN(certARN); err != nil {
		c.fail("CertificateArn of '%s' is invalid: '%s'", id, certARN)
	} else if _, ok := arn.CertificateID(); !ok {
		c.fail("CertificateArn of '%s' is not the ARN of a certificate: '%s'", id, certARN)
	}
}

func checkFunctions(v *fescue.FunctionDefinitionVersion) []string {
	var c ids
	group := v.DefaultConfig.DefaultExecution()
	if !fescue.Isolation(group, nil).Valid() {
		c.fail("%s", fescue.IsolationModeOfGroup.Cause())
		group = nil
	}
	for _, f := range v.Functions {
		c.add("Id", f.Id)
		arn, err := fescue.ParseARN(f.FunctionArn)
		if _, _, ok := arn.Function(); err != nil || !ok {
			c.fail("FunctionArn of '%s' is not the ARN of a Lambda function: '%s'", f.Id, f.FunctionArn)
			continue
		}
		name, system := arn.SystemFunction()
		c.attachments(f)
		c.configuration(f, group, name.Facts(), system)
		if name.Facts().AlwaysPinned && f.FunctionConfiguration != nil && f.FunctionConfiguration.Pinned != nil && !*f.FunctionConfiguration.Pinned {
			c.fail("Pinned of function with arn %s must be true", f.FunctionArn)
		}
	}
	return c.problems
}

// attachments checks how a function refers to resources.
func (c *ids) attachments(f fescue.Function) {
	if f.FunctionConfiguration == nil || f.FunctionConfiguration.Environment == nil {
		return
	}
	for _, a := range f.FunctionConfiguration.Environment.ResourceAccessPolicies {
		if a.ResourceId == "" {
			c.fail("A resource access policy of function with arn %s has no ResourceId", f.FunctionArn)
		}
		if a.Permission != "" && !fescue.ValidPermission(a.Permission) {
			c.fail("Permission of resource '%s' for function with arn %s must be ro or rw, but is '%s'", a.ResourceId, f.FunctionArn, a.Permission)
		}
	}
}

// configuration checks what a function may ask for in its isolation mode. The texts
// are the original's.
func (c *ids) configuration(f fescue.Function, group *fescue.FunctionExecution, facts fescue.SystemFunctionFacts, system bool) {
	cfg := f.FunctionConfiguration
	if cfg == nil {
		return
	}
	env := cfg.Environment
	if env == nil {
		env = &fescue.FunctionEnvironment{}
	}
	if facts.FixedExecution && env.Execution != nil {
		c.fail("%s", fescue.ExecutionUnexpected.Cause(f.FunctionArn))
	}
	mode := fescue.Isolation(env.Execution, group)
	if !mode.Valid() {
		c.fail("%s", fescue.IsolationModeOfFunction.Cause(f.FunctionArn))
		return
	}
	if !fescue.ValidEncoding(cfg.EncodingType) {
		c.fail("EncodingType of function with arn %s must be json or binary, but is '%s'", f.FunctionArn, cfg.EncodingType)
	}
	if system {
		return
	}
	if mode == fescue.GreengrassContainer && cfg.MemorySize == nil {
		c.fail("MemorySize configuration for function with arn %s is required in IsolationMode=GreengrassContainer.", f.FunctionArn)
	}
	for _, code := range fescue.ModeConflicts(mode, cfg.MemorySize, env.AccessSysfs) {
		c.fail("%s", code.Cause(f.FunctionArn))
	}
	if cfg.Timeout != nil && *cfg.Timeout < 1 {
		c.fail("Timeout of function with arn %s must be at least 1 second, but is %d", f.FunctionArn, *cfg.Timeout)
	}
}

func checkLoggers(v *fescue.LoggerDefinitionVersion) []string {
	var c ids
	for _, e := range v.Loggers {
		c.add("Id", e.Id)
		c.oneOf(e.Id, "Component", e.Component, "GreengrassSystem", "Lambda")
		c.oneOf(e.Id, "Level", e.Level, "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
		c.oneOf(e.Id, "Type", e.Type, "FileSystem", "AWSCloudWatch")
		if e.Space != nil && *e.Space < 1 {
			c.fail("Space of logger '%s' must be at least 1 KB, but is %d", e.Id, *e.Space)
		}
	}
	return c.problems
}

func (c *ids) oneOf(id, member, value string, allowed ...string) {
	for _, a := range allowed {
		if value == a {
			return
		}
	}
	c.fail("%s of logger '%s' must be one of %s, but is '%s'", member, id, strings.Join(allowed, ", "), value)
}

func checkResources(v *fescue.ResourceDefinitionVersion) []string {
	var c ids
	for _, e := range v.Resources {
		c.add("Id", e.Id)
		c.add("Name", e.Name)
	}
	return append(c.problems, v.Problems()...)
}

func checkSubscriptions(v *fescue.SubscriptionDefinitionVersion) []string {
	var c ids
	for _, e := range v.Subscriptions {
		c.add("Id", e.Id)
		if fescue.EndpointKindOf(e.Source) == fescue.EndpointUnknown {
			c.fail("Subscription source is invalid. ID is '%s' and Source is '%s'", e.Id, e.Source)
		}
		if fescue.EndpointKindOf(e.Target) == fescue.EndpointUnknown {
			c.fail("Subscription target is invalid. ID is '%s' and Target is '%s'", e.Id, e.Target)
		}
		if err := topic.ValidFilter(e.Subject); err != nil {
			c.fail("Subscription subject is invalid. ID is '%s' and Subject is '%s': %v", e.Id, e.Subject, err)
		}
	}
	return c.problems
}

func checkConnectors(v *fescue.ConnectorDefinitionVersion) []string {
	var c ids
	for _, e := range v.Connectors {
		c.add("Id", e.Id)
		arn, err := fescue.ParseARN(e.ConnectorArn)
		if err != nil || !arn.Connector() {
			c.fail("ConnectorArn of '%s' is not the ARN of a connector: '%s'", e.Id, e.ConnectorArn)
		}
	}
	return c.problems
}
