//go:build linux

package test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
)

// TestPlaceIsKept: whose a data folder is, and where, is given once. A later start
// without flags serves the same, and keys are made for the same account.
func TestPlaceIsKept(t *testing.T) {
	t.Parallel()
	// groups are the names of the groups that a Region shows, or why it does not.
	groups := func(t *testing.T, s *server, region string) string {
		t.Helper()
		list, err := s.site(region).greengrass.ListGroups(t.Context(), &greengrass.ListGroupsInput{})
		if err != nil {
			return err.Error()
		}
		var names []string
		for _, g := range list.Groups {
			names = append(names, aws.ToString(g.Name))
		}
		return strings.Join(names, ",")
	}
	stop := func(t *testing.T, s *server) {
		t.Helper()
		if err := s.interrupt(t); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("a folder of this version", func(t *testing.T) {
		data := t.TempDir()
		s := startServerOn(t, data, "--regions", "eu-west-1,us-west-2")
		for _, region := range []string{region, "us-west-2"} {
			if _, err := s.site(region).greengrass.CreateGroup(t.Context(), &greengrass.CreateGroupInput{Name: aws.String("in-" + region)}); err != nil {
				t.Fatal(err)
			}
		}
		stop(t, s)
		s = startBareServer(t, nil, data)
		for _, region := range []string{region, "us-west-2"} {
			if got := groups(t, s, region); got != "in-"+region {
				t.Errorf("%s shows %s", region, got)
			}
		}
		if got := groups(t, s, "us-east-1"); !strings.Contains(got, "eu-west-1") {
			t.Errorf("us-east-1 is served: %s", got)
		}
		stop(t, s)
		s = startBareServer(t, nil, data, "--region", "us-west-2")
		if got := groups(t, s, "us-west-2"); got != "in-us-west-2" {
			t.Errorf("%s", got)
		}
		if _, ok := s.out.Find(`(Regions that were served before.*eu-west-1)`); !ok {
			t.Errorf("nothing is said of the Region that went:\n%s", s.out)
		}
	})
	t.Run("a folder of an earlier version", func(t *testing.T) {
		data := t.TempDir()
		tar(t, "-xzpf", filepath.Join("testdata", "data-2026-11", "server.tar.gz"), "-C", data)
		s := startBareServer(t, nil, data)
		if got := groups(t, s, region); got == "" || strings.Contains(got, "Error") {
			t.Errorf("%s shows %s", region, got)
		}
	})
	t.Run("keys", func(t *testing.T) {
		data := t.TempDir()
		create := func(args ...string) *process {
			p := start(t, nil, append([]string{"keys", "create", "--data", data, "--json"}, args...)...)
			<-p.Done
			return p
		}
		if p := create("--name", "early", "--role", "reader"); p.Err == nil || !strings.Contains(p.out.String(), "--account") {
			t.Errorf("a key before the first start: %v %s", p.Err, p.out)
		}
		startServerOn(t, data)
		if p := create("--name", "anything"); p.Err == nil || !strings.Contains(p.out.String(), "--access") {
			t.Errorf("a key without an access level: %v %s", p.Err, p.out)
		}
		p := create("--name", "dashboards", "--role", "reader") // as earlier versions called --access
		var key struct{ AccessKeyID string }
		if err := json.Unmarshal([]byte(p.out.String()), &key); err != nil || p.Err != nil {
			t.Fatalf("%v, %v: %s", p.Err, err, p.out)
		}
		list := start(t, nil, "keys", "list", "--data", data, "--json")
		<-list.Done
		var rows []struct{ AccessKeyID, Account, Access, Role string }
		if err := json.Unmarshal([]byte(list.out.String()), &rows); err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			if row.Account != account || row.AccessKeyID == key.AccessKeyID && (row.Access != "reader" || row.Role != "reader") {
				t.Errorf("%+v", row)
			}
		}
	})
}
