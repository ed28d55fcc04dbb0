package identity_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/cloud/secrets"
)

var (
	home      = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}
	elsewhere = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "eu-west-1"}
	north     = map[string]string{"site": "north"}
	south     = map[string]string{"site": "south"}
)

// inventory is a partition with two sites.
type inventory struct {
	tags    map[string]map[string]string   // by ARN
	holders map[string][]map[string]string // by ARN
	secrets []secrets.Secret
	fails   error
}

func (i inventory) DefinitionTags(_ context.Context, p fescue.Partition, k fescue.Kind, id string) (map[string]string, error) {
	if tags, ok := i.tags[p.DefinitionARN(k, id)]; ok {
		return tags, i.fails
	}
	return nil, fescue.ErrNotFound
}

func (i inventory) HolderTags(_ context.Context, _ fescue.Partition, arn string) ([]map[string]string, error) {
	return i.holders[arn], i.fails
}

func (i inventory) Secret(_ context.Context, p fescue.Partition, id string) (secrets.Secret, error) {
	for _, s := range i.secrets {
		arn := p.SecretARN(s.Name, s.Suffix)
		if id == s.Name || id == arn || id == strings.TrimSuffix(arn, "-"+s.Suffix) {
			return s, i.fails
		}
	}
	return secrets.Secret{}, fescue.ErrNotFound
}

var (
	group, outsider = home.DefinitionARN(fescue.GroupKind, "g"), home.DefinitionARN(fescue.GroupKind, "s")
	ownCores        = home.DefinitionARN(fescue.CoreKind, "c")
	theirCores      = home.DefinitionARN(fescue.CoreKind, "t")
	heldCores       = home.DefinitionARN(fescue.CoreKind, "h")

	plant = inventory{
		tags: map[string]map[string]string{group: north, outsider: south, ownCores: north, theirCores: south, heldCores: nil},
		holders: map[string][]map[string]string{
			home.ThingARN("Held"): {north}, home.ThingARN("Shared"): {north, south}, home.ThingARN("Theirs"): {south},
			home.FunctionARN("Held"): {north}, home.FunctionARN("Shared"): {south, north}, home.FunctionARN("Theirs"): {south},
			home.BucketARN("held"): {north}, heldCores: {north},
			home.SecretARN("held", "abcdef"): {north}, "arn:aws:secretsmanager:us-east-1:123456789012:secret:heldbyname": {north},
		},
		secrets: []secrets.Secret{
			{Name: "held", Suffix: "abcdef"}, {Name: "heldbyname", Suffix: "uvwxyz"}, {Name: "mill/db", Suffix: "ghijkl"}, {Name: "mill/db-abcdef", Suffix: "mnopqr"}, {Name: "saw/db", Suffix: "stuvwx"},
		},
	}
)

func scope(t *testing.T, l identity.Limit) *identity.Scope {
	t.Helper()
	s, err := identity.NewScope(l)
	if err != nil || s == nil {
		t.Fatalf("%+v: %v, %v", l, s, err)
	}
	return s
}

// changes are the actions of the table below that change something.
func changes(action string) bool {
	_, verb, _ := strings.Cut(action, ":")
	for _, reading := range []string{"Get", "List", "Describe", "Head"} {
		if strings.HasPrefix(verb, reading) {
			return false
		}
	}
	return true
}

func TestScope(t *testing.T) {
	t.Parallel()
	const secret = "arn:aws:secretsmanager:us-east-1:123456789012:secret:"
	limited := scope(t, identity.Limit{
		GroupTag: "site=north", Things: []string{"mill-*"}, Functions: []string{"mill-*", "Exact"}, Secrets: []string{"mill/db"}, Buckets: []string{"mill-?"},
	})
	for _, c := range []struct {
		action, resource string
		tags             map[string]string // of the request
		allowed          bool
	}{
		{"greengrass:CreateDeployment", group, nil, true},
		{"greengrass:GetDeploymentStatus", group + "/deployments/d", nil, true},
		{"fescue:CancelDeployment", group + "/deployments/d", nil, true},
		{"greengrass:CreateDeployment", outsider, nil, false},
		{"greengrass:GetGroup", outsider, nil, false},
		{"greengrass:TagResource", outsider, nil, false},
		{"greengrass:TagResource", outsider, north, false},
		{"greengrass:TagResource", group, nil, true},
		{"greengrass:TagResource", group, map[string]string{"line": "3"}, true},
		{"greengrass:TagResource", group, north, true},
		{"greengrass:TagResource", group, south, false}, // into another's limit
		{"greengrass:CreateDeployment", home.DefinitionARN(fescue.GroupKind, "unknown"), nil, false},
		{"greengrass:CreateDeployment", elsewhere.DefinitionARN(fescue.GroupKind, "g"), nil, false},
		{"fescue:CancelDeployment", outsider + "/deployments/d", nil, false},
		{"fescue:ListDeploymentsByStatus", "*", nil, false},
		{"fescue:ListAuditRecords", "*", nil, false},
		{"greengrass:AssociateRoleToGroup", group, nil, false}, // no limit covers a role
		{"greengrass:DisassociateRoleFromGroup", group, nil, true},

		{"greengrass:CreateGroup", "*", north, true},
		{"greengrass:CreateGroup", "*", south, false},
		{"greengrass:CreateGroup", "*", nil, false},
		{"greengrass:CreateCoreDefinition", "*", north, true},
		{"greengrass:CreateCoreDefinition", "*", nil, true}, // it gets the tag
		{"greengrass:CreateCoreDefinition", "*", south, false},
		{"greengrass:ListGroups", "*", nil, true},
		{"greengrass:GetCoreDefinition", ownCores, nil, true},
		{"greengrass:CreateCoreDefinitionVersion", ownCores, nil, true},
		{"greengrass:GetCoreDefinitionVersion", theirCores + "/versions/v", nil, false},
		{"greengrass:CreateCoreDefinitionVersion", theirCores, nil, false},
		{"greengrass:TagResource", theirCores, nil, false},
		{"greengrass:CreateCoreDefinitionVersion", heldCores, nil, true},

		{"greengrass:StartBulkDeployment", "*", nil, false},
		{"greengrass:StopBulkDeployment", home.BulkDeploymentARN("b"), nil, false},
		{"greengrass:ListBulkDeploymentDetailedReports", home.BulkDeploymentARN("b"), nil, false},
		{"greengrass:AssociateServiceRoleToAccount", "*", nil, false},
		{"greengrass:CreateSoftwareUpdateJob", "*", nil, false},
		{"greengrass:UpdateConnectivityInfo", "arn:aws:greengrass:us-east-1:123456789012:/greengrass/things/mill-1", nil, true},
		{"greengrass:UpdateConnectivityInfo", "arn:aws:greengrass:us-east-1:123456789012:/greengrass/things/Held", nil, true},
		{"greengrass:UpdateConnectivityInfo", "arn:aws:greengrass:us-east-1:123456789012:/greengrass/things/Shared", nil, false},
		{"greengrass:GetConnectivityInfo", "arn:aws:greengrass:us-east-1:123456789012:/greengrass/things/Shared", nil, true},
		{"greengrass:GetConnectivityInfo", "arn:aws:greengrass:us-east-1:123456789012:/greengrass/things/Theirs", nil, false},
		{"greengrass:UpdateThingRuntimeConfiguration", "arn:aws:greengrass:us-east-1:123456789012:/greengrass/things/Theirs", nil, false},

		{"fescue:ResetCoreEpoch", "arn:aws:greengrass:us-east-1:123456789012:/greengrass/cores/mill-1", nil, true},
		{"fescue:ResetCoreEpoch", "arn:aws:greengrass:us-east-1:123456789012:/greengrass/cores/Theirs", nil, false},
		{"fescue:RestoreCoreEpoch", "arn:aws:greengrass:us-east-1:123456789012:/greengrass/cores/mill-1", nil, true},
		{"fescue:RestoreCoreEpoch", "arn:aws:greengrass:us-east-1:123456789012:/greengrass/cores/Theirs", nil, false},
		{"fescue:GetCoreEpoch", "arn:aws:greengrass:us-east-1:123456789012:/greengrass/cores/Theirs", nil, false},
		{"fescue:ListGroupCores", group, nil, true},
		{"fescue:ListGroupCores", outsider, nil, false},
		{"fescue:ListGroupDeployments", group, nil, true},
		{"fescue:ListGroupDeployments", outsider, nil, false},
		{"fescue:ListCores", "*", nil, false},
		{"fescue:ListGroupsByName", "*", nil, true},
		{"fescue:GetMetrics", "*", nil, false},
		{"fescue:Subscribe", home.TopicFilterARN("mill-1/#"), nil, false},

		{"iot:CreateThing", home.ThingARN("mill-9"), nil, true},
		{"iot:DescribeThingType", home.ThingTypeARN("t"), nil, true},
		{"iot:CreateThingType", home.ThingTypeARN("t"), nil, false},
		{"iot:CreateThing", home.ThingARN("saw-9"), nil, false},
		{"iot:UpdateThingShadow", home.ShadowARN("mill-1", "named"), nil, true},
		{"iot:UpdateThingShadow", home.ShadowARN("Theirs", ""), nil, false},
		{"iot:GetThingShadow", home.ShadowARN("Theirs", ""), nil, false},
		{"iot:DescribeThing", home.ThingARN("Theirs"), nil, true}, // lists show as much
		{"iot:AttachThingPrincipal", home.ThingARN("mill-1"), nil, false},
		{"iot:UpdateCertificate", home.CertificateARN("x"), nil, false},
		{"iot:CreateKeysAndCertificate", "*", nil, false},
		{"iot:AttachPolicy", home.PolicyARN("p"), nil, false},
		{"iot:CreateJob", home.JobARN("j"), nil, false},
		{"iot:GetJobDocument", home.JobARN("j"), nil, false},
		{"iotjobsdata:UpdateJobExecution", home.ThingARN("Theirs"), nil, false},
		{"iotjobsdata:UpdateJobExecution", home.ThingARN("mill-1"), nil, true},
		{"iot:Publish", home.TopicARN("mill-1/x"), nil, false},
		{"iot:Publish", home.TopicARN("$aws/things/mill-1/shadow/update"), nil, true},
		{"iot:Publish", home.TopicARN("$aws/things/saw-1/shadow/update"), nil, false},
		{"iot:Publish", home.TopicARN("$aws/things/mill-1"), nil, false},
		{"iot:Subscribe", home.TopicFilterARN("$aws/things/mill-1/#"), nil, true},
		{"iot:Subscribe", home.TopicFilterARN("$aws/things/+/shadow/#"), nil, false},
		{"iot:Subscribe", home.TopicFilterARN("$aws/things/mill-+/shadow"), nil, false},
		{"iot:Subscribe", home.TopicFilterARN("#"), nil, false},
		{"iot:Connect", home.ClientARN("mill-1"), nil, true},
		{"iot:Connect", home.ClientARN("saw-1"), nil, false},
		{"iot:UpdateRoleAlias", home.RoleAliasARN("r"), nil, false},

		{"lambda:UpdateFunctionCode", home.FunctionARN("mill-a"), nil, true},
		{"lambda:UpdateAlias", home.FunctionARN("mill-a:prod"), nil, true},
		{"lambda:UpdateFunctionCode", home.FunctionARN("Exact"), nil, true},
		{"lambda:UpdateFunctionCode", home.FunctionARN("Exact2"), nil, false},
		{"lambda:UpdateFunctionCode", home.FunctionARN("Held"), nil, true},
		{"lambda:UpdateFunctionCode", home.FunctionARN("Shared"), nil, false},
		{"lambda:GetFunction", home.FunctionARN("Shared"), nil, true},
		{"lambda:GetFunction", home.FunctionARN("Theirs:3"), nil, false},
		{"lambda:UpdateFunctionCode", elsewhere.FunctionARN("mill-a"), nil, false},
		{"lambda:CreateFunction", "*", nil, true}, // the service asks for the name

		{"s3:PutObject", home.BucketARN("mill-1") + "/key", nil, true},
		{"s3:PutObject", home.BucketARN("mill-12") + "/key", nil, false},
		{"s3:GetObject", home.BucketARN("theirs") + "/mill-1", nil, false},
		{"s3:GetObject", home.BucketARN("held") + "/key", nil, true},
		{"s3:ListBuckets", "*", nil, true},

		{"secretsmanager:PutSecretValue", secret + "mill/db-??????", nil, true},
		{"secretsmanager:PutSecretValue", secret + "mill/db-ghijkl", nil, true},
		{"secretsmanager:PutSecretValue", secret + "mill/db", nil, true},
		{"secretsmanager:PutSecretValue", secret + "mill/db-abcdef", nil, false}, // this is a name, not a suffix
		{"secretsmanager:PutSecretValue", secret + "mill/db-abcdef-mnopqr", nil, false},
		{"secretsmanager:GetSecretValue", secret + "saw/db-??????", nil, false},
		{"secretsmanager:DescribeSecret", secret + "held-??????", nil, true},
		{"secretsmanager:DescribeSecret", secret + "heldbyname-uvwxyz", nil, true},
		{"secretsmanager:BatchGetSecretValue", "*", nil, false},

		{"iam:GetRole", home.RoleARN("/", "r"), nil, true},
		{"iam:PutRolePolicy", home.RoleARN("/", "r"), nil, false},
		{"sts:AssumeRole", home.RoleARN("/", "r"), nil, false},
		{"aservicethatcomeslater:DoAThing", "*", nil, false},
		{"aservicethatcomeslater:GetAThing", "arn:aws:aservicethatcomeslater:us-east-1:123456789012:thing/mill-1", nil, false},
		{"greengrass:GetGroup", "no ARN", nil, false},
	} {
		got, err := limited.Allows(t.Context(), plant, home, identity.Act{
			Action: c.action, Resource: c.resource, Changes: changes(c.action), RequestTags: func() map[string]string { return c.tags },
		})
		if err != nil || got != c.allowed {
			t.Errorf("%s on %s with %v: %v, %v", c.action, c.resource, c.tags, got, err)
		}
	}
	t.Run("what is made bears the tag", func(t *testing.T) {
		t.Parallel()
		if got := limited.Tags(map[string]string{"a": "b"}); got["site"] != "north" || got["a"] != "b" {
			t.Errorf("%v", got)
		}
		if got := limited.Tags(south); got["site"] != "south" {
			t.Errorf("%v", got)
		}
	})
	t.Run("a tag is no pattern", func(t *testing.T) {
		t.Parallel()
		for _, value := range []string{"*", "nor?h", "${aws:username}"} {
			s, act := scope(t, identity.Limit{GroupTag: "site=" + value}), identity.Act{Action: "greengrass:GetGroup", Resource: group}
			if ok, err := s.Allows(t.Context(), plant, home, act); ok || err != nil {
				t.Errorf("%s covers north, %v", value, err)
			}
			its := inventory{tags: map[string]map[string]string{group: {"site": value}}}
			if ok, err := s.Allows(t.Context(), its, home, act); !ok || err != nil {
				t.Errorf("%s does not cover itself, %v", value, err)
			}
		}
	})
	t.Run("patterns alone cover no group", func(t *testing.T) {
		t.Parallel()
		s := scope(t, identity.Limit{Things: []string{"*"}})
		for _, resource := range []string{group, ownCores, home.FunctionARN("Held")} {
			if ok, err := s.Allows(t.Context(), plant, home, identity.Act{Action: "x:Y", Resource: resource}); ok || err != nil {
				t.Errorf("%s: %v, %v", resource, ok, err)
			}
		}
		if ok, _ := s.Allows(t.Context(), plant, home, identity.Act{Action: "greengrass:CreateCoreDefinition", Resource: "*"}); ok {
			t.Error("a definition that nobody could change is made")
		}
	})
	t.Run("what cannot be looked up is not decided", func(t *testing.T) {
		t.Parallel()
		broken := plant
		broken.fails = errors.New("disk on fire")
		for _, resource := range []string{group, ownCores, home.FunctionARN("Held"), secret + "held-abcdef"} {
			if ok, err := limited.Allows(t.Context(), broken, home, identity.Act{Action: "x:Y", Resource: resource}); ok || !errors.Is(err, broken.fails) {
				t.Errorf("%s: %v, %v", resource, ok, err)
			}
		}
	})
}

func TestNewScope(t *testing.T) {
	t.Parallel()
	if s, err := identity.NewScope(identity.Limit{}); s != nil || err != nil {
		t.Errorf("%v, %v", s, err)
	}
	for _, l := range []identity.Limit{
		{GroupTag: "site"}, {GroupTag: "=north"}, {GroupTag: "site="}, {GroupTag: strings.Repeat("x", 129) + "=y"},
		{Things: []string{""}}, {Things: []string{"mill 1"}}, {Things: []string{"mill/1"}}, {Things: []string{"mill", `"`}},
		{Functions: []string{"a:b"}}, {Functions: []string{"arn:aws:lambda:::function:x"}}, {Secrets: []string{"a b"}}, {Secrets: []string{`\`}},
		{Buckets: []string{"Mill"}}, {Buckets: []string{"a/b"}}, {Buckets: make([]string, 101)},
	} {
		if s, err := identity.NewScope(l); !errors.Is(err, identity.ErrLimit) || s != nil {
			t.Errorf("%+v: %v, %v", l, s, err)
		}
	}
}
