package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/client"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/disk"
)

type bundleCommand struct {
	serverFlags
	groupFlag
	File       string        `arg:"" type:"path" help:"The file to write."`
	Version    string        `xor:"what" placeholder:"ID" help:"The group version. Default: the latest."`
	Deployment string        `xor:"what" placeholder:"ID" help:"Bundle this deployment, which waits for the core, instead of a new one."`
	Force      bool          `help:"Write over a file that is there."`
	Timeout    time.Duration `default:"10m" placeholder:"DURATION" help:"How long to wait until the deployment is built."`
	JSON       bool          `name:"json" help:"Print JSON."`
}

// Help implements kong.HelpProvider.
func (bundleCommand) Help() string {
	return `Deploys a group into a file: the signed deployment with all that it needs, for a core that no
line leads to. Bring it to the gateway, on whatever way, and apply it there:

  fescue-core apply FILE --root /greengrass

The deployment stays InProgress until the core can report how it went. A newer deployment of
the group takes its place as of any that no core has claimed; the core, once it has a line
again, then goes back. Secrets in the file are sealed for the core; the code of functions and
the group's definitions are not, so that the file is readable by its owner alone.

Examples:
  fescue bundle --group Mill mill.bundle
  fescue bundle --group Mill --deployment 9b19e214-1d04-47b7-b82b-10707ed2d722 mill.bundle --force`
}

// madeBundle is what is printed.
type madeBundle struct {
	DeploymentId, GroupId, File string
	// Size is the file's, in bytes.
	Size int64
}

// Run writes the file.
func (c *bundleCommand) Run(ctx context.Context, t *terminal) error {
	if _, err := os.Lstat(c.File); err == nil && !c.Force {
		return fmt.Errorf("%s is there already; --force writes over it", c.File)
	}
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	g, err := c.find(ctx, api)
	if err != nil {
		return err
	}
	// Before anything is deployed: it may be that no file can be written there.
	file, err := disk.CreatePending(c.File)
	if err != nil {
		return err
	}
	defer file.Discard()
	made := madeBundle{DeploymentId: c.Deployment, GroupId: g.Id, File: c.File}
	if made.DeploymentId == "" {
		d, err := (&deployCommand{Version: c.Version}).create(ctx, api, g)
		if err != nil {
			return err
		}
		made.DeploymentId = d.DeploymentId
		fmt.Fprintf(t.stderr, "deployment %s of group %s\n", made.DeploymentId, g.Name)
	}
	if err := c.built(ctx, api, made); err != nil {
		return err
	}
	body, err := api.Send(ctx, "greengrass", "BundleDeployment", http.MethodPost, deploymentPath(g.Id, made.DeploymentId, "bundle"), nil)
	if e, ok := client.AsError(err); ok && e.Status == http.StatusConflict && c.Deployment == "" {
		return fmt.Errorf("%w; no file was written. A core that has a line takes deployments by that: a bundle is for one that has none", err)
	}
	if err != nil {
		return err
	}
	defer body.Close()
	if made.Size, err = keepBundle(file, body); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(t.stdout, made)
	}
	_, err = fmt.Fprintf(t.stdout, "%s has deployment %s, %d kB\n\nNext, on the gateway: fescue-core apply %s --root /greengrass\n",
		c.File, made.DeploymentId, (made.Size+1023)>>10, filepath.Base(c.File))
	return err
}

// built waits until the deployment waits for its core.
func (c *bundleCommand) built(ctx context.Context, api *client.Client, made madeBundle) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.Timeout, fmt.Errorf("deployment %s is not built after %s", made.DeploymentId, c.Timeout))
	defer cancel()
	for {
		var timeline ownapi.Timeline
		err := api.Call(ctx, "greengrass", "GetDeploymentTimeline", http.MethodGet, deploymentPath(made.GroupId, made.DeploymentId, "timeline"), nil, &timeline)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && !transient(err):
			return err
		case err == nil && timeline.DeploymentStatus == fescue.Failure:
			return &exitError{code: 1, text: timeline.ErrorMessage}
		case err == nil && timeline.DeploymentStatus != fescue.Building:
			return nil // what else is wrong with it the server says
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(watchPoll):
		}
	}
}

// keepBundle fills the file, and gives it its name when it is whole.
func keepBundle(file *disk.Pending, body io.Reader) (size int64, err error) {
	_, err = bundle.ReadCarried(io.TeeReader(body, file), func(bundle.Carried) error { return nil },
		func(_ string, _ int64, content io.Reader) error {
			_, err := io.Copy(io.Discard, content)
			return err
		})
	if err == nil {
		_, err = io.Copy(file, body) // what the archive's reader leaves
	}
	if err == nil {
		size, err = file.Seek(0, io.SeekCurrent)
	}
	if err != nil {
		return 0, err
	}
	return size, file.Keep()
}
