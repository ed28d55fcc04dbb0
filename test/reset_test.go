//go:build linux

package test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue"
)

// TestReset: what clean-up scripts do, with the core there and without.
func TestReset(t *testing.T) {
	t.Parallel()
	h := startServer(t).site(region)
	ctx := t.Context()
	viewer := h.connect(t, "Viewer")

	deployed := func(t *testing.T, thing string) (*gateway, string) {
		g := h.provision(t, thing)
		viewer.subscribe(t, thing+"/out")
		g.run(t)
		arn := h.echo(t, thing)
		group, version := g.groupVersion(t, "", []function{
			{arn: arn, pinned: true, encoding: types.EncodingTypeBinary, variables: out(thing, thing)},
		}, ends(arn, thing))
		h.await(t, group, h.deploy(t, group, version), fescue.Success)
		viewer.next(t, "started "+thing)
		return g, group
	}
	reset := func(t *testing.T, group string, force bool) string {
		t.Helper()
		made, err := h.greengrass.ResetDeployments(ctx, &greengrass.ResetDeploymentsInput{GroupId: &group, Force: aws.Bool(force)})
		if err != nil {
			t.Fatal(err)
		}
		return *made.DeploymentId
	}
	cleared := func(t *testing.T, g *gateway) {
		t.Helper()
		eventually(t, "core cleared", func() error {
			links, err := os.ReadDir(filepath.Join(g.root, "ggc", "deployment", "lambda"))
			if err != nil {
				return err
			}
			if len(links) != 0 {
				return os.ErrExist
			}
			return nil
		})
	}

	t.Run("a deployed group is reset, then deleted", func(t *testing.T) {
		g, group := deployed(t, "Reset_Core")
		_, err := h.greengrass.DeleteGroup(ctx, &greengrass.DeleteGroupInput{GroupId: &group})
		wantCode(t, err, "BadRequestException")
		status := h.await(t, group, reset(t, group, false), fescue.Success)
		if status.DeploymentType != types.DeploymentTypeResetDeployment {
			t.Errorf("type %s", status.DeploymentType)
		}
		cleared(t, g)
		_, err = h.greengrass.ResetDeployments(ctx, &greengrass.ResetDeploymentsInput{GroupId: &group})
		wantCode(t, err, "ResourceNotFoundException")
		if _, err := h.greengrass.DeleteGroup(ctx, &greengrass.DeleteGroupInput{GroupId: &group}); err != nil {
			t.Errorf("delete after reset: %v", err)
		}
	})

	t.Run("a forced reset does not wait for the core, which resets when it comes", func(t *testing.T) {
		g, group := deployed(t, "Lost_Core")
		g.process.Kill()
		h.await(t, group, reset(t, group, true), fescue.Success)
		if _, err := h.greengrass.DeleteGroup(ctx, &greengrass.DeleteGroupInput{GroupId: &group}); err != nil {
			t.Errorf("delete after forced reset: %v", err)
		}
		g.run(t)
		cleared(t, g)
	})

	t.Run("a forced reset ends a deployment that its core will not", func(t *testing.T) {
		g := h.provision(t, "Absent_Core")
		group, version := g.groupVersion(t, "", nil, nil)
		deployment := h.deploy(t, group, version)
		h.await(t, group, deployment, fescue.InProgress)
		_, err := h.greengrass.ResetDeployments(ctx, &greengrass.ResetDeploymentsInput{GroupId: &group})
		wantCode(t, err, "ConcurrentDeployment")
		h.await(t, group, reset(t, group, true), fescue.Success)
		h.await(t, group, deployment, fescue.Failure)
	})

	t.Run("a forced reset of a group that was never deployed succeeds", func(t *testing.T) {
		made, err := h.greengrass.CreateGroup(ctx, &greengrass.CreateGroupInput{Name: aws.String("never")})
		if err != nil {
			t.Fatal(err)
		}
		h.await(t, *made.Id, reset(t, *made.Id, true), fescue.Success)
	})
}
