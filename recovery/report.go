package recovery

import (
	"fmt"

	"github.com/fescue-edge/fescue"
)

// Note is something that an operator should know of what was read.
type Note struct {
	// About is what the note is about: "function MillReader:7", "group".
	About string `json:"about"`
	Text  string `json:"text"`
}

// Report is what a folder does not contain.
type Report struct {
	// DeploymentID is the deployment that wrote the folder; history before
	// recovery is gone.
	DeploymentID string
	// Assumed was not in the folder and got a value all the same.
	Assumed []Note
	// Supply was not in the folder, and only an operator has it.
	Supply []Note
	// Warnings are of things in the folder that do not fit together.
	Warnings []Note
	// CannotRun is what fails a deployment of the group to a core of this version,
	// and what to do about each; NoEffect is what it would only warn of.
	CannotRun, NoEffect []fescue.ErrorDetail
}

func (r *Report) assume(about, format string, args ...any) {
	r.Assumed = append(r.Assumed, Note{about, fmt.Sprintf(format, args...)})
}

func (r *Report) supply(about, format string, args ...any) {
	r.Supply = append(r.Supply, Note{about, fmt.Sprintf(format, args...)})
}

func (r *Report) warn(about, format string, args ...any) {
	r.Warnings = append(r.Warnings, Note{about, fmt.Sprintf(format, args...)})
}
