package core

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/fescue-edge/fescue/core/config"
	"github.com/fescue-edge/fescue/core/credentials"
	"github.com/fescue-edge/fescue/core/lifecycle"
	"github.com/fescue-edge/fescue/core/logs"
	"github.com/fescue-edge/fescue/core/logship"
	"github.com/fescue-edge/fescue/core/models"
	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/core/router"
	"github.com/fescue-edge/fescue/core/sandbox"
)

// edge makes the parts run what the agent deploys.
type edge struct {
	config *config.Config
	parts  *parts
	files  *logs.Logs
	// shipper sends what loggers want sent.
	shipper *logship.Shipper
	// keys are those of the group's role.
	keys *credentials.Exchange
}

// Check implements agent.Edge.
func (e *edge) Check(ctx context.Context, functions []plan.Function) []plan.Trouble {
	var list []plan.Trouble
	for _, p := range e.parts.supervisor.Check(ctx, functions) {
		list = append(list, plan.Trouble{ARN: p.ARN, Cause: p.Err.Error(), Kind: kindOf(p.Err)})
	}
	return list
}

// kindOf is what to do about a function that cannot be started.
func kindOf(err error) plan.TroubleKind {
	var access *sandbox.AccessError
	var program *sandbox.ProgramError
	var code *lifecycle.CodeError
	switch {
	case errors.As(err, &access):
		return plan.Closed
	case errors.As(err, &program), errors.As(err, &code):
		return plan.ProgramInvalid
	}
	return plan.RuntimeMissing
}

// Apply implements agent.Edge.
func (e *edge) Apply(ctx context.Context, p plan.Plan) error {
	table, err := router.NewTable(p.Subscriptions)
	if err != nil {
		return err
	}
	e.files.Configure(logs.Of(p.Loggers))
	e.keys.Use(p.GroupID)
	e.shipper.SetGroup(p.GroupID)
	// Functions and devices publish as soon as they are let, so their routes and where
	// their messages are kept come first; the cloud sends as soon as it is asked, so its
	// subscriptions come last.
	e.parts.link.SetQueue(p.SpoolOnDisk, p.SpoolBytes)
	e.parts.router.SetTable(table)
	e.parts.useSecrets(p)
	e.parts.local.apply(p)
	e.parts.shadows.apply(ctx, p)
	shelf := models.Shelf{Folder: filepath.Join(e.config.DeploymentFolder(), models.FolderName)}
	if err := shelf.Arrange(ctx, p); err != nil {
		return err
	}
	if _, err := e.parts.supervisor.Apply(ctx, p.Functions); err != nil {
		return err
	}
	if err := shelf.Prune(p); err != nil {
		return err
	}
	// Whichever is not wanted ends after the other has begun.
	from, other := e.parts.subscribed, e.parts.kept
	if p.CloudKeeps {
		from, other = other, from
	}
	from.SetFilters(table.CloudFilters()...)
	other.SetFilters()
	return nil
}

// useSecrets has functions read the secrets of a plan, each those that it lists.
func (p *parts) useSecrets(plan plan.Plan) {
	given := make(map[string][]string)
	for _, f := range plan.Functions {
		given[f.ARN] = slices.Collect(maps.Keys(f.Secrets))
	}
	p.secrets.Use(plan.Secrets, given)
}

// WaitReady implements agent.Edge.
func (e *edge) WaitReady(ctx context.Context) []plan.Trouble {
	started, err := e.parts.supervisor.WaitReady(ctx, e.config.HealthTimeout)
	if err != nil {
		// Only the end of ctx, which the agent looks at itself.
		return nil
	}
	var list []plan.Trouble
	if err := e.parts.local.trouble(); err != nil {
		list = append(list, plan.Trouble{Cause: err.Error(), Kind: plan.PortTaken})
	}
	for _, s := range started {
		if s.State != lifecycle.Failed {
			continue
		}
		t := plan.Trouble{ARN: s.ARN, Cause: s.Cause}
		for _, line := range s.Log {
			t.LastLines = append(t.LastLines, line.Text)
		}
		list = append(list, t)
	}
	return list
}

// Reset implements agent.Edge: it removes what a reset removes (AWS IoT
// Greengrass V1 developer guide, "Reset deployments") and this core has.
func (e *edge) Reset(ctx context.Context) error {
	// Files that are still open would go on growing without a name.
	err := e.files.Close()
	err = errors.Join(err, os.RemoveAll(filepath.Join(e.config.LogFolder(), "user")))
	return errors.Join(err, e.parts.local.identity.Forget(), e.parts.shadows.service.Clear(ctx))
}
