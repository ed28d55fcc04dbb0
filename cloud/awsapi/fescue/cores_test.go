package fescue_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
	api "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/cloud/cores"
)

func TestListCores(t *testing.T) {
	t.Parallel()
	a := open(t)
	group, _ := a.deployable()
	info := fescue.CoreInfo{Version: "1.9", Architecture: "arm64", Formats: []int{2}, Findings: []fescue.ErrorDetail{{DetailedErrorCode: "CORE_DISK_FULL", DetailedErrorMessage: "m"}}}
	for _, thing := range []string{"A", "B", "C"} {
		seen := cores.LastSeen{SeenAt: now, ConnectedAt: now, Address: "10.0.0.7"}
		if err := a.store.Cores().See(t.Context(), []cores.Seen{{Partition: here, Thing: thing, Core: true, LastSeen: seen}}); err != nil {
			t.Fatal(err)
		}
		if err := a.store.Cores().SetCoreInfo(t.Context(), here, thing, info, now); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("all, in pages", func(t *testing.T) {
		var names []string
		path := "/fescue/v1/cores?MaxResults=2"
		for range 2 {
			var page api.CoreList
			a.get("GET", path, "", &page)
			for _, c := range page.Cores {
				names = append(names, c.ThingName)
				if c.Address != "10.0.0.7" || c.Version != "1.9" || c.Architecture != "arm64" || len(c.Findings) != 1 || c.SaidAt != stamp || c.LastSeen != stamp || c.Runs != nil {
					t.Errorf("%+v", c)
				}
			}
			path += "&NextToken=" + page.NextToken
		}
		if len(names) != 3 || names[0] != "A" || names[2] != "C" {
			t.Errorf("cores %v", names)
		}
	})
	t.Run("of a group without one", func(t *testing.T) {
		if text := a.call(here, "GET", "/fescue/v1/groups/"+group+"/cores", "").text; text != `{"Cores":[]}` {
			t.Error(text)
		}
	})
	t.Run("filtered, and counted", func(t *testing.T) {
		var page api.CoreList
		a.get("GET", "/fescue/v1/cores?Contains=b&State=wrong", "", &page)
		if len(page.Cores) != 1 || page.Cores[0].ThingName != "B" {
			t.Errorf("%+v", page)
		}
		a.holds(group, "B", map[string]string{"site": "a=b", "empty": "", "x=y": "z"})
		for tag, want := range map[string]int{"site=a%3Db": 1, "empty=": 1, "site=a": 0, "site=": 0, "none=": 0, "x=y=z": 0, "%22x=y%22=z": 1, "%22site%22=a%3Db": 1, "%22x=y%22=": 0, "empty=&State=offline": 0, "empty=&Contains=b": 1, "empty=&Contains=a": 0} {
			if a.get("GET", "/fescue/v1/cores?Tag="+tag, "", &page); len(page.Cores) != want || want == 1 && page.Cores[0].ThingName != "B" {
				t.Errorf("Tag=%s: %+v", tag, page)
			}
		}
		var counts api.FleetSummary
		a.get("GET", "/fescue/v1/fleet", "", &counts)
		if counts != (api.FleetSummary{Cores: 3, Connected: 3}) {
			t.Errorf("%+v", counts)
		}
	})
	for _, tc := range []struct {
		path, code, text string
		status           int
	}{
		{"/fescue/v1/groups/" + knownID + "/cores", "ResourceNotFoundException", "That group definition does not exist.", 404},
		{"/fescue/v1/groups/g/cores", "ResourceNotFoundException", "That group definition does not exist.", 404},
		{"/fescue/v1/cores?MaxResults=0", "BadRequestException", "MaxResults '0' is not a number of at least 1.", 400},
		{"/fescue/v1/cores?State=gone", "BadRequestException", "State 'gone' is none of connected, offline and wrong.", 400},
		{"/fescue/v1/cores?Contains=" + strings.Repeat("x", 129), "BadRequestException", "Contains has more than 128 characters.", 400},
		{"/fescue/v1/cores?Tag=site", "BadRequestException", "Tag 'site' is not the name and the value of a tag, as site=north, in at most 385 characters.", 400},
		{"/fescue/v1/cores?Tag=%22site=north", "BadRequestException", "is not the name and the value of a tag", 400},
		{"/fescue/v1/cores?Tag==north", "BadRequestException", "Tag '=north' is not the name and the value of a tag", 400},
		{"/fescue/v1/cores?Tag=a=" + strings.Repeat("x", 384), "BadRequestException", "in at most 385 characters.", 400},
		{"/fescue/v1/cores?NextToken=x", "BadRequestException", "NextToken is not one that this API gave out for this list, or the record it stood for is gone. List again from the beginning.", 400},
	} {
		t.Run(tc.path, func(t *testing.T) {
			a.refused("GET", tc.path, "", tc.status, tc.code, tc.text)
		})
	}
}

// holds has a core of a thing run a group with tags.
func (s *site) holds(group, thing string, tags map[string]string) {
	s.t.Helper()
	ctx := s.t.Context()
	old, err := s.definitions.Definition(ctx, here, fescue.GroupKind, group)
	if err != nil {
		s.t.Fatal(err)
	}
	d, err := s.engine.Create(ctx, here, group, fescue.NewDeployment, old.LatestVersion, "", fescue.Token{})
	if err == nil {
		err = s.store.Definitions().ReplaceTags(ctx, here, fescue.GroupKind, group, old.Tags, tags)
	}
	if err == nil {
		d, _, err = s.store.Offers().Offer(ctx, d, thing, now, fescue.DeploymentStep{}, func(int64) (fescue.Offering, error) {
			return fescue.Offering{Envelope: []byte("{}")}, nil
		})
	}
	for _, event := range []fescue.DeploymentEvent{fescue.EventClaimed, fescue.EventStaged, fescue.EventSwitched, fescue.EventSucceeded} {
		if err == nil {
			d, err = s.store.Deployments().ApplyStep(ctx, d, fescue.CoreActor, fescue.DeploymentStep{Event: event, At: now})
		}
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestResetCoreEpoch(t *testing.T) {
	t.Parallel()
	a := open(t)
	a.refused("POST", "/fescue/v1/cores/none/epoch", `{"Epoch":7}`, 404, "ResourceNotFoundException", "There is neither a core nor a thing none.")
	a.refused("POST", "/fescue/v1/cores/none/epoch", `{"Epoch":"7"}`, 400, "BadRequestException", "Epoch")
	if err := a.store.Cores().See(t.Context(), []cores.Seen{{Partition: here, Thing: "A", Core: true, LastSeen: cores.LastSeen{SeenAt: now}}}); err != nil {
		t.Fatal(err)
	}
	var got api.CoreEpoch
	if a.get("POST", "/fescue/v1/cores/A/epoch", `{"Epoch":7}`, &got); got != (api.CoreEpoch{ThingName: "A", Epoch: 7}) {
		t.Errorf("%+v", got)
	}
	a.refused("POST", "/fescue/v1/cores/A/epoch", `{"Epoch":-1}`, 400, "BadRequestException", "")
	known := func(want int64) {
		t.Helper()
		var got api.KnownEpoch
		if a.get("GET", "/fescue/v1/cores/A/epoch", "", &got); got != (api.KnownEpoch{ThingName: "A", Epoch: want}) {
			t.Errorf("%+v, want %d", got, want)
		}
	}
	known(7)
	for _, step := range []struct{ epoch, now, before int64 }{{9, 9, 7}, {8, 9, 9}, {10_009, 10_009, 9}} {
		if a.get("PUT", "/fescue/v1/cores/A/epoch", fmt.Sprintf(`{"Epoch":%d}`, step.epoch), &got); got != (api.CoreEpoch{ThingName: "A", Epoch: step.now, Before: step.before}) {
			t.Errorf("%+v", got)
		}
	}
	a.refused("PUT", "/fescue/v1/cores/A/epoch", `{"Epoch":20010}`, 409, "ConflictException", "fescue reset-epoch --core A --epoch 20010 settles it")
	a.refused("PUT", "/fescue/v1/cores/A/epoch", `{"Epoch":-1}`, 400, "BadRequestException", "does not lie between")
	a.refused("PUT", "/fescue/v1/cores/none/epoch", `{"Epoch":7}`, 404, "ResourceNotFoundException", "There is neither a core nor a thing none.")
	known(10_009)
}
