//go:build linux

package test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/corelink"
)

// as speaks to the control plane with a core's certificate.
func (g *gateway) as(t *testing.T) *corelink.Client {
	t.Helper()
	cfg := g.tls(t)
	cfg.ServerName = "localhost"
	c := corelink.NewClient(g.device, cfg)
	t.Cleanup(c.Close)
	return c
}

// offered deploys a group with one function and waits until it is offered.
func (g *gateway) offered(t *testing.T, arn string) (group, deployment string) {
	t.Helper()
	group, version := g.groupVersion(t, "", []function{{arn: arn, pinned: true, encoding: types.EncodingTypeBinary, variables: out(g.thing, "v1")}}, ends(arn, g.thing))
	deployment = g.deploy(t, group, version)
	g.await(t, group, deployment, fescue.InProgress)
	return group, deployment
}

func TestReportsTwiceAndOutOfOrder(t *testing.T) {
	t.Parallel()
	h := startServer(t).site(region)
	arn := h.echo(t, "Echo")
	const refused = "refused"
	for _, tc := range []struct {
		name string
		// events are reported in this order; what is refused is said.
		events []string
		end    fescue.DeploymentStatus
	}{
		{"everything twice", []string{"Claimed", "Claimed", "Staged", "Staged", "Switched", "Switched", "Succeeded", "Succeeded"}, fescue.Success},
		{"the steps backwards", []string{"Claimed", "Switched", "Staged", "Claimed", "Succeeded", "Staged " + refused, "Claimed " + refused}, fescue.Success},
		{"the end alone after the claim", []string{"Claimed", "Succeeded"}, fescue.Success},
		{"Failure after Success", []string{"Claimed", "Succeeded", "Failed " + refused, "Succeeded"}, fescue.Success},
		{"Success after Failure", []string{"Claimed", "Failed", "Succeeded " + refused, "Failed"}, fescue.Failure},
		{"the end before the claim", []string{"Succeeded " + refused, "Failed " + refused, "Switched " + refused, "Claimed", "Failed"}, fescue.Failure},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := h.provision(t, "Order_"+fescue.NewID())
			core := g.as(t)
			group, deployment := g.offered(t, arn)
			offer, err := core.GetDeployment(t.Context(), g.thing, corelink.Poll{})
			if err != nil || offer.DeploymentID != deployment {
				t.Fatalf("offer %+v, %v", offer, err)
			}
			for i, event := range tc.events {
				event, bad := strings.CutSuffix(event, " "+refused)
				_, err := core.UpdateStatus(t.Context(), group, deployment, g.thingARN, corelink.StatusReport{
					Event: fescue.DeploymentEvent(event), Epoch: offer.Epoch, Message: "it did not work",
				})
				if _, said := corelink.Refused(err); said != bad || err != nil && !said {
					t.Errorf("report %d, %s: %v", i, event, err)
				}
			}
			h.await(t, group, deployment, tc.end)
		})
	}
}

func TestLyingCore(t *testing.T) {
	t.Parallel()
	h := startServer(t).site(region)
	arn := h.echo(t, "Echo")
	honest, liar := h.provision(t, "Honest_Core"), h.provision(t, "Lying_Core")
	group, deployment := honest.offered(t, arn)
	ownGroup, own := liar.offered(t, arn)
	offer, err := honest.as(t).GetDeployment(t.Context(), honest.thing, corelink.Poll{})
	if err != nil {
		t.Fatal(err)
	}
	success := func(epoch int64) corelink.StatusReport {
		return corelink.StatusReport{Event: fescue.EventSucceeded, Epoch: epoch}
	}
	lies := func(t *testing.T, core *corelink.Client, group, deployment, thingARN string, report corelink.StatusReport) {
		t.Helper()
		answer, err := core.UpdateStatus(t.Context(), group, deployment, thingARN, report)
		if e, said := corelink.Refused(err); !said {
			t.Errorf("%s was answered with %+v, %v", report.Event, answer, err)
		} else {
			t.Logf("%s: %v", report.Event, e)
		}
	}
	t.Run("about another core's deployment, under its own name", func(t *testing.T) {
		for _, event := range []fescue.DeploymentEvent{fescue.EventClaimed, fescue.EventSucceeded, fescue.EventFailed} {
			lies(t, liar.as(t), group, deployment, liar.thingARN, corelink.StatusReport{Event: event, Epoch: offer.Epoch})
		}
	})
	t.Run("with the certificate of another thing", func(t *testing.T) {
		lies(t, liar.as(t), group, deployment, honest.thingARN, success(offer.Epoch))
		if _, err := liar.as(t).GetDeployment(t.Context(), honest.thing, corelink.Poll{}); err == nil {
			t.Error("it was offered another core's deployment")
		}
	})
	t.Run("about a deployment of another group", func(t *testing.T) {
		lies(t, liar.as(t), group, own, liar.thingARN, success(1))
		lies(t, liar.as(t), ownGroup, deployment, liar.thingARN, success(1))
	})
	t.Run("about what it has not claimed", func(t *testing.T) {
		lies(t, liar.as(t), ownGroup, own, liar.thingARN, success(1))
	})
	t.Run("in the name of the control plane", func(t *testing.T) {
		for _, event := range []fescue.DeploymentEvent{
			fescue.EventBuilt, fescue.EventBuildFailed, fescue.EventSuperseded, fescue.EventForceReset, fescue.EventForcedAway,
			fescue.EventCancelled, fescue.EventCancelRequested, fescue.EventExpired, fescue.EventTimedOut, "Invented", "",
		} {
			lies(t, liar.as(t), ownGroup, own, liar.thingARN, corelink.StatusReport{Event: event, Epoch: 1})
		}
	})
	t.Run("with a wrong epoch", func(t *testing.T) {
		core := liar.as(t)
		if _, err := core.UpdateStatus(t.Context(), ownGroup, own, liar.thingARN, corelink.StatusReport{Event: fescue.EventClaimed, Epoch: 1}); err != nil {
			t.Fatal(err)
		}
		for _, epoch := range []int64{2, 1 << 62, -1} {
			lies(t, core, ownGroup, own, liar.thingARN, success(epoch))
		}
	})
	for id, group := range map[string]string{deployment: group, own: ownGroup} {
		if status, err := h.status(t.Context(), group, id); err != nil || *status.DeploymentStatus != string(fescue.InProgress) {
			t.Errorf("the deployment is %v, %v", status, err)
		}
	}
	honest.run(t)
	h.await(t, group, deployment, fescue.Success)
	honest.runs(t, "v1")
}

// runs waits until exactly the functions with these tags run on a core.
func (g *gateway) runs(t *testing.T, tags ...string) {
	t.Helper()
	eventually(t, "functions", func() error {
		got := []string{}
		names, _ := filepath.Glob("/proc/[0-9]*/environ")
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil || !bytes.Contains(data, []byte("OUT="+g.thing+"/out\x00")) {
				continue
			}
			for v := range bytes.SplitSeq(data, []byte{0}) {
				if tag, ok := bytes.CutPrefix(v, []byte("TAG=")); ok {
					got = append(got, string(tag))
				}
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, tags) {
			return fmt.Errorf("%v run, want %v", got, tags)
		}
		return nil
	})
}

// versions runs a core with a first version of a function, and makes a second one
// that takes three seconds until it counts as healthy.
func versions(t *testing.T, h *site, thing string) (g *gateway, group, second string) {
	t.Helper()
	g = h.provision(t, thing)
	g.configure(t, "mqttMaxConnectionRetryInterval", 1)
	g.run(t)
	arn := h.echo(t, thing+"_Echo")
	v1 := []function{{arn: arn, pinned: true, encoding: types.EncodingTypeBinary, variables: out(g.thing, "v1")}}
	group, first := g.groupVersion(t, "", v1, ends(arn, g.thing))
	h.await(t, group, h.deploy(t, group, first), fescue.Success)
	slow := out(g.thing, "v2")
	slow["MUTE"] = "yes"
	_, second = g.groupVersion(t, group, []function{{arn: arn, pinned: true, encoding: types.EncodingTypeBinary, variables: slow}}, ends(arn, g.thing))
	return g, group, second
}

// switched waits until the core has switched to a deployment.
func (g *gateway) switched(t *testing.T, deployment string) {
	t.Helper()
	eventually(t, "switch", func() error {
		return matchFile(filepath.Join(g.root, "ggc", "var", "log", "system", "runtime.log"), `The deployment is switched to\. \{"deploymentId": "`+deployment)
	})
}

func TestReportLostAfterSwitch(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	h := s.site(region)
	g, group, second := versions(t, h, "Lost_Core")
	deployment := h.deploy(t, group, second)
	g.switched(t, deployment)
	s.Kill()
	eventually(t, "end on the core", func() error {
		state := readFile(t, filepath.Join(g.root, "ggc", "deployment", "state.json"))
		if !bytes.Contains(state, []byte(deployment)) {
			return fmt.Errorf("state %s", state)
		}
		return nil
	})
	g.runs(t, "v2")
	s.restart(t)
	h.await(t, group, deployment, fescue.Success)
	g.runs(t, "v2")
}

func TestCoreBackAfterItsDeadline(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--health-deadline", "1s")
	h := s.site(region)
	for _, tc := range []struct {
		name, thing string
		freeze      bool
	}{
		{"it was at work all the time", "Slow_Core", false},
		{"it was away", "Frozen_Core", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g, group, second := versions(t, h, tc.thing)
			deployment := h.deploy(t, group, second)
			g.switched(t, deployment)
			// Functions have their time from the report of the switch, which the core
			// sends after it has switched.
			eventually(t, "report of the switch", func() error {
				if _, ok := s.out.Find(`deployment=(` + deployment + `) .*event=Switched`); !ok {
					return errors.New("not yet")
				}
				return nil
			})
			if tc.freeze {
				g.process.Process.Signal(syscall.SIGSTOP)
			}
			end := h.await(t, group, deployment, fescue.Failure)
			if !strings.Contains(details(end), string(fescue.DeploymentTimedOut)) {
				t.Errorf("it failed for %s", details(end))
			}
			if tc.freeze {
				g.process.Process.Signal(syscall.SIGCONT)
			}
			g.runs(t, "v1")
			h.await(t, group, deployment, fescue.Failure)
		})
	}
}

func TestCoreForcedAwayAfterTheClaim(t *testing.T) {
	t.Parallel()
	h := startServer(t).site(region)
	g, group, second := versions(t, h, "Dead_Core")
	deployment := h.deploy(t, group, second)
	g.switched(t, deployment)
	g.process.Kill()
	force := true
	reset, err := h.greengrass.ResetDeployments(t.Context(), &greengrass.ResetDeploymentsInput{GroupId: &group, Force: &force})
	if err != nil {
		t.Fatal(err)
	}
	h.await(t, group, *reset.DeploymentId, fescue.Success)
	if end := h.await(t, group, deployment, fescue.Failure); !strings.Contains(details(end), string(fescue.DeploymentForcedAway)) {
		t.Errorf("it failed for %s", details(end))
	}
	arn := h.echo(t, "Third_Echo")
	_, third := g.groupVersion(t, group, []function{{arn: arn, pinned: true, encoding: types.EncodingTypeBinary, variables: out(g.thing, "v3")}}, ends(arn, g.thing))
	latest := h.deploy(t, group, third)
	h.await(t, group, latest, fescue.InProgress)
	g.run(t)
	h.await(t, group, latest, fescue.Success)
	g.runs(t, "v3")
	h.await(t, group, deployment, fescue.Failure)
}
