package cloud_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/cloud"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/cloud/identity"
)

// keyWith makes an access key.
func (s *server) keyWith(grant identity.Grant) cloud.AccessKey {
	s.t.Helper()
	return s.keyOf(account, grant)
}

// keyOf makes an access key of an account.
func (s *server) keyOf(account string, grant identity.Grant) cloud.AccessKey {
	s.t.Helper()
	keys, closeKeys, err := cloud.OpenKeys(s.t.Context(), cloud.State{DataDir: s.dir, Database: s.database}, options(s.dir).Logger)
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
	reader := s.greengrass("us-east-1", s.keyWith(identity.Grant{Access: "reader"}))
	deployer := s.greengrass("us-east-1", s.keyWith(identity.Grant{Access: "deployer"}))
	north := s.greengrass("us-east-1", s.keyWith(identity.Grant{Access: "deployer", Limit: identity.Limit{GroupTag: "site=north"}}))
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
		_, err = north.TagResource(ctx, &greengrass.TagResourceInput{ResourceArn: own.Arn, Tags: map[string]string{"site": "south"}})
		wantDenied(t, err, "greengrass:TagResource", *own.Arn)
		_, err = north.UntagResource(ctx, &greengrass.UntagResourceInput{ResourceArn: own.Arn, TagKeys: []string{"line", "site"}})
		wantDenied(t, err, "greengrass:UntagResource", *own.Arn)
		if _, err = north.TagResource(ctx, &greengrass.TagResourceInput{ResourceArn: own.Arn, Tags: map[string]string{"line": "3"}}); err != nil {
			t.Error(err)
		}
		if _, err = north.UntagResource(ctx, &greengrass.UntagResourceInput{ResourceArn: own.Arn, TagKeys: []string{"line"}}); err != nil {
			t.Error(err)
		}
		// The tag is looked up for each call.
		if _, err := admin.UntagResource(ctx, &greengrass.UntagResourceInput{ResourceArn: own.Arn, TagKeys: []string{"site"}}); err != nil {
			t.Fatal(err)
		}
		wantDenied(t, deploy(north, own), "greengrass:CreateDeployment", *own.Arn)
	})
}

func TestAuditOfCalls(t *testing.T) {
	t.Parallel()
	s, ctx := start(t, options(t.TempDir())), t.Context()
	reader := s.keyWith(identity.Grant{Access: "reader"})
	home, away := s.greengrass("us-east-1", cloud.AccessKey{}), s.greengrass("eu-west-1", cloud.AccessKey{})
	made, err := home.CreateGroup(ctx, &greengrass.CreateGroupInput{Name: aws.String("g")})
	if err != nil {
		t.Fatal(err)
	}
	other, err := away.CreateGroup(ctx, &greengrass.CreateGroupInput{Name: aws.String("g")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := home.ListGroups(ctx, &greengrass.ListGroupsInput{}); err != nil {
		t.Fatal(err)
	}
	_, err = s.greengrass("us-east-1", reader).DeleteGroup(ctx, &greengrass.DeleteGroupInput{GroupId: made.Id})
	wantDenied(t, err, "greengrass:DeleteGroup", *made.Arn)

	read := func(region string, key cloud.AccessKey, query string) (page ownapi.AuditRecords, status int) {
		t.Helper()
		status, body, header := s.sendAs(region, key, "GET", "/fescue/v1/audit?"+query)
		if header.Get("x-amzn-RequestId") == "" {
			t.Error("no request id")
		}
		if err := json.Unmarshal([]byte(body), &page); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		return page, status
	}
	summary := func(page ownapi.AuditRecords) (list []string) {
		for _, r := range page.Records {
			list = append(list, strings.Join([]string{r.KeyName, r.Region, r.Service + ":" + r.Operation, r.Resource, r.ErrorCode}, " "))
		}
		return list
	}
	operator := "operator  fescue:CreateAccessKey " + reader.ID + " "
	page, _ := read("us-east-1", s.key, "")
	want := []string{
		"operator  fescue:CreateAccessKey " + s.key.ID + " ", operator,
		"admin us-east-1 greengrass:CreateGroup " + *made.Arn + " ",
		"limited us-east-1 greengrass:DeleteGroup " + *made.Arn + " AccessDeniedException",
	}
	if diff := cmp.Diff(want, summary(page)); diff != "" {
		t.Error(diff)
	}
	if r := page.Records[2]; r.SourceIP != "127.0.0.1" || r.AccessKeyID != s.key.ID || r.Status != 201 || r.RequestID == "" || r.Account != account {
		t.Errorf("%+v", r)
	}
	page, _ = read("eu-west-1", s.key, "Operation=CreateGroup&AccessKeyId="+s.key.ID)
	if diff := cmp.Diff([]string{"admin eu-west-1 greengrass:CreateGroup " + *other.Arn + " "}, summary(page)); diff != "" {
		t.Error(diff)
	}
	t.Run("pages", func(t *testing.T) {
		var all []string
		query := "MaxResults=1"
		for {
			page, _ := read("us-east-1", s.key, query)
			if all = append(all, summary(page)...); page.NextToken == "" {
				break
			}
			query = "MaxResults=1&NextToken=" + page.NextToken
		}
		if diff := cmp.Diff(want, all); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("times", func(t *testing.T) {
		if page, _ := read("us-east-1", s.key, "From=2099-01-01T00:00:00Z"); len(page.Records) != 0 {
			t.Errorf("%+v", page)
		}
		if page, _ := read("us-east-1", s.key, "To=2099-01-01T00:00:00Z"); len(page.Records) != len(want) {
			t.Errorf("%+v", page)
		}
	})
	t.Run("refused", func(t *testing.T) {
		for _, query := range []string{"From=yesterday", "To=1", "MaxResults=0", "MaxResults=1001", "MaxResults=x", "NextToken=x", "NextToken=MS94"} {
			if _, status := read("us-east-1", s.key, query); status != 400 {
				t.Errorf("%s: %d", query, status)
			}
		}
		if _, status := read("us-east-1", reader, ""); status != 403 {
			t.Errorf("a reader: %d", status)
		}
	})
}
