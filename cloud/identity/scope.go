// Package identity knows who calls the control plane: access keys and the temporary
// ones that come from them, what a key is granted (an access level, and a limit of what it
// acts on), and the IAM roles that narrow a temporary key. It knows neither the
// wires that calls come by nor the store.
package identity

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/secrets"
	"github.com/fescue-edge/fescue/policy"
)

// Inventory looks up what a limit cannot know by itself.
type Inventory interface {
	// DefinitionTags are the tags of a group or definition; of one that the
	// partition does not have the error is fescue.ErrNotFound.
	DefinitionTags(ctx context.Context, p fescue.Partition, k fescue.Kind, id string) (map[string]string, error)
	// HolderTags are the tags of the groups whose last deployment that succeeded
	// has the resource, each distinct set of them once.
	HolderTags(ctx context.Context, p fescue.Partition, arn string) ([]map[string]string, error)
	// Secret is the secret that a name or an ARN means; of one that is not there
	// the error is fescue.ErrNotFound.
	Secret(ctx context.Context, p fescue.Partition, id string) (secrets.Secret, error)
}

// Act is what a caller is about to do.
type Act struct {
	// Action is as policies name it, "greengrass:CreateDeployment".
	Action string
	// Resource is an ARN, or "*" for nothing in particular.
	Resource string
	// Changes is false for what only reads.
	Changes bool
	// RequestTags are the tags of what is to be made or tagged; nil for none.
	RequestTags func() map[string]string
	// RemovedTags are the keys of the tags that the resource is to lose.
	RemovedTags []string
}

func (a Act) tags() map[string]string {
	if a.RequestTags == nil {
		return nil
	}
	return a.RequestTags()
}

// Scope decides what a Limit covers.
type Scope struct {
	Limit
	things, functions, secrets, buckets policy.Set
}

// ErrLimit is wrapped when a limit is malformed.
var ErrLimit = errors.New("malformed limit")

// patterns are what the names of each kind are made of, with the wildcards.
var patterns = map[string]*regexp.Regexp{
	"things":    regexp.MustCompile(`^[A-Za-z0-9:_*?-]{1,128}$`),
	"functions": regexp.MustCompile(`^[A-Za-z0-9_*?-]{1,140}$`),
	"secrets":   regexp.MustCompile(`^[A-Za-z0-9/_+=.@*?-]{1,512}$`),
	"buckets":   regexp.MustCompile(`^[a-z0-9.*?-]{1,63}$`),
}

// maxPatterns bounds the patterns of one kind.
const maxPatterns = 100

// NewScope compiles a limit. A limit that limits nothing has no scope: nil.
func NewScope(l Limit) (*Scope, error) {
	if l.Unlimited() {
		return nil, nil
	}
	if key, value, ok := l.Tag(); l.GroupTag != "" && (!ok || key == "" || value == "" || len(key) > 128 || len(value) > 256) {
		return nil, fmt.Errorf("%w: the limit to groups %q is not tag=value", ErrLimit, l.GroupTag)
	}
	s := &Scope{Limit: l}
	for _, part := range []struct {
		what string
		list []string
		into *policy.Set
	}{
		{"things", l.Things, &s.things}, {"functions", l.Functions, &s.functions}, {"secrets", l.Secrets, &s.secrets}, {"buckets", l.Buckets, &s.buckets},
	} {
		if len(part.list) > maxPatterns {
			return nil, fmt.Errorf("%w: %d patterns of %s, at most %d are taken", ErrLimit, len(part.list), part.what, maxPatterns)
		}
		for _, pattern := range part.list {
			if !patterns[part.what].MatchString(pattern) {
				return nil, fmt.Errorf("%w: the pattern of %s %q must match %s", ErrLimit, part.what, pattern, patterns[part.what])
			}
			// The names have no quotes: what matches is the policies' matter.
			d, err := policy.Parse(`{"Version":"2008-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"arn:` + pattern + `"}}`)
			if err != nil {
				return nil, fmt.Errorf("%w: the pattern of %s %q: %w", ErrLimit, part.what, pattern, err)
			}
			*part.into = append(*part.into, d)
		}
	}
	return s, nil
}

func named(set policy.Set, name string) bool {
	return set.Evaluate(policy.Request{Action: "name:Match", Resource: "arn:" + name}) == policy.Allowed
}

// unbound are the actions on nothing in particular that a limited caller may do:
// what lists names, what describes the endpoint, and what makes things that bear
// the limit's tag. Whatever else names no resource acts on the whole fleet.
var unbound = []string{
	"greengrass:List*", "fescue:ListGroupsByName", "greengrass:GetServiceRoleForAccount", "greengrass:CreateGroup", "greengrass:Create*Definition",
	"iot:List*", "iot:DescribeEndpoint", "lambda:List*", "s3:List*", "iam:List*", "secretsmanager:List*",
	// The function's name stands in the body: the service asks with Covers.
	"lambda:CreateFunction",
}

// registry are the actions that read what the account has registered, whose
// names lists show anyway: it has no secrets and says nothing of groups.
var registry = []string{
	"iot:DescribeThing", "iot:ListThingPrincipals", "iot:DescribeCertificate", "iot:GetPolicy*", "iot:ListPolicyVersions", "iot:ListAttachedPolicies",
	"iot:ListTargetsForPolicy", "iot:DescribeRoleAlias", "iot:DescribeThingType", "iam:Get*", "iam:List*",
}

// never are the actions that reach beyond the resource that they name, to one
// that no limit covers: a certificate, a role.
var never = []string{"iot:AttachThingPrincipal", "iot:DetachThingPrincipal", "greengrass:AssociateRoleToGroup", "sts:AssumeRole"}

func among(list []string, action string) bool {
	return slices.ContainsFunc(list, func(pattern string) bool {
		before, after, wild := strings.Cut(pattern, "*")
		return action == pattern || wild && len(action) >= len(before)+len(after) && strings.HasPrefix(action, before) && strings.HasSuffix(action, after)
	})
}

// Allows decides about an act. What it does not know is not covered.
func (s *Scope) Allows(ctx context.Context, in Inventory, p fescue.Partition, a Act) (bool, error) {
	switch {
	case among(never, a.Action):
		return false, nil
	case among(registry, a.Action):
		return true, nil
	case a.Resource == "*":
		return among(unbound, a.Action) && s.makes(a), nil
	case a.Action == "greengrass:TagResource" && !s.Tagged(s.Tags(a.tags())), a.Action == "greengrass:UntagResource" && s.removed(a):
		return false, nil // it would go out of the limit, into another's maybe
	}
	return s.covers(ctx, in, p, a.Resource, a.Changes)
}

// makes says whether what is made bears the limit's tag. A group has to come with
// it, a definition gets it.
func (s *Scope) makes(a Act) bool {
	if !strings.HasPrefix(a.Action, "greengrass:Create") {
		return true
	}
	tags := a.tags()
	return s.Tagged(tags) || a.Action != "greengrass:CreateGroup" && s.Tagged(s.Tags(tags))
}

// removed says whether the limit's tag is among what the resource is to lose.
func (s *Scope) removed(a Act) bool {
	key, _, ok := s.Tag()
	return ok && slices.Contains(a.RemovedTags, key)
}

// Tags adds the limit's tag to tags that say nothing of it.
func (s *Scope) Tags(tags map[string]string) map[string]string {
	key, value, ok := s.Tag()
	if _, has := tags[key]; !ok || has {
		return tags
	}
	all := map[string]string{key: value}
	for k, v := range tags {
		all[k] = v
	}
	return all
}

// Covers says whether the caller may use a resource: name it in a definition or
// deploy it.
func (s *Scope) Covers(ctx context.Context, in Inventory, p fescue.Partition, arn string) (bool, error) {
	return s.covers(ctx, in, p, arn, false)
}

func (s *Scope) covers(ctx context.Context, in Inventory, p fescue.Partition, text string, changes bool) (bool, error) {
	arn, err := fescue.ParseARN(text)
	if err != nil {
		return false, nil
	}
	if arn.Service != "s3" && arn.Partition() != p {
		return false, nil // buckets' ARNs have no partition; they are the caller's own
	}
	switch arn.Service {
	case "s3":
		bucket, _, _ := strings.Cut(arn.Resource, "/")
		return s.either(ctx, in, p, named(s.buckets, bucket), changes, p.BucketARN(bucket))
	case "lambda":
		name, _, ok := arn.Function()
		if !ok {
			return false, nil
		}
		return s.either(ctx, in, p, named(s.functions, name), changes, p.FunctionARN(name))
	case "iot":
		name, ok := thingOf(arn)
		if !ok {
			return false, nil
		}
		return s.either(ctx, in, p, named(s.things, name), changes, p.ThingARN(name))
	case "secretsmanager":
		return s.secret(ctx, in, p, arn, changes)
	case "greengrass":
		return s.greengrass(ctx, in, p, arn.Resource, changes)
	}
	return false, nil
}

// thingTopics begins the topics that belong to a thing.
const thingTopics = "$aws/things/"

// thingOf is the thing that a resource of AWS IoT belongs to: a thing, its shadow, a
// topic of its, a filter for such topics, and the client id that is its name.
func thingOf(arn fescue.ARN) (string, bool) {
	if name, ok := arn.ThingName(); ok {
		name, _, _ = strings.Cut(name, "/") // before the name of a shadow
		return name, true
	}
	kind, rest, _ := strings.Cut(arn.Resource, "/")
	switch kind {
	case "client":
		return rest, rest != ""
	case "topic", "topicfilter":
		rest, below := strings.CutPrefix(rest, thingTopics)
		name, _, more := strings.Cut(rest, "/")
		return name, below && more && name != "" && !strings.ContainsAny(name, "+#")
	}
	return "", false
}

func (s *Scope) secret(ctx context.Context, in Inventory, p fescue.Partition, arn fescue.ARN, changes bool) (bool, error) {
	rest, ok := strings.CutPrefix(arn.Resource, "secret:")
	if !ok {
		return false, nil
	}
	id := arn.String()
	if name, without := strings.CutSuffix(rest, "-"+secrets.UnknownSuffix); without {
		id, rest = name, name
	}
	found, err := in.Secret(ctx, p, id)
	if errors.Is(err, fescue.ErrNotFound) {
		return named(s.secrets, rest), nil // to be made, or to be found missing
	}
	if err != nil {
		return false, err
	}
	full := p.SecretARN(found.Name, found.Suffix)
	return s.either(ctx, in, p, named(s.secrets, found.Name), changes, full, strings.TrimSuffix(full, "-"+found.Suffix))
}

func (s *Scope) greengrass(ctx context.Context, in Inventory, p fescue.Partition, resource string, changes bool) (bool, error) {
	for _, of := range []string{"/greengrass/things/", "/greengrass/cores/"} {
		if name, ok := strings.CutPrefix(resource, of); ok {
			return s.either(ctx, in, p, named(s.things, name), changes, p.ThingARN(name))
		}
	}
	for _, k := range append([]fescue.Kind{fescue.GroupKind}, fescue.DefinitionKinds...) {
		arn, _ := fescue.ParseARN(p.DefinitionARN(k, ""))
		rest, ok := strings.CutPrefix(resource, arn.Resource)
		if !ok {
			continue
		}
		id, _, _ := strings.Cut(rest, "/")
		tags, err := in.DefinitionTags(ctx, p, k, id)
		if err != nil && !errors.Is(err, fescue.ErrNotFound) {
			return false, fmt.Errorf("tags of %s %s: %w", strings.ToLower(k.Name), id, err)
		}
		if k == fescue.GroupKind {
			return s.Tagged(tags), nil
		}
		return s.either(ctx, in, p, s.Tagged(tags), changes, p.DefinitionARN(k, id))
	}
	return false, nil
}

// either is true for what the limit names, and for what a covered group holds;
// to change that, no other group may hold it.
func (s *Scope) either(ctx context.Context, in Inventory, p fescue.Partition, byName, changes bool, arns ...string) (bool, error) {
	if byName || s.GroupTag == "" {
		return byName, nil
	}
	held := false
	for _, arn := range arns {
		holders, err := in.HolderTags(ctx, p, arn)
		if err != nil {
			return false, fmt.Errorf("groups that hold %s: %w", arn, err)
		}
		for _, tags := range holders {
			if covered := s.Tagged(tags); covered {
				held = true
			} else if changes {
				return false, nil
			}
		}
	}
	return held, nil
}
