package identity_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/policy"
)

// policies are the documents of a key with the grant.
func policies(t *testing.T, grant identity.Grant) policy.Set {
	t.Helper()
	_, k := open(t)
	id, _, err := k.Create(t.Context(), account, "n", grant)
	if err != nil {
		t.Fatal(err)
	}
	caller, err := k.Signer(t.Context(), id)
	if err != nil || len(caller.Policies) != 1 {
		t.Fatalf("%+v, %v", caller, err)
	}
	return caller.Policies[0]
}

func TestAccessLevels(t *testing.T) {
	t.Parallel()
	sets := make(map[string]policy.Set)
	for _, level := range identity.AccessLevels() {
		sets[level] = policies(t, identity.Grant{Access: level})
	}
	for action, who := range map[string][]string{
		"greengrass:CreateDeployment":    {"admin", "deployer"},
		"greengrass:ResetDeployments":    {"admin", "deployer"},
		"greengrass:DeleteGroup":         {"admin"},
		"greengrass:GetDeploymentStatus": {"admin", "deployer", "reader"},
		"greengrass:ListGroups":          {"admin", "deployer", "reader"},
		"greengrass:UntagResource":       {"admin", "deployer"},
		"iot:Publish":                    {"admin", "deployer"},
		"iot:DescribeEndpoint":           {"admin", "deployer", "reader"},
		"iot:CreateKeysAndCertificate":   {"admin", "deployer"},
		"iot:DeleteThing":                {"admin"},
		"lambda:UpdateFunctionCode":      {"admin", "deployer"},
		"lambda:GetFunction":             {"admin", "deployer", "reader"},
		"lambda:DeleteAlias":             {"admin"},
		"s3:PutObject":                   {"admin", "deployer"},
		"s3:HeadObject":                  {"admin", "deployer", "reader"},
		"s3:DeleteObjects":               {"admin"},
		"iam:PutRolePolicy":              {"admin", "deployer"},
		"iam:CreateAccessKey":            {"admin"},
		"iam:GetRole":                    {"admin", "deployer", "reader"},
		"secretsmanager:GetSecretValue":  {"admin"},
		"secretsmanager:PutSecretValue":  {"admin", "deployer"},
		// Not served yet; none of the two may come to read values by it.
		"secretsmanager:BatchGetSecretValue": {"admin"},
		"secretsmanager:DescribeSecret":      {"admin", "deployer", "reader"},
		"sts:AssumeRole":                     {"admin", "deployer"},
		"fescue:ListAuditRecords":            {"admin"},
		"fescue:CancelDeployment":            {"admin", "deployer"},
		"fescue:GetTimeline":                 {"admin", "deployer", "reader"},
		"aservicethatcomeslater:DoAThing":    {"admin"},
	} {
		for role, set := range sets {
			got := set.Evaluate(policy.Request{Action: action, Resource: "*"})
			if (got == policy.Allowed) != slices.Contains(who, role) {
				t.Errorf("%s as %s: %v", action, role, got)
			}
		}
	}
}

// A deployer deletes no shadow by a message either.
func TestDeployerDeletesNoShadow(t *testing.T) {
	t.Parallel()
	sets := map[string]policy.Set{}
	for _, level := range identity.AccessLevels() {
		sets[level] = policies(t, identity.Grant{Access: level})
	}
	for _, tc := range []struct {
		partition fescue.Partition
		topic     string
		deployer  bool
	}{
		{home, "$aws/things/Lamp/shadow/delete", false},
		{home, "$aws/things/Lamp/shadow/name/night/delete", false},
		{fescue.Partition{AWS: "aws-cn", Account: account, Region: "cn-north-1"}, "$aws/things/Lamp/shadow/delete", false},
		{home, "$aws/things/Lamp/shadow/update", true},
		{home, "$aws/things/Lamp/shadow/get", true},
		{home, "$aws/things/Lamp/shadow/name/delete/update", true},
		{home, "mill/shadow/delete", true},
	} {
		for level, want := range map[string]bool{"deployer": tc.deployer, "admin": true, "reader": false} {
			got := sets[level].Evaluate(policy.Request{Action: "iot:Publish", Resource: tc.partition.TopicARN(tc.topic)})
			if (got == policy.Allowed) != want {
				t.Errorf("%s to %s: %v", level, tc.topic, got)
			}
		}
	}
}

func TestGrantRefused(t *testing.T) {
	t.Parallel()
	_, k := open(t)
	for _, grant := range []identity.Grant{
		{}, {Access: "root"}, {Access: "Admin"}, {Access: "reader "}, {Access: "reader", Limit: identity.Limit{GroupTag: "site"}}, {Access: "reader", Limit: identity.Limit{Things: []string{"mill 1"}}},
	} {
		if id, _, err := k.Create(t.Context(), account, "n", grant); !errors.Is(err, identity.ErrForm) {
			t.Errorf("%+v: %q, %v", grant, id, err)
		}
	}
	if list, err := k.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}

// A key that the operator names again keeps what it may do.
func TestGrantStays(t *testing.T) {
	t.Parallel()
	_, k := open(t)
	for _, grant := range []identity.Grant{{Access: "reader", Limit: identity.Limit{GroupTag: "site=north"}}, {Access: identity.Admin}} {
		if err := k.Put(t.Context(), id, secret, account, "n", grant); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := k.Signer(t.Context(), id); err != nil || c.Access != "reader" || c.Scope == nil || c.Scope.GroupTag != "site=north" {
		t.Errorf("%+v, %v", c, err)
	}
}
