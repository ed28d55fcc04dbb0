package core

import (
	"context"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core/config"
)

// Health is how something on a core's machine is.
type Health string

// The healths. Poor is what some groups need; Bad keeps the core from its work.
const (
	Good    Health = "ok"
	Poor    Health = "warn"
	Bad     Health = "fail"
	Unknown Health = "unknown"
)

// Finding is one thing that Examine looked at.
type Finding struct {
	// Subject is what it is about; Says is what was found, and Remedy what to do,
	// empty where nothing is to be done.
	Subject string `json:"subject"`
	Health  Health `json:"health"`
	Says    string `json:"says"`
	Remedy  string `json:"remedy,omitempty"`
}

// Examination is what Examine found.
type Examination struct {
	Findings []Finding `json:"findings"`
	// Core is what a core here would report of itself to the control plane, by which
	// groups are judged.
	Core fescue.CoreInfo `json:"core"`
}

// Well reports whether nothing keeps a core from its work.
func (e *Examination) Well() bool {
	for _, f := range e.Findings {
		if f.Health == Bad {
			return false
		}
	}
	return true
}

func (e *Examination) add(subject string, health Health, says, remedy string) {
	e.Findings = append(e.Findings, Finding{subject, health, says, remedy})
}

// Examine looks whether a core with these options can do its work on this machine,
// as the original's dependency checker did. It starts and changes nothing that lasts,
// and a core may run meanwhile.
func Examine(ctx context.Context, o Options) *Examination {
	e := new(Examination)
	e.machine(ctx, o)
	cfg, err := config.Load(o.Root, config.Overrides{IoTHost: o.IoTHost, GGHost: o.GGHost, CAFile: o.CAFile})
	if err != nil {
		e.add("config.json", Bad, err.Error(), "correct it, or make a folder with fescue provision; what follows from it was not looked at")
		e.accounts(o, config.UIDRange{})
		return e
	}
	e.accounts(o, cfg.FunctionUIDs)
	e.configuration(cfg)
	e.space(cfg)
	e.cloud(ctx, cfg)
	return e
}
