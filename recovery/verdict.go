package recovery

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
)

// leaveContainers has functions run without the containers that they had, and
// drops what only a container has. Each is named.
func (r *reading) leaveContainers() {
	d := &r.doc.GroupDefinitions
	group := d.Lambdas.DefaultConfig.DefaultExecution()
	given, models := make(map[string]bool), make(map[string]bool) // local resources, and those of machine learning
	for _, res := range d.Resources.Content {
		given[res.Id], models[res.Id] = res.Data.SourcePath != "", modelSource(res) != ""
	}
	for i := range d.Lambdas.Content {
		l := &d.Lambdas.Content[i]
		if !ownCode(l.FunctionArn) || fescue.Isolation(l.DeploymentConfiguration.Environment.Execution, group) != fescue.GreengrassContainer {
			continue
		}
		r.leaveContainer(l, given, models)
	}
	execution := fescue.FunctionExecution{IsolationMode: fescue.NoContainer}
	if group != nil {
		execution.RunAs = group.RunAs
	}
	d.Lambdas.DefaultConfig = &fescue.FunctionDefaultConfig{Execution: &execution}
	d.Resources.Content = slices.DeleteFunc(d.Resources.Content, func(res bundle.Resource) bool {
		if given[res.Id] {
			r.report.assume("resource "+res.Id, "left out: without a container, functions open %s themselves. Give their user the rights, for example by RunAs.Gid", res.Data.SourcePath)
		}
		return given[res.Id]
	})
}

// leaveContainer is leaveContainers for one function.
func (r *reading) leaveContainer(l *bundle.Lambda, localResources, models map[string]bool) {
	c := &l.DeploymentConfiguration
	var dropped []string
	if c.MemorySize != nil {
		dropped = append(dropped, fmt.Sprintf("MemorySize %d KB", *c.MemorySize))
		c.MemorySize = nil
	}
	if s := c.Environment.AccessSysfs; s != nil && *s {
		dropped = append(dropped, "AccessSysfs")
		c.Environment.AccessSysfs = nil
	}
	var kept []fescue.ResourceAccessPolicy
	for _, p := range c.Environment.ResourceAccessPolicies {
		if localResources[p.ResourceId] {
			dropped = append(dropped, "resource "+p.ResourceId)
			continue
		}
		if models[p.ResourceId] && p.Permission != "" {
			dropped = append(dropped, "Permission "+p.Permission+" of resource "+p.ResourceId)
			p.Permission = ""
		}
		kept = append(kept, p)
	}
	c.Environment.ResourceAccessPolicies = kept
	if own := c.Environment.Execution; own != nil && own.IsolationMode != "" {
		changed := *own
		changed.IsolationMode = fescue.NoContainer
		c.Environment.Execution = &changed
	}
	text := "IsolationMode NoContainer in place of GreengrassContainer"
	if len(dropped) > 0 {
		text += ", without " + strings.Join(dropped, ", ")
	}
	r.report.assume("function "+l.FunctionArn, "%s", text)
}

// ownCode reports whether an ARN is that of a function of the user's own, no
// system function and no connector.
func ownCode(arn string) bool {
	a, err := fescue.ParseARN(arn)
	if err != nil {
		return false
	}
	_, system := a.SystemFunction()
	return !system && a.Account != bundle.ConnectorAccount
}

// judge says what cores of this version cannot run of the group, and of what it
// has no effect there.
func (r *reading) judge() {
	g := r.doc.group()
	needs := g.Needs()
	failures, warnings := fescue.Judge(needs, fescue.CoreInfo{}, fescue.Served)
	if slices.ContainsFunc(needs, func(n fescue.Need) bool { return n.Feature == fescue.FeatureContainers }) {
		r.report.warn("group", "it has functions in containers (GreengrassContainer): its core must run as root on a machine with what they take; "+
			"with --isolation NoContainer they are recovered to run without one")
	}
	for _, f := range failures {
		r.report.CannotRun = append(r.report.CannotRun, f.Detail)
	}
	for _, w := range warnings {
		r.report.NoEffect = append(r.report.NoEffect, w.Detail)
	}
	r.judgeResources(g)
	if r.config.allowsRoot() {
		return
	}
	var asRoot []string
	for _, l := range g.GroupDefinitions.Lambdas.Content {
		if !ownCode(l.FunctionArn) {
			continue
		}
		uid, gid := fescue.Identity(l.DeploymentConfiguration.Environment.Execution, g.GroupDefinitions.Lambdas.DefaultConfig.DefaultExecution())
		for _, half := range []struct {
			kind string
			id   *int
		}{{"Uid", uid}, {"Gid", gid}} {
			switch {
			case half.id == nil || *half.id >= fescue.FirstOrdinaryID:
			case *half.id == 0:
				asRoot = append(asRoot, l.FunctionArn)
			default:
				r.report.warn("function "+l.FunctionArn, "it runs with RunAs.%s %d, which is the system's own. A core refuses it where runtime.allowFunctionsToRunAsRoot is not yes "+
					"and it is a group that amounts to root on the gateway: %s", half.kind, *half.id, strings.Join(fescue.PrivilegedGroups, ", "))
			}
		}
	}
	if len(asRoot) > 0 {
		r.report.CannotRun = append(r.report.CannotRun, fescue.RunAsRoot.Detail(strings.Join(slices.Compact(asRoot), ", ")))
	}
}

// judgeResources says which resources functions cannot be given.
func (r *reading) judgeResources(g bundle.Group) {
	var resources []fescue.Resource
	for _, res := range g.GroupDefinitions.Resources.Content {
		if definition, ok := res.Definition(); ok {
			resources = append(resources, definition)
		}
	}
	group := g.GroupDefinitions.Lambdas.DefaultConfig.DefaultExecution()
	for _, l := range g.GroupDefinitions.Lambdas.Content {
		if !ownCode(l.FunctionArn) {
			continue
		}
		e := l.DeploymentConfiguration.Environment
		r.report.CannotRun = append(r.report.CannotRun,
			fescue.AttachmentProblems(l.FunctionArn, fescue.Isolation(e.Execution, group), e.ResourceAccessPolicies, resources)...)
	}
}

// group is the document in package bundle's form.
func (doc document) group() bundle.Group {
	g := bundle.Group{Arn: doc.Arn, Cores: doc.Cores, Devices: doc.Devices}
	from, to := doc.GroupDefinitions, &g.GroupDefinitions
	to.Resources, to.Lambdas, to.Subscriptions = from.Resources, from.Lambdas, from.Subscriptions
	to.Logging.Content = from.Logging.Content
	synced, strange := doc.synced()
	for _, thing := range slices.Concat(slices.Sorted(maps.Keys(synced)), strange) {
		to.ShadowSync.Content = append(to.ShadowSync.Content, bundle.ShadowSync{ThingArn: thing})
	}
	return g
}

// allowsRoot reports whether config.json lets functions run as root.
func (c configFile) allowsRoot() bool {
	var on bool
	var word string
	return json.Unmarshal(c.Runtime.AllowFunctionsToRunAsRoot, &on) == nil && on ||
		json.Unmarshal(c.Runtime.AllowFunctionsToRunAsRoot, &word) == nil && strings.EqualFold(word, "yes")
}
