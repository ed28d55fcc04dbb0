package core

import (
	"context"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core/config"
	"github.com/fescue-edge/fescue/doctor"
)

// Examination is what Examine found. Poor is what some groups need.
type Examination struct {
	doctor.Report
	// Core is what a core here would report of itself to the control plane, by which
	// groups are judged.
	Core fescue.CoreInfo `json:"core"`
}

// Examine looks whether a core with these options can do its work on this machine,
// as the original's dependency checker did. It starts and changes nothing that lasts,
// and a core may run meanwhile.
func Examine(ctx context.Context, o Options) *Examination {
	e := new(Examination)
	cfg, err := o.load()
	e.machine(ctx, o, err == nil && cfg.OverlayTmpfs)
	if err != nil {
		e.Add("config.json", doctor.Bad, err.Error(), "correct it, or make a folder with fescue provision; what follows from it was not looked at")
		e.accounts(o, config.UIDRange{})
		return e
	}
	e.accounts(o, cfg.FunctionUIDs)
	e.configuration(cfg)
	e.space(cfg)
	e.cloud(ctx, cfg)
	return e
}
