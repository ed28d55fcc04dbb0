package main

import (
	"context"

	"github.com/fescue-edge/fescue/core"
	"github.com/fescue-edge/fescue/core/sandbox"
	"github.com/fescue-edge/fescue/systemd"
)

// beContainer makes this process the first one of a container, if it was started as
// that.
func beContainer() { sandbox.Init() }

// Run runs a core until the context ends.
func (c *coreCommand) Run(ctx context.Context, t *terminal) error {
	edge, err := core.New(c.options(t))
	if err != nil {
		return err
	}
	return systemd.Service{Ready: edge.Ready(), Alive: edge.Alive, Logger: t.logger}.Run(ctx, edge.Run)
}

func (c *coreCommand) options(t *terminal) core.Options {
	return core.Options{
		Root: c.Root, IoTHost: c.IoTHost, GGHost: c.GGHost, CAFile: c.CA, Output: t.stderr, Crashes: true, ContainerInit: "/proc/self/exe",
		CredentialsEndpoint: c.CredentialsEndpoint, TelemetryInterval: c.TelemetryInterval, LogsEndpoint: c.LogsEndpoint, LogsCredentials: core.EnvironmentCredentials(),
	}
}
