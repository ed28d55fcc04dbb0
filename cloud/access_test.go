package cloud_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue/cloud"
	"github.com/fescue-edge/fescue/cloud/accesskeys"
)

// keyWith makes an access key.
func (s *server) keyWith(grant accesskeys.Grant) cloud.AccessKey {
	s.t.Helper()
	keys, closeKeys, err := cloud.OpenKeys(s.t.Context(), cloud.State{DataDir: s.dir}, options(s.dir).Logger)
	if err != nil {
		s.t.Fatal(err)
	}
	defer closeKeys()
	id, secret, err := keys.Create(s.t.Context(), account, "limited", grant)
	if err != nil {
		s.t.Fatal(err)
	}
	return cloud.AccessKey{ID: id, Secret: secret}
}

// wantDenied checks that err is AWS's refusal of the action.
func wantDenied(t *testing.T, err error, action, resource string) {
	t.Helper()
	var api interface {
		ErrorCode() string
		ErrorMessage() string
	}
	want := "User: arn:aws:iam::" + account + ":user/limited is not authorized to perform: " + action + " on resource: " + resource + " "
	if !errors.As(err, &api) || !strings.HasPrefix(api.ErrorCode(), "AccessDenied") || !strings.HasPrefix(api.ErrorMessage(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}

func TestRolesOfKeys(t *testing.T) {
	t.Parallel()
	s, ctx := start(t, options(t.TempDir())), t.Context()
	admin := s.greengrass("us-east-1", cloud.AccessKey{})
	reader := s.greengrass("us-east-1", s.keyWith(accesskeys.Grant{Role: "reader"}))
	deployer := s.greengrass("us-east-1", s.keyWith(accesskeys.Grant{Role: "deployer"}))
	north := s.greengrass("us-east-1", s.keyWith(accesskeys.Grant{Role: "deployer", GroupTag: "site=north"}))
	create := func(c *greengrass.Client, site string) (*greengrass.CreateGroupOutput, error) {
		return c.CreateGroup(ctx, &greengrass.CreateGroupInput{Name: aws.String("g"), Tags: map[string]string{"site": site}})
	}
	south, err := create(admin, "south")
	if err != nil {
		t.Fatal(err)
	}
	deploy := func(c *greengrass.Client, g *greengrass.CreateGroupOutput) error {
		_, err := c.CreateDeployment(ctx, &greengrass.CreateDeploymentInput{
			GroupId: g.Id, GroupVersionId: aws.String("v"), DeploymentType: types.DeploymentTypeNewDeployment,
		})
		return err
	}
	t.Run("reader", func(t *testing.T) {
		if got, err := reader.GetGroup(ctx, &greengrass.GetGroupInput{GroupId: south.Id}); err != nil || *got.Id != *south.Id {
			t.Errorf("%+v, %v", got, err)
		}
		_, err := create(reader, "south")
		wantDenied(t, err, "greengrass:CreateGroup", "*")
		wantDenied(t, deploy(reader, south), "greengrass:CreateDeployment", *south.Arn)
	})
	t.Run("deployer", func(t *testing.T) {
		if err := deploy(deployer, south); err == nil || !strings.Contains(err.Error(), "does not exist") {
			t.Errorf("not as far as the version: %v", err)
		}
		_, err := deployer.DeleteGroup(ctx, &greengrass.DeleteGroupInput{GroupId: south.Id})
		wantDenied(t, err, "greengrass:DeleteGroup", *south.Arn)
	})
	t.Run("limited to groups", func(t *testing.T) {
		wantDenied(t, deploy(north, south), "greengrass:CreateDeployment", *south.Arn)
		_, err := create(north, "south")
		wantDenied(t, err, "greengrass:CreateGroup", "*")
		_, err = north.TagResource(ctx, &greengrass.TagResourceInput{ResourceArn: south.Arn, Tags: map[string]string{"site": "north"}})
		wantDenied(t, err, "greengrass:TagResource", *south.Arn)
		own, err := create(north, "north")
		if err != nil {
			t.Fatal(err)
		}
		if err := deploy(north, own); err == nil || !strings.Contains(err.Error(), "does not exist") {
			t.Errorf("not as far as the version: %v", err)
		}
		// The tag is looked up for each call.
		if _, err := admin.UntagResource(ctx, &greengrass.UntagResourceInput{ResourceArn: own.Arn, TagKeys: []string{"site"}}); err != nil {
			t.Fatal(err)
		}
		wantDenied(t, deploy(north, own), "greengrass:CreateDeployment", *own.Arn)
	})
}
