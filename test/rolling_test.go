//go:build linux

package test

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	iottypes "github.com/aws/aws-sdk-go-v2/service/iot/types"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/store/pgtest"
)

// TestRollingUpgrade: servers of this version and of the one before run on one PostgreSQL, while
// one after the other is replaced, and while they are taken back.
func TestRollingUpgrade(t *testing.T) {
	t.Parallel()
	database, shared := pgtest.Database(t), t.TempDir()
	serve := func(t *testing.T, program string) *server {
		t.Helper()
		s := &server{
			data: t.TempDir(), program: program,
			environment: []string{"FESCUE_DATABASE=" + database, "FESCUE_MASTER_KEY_FILE=" + filepath.Join(shared, "master.key")},
		}
		s.args = []string{
			"server", "--data", s.data, "--api", address(t), "--device", address(t), "--mqtt", address(t),
			"--account", account, "--region", region, "--artifacts", filepath.Join(shared, "artifacts"),
		}
		s.run(t)
		return s
	}
	oldCore := programOf(t, serversBefore, "fescue-core")
	old := serve(t, programOf(t, serversBefore, "fescue"))
	a := old.site(region)
	oldViewer := a.connect(t, "Old_Viewer")
	g := a.provision(t, "Old_Core")
	oldViewer.subscribe(t, g.thing+"/out")
	g.process = startProgram(t, oldCore, nil, "--root", g.root)
	group, version := g.echoes(t, "", a.echo(t, "Echo"), "before")
	a.await(t, group, a.deploy(t, group, version), fescue.Success)
	oldViewer.next(t, "started before")

	// Calls go on at the one server while the other one starts and changes the schema.
	var made []string
	stop := make(chan struct{})
	var calling sync.WaitGroup
	calling.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			out, err := a.greengrass.CreateGroup(t.Context(), &greengrass.CreateGroupInput{Name: aws.String(fmt.Sprint("made meanwhile ", i))})
			if err != nil {
				t.Errorf("a call meanwhile: %v", err)
				return
			}
			made = append(made, *out.Id)
		}
	})
	newer := serve(t, fescueBin)
	close(stop)
	calling.Wait()
	b := newer.site(region)
	if len(made) == 0 {
		t.Error("no call was answered while the newer server started")
	}

	// seen fails unless a server has a group.
	seen := func(t *testing.T, h *site, id string) {
		t.Helper()
		if _, err := h.greengrass.GetGroup(t.Context(), &greengrass.GetGroupInput{GroupId: &id}); err != nil {
			t.Errorf("group %s: %v", id, err)
		}
	}
	for _, id := range made {
		seen(t, b, id)
	}
	newViewer := b.connect(t, "New_Viewer")
	n := b.provision(t, "New_Core")
	newViewer.subscribe(t, n.thing+"/out")
	n.run(t)
	newGroup, newVersion := n.echoes(t, "", b.echo(t, "Echo"), "first")

	// deployments go by either server to the core of either. The viewers see their functions
	// until their servers start anew.
	deployments := func(t *testing.T, tag string, viewed bool) {
		t.Helper()
		for _, by := range []struct {
			name string
			*site
		}{{"before", a}, {"this", b}} {
			tag := tag + " by the version " + by.name
			arn := by.echo(t, "Echo")
			for _, to := range []struct {
				gateway *gateway
				viewer  *client
				group   *string
				other   *site
			}{{g, oldViewer, &group, b}, {n, newViewer, &newGroup, a}} {
				operator := *to.gateway
				operator.site = by.site
				_, version := operator.echoes(t, *to.group, arn, tag)
				id := by.deploy(t, *to.group, version)
				by.await(t, *to.group, id, fescue.Success)
				to.other.await(t, *to.group, id, fescue.Success)
				if viewed {
					to.viewer.next(t, "started "+tag)
				}
			}
		}
	}
	b.await(t, newGroup, a.deploy(t, newGroup, newVersion), fescue.Success)
	newViewer.next(t, "started first")
	t.Run("deployments by either, to cores of either", func(t *testing.T) { deployments(t, "beside", true) })
	t.Run("a certificate that is deactivated on one is gone from the other", func(t *testing.T) {
		for name, pair := range map[string][2]*site{"At_Old": {a, b}, "At_New": {b, a}} {
			c := pair[0].connect(t, name)
			things, err := pair[1].iot.ListThingPrincipals(t.Context(), &iot.ListThingPrincipalsInput{ThingName: &name})
			if err != nil {
				t.Fatal(err)
			}
			id := things.Principals[0][len(things.Principals[0])-64:]
			if _, err := pair[1].iot.UpdateCertificate(t.Context(), &iot.UpdateCertificateInput{CertificateId: &id, NewStatus: iottypes.CertificateStatusInactive}); err != nil {
				t.Fatal(err)
			}
			eventually(t, "connection ended", func() error {
				if c.IsConnectionOpen() {
					return errors.New("it is there")
				}
				return nil
			})
		}
	})
	whole := t // what is started again outlives its part of the test
	t.Run("a server of the version before starts on what this one changed", func(t *testing.T) {
		old.restart(whole)
		deployments(t, "restarted", false)
	})
	t.Run("its cores go on at a server of this version, and back", func(t *testing.T) {
		for tag, program := range []string{fescueBin, programOf(t, serversBefore, "fescue")} {
			old.Kill()
			old.program = program
			old.run(whole)
			deployments(t, fmt.Sprint("moved ", tag), false)
		}
	})
}
