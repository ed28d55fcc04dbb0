package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/policy"
	"github.com/fescue-edge/fescue/topic"
)

// resolved is a group version with everything that it refers to, and what is
// wrong with it.
type resolved struct {
	deployment fescue.Deployment
	// problems fail the deployment, warnings do not.
	problems, warnings []fescue.ErrorDetail
	// note is for the timeline: what the group was judged by.
	note string

	core          device
	devices       []device
	defaults      *fescue.FunctionDefaultConfig
	functions     []function
	resources     []fescue.Resource
	subscriptions []fescue.Subscription
	connectors    []fescue.Connector
	loggers       []fescue.Logger
	// models are those that functions are given, by the Ids of their resources.
	models map[string]Model
	// toCopy are those of them that are not among the artifacts yet.
	toCopy []toCopy
	// holds are the ARNs of the definitions and of what they give to the group.
	holds []string
	// ends are what subscriptions may name, by the text of the definition, with
	// what group.json calls it.
	ends map[string]string
}

// device is a core or a client device.
type device struct {
	thing, thingARN, certARN string
	syncShadow               bool
}

// function is a function of the group with its alias resolved. System functions
// (an empty account) have no version of their own in Lambda.
type function struct {
	fescue.Function
	versionARN string
	system     bool
	code       fescue.FunctionVersion
}

func (r *resolved) problem(code fescue.FailureCode, values ...any) {
	r.problems = append(r.problems, code.Detail(values...))
}

// resolve reads the group version of a deployment and checks every reference in
// it. Problems are collected, all of them; an error means that the check itself
// could not be made. What done is, resolveModels says.
func (b *builder) resolve(ctx context.Context, d fescue.Deployment, done map[string]copied) (*resolved, error) {
	r := &resolved{deployment: d, ends: map[string]string{
		fescue.CloudEndpoint:         fescue.CloudEndpoint,
		fescue.ShadowServiceEndpoint: fescue.ShadowServiceEndpoint,
	}}
	if b.requireServiceRole {
		if err := b.checkServiceRole(ctx, r); err != nil || len(r.problems) > 0 {
			return r, err
		}
	}
	g, err := b.groupVersion(ctx, d.Partition, d.GroupID, d.GroupVersionID)
	if errors.Is(err, fescue.ErrNotFound) {
		r.problem(fescue.DefinitionNotFound, "group", d.GroupVersionID)
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	var (
		cores         fescue.CoreDefinitionVersion
		devices       fescue.DeviceDefinitionVersion
		functions     fescue.FunctionDefinitionVersion
		resources     fescue.ResourceDefinitionVersion
		subscriptions fescue.SubscriptionDefinitionVersion
		connectors    fescue.ConnectorDefinitionVersion
		loggers       fescue.LoggerDefinitionVersion
	)
	for _, part := range []struct {
		kind fescue.Kind
		into any
	}{
		{fescue.CoreKind, &cores}, {fescue.DeviceKind, &devices}, {fescue.FunctionKind, &functions},
		{fescue.ResourceKind, &resources}, {fescue.SubscriptionKind, &subscriptions},
		{fescue.ConnectorKind, &connectors}, {fescue.LoggerKind, &loggers},
	} {
		if err := b.definition(ctx, r, part.kind, g.Reference(part.kind), part.into); err != nil {
			return nil, err
		}
	}
	if len(r.problems) > 0 {
		return r, nil // what is missing would be found missing again below
	}
	r.defaults, r.resources, r.connectors, r.loggers = functions.DefaultConfig, resources.Resources, connectors.Connectors, loggers.Loggers
	if len(r.loggers) == 0 {
		r.loggers = fescue.DefaultLoggers()
	}
	r.checkQuotas(b.quotas, map[Quota]int{
		QuotaDevices: len(devices.Devices), QuotaFunctions: len(functions.Functions), QuotaResources: len(r.resources),
		QuotaFunctionResources: mostResources(functions.Functions),
		QuotaSubscriptions:     len(subscriptions.Subscriptions), QuotaCloudSubscriptions: fromCloud(subscriptions.Subscriptions),
		QuotaCoreName: longestName(cores.Cores),
	})
	if err := b.resolveDevices(ctx, r, cores.Cores, devices.Devices); err != nil {
		return nil, err
	}
	if err := b.checkSecrets(ctx, r); err != nil {
		return nil, err
	}
	if err := b.resolveFunctions(ctx, r, functions.Functions); err != nil {
		return nil, err
	}
	r.checkConnectors()
	r.resolveSubscriptions(subscriptions.Subscriptions)
	if err := b.judge(ctx, r); err != nil || len(r.problems) > 0 {
		return r, err
	}
	if err := b.checkAddress(ctx, r); err != nil {
		return r, err
	}
	return r, b.resolveModels(ctx, r, done)
}

// checkAddress warns of client devices to which discovery has no address to give, and
// none to come.
func (b *builder) checkAddress(ctx context.Context, r *resolved) error {
	detects := slices.ContainsFunc(r.functions, func(f function) bool {
		name, _ := fescue.SystemFunctionOf(f.FunctionArn)
		return name == fescue.IPDetectorFunction
	})
	if len(r.devices) == 0 || detects {
		return nil
	}
	c, err := b.cores.Connectivity(ctx, r.deployment.Partition, r.core.thing)
	if err != nil && !errors.Is(err, fescue.ErrNotFound) {
		return err
	}
	if len(c.Info) == 0 {
		r.warnings = append(r.warnings, fescue.CoreAddressMissing.Detail(len(r.devices), r.core.thing))
	}
	return nil
}

// judge holds the group against what its core serves, as far as the core has said,
// else against what cores of this version do.
func (b *builder) judge(ctx context.Context, r *resolved) error {
	needs := r.render().Needs()
	for _, c := range r.connectors {
		needs = append(needs, fescue.Need{Feature: fescue.FeatureConnectors, Values: []any{c.ConnectorArn}})
	}
	role, _, err := b.groupRoles.AssociatedRole(ctx, r.deployment.Partition, r.deployment.GroupID)
	if err == nil {
		needs = append(needs, fescue.Need{Feature: fescue.FeatureGroupRole, Values: []any{role}})
	} else if !errors.Is(err, fescue.ErrNotFound) {
		return err
	}
	core, err := b.aboutCore(ctx, r)
	if err != nil {
		return err
	}
	serves := b.serves
	if core.Known() {
		serves = core.Serves
	}
	failures, warnings := fescue.Judge(needs, core, serves)
	for _, f := range failures {
		r.problems = append(r.problems, f.Detail)
	}
	for _, w := range warnings {
		r.warnings = append(r.warnings, w.Detail)
	}
	return nil
}

// checkServiceRole asks for what the original could not deploy without: a role
// that it may assume.
func (b *builder) checkServiceRole(ctx context.Context, r *resolved) error {
	p := r.deployment.Partition
	arn, _, err := b.groupRoles.AssociatedRole(ctx, p, "")
	if errors.Is(err, fescue.ErrNotFound) {
		r.problem(fescue.ServiceRoleMissing)
		return nil
	}
	if err != nil {
		return err
	}
	role, err := b.iam.IAMRole(ctx, p.Account, arn[strings.LastIndexByte(arn, '/')+1:])
	if err != nil && !errors.Is(err, fescue.ErrNotFound) {
		return err
	}
	if err == nil && p.RoleARN(role.Path, role.Name) == arn {
		trust, err := policy.ParseTrust(role.Trust)
		if err != nil {
			return fmt.Errorf("trust policy of role %s: %w", arn, err)
		}
		if trust.Allows("greengrass.amazonaws.com", "", "sts:AssumeRole") {
			return nil
		}
	}
	r.problem(fescue.ServiceRoleRefused)
	return nil
}

func (b *builder) definition(ctx context.Context, r *resolved, k fescue.Kind, arn string, into any) error {
	if arn == "" {
		return nil
	}
	id, version, err := r.deployment.Partition.ParseVersionARN(k, arn)
	if err != nil {
		r.problem(fescue.DefinitionNotFound, strings.ToLower(k.Name), arn)
		return nil
	}
	v, err := b.definitions.Version(ctx, r.deployment.Partition, k, id, version)
	if errors.Is(err, fescue.ErrNotFound) {
		r.problem(fescue.DefinitionNotFound, strings.ToLower(k.Name), arn)
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(v.Body, into); err != nil {
		return fmt.Errorf("%s version %s: %w", k.Name, version, err)
	}
	r.holds = append(append(r.holds, r.deployment.Partition.DefinitionARN(k, id)), fescue.Named(r.deployment.Partition, k, v.Body)...)
	return nil
}

func (r *resolved) checkQuotas(quotas Quotas, have map[Quota]int) {
	for _, f := range QuotaFacts {
		if most := quotas.Most(f); most > 0 && have[f.Quota] > most {
			r.problem(fescue.QuotaExceeded, have[f.Quota], f.Counts, most, f.Quota)
		}
	}
}

// mostResources is how many resources the function has that has most.
func mostResources(list []fescue.Function) (most int) {
	for _, f := range list {
		if c := f.FunctionConfiguration; c != nil && c.Environment != nil {
			most = max(most, len(c.Environment.ResourceAccessPolicies))
		}
	}
	return most
}

func fromCloud(list []fescue.Subscription) (n int) {
	for _, s := range list {
		if s.Source == fescue.CloudEndpoint {
			n++
		}
	}
	return n
}

// longestName is the length in bytes of the longest name of a core's thing.
func longestName(cores []fescue.Core) (longest int) {
	for _, c := range cores {
		longest = max(longest, len(c.ThingArn[strings.LastIndex(c.ThingArn, "/")+1:]))
	}
	return longest
}

func (b *builder) resolveDevices(ctx context.Context, r *resolved, cores []fescue.Core, devices []fescue.Device) error {
	if len(cores) != 1 {
		r.problem(fescue.CoreCount, len(cores))
	}
	for i, c := range cores {
		id, err := b.device(ctx, r, "core", c.Id, c.ThingArn, c.CertificateArn, c.SyncShadow)
		if err != nil {
			return err
		}
		if i == 0 {
			r.core = id
		}
	}
	for _, d := range devices {
		id, err := b.device(ctx, r, "device", d.Id, d.ThingArn, d.CertificateArn, d.SyncShadow)
		if err != nil {
			return err
		}
		r.devices = append(r.devices, id)
		r.ends[id.thingARN] = id.thingARN
	}
	return nil
}

// clientDevices are the devices as discovery knows them.
func (r *resolved) clientDevices() []fescue.ClientDevice {
	var list []fescue.ClientDevice
	for _, d := range r.devices {
		list = append(list, fescue.ClientDevice{Thing: d.thing, CertificateARN: d.certARN})
	}
	return list
}

// device checks that the certificate is active and attached to the thing, both
// in the deployment's partition.
func (b *builder) device(ctx context.Context, r *resolved, what, id, thingARN, certARN string, sync *bool) (device, error) {
	out := device{thingARN: thingARN, certARN: certARN, syncShadow: sync != nil && *sync}
	thing, err1 := fescue.ParseARN(thingARN)
	cert, err2 := fescue.ParseARN(certARN)
	name, ok1 := thing.ThingName()
	certID, ok2 := cert.CertificateID()
	out.thing = name
	found := err1 == nil && err2 == nil && ok1 && ok2 &&
		thing.Partition() == r.deployment.Partition && cert.Partition() == r.deployment.Partition
	if found {
		p, err := b.principals.Principal(ctx, certID)
		if err != nil && !errors.Is(err, fescue.ErrNotFound) {
			return out, err
		}
		found = err == nil && p.Partition == r.deployment.Partition &&
			p.Certificate.Status == fescue.CertificateActive && slices.Contains(p.Things, name)
	}
	if !found {
		r.problem(fescue.ThingCertNotFound, certARN, what, id, thingARN)
	}
	return out, nil
}

func (b *builder) resolveFunctions(ctx context.Context, r *resolved, functions []fescue.Function) error {
	seen := make(map[string]bool)
	for _, f := range functions {
		out := function{Function: f}
		// A function that does not resolve is in the group all the same: its
		// subscriptions are not to blame.
		r.ends[f.FunctionArn] = f.FunctionArn
		arn, err := fescue.ParseARN(f.FunctionArn)
		if err != nil {
			r.problem(fescue.FunctionNotFound, f.FunctionArn)
			continue
		}
		if _, out.system = arn.SystemFunction(); out.system {
			out.versionARN = f.FunctionArn
		} else {
			out.code, out.versionARN, err = b.functions.Resolve(ctx, r.deployment.Partition, f.FunctionArn)
			switch {
			case errors.Is(err, ErrUnpublished):
				r.problem(fescue.FunctionUnpublished, f.FunctionArn)
				continue
			case errors.Is(err, fescue.ErrNotFound):
				r.problem(fescue.FunctionNotFound, f.FunctionArn)
				continue
			case err != nil:
				return err
			}
		}
		r.ends[f.FunctionArn] = out.versionARN
		if seen[out.versionARN] {
			r.problem(fescue.FunctionDuplicate, out.versionARN)
			continue
		}
		seen[out.versionARN] = true
		r.checkResources(out)
		r.functions = append(r.functions, out)
	}
	return nil
}

// checkResources checks the resources that a function is given, and those that it
// could read besides.
func (r *resolved) checkResources(f function) {
	var env fescue.FunctionEnvironment
	if c := f.FunctionConfiguration; c != nil && c.Environment != nil {
		env = *c.Environment
	}
	group, given := r.defaults.DefaultExecution(), env.ResourceAccessPolicies
	uid, gid := fescue.Identity(env.Execution, group)
	r.problems = slices.Concat(r.problems,
		fescue.AttachmentProblems(f.FunctionArn, fescue.Isolation(env.Execution, group), given, r.resources),
		fescue.SharedModels(f.FunctionArn, uid, gid, given, r.resources))
}

// checkConnectors: one instance and one version of a connector in a group.
func (r *resolved) checkConnectors() {
	seen := make(map[string]bool)
	for _, c := range r.connectors {
		name, _, _ := strings.Cut(c.ConnectorArn, "/versions/")
		if seen[name] {
			r.problem(fescue.ConnectorDuplicate, name)
		}
		seen[name] = true
		r.ends[c.ConnectorArn] = c.ConnectorArn
	}
}

// resolveSubscriptions checks that both ends of every subscription are in the
// group, by the very text of their definition, and puts version ARNs in the
// place of aliases.
func (r *resolved) resolveSubscriptions(list []fescue.Subscription) {
	for _, s := range list {
		source, ok := r.ends[s.Source]
		if !ok {
			r.problem(fescue.EndpointNotFound, "source", s.Source, s.Id)
		}
		target, ok := r.ends[s.Target]
		if !ok {
			r.problem(fescue.EndpointNotFound, "target", s.Target, s.Id)
		}
		s.Source, s.Target = source, target
		r.subscriptions = append(r.subscriptions, s)
		if why := idle(s); why != "" {
			r.warnings = append(r.warnings, fescue.SubscriptionIdle.Detail(s.Id, why))
		}
	}
}

// idle says why cores send nothing by a subscription; empty for one by which they may.
func idle(s fescue.Subscription) string {
	if s.Target != fescue.CloudEndpoint {
		return ""
	}
	if s.Source == fescue.CloudEndpoint {
		return "what it sent to the cloud would come back from there for ever"
	}
	if service := topic.AnsweredBy(s.Subject); service != "" {
		return fmt.Sprintf("to '%s' in the cloud only the %s service there publishes", s.Subject, service)
	}
	return ""
}
