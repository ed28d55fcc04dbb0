package cloud_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud"
	"github.com/fescue-edge/fescue/cloud/identity"
)

// TestRestoreIsLimited: restoring a version of a group is an act on that group.
func TestRestoreIsLimited(t *testing.T) {
	t.Parallel()
	s, ctx := start(t, options(t.TempDir())), t.Context()
	admin := s.greengrass("us-east-1", cloud.AccessKey{})
	north := s.keyWith(identity.Grant{Access: "deployer", Limit: identity.Limit{GroupTag: "site=north"}})
	groups := map[string]string{}
	for _, site := range []string{"north", "south"} {
		g, err := admin.CreateGroup(ctx, &greengrass.CreateGroupInput{Name: aws.String("g"), Tags: map[string]string{"site": site}})
		if err != nil {
			t.Fatal(err)
		}
		groups[site] = *g.Id
	}
	groups["none"] = fescue.NewID()
	restore := func(key cloud.AccessKey, group string) (int, string) {
		status, _, answer := s.signedWith(key, "us-east-1", "greengrass", http.MethodPut, fmt.Sprintf("/fescue/v1/definitions/groups/%s/versions/%s", group, fescue.NewID()),
			`{"Name":"g","tags":{"site":"north"},"Version":{"Definition":{}}}`)
		return status, answer
	}
	for _, c := range []struct {
		name   string
		key    cloud.AccessKey
		group  string
		status int
	}{
		{"its own group", north, groups["north"], 200},
		{"another group", north, groups["south"], 403},
		{"a group that is not there", north, groups["none"], 403},
		{"a reader", s.keyWith(identity.Grant{Access: "reader"}), groups["north"], 403},
		{"a deployer", s.keyWith(identity.Grant{Access: "deployer"}), groups["none"], 200},
	} {
		status, answer := restore(c.key, c.group)
		if status != c.status || c.status == 403 && !strings.Contains(answer, "fescue:RestoreVersion on resource: arn:aws:greengrass:us-east-1:"+account+":/greengrass/groups/"+c.group+"/versions/") {
			t.Errorf("%s: %d %s, want %d", c.name, status, answer, c.status)
		}
	}
}
