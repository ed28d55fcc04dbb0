//go:build linux

package test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/smithy-go"

	"github.com/fescue-edge/fescue"
)

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// matchFile is matchAll of a file that may not be there yet.
func matchFile(name string, patterns ...string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return matchAll(string(text), patterns...)
}

func matchAll(text string, patterns ...string) error {
	for _, p := range patterns {
		if !regexp.MustCompile(p).MatchString(text) {
			return fmt.Errorf("no match of %s in:\n%s", p, text)
		}
	}
	return nil
}

// TestPartitions: two Regions of one server, with a core of the same name in
// each, do not see each other.
func TestPartitions(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--regions", region+",us-west-2")
	here, there := s.site(region), s.site("us-west-2")
	ctx := t.Context()

	viewers := map[*site]*client{here: here.connect(t, "Viewer"), there: there.connect(t, "Viewer")}
	groups := map[*site]string{}
	deployments := map[*site]string{}
	for _, h := range []*site{here, there} {
		g := h.provision(t, "Twin_Core")
		viewers[h].subscribe(t, "Twin_Core/#")
		g.run(t)
		arn := h.echo(t, "Twin")
		group, version := g.groupVersion(t, "", []function{
			{arn: arn, pinned: true, encoding: types.EncodingTypeBinary, variables: out(g.thing, h.region)},
		}, ends(arn, g.thing))
		groups[h], deployments[h] = group, h.deploy(t, group, version)
	}
	for _, h := range []*site{here, there} {
		h.await(t, groups[h], deployments[h], fescue.Success)
		viewers[h].next(t, "started "+h.region)
	}

	t.Run("messages stay inside", func(t *testing.T) {
		await(t, "publish", viewers[here].Publish("Twin_Core/in/x", 1, false, "from here"))
		viewers[here].next(t, "echo from here")
		// What crossed over would have arrived before this round trip ends.
		await(t, "publish", viewers[there].Publish("Twin_Core/in/x", 1, false, "from there"))
		for {
			select {
			case m := <-viewers[there].messages:
				switch text := string(m.Payload()); text {
				case "echo from here", "from here":
					t.Fatalf("a message of the other partition: %q", text)
				case "echo from there":
					return
				}
			case <-time.After(patience):
				t.Fatal("no echo")
			}
		}
	})

	t.Run("the other's ids are unknown", func(t *testing.T) {
		group, deployment := groups[here], deployments[here]
		_, err := there.greengrass.GetGroup(ctx, &greengrass.GetGroupInput{GroupId: &group})
		wantCode(t, err, "IdNotFoundException")
		_, err = there.status(ctx, group, deployment)
		wantCode(t, err, "InvalidInputException")
		list, err := there.greengrass.ListDeployments(ctx, &greengrass.ListDeploymentsInput{GroupId: &group})
		if err != nil || len(list.Deployments) != 0 {
			t.Errorf("ListDeployments of the other's group: %v, %v", list, err)
		}
		all, err := there.greengrass.ListGroups(ctx, &greengrass.ListGroupsInput{})
		if err != nil || len(all.Groups) != 1 || *all.Groups[0].Id != groups[there] {
			t.Errorf("ListGroups: %+v, %v: want only this partition's", all, err)
		}
		things, err := there.iot.ListThings(ctx, &iot.ListThingsInput{})
		if err != nil || len(things.Things) != 2 {
			t.Errorf("ListThings: %+v, %v: want Viewer and Twin_Core once", things, err)
		}
	})

	t.Run("a Region that is not served is refused by name", func(t *testing.T) {
		_, err := s.site("ap-south-1").greengrass.ListGroups(ctx, &greengrass.ListGroupsInput{})
		var api smithy.APIError
		if !errors.As(err, &api) {
			t.Fatalf("error %v", err)
		}
		if err := matchAll(api.ErrorMessage(), "us-west-2", region); err != nil {
			t.Error(err)
		}
	})
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code {
		t.Errorf("error %v: want %s", err, code)
	}
}
