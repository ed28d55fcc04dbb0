package console

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
)

// content is what a version of a group consists of.
type content struct {
	Core          fescue.CoreDefinitionVersion
	Functions     fescue.FunctionDefinitionVersion
	Devices       fescue.DeviceDefinitionVersion
	Resources     fescue.ResourceDefinitionVersion
	Subscriptions fescue.SubscriptionDefinitionVersion
	Connectors    fescue.ConnectorDefinitionVersion
	Loggers       fescue.LoggerDefinitionVersion
	// Hidden are the parts that could not be read, with why.
	Hidden []string
}

// part is where a kind's definition version goes.
func (c *content) part(k fescue.Kind) any {
	return map[string]any{
		fescue.CoreKind.Segment: &c.Core, fescue.FunctionKind.Segment: &c.Functions, fescue.DeviceKind.Segment: &c.Devices,
		fescue.ResourceKind.Segment: &c.Resources, fescue.SubscriptionKind.Segment: &c.Subscriptions,
		fescue.ConnectorKind.Segment: &c.Connectors, fescue.LoggerKind.Segment: &c.Loggers,
	}[k.Segment]
}

// core is the thing that the version names as its core, empty where it names none.
func (c *content) core() string {
	for _, named := range c.Core.Cores {
		arn, err := fescue.ParseARN(named.ThingArn)
		if err != nil {
			continue
		}
		if name, ok := arn.ThingName(); ok {
			return name
		}
	}
	return ""
}

// version is a version as the API shows it, with its definition where one is read.
type version struct {
	Id, Version, CreationTimestamp string
	Definition                     json.RawMessage
}

type versionList struct {
	Versions  []version
	NextToken string
}

// content reads a version of a group. What a limited key may not read, and what is not
// there any more, is named instead.
func (v *visit) content(group, id string) (c content, err error) {
	if id == "" {
		return c, nil
	}
	of, err := get[version](v, greengrass, "/greengrass/groups/"+group+"/versions/"+id)
	if err != nil {
		return c, err
	}
	var references fescue.GroupVersion
	if err := json.Unmarshal(of.Definition, &references); err != nil {
		return c, fmt.Errorf("version %s of group %s: %w", id, group, err)
	}
	for _, k := range fescue.DefinitionKinds {
		arn := references.Reference(k)
		if arn == "" {
			continue
		}
		definition, version_, err := v.partition().ParseVersionARN(k, arn)
		if err == nil {
			var read version
			read, err = get[version](v, greengrass, "/greengrass/definition/"+k.Segment+"/"+definition+"/versions/"+version_)
			if err == nil {
				err = json.Unmarshal(read.Definition, c.part(k))
			}
		}
		if err != nil {
			c.Hidden = append(c.Hidden, fmt.Sprintf("%s: %v", k.Segment, err))
		}
	}
	return c, nil
}

// change is what two versions of a group have different.
type change struct {
	// How is added, changed or removed.
	How        string
	Kind, Name string
	// Members are those that it has different; of what was added or removed all.
	Members []member
}

// member is a member of an entity before and after a change, as JSON; empty for none.
type member struct{ Name, Before, After string }

// String is the member as "Timeout: 3 → 10".
func (m member) String() string {
	return fmt.Sprintf("%s: %s → %s", m.Name, cmp.Or(m.Before, "none"), cmp.Or(m.After, "none"))
}

// changes are what is different between two versions. Entities are the same by their
// content, whatever their ids, and otherwise by their ids.
func changes(before, after content) (list []change) {
	for _, k := range fescue.DefinitionKinds {
		old, now := entities(before.part(k), k), entities(after.part(k), k)
		old, now = without(old, now), without(now, old)
		kind, changed := strings.ToLower(k.Name), make(map[any]map[string]any)
		for _, e := range old {
			changed[e["Id"]] = e
		}
		for _, e := range now {
			was, ok := changed[e["Id"]]
			if !ok {
				list = append(list, change{"added", kind, nameOf(e), membersOf(nil, e)})
				continue
			}
			list = append(list, change{"changed", kind, nameOf(e), membersOf(was, e)})
			delete(changed, e["Id"])
		}
		for _, e := range old {
			if _, gone := changed[e["Id"]]; gone {
				list = append(list, change{"removed", kind, nameOf(e), membersOf(e, nil)})
			}
		}
	}
	return list
}

// without are those of a list whose content no other one has.
func without(list, others []map[string]any) []map[string]any {
	known := make(map[string]bool, len(others))
	for _, e := range others {
		known[contentOf(e)] = true
	}
	return slices.DeleteFunc(slices.Clone(list), func(e map[string]any) bool { return known[contentOf(e)] })
}

// contentOf is an entity's JSON, without its id.
func contentOf(e map[string]any) string {
	e = maps.Clone(e)
	delete(e, "Id")
	text, _ := json.Marshal(e) // it came from JSON
	return string(text)
}

// entities are those of a definition version, as JSON has them; the default of functions
// is one more.
func entities(part any, k fescue.Kind) (list []map[string]any) {
	text, err := json.Marshal(part)
	var members map[string]any
	if err != nil || json.Unmarshal(text, &members) != nil {
		return nil
	}
	all, _ := members[k.Member].([]any)
	for _, e := range all {
		if e, ok := e.(map[string]any); ok {
			list = append(list, e)
		}
	}
	if d, ok := members["DefaultConfig"].(map[string]any); ok {
		d["Id"] = "default configuration"
		list = append(list, d)
	}
	return list
}

// nameOf is what people know an entity by.
func nameOf(e map[string]any) string {
	text := func(member string) string { s, _ := e[member].(string); return s }
	switch {
	case text("Subject") != "":
		return fmt.Sprintf("%s → %s: %s", tail(text("Source")), tail(text("Target")), text("Subject"))
	case text("Component") != "":
		return strings.TrimSpace(text("Component") + " " + text("Type") + " " + text("Level"))
	}
	return cmp.Or(tail(text("FunctionArn")), tail(text("ThingArn")), text("Name"), tail(text("ConnectorArn")), text("Id"))
}

// tail is the part of an ARN that people know it by.
func tail(arn string) string {
	parsed, err := fescue.ParseARN(arn)
	if err != nil {
		return arn
	}
	if name, ok := parsed.ThingName(); ok {
		return name
	}
	if rest, ok := strings.CutPrefix(parsed.Resource, "function:"); ok {
		return rest
	}
	return strings.TrimPrefix(parsed.Resource, "/")
}

// membersOf is what two entities have different, member for member.
func membersOf(before, after map[string]any) (list []member) {
	old, now := make(map[string]string), make(map[string]string)
	flatten("", before, old)
	flatten("", after, now)
	names := maps.Clone(old)
	maps.Copy(names, now)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if name != "Id" && old[name] != now[name] {
			list = append(list, member{name, old[name], now[name]})
		}
	}
	return list
}

func flatten(prefix string, v any, into map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			flatten(strings.TrimPrefix(prefix+"."+name, "."), member, into)
		}
	default:
		text, err := json.Marshal(v)
		if err == nil {
			into[prefix] = string(text)
		}
	}
}

// groupPage is one group.
type groupPage struct {
	Group groupInformation
	// Core is the group's, nil where it has none that spoke or was deployed to; Names is
	// the thing that the version says.
	Core  *coreRow
	Names string
	// Runs is the version that the core runs of this group.
	Runs string
	// Version is the one that is shown, with its content.
	Version string
	Content content
	// Graph is its subscription table as a picture; nil without one.
	Graph       *graph
	Versions    []version
	Deployments []ownapi.DeploymentSummary
	// Failed is the last deployment that has ended, where that was in Failure.
	Failed *ownapi.DeploymentSummary
	// Ongoing reports that one has not ended, so that the page changes.
	Ongoing   bool
	MayDeploy bool
	MayReset  bool
	// MayList is whether the key may list the cores of all groups.
	MayList bool
}

// recent is how many versions and deployments a group's page lists.
const recent = 20

func (v *visit) group() error {
	id, err := v.id("group")
	if err != nil {
		return err
	}
	p := groupPage{}
	if p.Group, err = get[groupInformation](v, greengrass, "/greengrass/groups/"+id); err != nil {
		return err
	}
	if p.Core, p.Runs, err = v.coreOf(id); err != nil {
		return err
	}
	versions, err := get[versionList](v, greengrass, fmt.Sprintf("/greengrass/groups/%s/versions?MaxResults=%d", id, recent))
	if err != nil {
		return err
	}
	deployments, err := get[ownapi.DeploymentList](v, own, fmt.Sprintf("/fescue/v1/groups/%s/deployments?MaxResults=%d", id, recent))
	if err != nil {
		return err
	}
	p.Versions, p.Deployments = versions.Versions, deployments.Deployments
	ended := func(d ownapi.DeploymentSummary) bool { return d.DeploymentStatus.Final() }
	if last := slices.IndexFunc(p.Deployments, ended); last >= 0 && p.Deployments[last].DeploymentStatus == fescue.Failure {
		p.Failed = &p.Deployments[last]
	}
	p.Ongoing = slices.ContainsFunc(p.Deployments, func(d ownapi.DeploymentSummary) bool { return !ended(d) })
	p.Version = cmp.Or(v.form.Get("version"), p.Group.LatestVersion)
	if p.Version != "" && !fescue.ValidID(p.Version) {
		return &refusal{http.StatusNotFound, "", fmt.Sprintf("There is no version '%.64s'.", p.Version)}
	}
	if p.Content, err = v.content(id, p.Version); err != nil {
		return err
	}
	p.Names = p.Content.core()
	p.Graph = drawn(p.Content.Subscriptions.Subscriptions)
	p.MayDeploy = v.mayDeploy(id, "CreateDeployment")
	p.MayReset = v.mayDeploy(id, "ResetDeployments")
	p.MayList = v.may(own, awsapi.Target{Operation: "ListCores"})
	return v.show("group", p.Group.Name, p,
		v.aws("greengrass get-group --group-id "+id), v.aws("greengrass list-group-versions --group-id "+id), v.aws("greengrass list-deployments --group-id "+id))
}

func (v *visit) mayDeploy(group, operation string) bool {
	return v.may(greengrass, awsapi.Target{Operation: operation, Resource: v.partition().DefinitionARN(fescue.GroupKind, group)})
}

// coreOf is a group's core, and which version of the group it runs.
func (v *visit) coreOf(group string) (core *coreRow, runs string, err error) {
	list, err := get[ownapi.CoreList](v, own, "/fescue/v1/groups/"+group+"/cores")
	if refused := (*refusal)(nil); errors.As(err, &refused) && refused.Status == http.StatusForbidden {
		return nil, "", nil
	}
	if err != nil || len(list.Cores) == 0 {
		return nil, "", err
	}
	core = &rows(list.Cores)[0]
	if core.Runs != nil && core.Runs.GroupId == group {
		runs = core.Runs.GroupVersionId
	}
	return core, runs, nil
}

// comparePage is what two versions of a group have different.
type comparePage struct {
	Group    groupInformation
	From, To string
	Versions []version
	Changes  []change
	Hidden   []string
}

func (v *visit) compare() error {
	id, err := v.id("group")
	if err != nil {
		return err
	}
	p := comparePage{}
	if p.Group, err = get[groupInformation](v, greengrass, "/greengrass/groups/"+id); err != nil {
		return err
	}
	versions, err := get[versionList](v, greengrass, fmt.Sprintf("/greengrass/groups/%s/versions?MaxResults=%d", id, recent))
	if err != nil {
		return err
	}
	p.Versions = versions.Versions
	p.To = cmp.Or(v.form.Get("to"), p.Group.LatestVersion)
	if p.From = v.form.Get("from"); p.From == "" {
		for i, one := range p.Versions {
			if p.From = p.To; one.Version == p.To && i+1 < len(p.Versions) {
				p.From = p.Versions[i+1].Version // the one before
				break
			}
		}
	}
	var both [2]content
	for i, version := range []string{p.From, p.To} {
		if version != "" && !fescue.ValidID(version) {
			return &refusal{http.StatusNotFound, "", fmt.Sprintf("There is no version '%.64s'.", version)}
		}
		if both[i], err = v.content(id, version); err != nil {
			return err
		}
		p.Hidden = append(p.Hidden, both[i].Hidden...)
	}
	p.Changes = changes(both[0], both[1])
	commands := []string{}
	for _, version := range []string{p.From, p.To} {
		if version != "" {
			commands = append(commands, v.aws("greengrass get-group-version --group-id "+id+" --group-version-id "+version))
		}
	}
	return v.show("compare", p.Group.Name, p, commands...)
}
