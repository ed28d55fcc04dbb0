package deploy_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/corelink"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	s := open(t)
	check := func(group, version string, wait time.Duration) deploy.Check {
		t.Helper()
		c, err := s.Check(t.Context(), home, group, version, wait)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	// core polls once for a check and answers it.
	core := func(thing string, report corelink.CheckReport) <-chan corelink.Offer {
		s.presence.Saw(home, thing)
		got := make(chan corelink.Offer, 1)
		go func() {
			offer, err := s.Await(context.Background(), home, thing, corelink.Poll{Wait: patience}, anybody)
			if err == nil && offer.Check != nil {
				err = s.Checked(context.Background(), home, thing, offer.Check.ID, report)
			}
			if err != nil {
				t.Errorf("the core's answer: %v", err)
			}
			got <- offer
		}()
		return got
	}

	t.Run("reports all that Building finds, and asks no core then", func(t *testing.T) {
		group, version := s.create(s.mill("broken").functions(reader+":7", stats))
		s.presence.Saw(home, "broken")
		c := check(group, version, time.Minute)
		if len(c.Building) != 2 || c.Building[0].DetailedErrorCode != string(fescue.FunctionNotFound) ||
			c.Building[1].DetailedErrorCode != string(fescue.FunctionUnpublished) || c.Asked || c.CoreThing != "broken" {
			t.Errorf("%+v", c)
		}
	})
	t.Run("asks a connected core", func(t *testing.T) {
		group, version := s.create(s.mill("connected").functions(reader + ":1"))
		problem := fescue.ErrorDetail{DetailedErrorCode: "RUNTIME_MISSING_ERROR", DetailedErrorMessage: "no python\x00"}
		asked := core("connected", corelink.CheckReport{Problems: []fescue.ErrorDetail{problem}, ToFetch: 9})
		c := check(group, version, patience)
		if !c.Asked || c.Answer == nil || c.Answer.ToFetch != 9 || len(c.Answer.Problems) != 1 || c.Answer.Problems[0].DetailedErrorMessage != "no python\uFFFD" {
			t.Errorf("%+v", c)
		}
		offer := <-asked
		got, err := bundle.ParseGroup(offer.Check.Group)
		if err != nil || offer.DeploymentID != "" || offer.Check.GroupID != group || len(got.GroupDefinitions.Lambdas.Content) != 1 ||
			offer.Check.Functions[0].ARN != reader+":1" || offer.Check.Functions[0].Size == 0 {
			t.Errorf("asked %+v, %v", offer.Check, err)
		}
		// Nothing was deployed by it, and nothing of it is left.
		if list, err := s.Deployments(t.Context(), home, group, fescue.Page{Limit: 9}); err != nil || len(list) != 0 {
			t.Errorf("deployments %v, %v", list, err)
		}
		if _, _, err := s.store.Checks().WaitingCheck(t.Context(), home, "connected"); !errors.Is(err, fescue.ErrNotFound) {
			t.Errorf("a check is left: %v", err)
		}
		if err := s.Checked(t.Context(), home, "connected", offer.Check.ID, corelink.CheckReport{}); !errors.Is(err, fescue.ErrNotFound) {
			t.Errorf("a late answer: %v", err)
		}
	})
	t.Run("does not wait for a core that is offline, or for ever", func(t *testing.T) {
		group, version := s.create(s.mill("silent"))
		if c := check(group, version, time.Hour); c.Asked || c.Answer != nil || len(c.Building) != 0 {
			t.Errorf("a core that was never seen: %+v", c)
		}
		s.presence.Saw(home, "silent")
		if c := check(group, version, 20*time.Millisecond); !c.Asked || c.Answer != nil {
			t.Errorf("a core that does not answer: %+v", c)
		}
		if c := check(group, version, 0); c.Asked {
			t.Errorf("asked without a wait: %+v", c)
		}
	})
	t.Run("a core that another group has", func(t *testing.T) {
		stop := s.run(s.another(nil))
		mill := s.mill("taken")
		s.reports(s.offered(s.create(mill)), fescue.EventClaimed, fescue.EventSucceeded)
		stop()
		group, version := s.create(mill)
		if c := check(group, version, time.Minute); len(c.Building) != 1 || c.Building[0].DetailedErrorCode != string(fescue.CoreInOtherGroup) {
			t.Errorf("%+v", c)
		}
	})
	t.Run("what is not there", func(t *testing.T) {
		group, version := s.create(s.mill("there"))
		_, empty := s.create(groupOf("there", "none"))
		for name, row := range map[string]struct {
			p              fescue.Partition
			group, version string
			want           error
		}{
			"another partition": {elsewhere, group, version, deploy.ErrUnknownGroup},
			"no id":             {home, "x", version, deploy.ErrUnknownGroup},
			"another group's":   {home, group, empty, deploy.ErrUnknownVersion},
			"no version id":     {home, group, "latest", deploy.ErrUnknownVersion},
		} {
			if _, err := s.Check(t.Context(), row.p, row.group, row.version, 0); !errors.Is(err, row.want) {
				t.Errorf("%s: %v, want %v", name, err, row.want)
			}
		}
	})
	t.Run("malformed answers", func(t *testing.T) {
		for name, report := range map[string]corelink.CheckReport{
			"negative bytes": {ToFetch: -1},
			"many problems":  {Problems: make([]fescue.ErrorDetail, 201)},
			"a long problem": {Problems: []fescue.ErrorDetail{{DetailedErrorMessage: strings.Repeat("x", 9<<10)}}},
		} {
			if err := s.Checked(t.Context(), home, "core", fescue.NewID(), report); !errors.Is(err, deploy.ErrReport) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := json.Marshal(corelink.Check{Group: json.RawMessage(`{}`)}); err != nil {
			t.Fatal(err)
		}
	})
}
