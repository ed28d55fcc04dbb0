package cloud_test

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/fescue-edge/fescue/cloud/identity"
)

// check fails the test on an error.
func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestIAMThroughSDK makes and removes the roles of a group as provisioning tools
// do, with AWS's own client.
func TestIAMThroughSDK(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, database string) {
		o := options(t.TempDir())
		o.Database = database
		server := start(t, o)
		httpClient, base := server.client()
		client := iam.New(iam.Options{Region: "us-east-1", BaseEndpoint: &base, HTTPClient: httpClient, Credentials: server.credentials(server.key), Retryer: aws.NopRetryer{}})
		ctx := t.Context()
		const (
			trust  = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"greengrass.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
			grants = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject"],"Resource":"*"}]}`
		)
		name := aws.String("Group_Role")
		var missing *iamtypes.NoSuchEntityException
		if _, err := client.GetRole(ctx, &iam.GetRoleInput{RoleName: name}); !errors.As(err, &missing) {
			t.Fatalf("%v", err)
		}
		made, err := client.CreateRole(ctx, &iam.CreateRoleInput{
			RoleName: name, AssumeRolePolicyDocument: aws.String(trust), Path: aws.String("/fleet/"), Description: aws.String("d"),
			MaxSessionDuration: aws.Int32(7200), Tags: []iamtypes.Tag{{Key: aws.String("k"), Value: aws.String("v")}},
		})
		check(t, err)
		arn := "arn:aws:iam::" + account + ":role/fleet/Group_Role"
		if *made.Role.Arn != arn || time.Since(*made.Role.CreateDate).Abs() > time.Minute || !strings.HasPrefix(*made.Role.RoleId, "AROA") {
			t.Errorf("%+v", made.Role)
		}
		var exists *iamtypes.EntityAlreadyExistsException
		if _, err := client.CreateRole(ctx, &iam.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: aws.String(trust)}); !errors.As(err, &exists) {
			t.Errorf("%v", err)
		}
		var malformed *iamtypes.MalformedPolicyDocumentException
		if _, err := client.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: name, PolicyDocument: aws.String("{")}); !errors.As(err, &malformed) {
			t.Errorf("%v", err)
		}
		iot := strings.Replace(trust, "greengrass", "iot", 1)
		_, err = client.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: name, PolicyDocument: &iot})
		check(t, err)
		got, err := client.GetRole(ctx, &iam.GetRoleInput{RoleName: name})
		check(t, err)
		if document, err := url.QueryUnescape(*got.Role.AssumeRolePolicyDocument); err != nil || document != iot || *got.Role.MaxSessionDuration != 7200 || len(got.Role.Tags) != 1 {
			t.Errorf("%q, %v, %+v", document, err, got.Role)
		}

		for _, p := range []string{"b", "a", "c"} {
			_, err := client.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: name, PolicyName: &p, PolicyDocument: aws.String(grants)})
			check(t, err)
		}
		inline, err := client.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: name, PolicyName: aws.String("a")})
		check(t, err)
		if document, _ := url.QueryUnescape(*inline.PolicyDocument); document != grants {
			t.Errorf("%q", document)
		}
		var names []string
		for pages := iam.NewListRolePoliciesPaginator(client, &iam.ListRolePoliciesInput{RoleName: name, MaxItems: aws.Int32(2)}); pages.HasMorePages(); {
			page, err := pages.NextPage(ctx)
			check(t, err)
			names = append(names, page.PolicyNames...)
		}
		if !slices.Equal(names, []string{"a", "b", "c"}) {
			t.Errorf("%v", names)
		}

		policy, err := client.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: aws.String("p"), PolicyDocument: aws.String(grants)})
		check(t, err)
		managed := []string{*policy.Policy.Arn, "arn:aws:iam::aws:policy/service-role/AWSGreengrassResourceAccessRolePolicy"}
		for _, arn := range managed {
			_, err := client.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: name, PolicyArn: &arn})
			check(t, err)
		}
		attached, err := client.ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: name})
		if check(t, err); len(attached.AttachedPolicies) != 2 || attached.IsTruncated {
			t.Errorf("%+v", attached)
		}
		var conflict *iamtypes.DeleteConflictException
		if _, err := client.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: name}); !errors.As(err, &conflict) {
			t.Errorf("%v", err)
		}
		for _, arn := range managed {
			_, err := client.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: name, PolicyArn: &arn})
			check(t, err)
		}
		for _, p := range names {
			_, err := client.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: name, PolicyName: &p})
			check(t, err)
		}
		_, err = client.DeletePolicy(ctx, &iam.DeletePolicyInput{PolicyArn: policy.Policy.Arn})
		check(t, err)
		_, err = client.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: name})
		check(t, err)
		list, err := client.ListRoles(ctx, &iam.ListRolesInput{})
		if check(t, err); len(list.Roles) != 0 {
			t.Errorf("%+v", list.Roles)
		}
	})
}

// TestSecretsThroughSDK takes a secret through its life with AWS's own client,
// beside another account that has one of the same name.
func TestSecretsThroughSDK(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, database string) {
		o := options(t.TempDir())
		o.Database = database
		server := start(t, o)
		httpClient, base := server.client()
		options := secretsmanager.Options{Region: "us-east-1", BaseEndpoint: &base, HTTPClient: httpClient, Credentials: server.credentials(server.key), Retryer: aws.NopRetryer{}}
		client := secretsmanager.New(options)
		options.Credentials = server.credentials(server.keyOf("210987654321", identity.Grant{Access: identity.Admin}))
		outsider := secretsmanager.New(options)
		ctx := t.Context()
		name := aws.String("greengrass-a")
		made, err := client.CreateSecret(ctx, &secretsmanager.CreateSecretInput{
			Name: name, SecretString: aws.String("one"), Description: aws.String("d"), Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}},
		})
		check(t, err)
		foreign, err := outsider.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: name, SecretString: aws.String("theirs")})
		check(t, err)
		var exists *types.ResourceExistsException
		if _, err := client.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: name, SecretString: aws.String("x")}); !errors.As(err, &exists) {
			t.Errorf("%v", err)
		}
		value := func(stage string) *secretsmanager.GetSecretValueOutput {
			in := secretsmanager.GetSecretValueInput{SecretId: made.ARN}
			if stage != "" {
				in.VersionStage = &stage
			}
			out, err := client.GetSecretValue(ctx, &in)
			check(t, err)
			return out
		}
		if got := value(""); *got.SecretString != "one" || *got.VersionId != *made.VersionId || time.Since(*got.CreatedDate).Abs() > time.Minute {
			t.Errorf("%+v", got)
		}
		put, err := client.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: name, SecretBinary: []byte{0, 1, 255}})
		if check(t, err); !slices.Equal(put.VersionStages, []string{"AWSCURRENT"}) {
			t.Errorf("%+v", put)
		}
		if got := value("AWSCURRENT"); !slices.Equal(got.SecretBinary, []byte{0, 1, 255}) || got.SecretString != nil {
			t.Errorf("%+v", got)
		}
		if got := value("AWSPREVIOUS"); *got.SecretString != "one" {
			t.Errorf("%+v", got)
		}
		_, err = client.UpdateSecret(ctx, &secretsmanager.UpdateSecretInput{SecretId: name, Description: aws.String("new")})
		check(t, err)
		_, err = client.TagResource(ctx, &secretsmanager.TagResourceInput{SecretId: name, Tags: []types.Tag{{Key: aws.String("x"), Value: aws.String("y")}}})
		check(t, err)
		_, err = client.UntagResource(ctx, &secretsmanager.UntagResourceInput{SecretId: name, TagKeys: []string{"k"}})
		check(t, err)
		d, err := client.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: name})
		if check(t, err); *d.Description != "new" || len(d.Tags) != 1 || *d.Tags[0].Key != "x" || !slices.Equal(d.VersionIdsToStages[*put.VersionId], []string{"AWSCURRENT"}) {
			t.Errorf("%+v", d)
		}
		versions, err := client.ListSecretVersionIds(ctx, &secretsmanager.ListSecretVersionIdsInput{SecretId: name})
		if check(t, err); len(versions.Versions) != 2 {
			t.Errorf("%+v", versions)
		}

		_, err = client.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String("greengrass-b")})
		check(t, err)
		var names []string
		for pages := secretsmanager.NewListSecretsPaginator(client, &secretsmanager.ListSecretsInput{MaxResults: aws.Int32(1)}); pages.HasMorePages(); {
			page, err := pages.NextPage(ctx)
			check(t, err)
			for _, s := range page.SecretList {
				names = append(names, *s.Name)
			}
		}
		if !slices.Equal(names, []string{"greengrass-a", "greengrass-b"}) {
			t.Errorf("%v", names)
		}

		var missing *types.ResourceNotFoundException
		for _, id := range []string{*foreign.ARN, "nothing"} {
			if _, err := client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &id}); !errors.As(err, &missing) {
				t.Errorf("%s: %v", id, err)
			}
		}
		_, err = client.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: name, RecoveryWindowInDays: aws.Int64(7)})
		check(t, err)
		var invalid *types.InvalidRequestException
		if _, err := client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: name}); !errors.As(err, &invalid) {
			t.Errorf("%v", err)
		}
		_, err = client.RestoreSecret(ctx, &secretsmanager.RestoreSecretInput{SecretId: name})
		check(t, err)
		_, err = client.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: name, ForceDeleteWithoutRecovery: aws.Bool(true)})
		check(t, err)
		if _, err := client.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: name}); !errors.As(err, &missing) {
			t.Errorf("%v", err)
		}
		theirs, err := outsider.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: name})
		if check(t, err); *theirs.SecretString != "theirs" {
			t.Errorf("%+v", theirs)
		}
	})
}
