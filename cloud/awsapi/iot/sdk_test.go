package iot_test

import (
	"context"
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/aws-sdk-go-v2/service/iot/types"
)

// An unmodified SDK provisions a device and cleans up after it, as greengo does:
// each deletion follows its detachment at once.
func TestWithSDK(t *testing.T) {
	t.Parallel()
	a, ctx := open(t), t.Context()
	c := sdk.New(sdk.Options{
		Region: here.Region, BaseEndpoint: aws.String(a.servers[here].URL),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "x"}, nil
		}),
	})
	check := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	name, policyName := aws.String("core"), aws.String("core-policy")

	endpoint, err := c.DescribeEndpoint(ctx, &sdk.DescribeEndpointInput{EndpointType: aws.String("iot:Data-ATS")})
	check(endpoint, err)
	keys, err := c.CreateKeysAndCertificate(ctx, &sdk.CreateKeysAndCertificateInput{SetAsActive: true})
	check(keys, err)
	check(c.CreateThingType(ctx, &sdk.CreateThingTypeInput{ThingTypeName: name, ThingTypeProperties: &types.ThingTypeProperties{SearchableAttributes: []string{"a"}}}))
	thing, err := c.CreateThing(ctx, &sdk.CreateThingInput{ThingName: name, ThingTypeName: name, AttributePayload: &types.AttributePayload{Attributes: map[string]string{"a": "b"}}})
	check(thing, err)
	check(c.AttachThingPrincipal(ctx, &sdk.AttachThingPrincipalInput{ThingName: name, Principal: keys.CertificateArn}))
	check(c.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: policyName, PolicyDocument: aws.String(allowAll)}))
	//lint:ignore SA1019 the scripts that Fescue serves call it
	check(c.AttachPrincipalPolicy(ctx, &sdk.AttachPrincipalPolicyInput{PolicyName: policyName, Principal: keys.CertificateArn}))
	check(c.AttachPolicy(ctx, &sdk.AttachPolicyInput{PolicyName: policyName, Target: keys.CertificateArn}))

	t.Run("what was made is described", func(t *testing.T) {
		described, err := c.DescribeCertificate(ctx, &sdk.DescribeCertificateInput{CertificateId: keys.CertificateId})
		check(described, err)
		if d := described.CertificateDescription; d.Status != types.CertificateStatusActive || !d.CreationDate.Equal(now) || d.Validity.NotAfter.Year() != 2049 {
			t.Errorf("got %+v", d)
		}
		got, err := c.DescribeThing(ctx, &sdk.DescribeThingInput{ThingName: name})
		check(got, err)
		if *got.ThingId != *thing.ThingId || got.Version != 1 || got.Attributes["a"] != "b" {
			t.Errorf("got %+v", got)
		}
		policies, err := c.ListAttachedPolicies(ctx, &sdk.ListAttachedPoliciesInput{Target: keys.CertificateArn})
		check(policies, err)
		if len(policies.Policies) != 1 || *policies.Policies[0].PolicyName != *policyName {
			t.Errorf("got %+v", policies.Policies)
		}
		things := sdk.NewListThingsPaginator(c, &sdk.ListThingsInput{})
		for things.HasMorePages() {
			page, err := things.NextPage(ctx)
			check(page, err)
			if len(page.Things) != 1 {
				t.Errorf("got %+v", page.Things)
			}
		}
	})
	t.Run("errors have their types", func(t *testing.T) {
		_, err := c.CreateThing(ctx, &sdk.CreateThingInput{ThingName: name})
		var exists *types.ResourceAlreadyExistsException
		if !errors.As(err, &exists) || *exists.ResourceArn != *thing.ThingArn {
			t.Errorf("error %v", err)
		}
		_, err = c.DeleteCertificate(ctx, &sdk.DeleteCertificateInput{CertificateId: keys.CertificateId})
		var state *types.CertificateStateException
		if !errors.As(err, &state) {
			t.Errorf("error %v", err)
		}
		_, err = c.GetPolicy(ctx, &sdk.GetPolicyInput{PolicyName: aws.String("none")})
		var missing *types.ResourceNotFoundException
		if !errors.As(err, &missing) {
			t.Errorf("error %v", err)
		}
	})
	//lint:ignore SA1019 the scripts that Fescue serves call it
	check(c.DetachPrincipalPolicy(ctx, &sdk.DetachPrincipalPolicyInput{PolicyName: policyName, Principal: keys.CertificateArn}))
	check(c.DeletePolicy(ctx, &sdk.DeletePolicyInput{PolicyName: policyName}))
	check(c.UpdateCertificate(ctx, &sdk.UpdateCertificateInput{CertificateId: keys.CertificateId, NewStatus: types.CertificateStatusInactive}))
	check(c.DetachThingPrincipal(ctx, &sdk.DetachThingPrincipalInput{ThingName: name, Principal: keys.CertificateArn}))
	check(c.DeleteCertificate(ctx, &sdk.DeleteCertificateInput{CertificateId: keys.CertificateId}))
	check(c.DeleteThing(ctx, &sdk.DeleteThingInput{ThingName: name}))
	check(c.DeprecateThingType(ctx, &sdk.DeprecateThingTypeInput{ThingTypeName: name}))
	described, err := c.DescribeThingType(ctx, &sdk.DescribeThingTypeInput{ThingTypeName: name})
	if check(described, err); !described.ThingTypeMetadata.Deprecated || !described.ThingTypeMetadata.DeprecationDate.Equal(now) || described.ThingTypeProperties.SearchableAttributes[0] != "a" {
		t.Errorf("got %+v", described)
	}
	check(c.DeleteThingType(ctx, &sdk.DeleteThingTypeInput{ThingTypeName: name}))
}
