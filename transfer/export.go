package transfer

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/client"
	"github.com/fescue-edge/fescue/recovery"
)

// Export reads a group of the client's account and Region, with everything that it
// refers to: one version of it, or all when version is empty. left says what is named
// in it and could not be read, because it does not exist any more.
func Export(ctx context.Context, api *client.Client, groupID, version string) (group *recovery.Group, left []string, err error) {
	p, err := api.Partition(ctx)
	if err != nil {
		return nil, nil, err
	}
	e := &exporter{Client: api, partition: p, group: &recovery.Group{Format: recovery.Format, Partition: recovery.Partition(p)}}
	if err := e.collect(ctx, groupID, version); err != nil {
		return nil, nil, err
	}
	return e.group, e.left, nil
}

// exporter collects a group.
type exporter struct {
	*client.Client
	partition fescue.Partition
	group     *recovery.Group
	// left is what is named and is not there any more.
	left []string
}

// container reads a group or definition, and its versions that keep wants, oldest
// first.
func (e *exporter) container(ctx context.Context, k fescue.Kind, id string, keep func(version string) bool) (c recovery.Container, err error) {
	path := "/greengrass/definition/" + k.Segment + "/" + id
	if k == fescue.GroupKind {
		path = "/greengrass/groups/" + id
	}
	c = recovery.Container{Kind: k.Segment, Id: id}
	var info struct {
		Name, CreationTimestamp, LastUpdatedTimestamp string
		Tags                                          map[string]string `json:"tags"`
	}
	if err := e.Call(ctx, "greengrass", "Get"+k.Container(), http.MethodGet, path, nil, &info); err != nil {
		return c, err
	}
	c.Name, c.CreationTimestamp, c.LastUpdatedTimestamp, c.Tags = info.Name, info.CreationTimestamp, info.LastUpdatedTimestamp, info.Tags
	var ids []string
	err = e.Pages(ctx, "greengrass", "List"+k.Container()+"Versions", http.MethodGet, path+"/versions", "NextToken", func(answer json.RawMessage) error {
		var page struct{ Versions []struct{ Version string } }
		err := json.Unmarshal(answer, &page)
		for _, v := range page.Versions {
			if keep(v.Version) {
				ids = append(ids, v.Version)
			}
		}
		return err
	})
	if err != nil {
		return c, err
	}
	slices.Reverse(ids) // they are listed newest first
	for _, version := range ids {
		var v recovery.Version
		if err := e.Call(ctx, "greengrass", "Get"+k.Container()+"Version", http.MethodGet, path+"/versions/"+version, nil, &v); err != nil {
			return c, err
		}
		c.Versions = append(c.Versions, v)
	}
	return c, nil
}

// collect reads the group, its versions, and what they refer to.
func (e *exporter) collect(ctx context.Context, group, version string) error {
	var err error
	e.group.Group, err = e.container(ctx, fescue.GroupKind, group, func(v string) bool { return version == "" || v == version })
	if err != nil {
		return err
	}
	if len(e.group.Group.Versions) == 0 {
		return fmt.Errorf("the group %s has no version %s", group, version)
	}
	if err := e.collectDefinitions(ctx); err != nil {
		return err
	}
	return e.collectReferences(ctx)
}

// collectDefinitions reads the versions of definitions that the group's versions
// refer to. A version of the group whose definitions have been deleted is left
// out: nobody could make it again.
func (e *exporter) collectDefinitions(ctx context.Context) error {
	wanted := make(map[string]map[string]bool) // versions by container's ARN
	references := make([]fescue.GroupVersion, len(e.group.Group.Versions))
	for i, v := range e.group.Group.Versions {
		if err := json.Unmarshal(v.Definition, &references[i]); err != nil {
			return fmt.Errorf("version %s of the group: %w", v.Version, err)
		}
		for _, k := range fescue.DefinitionKinds {
			if id, version, err := e.partition.ParseVersionARN(k, references[i].Reference(k)); err == nil {
				arn := e.partition.DefinitionARN(k, id)
				if wanted[arn] == nil {
					wanted[arn] = make(map[string]bool)
				}
				wanted[arn][version] = true
			}
		}
	}
	found := make(map[string]bool) // version ARNs
	for _, k := range fescue.DefinitionKinds {
		prefix := e.partition.DefinitionARN(k, "")
		var ids []string
		for arn := range wanted {
			if id, ok := strings.CutPrefix(arn, prefix); ok {
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
		for _, id := range ids {
			c, err := e.container(ctx, k, id, func(v string) bool { return wanted[prefix+id][v] })
			if client.IsStatus(err, http.StatusNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			for _, v := range c.Versions {
				found[e.partition.VersionARN(k, id, v.Version)] = true
			}
			e.group.Definitions = append(e.group.Definitions, c)
		}
	}
	var kept []recovery.Version
	for i, v := range e.group.Group.Versions {
		whole := true
		for _, k := range fescue.DefinitionKinds {
			if arn := references[i].Reference(k); arn != "" && !found[arn] {
				e.left = append(e.left, fmt.Sprintf("version %s of the group: its %s is gone", v.Version, arn))
				whole = false
			}
		}
		if whole {
			kept = append(kept, v)
		}
	}
	if e.group.Group.Versions = kept; len(kept) == 0 {
		return fmt.Errorf("no version of the group is whole: %s", strings.Join(e.left, "; "))
	}
	return nil
}

// collectReferences reads the things, certificates and functions that the
// definitions name.
func (e *exporter) collectReferences(ctx context.Context) error {
	var things, certificates, functions []string
	for _, c := range e.group.Definitions {
		for _, v := range c.Versions {
			t, certs, f, err := recovery.References(c, v)
			if err != nil {
				return err
			}
			things, certificates, functions = append(things, t...), append(certificates, certs...), append(functions, f...)
		}
	}
	for _, list := range []struct {
		arns []string
		read func(context.Context, fescue.ARN) error
	}{{things, e.thing}, {certificates, e.certificate}, {functions, e.function}} {
		slices.Sort(list.arns)
		for _, text := range slices.Compact(list.arns) {
			arn, err := fescue.ParseARN(text)
			if err != nil || arn.Partition() != e.partition {
				continue // system functions, and what lies elsewhere
			}
			err = list.read(ctx, arn)
			if client.IsStatus(err, http.StatusNotFound) {
				e.left = append(e.left, text+", which does not exist")
				continue
			}
			if err != nil {
				return err
			}
		}
	}
	return e.policies(ctx)
}

func (e *exporter) thing(ctx context.Context, arn fescue.ARN) error {
	name, _ := arn.ThingName()
	var have struct {
		ThingTypeName string
		Attributes    map[string]string
	}
	if err := e.Call(ctx, "iot", "DescribeThing", http.MethodGet, "/things/"+url.PathEscape(name), nil, &have); err != nil {
		return err
	}
	principals, err := principals(ctx, e.Client, name)
	if err != nil {
		return err
	}
	t := recovery.Thing{ThingName: name, ThingTypeName: have.ThingTypeName, Attributes: have.Attributes, Principals: []string{}}
	for _, text := range principals {
		principal, err := fescue.ParseARN(text)
		if err != nil {
			return err
		}
		id, _ := principal.CertificateID()
		t.Principals = append(t.Principals, id)
		if err := e.certificate(ctx, principal); err != nil {
			return err
		}
	}
	slices.Sort(t.Principals)
	e.group.Things = append(e.group.Things, t)
	return e.thingType(ctx, t.ThingTypeName)
}

// thingType takes a type once. One that was never made is made by its name alone.
func (e *exporter) thingType(ctx context.Context, name string) error {
	if name == "" || slices.ContainsFunc(e.group.ThingTypes, func(t recovery.ThingType) bool { return t.ThingTypeName == name }) {
		return nil
	}
	have := struct{ ThingTypeProperties recovery.ThingType }{}
	err := e.Call(ctx, "iot", "DescribeThingType", http.MethodGet, "/thing-types/"+url.PathEscape(name), nil, &have)
	if err != nil && !client.IsStatus(err, http.StatusNotFound) {
		return err
	}
	have.ThingTypeProperties.ThingTypeName = name
	e.group.ThingTypes = append(e.group.ThingTypes, have.ThingTypeProperties)
	return nil
}

func (e *exporter) certificate(ctx context.Context, arn fescue.ARN) error {
	id, _ := arn.CertificateID()
	if slices.ContainsFunc(e.group.Certificates, func(c recovery.Certificate) bool { return c.CertificateId == id }) {
		return nil
	}
	var have struct {
		CertificateDescription struct {
			CertificatePem string
			Status         fescue.CertificateStatus
		}
	}
	if err := e.Call(ctx, "iot", "DescribeCertificate", http.MethodGet, "/certificates/"+url.PathEscape(id), nil, &have); err != nil {
		return err
	}
	policies, err := attachedPolicies(ctx, e.Client, e.partition.CertificateARN(id))
	if err != nil {
		return err
	}
	slices.Sort(policies)
	e.group.Certificates = append(e.group.Certificates, recovery.Certificate{
		CertificateId: id, CertificatePem: have.CertificateDescription.CertificatePem, Status: have.CertificateDescription.Status, Policies: policies,
	})
	return nil
}

// policies reads the policies of the certificates, and sorts what was found on
// the way.
func (e *exporter) policies(ctx context.Context) error {
	slices.SortFunc(e.group.Certificates, func(a, b recovery.Certificate) int { return strings.Compare(a.CertificateId, b.CertificateId) })
	var names []string
	for _, c := range e.group.Certificates {
		names = append(names, c.Policies...)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		var have struct{ PolicyDocument string }
		if err := e.Call(ctx, "iot", "GetPolicy", http.MethodGet, "/policies/"+url.PathEscape(name), nil, &have); err != nil {
			return err
		}
		e.group.Policies = append(e.group.Policies, recovery.Policy{PolicyName: name, PolicyDocument: have.PolicyDocument})
	}
	return nil
}

// function reads the version that an ARN means, by number or by alias.
func (e *exporter) function(ctx context.Context, arn fescue.ARN) error {
	name, qualifier, _ := arn.Function()
	if qualifier == "" {
		qualifier = fescue.LatestVersion
	}
	var have functionSettings
	if err := e.Call(ctx, "lambda", "GetFunctionConfiguration", http.MethodGet, configurationPath(name, qualifier), nil, &have); err != nil {
		return err
	}
	if have.Version == fescue.LatestVersion {
		e.left = append(e.left, arn.String()+", which is not published")
		return nil
	}
	i := slices.IndexFunc(e.group.Functions, func(f recovery.Function) bool { return f.FunctionName == name && f.Version == have.Version })
	if i < 0 {
		code, err := codeOf(ctx, e.Client, name, have.Version)
		if err != nil {
			return err
		}
		i = len(e.group.Functions)
		e.group.Functions = append(e.group.Functions, recovery.Function{
			FunctionName: name, Version: have.Version, Runtime: have.Runtime, Role: have.Role, Handler: have.Handler, Description: have.Description,
			Timeout: have.Timeout, MemorySize: have.MemorySize, Environment: have.Environment.Variables, Architectures: have.Architectures,
			CodeSha256: have.CodeSha256, ZipFile: code,
		})
	}
	if qualifier == have.Version {
		return nil
	}
	var alias recovery.Alias
	err := e.Call(ctx, "lambda", "GetAlias", http.MethodGet, functionsPath+url.PathEscape(name)+"/aliases/"+url.PathEscape(qualifier), nil, &alias)
	e.group.Functions[i].Aliases = append(e.group.Functions[i].Aliases, alias)
	return err
}
