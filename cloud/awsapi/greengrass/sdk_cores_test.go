package greengrass_test

import (
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
)

// An unmodified SDK tags, sets up a core and rotates a group's authority.
func TestGroupSetUpWithSDK(t *testing.T) {
	t.Parallel()
	a, ctx := open(t), t.Context()
	c := a.sdk()
	check := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	group, err := c.CreateGroup(ctx, &sdk.CreateGroupInput{Name: aws.String("g"), Tags: map[string]string{"a": "b"}})
	check(group, err)

	t.Run("tags", func(t *testing.T) {
		check(c.TagResource(ctx, &sdk.TagResourceInput{ResourceArn: group.Arn, Tags: map[string]string{"c d/e": ""}}))
		check(c.UntagResource(ctx, &sdk.UntagResourceInput{ResourceArn: group.Arn, TagKeys: []string{"a", "x&y"}}))
		tags, err := c.ListTagsForResource(ctx, &sdk.ListTagsForResourceInput{ResourceArn: group.Arn})
		check(tags, err)
		if value, ok := tags.Tags["c d/e"]; len(tags.Tags) != 1 || !ok || value != "" {
			t.Errorf("%v", tags.Tags)
		}
	})
	t.Run("connectivity", func(t *testing.T) {
		info := []types.ConnectivityInfo{{HostAddress: aws.String("10.0.0.1"), Id: aws.String("a"), PortNumber: aws.Int32(8883)}}
		put, err := c.UpdateConnectivityInfo(ctx, &sdk.UpdateConnectivityInfoInput{ThingName: aws.String("a:b"), ConnectivityInfo: info})
		check(put, err)
		got, err := c.GetConnectivityInfo(ctx, &sdk.GetConnectivityInfoInput{ThingName: aws.String("a:b")})
		check(got, err)
		if len(got.ConnectivityInfo) != 1 || *got.ConnectivityInfo[0].HostAddress != "10.0.0.1" || aws.ToString(put.Version) == "" || aws.ToString(put.Message) == "" {
			t.Errorf("%+v, %+v", put, got)
		}
	})
	t.Run("runtime configuration", func(t *testing.T) {
		check(c.UpdateThingRuntimeConfiguration(ctx, &sdk.UpdateThingRuntimeConfigurationInput{
			ThingName: aws.String("a"), TelemetryConfiguration: &types.TelemetryConfigurationUpdate{Telemetry: types.TelemetryOff},
		}))
		got, err := c.GetThingRuntimeConfiguration(ctx, &sdk.GetThingRuntimeConfigurationInput{ThingName: aws.String("a")})
		check(got, err)
		if telemetry := got.RuntimeConfiguration.TelemetryConfiguration; telemetry.Telemetry != types.TelemetryOff || telemetry.ConfigurationSyncStatus != types.ConfigurationSyncStatusOutOfSync {
			t.Errorf("%+v", telemetry)
		}
	})
	t.Run("authority", func(t *testing.T) {
		made, err := c.CreateGroupCertificateAuthority(ctx, &sdk.CreateGroupCertificateAuthorityInput{GroupId: group.Id})
		check(made, err)
		list, err := c.ListGroupCertificateAuthorities(ctx, &sdk.ListGroupCertificateAuthoritiesInput{GroupId: group.Id})
		check(list, err)
		if len(list.GroupCertificateAuthorities) != 1 || *list.GroupCertificateAuthorities[0].GroupCertificateAuthorityArn != *made.GroupCertificateAuthorityArn {
			t.Fatalf("%+v, %+v", made, list)
		}
		got, err := c.GetGroupCertificateAuthority(ctx, &sdk.GetGroupCertificateAuthorityInput{
			GroupId: group.Id, CertificateAuthorityId: list.GroupCertificateAuthorities[0].GroupCertificateAuthorityId,
		})
		check(got, err)
		if aws.ToString(got.PemEncodedCertificate) == "" {
			t.Errorf("%+v", got)
		}
	})
	t.Run("certificate configuration", func(t *testing.T) {
		put, err := c.UpdateGroupCertificateConfiguration(ctx, &sdk.UpdateGroupCertificateConfigurationInput{
			GroupId: group.Id, CertificateExpiryInMilliseconds: aws.String("2592000000"),
		})
		check(put, err)
		got, err := c.GetGroupCertificateConfiguration(ctx, &sdk.GetGroupCertificateConfigurationInput{GroupId: group.Id})
		check(got, err)
		if aws.ToString(got.CertificateExpiryInMilliseconds) != "2592000000" || aws.ToString(put.CertificateAuthorityExpiryInMilliseconds) != "2524607999000" {
			t.Errorf("%+v, %+v", put, got)
		}
		_, err = c.UpdateGroupCertificateConfiguration(ctx, &sdk.UpdateGroupCertificateConfigurationInput{
			GroupId: group.Id, CertificateExpiryInMilliseconds: aws.String("1"),
		})
		var bad *types.BadRequestException
		if !errors.As(err, &bad) {
			t.Errorf("%v", err)
		}
	})
}
