package greengrass_test

import (
	"context"
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
	"github.com/aws/smithy-go"
)

// sdk is an unmodified SDK's client of the first partition.
func (a *api) sdk() *sdk.Client {
	return sdk.New(sdk.Options{
		Region: here.Region, BaseEndpoint: aws.String(a.servers[here].URL),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "x"}, nil
		}),
	})
}

// An unmodified SDK makes a group with everything in it, reads it back, deploys
// it and cleans up.
func TestWithSDK(t *testing.T) {
	t.Parallel()
	a, ctx := open(t), t.Context()
	c := a.sdk()
	check := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	core, err := c.CreateCoreDefinition(ctx, &sdk.CreateCoreDefinitionInput{
		Name: aws.String("cores"), Tags: map[string]string{"a": "b"}, AmznClientToken: aws.String("token"),
		InitialVersion: &types.CoreDefinitionVersion{Cores: []types.Core{{
			Id: aws.String("c"), ThingArn: aws.String(here.ThingARN("t")), CertificateArn: aws.String(here.CertificateARN("ff")), SyncShadow: aws.Bool(true),
		}}},
	})
	check(core, err)
	function := types.Function{
		Id: aws.String("f"), FunctionArn: aws.String(here.FunctionARN("f") + ":live"),
		FunctionConfiguration: &types.FunctionConfiguration{
			MemorySize: aws.Int32(16384), Timeout: aws.Int32(3), Pinned: aws.Bool(true), EncodingType: types.EncodingTypeBinary,
			Environment: &types.FunctionConfigurationEnvironment{Variables: map[string]string{"A": "1"}, AccessSysfs: aws.Bool(true)},
		},
	}
	functions, err := c.CreateFunctionDefinition(ctx, &sdk.CreateFunctionDefinitionInput{InitialVersion: &types.FunctionDefinitionVersion{Functions: []types.Function{function}}})
	check(functions, err)
	group, err := c.CreateGroup(ctx, &sdk.CreateGroupInput{Name: aws.String("g"), InitialVersion: &types.GroupVersion{
		CoreDefinitionVersionArn: core.LatestVersionArn, FunctionDefinitionVersionArn: functions.LatestVersionArn,
	}})
	check(group, err)

	t.Run("what was made is read back", func(t *testing.T) {
		got, err := c.GetCoreDefinition(ctx, &sdk.GetCoreDefinitionInput{CoreDefinitionId: core.Id})
		check(got, err)
		if *got.Name != "cores" || got.Tags["a"] != "b" || *got.LatestVersionArn != *core.LatestVersionArn {
			t.Errorf("%+v", got)
		}
		version, err := c.GetFunctionDefinitionVersion(ctx, &sdk.GetFunctionDefinitionVersionInput{FunctionDefinitionId: functions.Id, FunctionDefinitionVersionId: functions.LatestVersion})
		check(version, err)
		if f := version.Definition.Functions[0]; *f.FunctionArn != *function.FunctionArn || *f.FunctionConfiguration.MemorySize != 16384 ||
			!*f.FunctionConfiguration.Pinned || f.FunctionConfiguration.EncodingType != types.EncodingTypeBinary || !*f.FunctionConfiguration.Environment.AccessSysfs {
			t.Errorf("%+v", f)
		}
		groups, err := c.ListGroups(ctx, &sdk.ListGroupsInput{MaxResults: aws.String("1")})
		check(groups, err)
		if len(groups.Groups) != 1 || *groups.Groups[0].Id != *group.Id || groups.NextToken != nil {
			t.Errorf("%+v", groups)
		}
		if _, err := c.GetAssociatedRole(ctx, &sdk.GetAssociatedRoleInput{GroupId: group.Id}); err == nil {
			t.Error("a role that nobody attached")
		}
	})
	t.Run("errors have their codes", func(t *testing.T) {
		_, err := c.GetGroup(ctx, &sdk.GetGroupInput{GroupId: aws.String("none/../x")})
		var generic smithy.APIError
		if !errors.As(err, &generic) || generic.ErrorCode() != "IdNotFoundException" || generic.ErrorMessage() != "That Group Definition does not exist." {
			t.Errorf("%v", err)
		}
		_, err = c.AssociateServiceRoleToAccount(ctx, &sdk.AssociateServiceRoleToAccountInput{RoleArn: aws.String("x")})
		var bad *types.BadRequestException
		if !errors.As(err, &bad) || *bad.Message != "That role ARN is invalid." {
			t.Errorf("%v", err)
		}
	})
	t.Run("a deployment", func(t *testing.T) {
		d, err := c.CreateDeployment(ctx, &sdk.CreateDeploymentInput{GroupId: group.Id, GroupVersionId: group.LatestVersion, DeploymentType: types.DeploymentTypeNewDeployment})
		check(d, err)
		status, err := c.GetDeploymentStatus(ctx, &sdk.GetDeploymentStatusInput{GroupId: group.Id, DeploymentId: d.DeploymentId})
		check(status, err)
		if *status.DeploymentStatus != "Building" || status.DeploymentType != types.DeploymentTypeNewDeployment || status.ErrorMessage != nil {
			t.Errorf("%+v", status)
		}
		a.ends(here, *group.Id, *d.DeploymentId)
		status, err = c.GetDeploymentStatus(ctx, &sdk.GetDeploymentStatusInput{GroupId: group.Id, DeploymentId: d.DeploymentId})
		check(status, err)
		if *status.DeploymentStatus != "Failure" || len(status.ErrorDetails) != 1 || *status.ErrorDetails[0].DetailedErrorCode != "A" {
			t.Errorf("%+v", status)
		}
	})
	check(c.DeleteGroup(ctx, &sdk.DeleteGroupInput{GroupId: group.Id}))
	check(c.DeleteCoreDefinition(ctx, &sdk.DeleteCoreDefinitionInput{CoreDefinitionId: core.Id}))
}
