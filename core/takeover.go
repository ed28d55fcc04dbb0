package core

import (
	"context"
	"errors"
	"fmt"

	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/agent"
	"github.com/fescue-edge/fescue/core/config"
	"github.com/fescue-edge/fescue/corelink"
)

// Stands says how it stands with the deployments of a core with these options, which may
// run, and where its deployment folder is.
func Stands(o Options) (standing agent.Standing, folder string, err error) {
	cfg, err := o.load()
	if err != nil {
		return standing, "", err
	}
	standing, err = agent.Stands(cfg.DeploymentFolder())
	return standing, cfg.DeploymentFolder(), err
}

// ErrNothingWaits means that the control plane has no deployment for a core.
var ErrNothingWaits = errors.New("no deployment waits for this core")

// Waits asks the control plane for the deployment that waits for the core, and leaves it
// there. Its error is ErrNothingWaits where there is none.
func Waits(ctx context.Context, o Options) (deployment string, err error) {
	cfg, err := o.load()
	if err != nil {
		return "", err
	}
	client, err := newClient(cfg, cfg.GGHTTP)
	if err != nil {
		return "", err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	standing, err := agent.Stands(cfg.DeploymentFolder())
	if err != nil {
		return "", err
	}
	offer, err := client.GetDeployment(ctx, cfg.ThingName, corelink.Poll{After: standing.Epoch, Formats: bundle.Formats()})
	if err != nil {
		return "", fmt.Errorf("ask for the deployment that waits: %w", err)
	}
	if offer.DeploymentID == "" {
		return "", ErrNothingWaits
	}
	return offer.DeploymentID, nil
}

func (o Options) load() (*config.Config, error) {
	return config.Load(o.Root, config.Overrides{IoTHost: o.IoTHost, GGHost: o.GGHost, CAFile: o.CAFile})
}
