package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/client"
)

type deployCommand struct {
	serverFlags
	groupFlag
	Version    string        `xor:"what" placeholder:"ID" help:"The group version. Default: the latest."`
	Redeploy   bool          `xor:"what" help:"Deploy again what was deployed before."`
	Reset      bool          `xor:"what" help:"Take the group off its core."`
	Deployment string        `placeholder:"ID" help:"With --redeploy: which deployment. Default: the newest that was no reset."`
	Force      bool          `help:"With --reset: do not wait for the core. It is reset when it comes back."`
	Wait       bool          `help:"Show each step, and end with the deployment."`
	Timeout    time.Duration `default:"0" placeholder:"DURATION" help:"With --wait: give up after this time, with exit code 3; 0 waits until the deployment ends."`
	JSON       bool          `name:"json" help:"Print JSON; with --wait, each change as one line."`
}

// Help implements kong.HelpProvider.
func (deployCommand) Help() string {
	return `Deploys a group version to the group's core. With --wait the exit code is that of fescue
watch: 0 for Success, 1 for Failure. fescue check finds what would fail before that.

Examples:
  fescue deploy --group Mill --wait
  fescue deploy --group Mill --version 8a4be6d2-90f1-4b7c-8c11-2d5f3e6a9002 --wait --timeout 10m
  fescue deploy --group Mill --redeploy
  fescue deploy --group Mill --reset --wait`
}

// Validate implements kong.Validatable.
func (c *deployCommand) Validate() error {
	switch {
	case c.Deployment != "" && !c.Redeploy:
		return fmt.Errorf("--deployment is for --redeploy")
	case c.Force && !c.Reset:
		return fmt.Errorf("--force is for --reset")
	case c.Timeout != 0 && !c.Wait:
		return fmt.Errorf("--timeout is for --wait")
	}
	return nil
}

// Run deploys.
func (c *deployCommand) Run(ctx context.Context, t *terminal) error {
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	g, err := c.find(ctx, api)
	if err != nil {
		return err
	}
	made, err := c.create(ctx, api, g)
	if err != nil {
		return err
	}
	if !c.Wait {
		if c.JSON {
			return printJSON(t.stdout, made)
		}
		_, err := fmt.Fprintf(t.stdout, "deployment %s of group %s\n\nNext: fescue watch --group %s %s\n", made.DeploymentId, g.Name, g.Id, made.DeploymentId)
		return err
	}
	return watchDeployment(ctx, t, api, g.Id, made.DeploymentId, c.Timeout, c.JSON)
}

// madeDeployment is what creating a deployment answers.
type madeDeployment struct{ DeploymentArn, DeploymentId string }

// create makes the deployment that is asked for.
func (c *deployCommand) create(ctx context.Context, api *client.Client, g client.Group) (made madeDeployment, err error) {
	path := "/greengrass/groups/" + g.Id + "/deployments"
	if c.Reset {
		err = api.Call(ctx, "greengrass", "ResetDeployments", http.MethodPost, path+"/$reset", struct{ Force bool }{c.Force}, &made)
		return made, err
	}
	in := struct {
		DeploymentType fescue.DeploymentType
		GroupVersionId string `json:",omitempty"`
		DeploymentId   string `json:",omitempty"`
	}{DeploymentType: fescue.NewDeployment, GroupVersionId: c.Version}
	switch {
	case c.Redeploy:
		in.DeploymentType = fescue.Redeployment
		if in.DeploymentId = c.Deployment; in.DeploymentId == "" {
			in.DeploymentId, err = lastDeployed(ctx, api, g)
		}
	case c.Version == "":
		if in.GroupVersionId = g.LatestVersion; in.GroupVersionId == "" {
			err = fmt.Errorf("the group %s has no version; aws greengrass create-group-version makes one", g.Name)
		}
	}
	if err != nil {
		return made, err
	}
	err = api.Call(ctx, "greengrass", "CreateDeployment", http.MethodPost, path, in, &made)
	return made, err
}

// lastDeployed is the newest deployment of a group that was no reset.
func lastDeployed(ctx context.Context, api *client.Client, g client.Group) (string, error) {
	var page struct {
		Deployments []struct {
			DeploymentId   string
			DeploymentType fescue.DeploymentType
		}
	}
	if err := api.Call(ctx, "greengrass", "ListDeployments", http.MethodGet, "/greengrass/groups/"+g.Id+"/deployments", nil, &page); err != nil {
		return "", err
	}
	for _, d := range page.Deployments {
		if !d.DeploymentType.Reset() {
			return d.DeploymentId, nil
		}
	}
	return "", fmt.Errorf("the group %s has never been deployed, so that there is nothing to deploy again", g.Name)
}
