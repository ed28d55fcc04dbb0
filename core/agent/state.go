package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/disk"
)

// state is what the manifest on disk cannot say: which deployments have ended
// here, and what the cloud has still to get.
type state struct {
	// Epoch is the highest epoch whose deployment has ended on this core. That
	// epoch and lower ones are replays.
	Epoch int64 `json:"epoch"`
	// Accepted is the epoch of the last deployment that succeeded: what the
	// core goes back to. Zero means nothing.
	Accepted int64 `json:"accepted"`
	// Ended is the end of a deployment that the cloud has not acknowledged.
	Ended *ending `json:"ended,omitempty"`
	// Unsent are the ends of deployments before that, which came as files while there
	// was no line, oldest first.
	Unsent []ending `json:"unsent,omitempty"`
}

// ending is how a deployment ended.
type ending struct {
	GroupID      string                `json:"groupId"`
	DeploymentID string                `json:"deploymentId"`
	Report       corelink.StatusReport `json:"report"`
}

func (e *ending) succeeded() bool { return e != nil && e.Report.Event == fescue.EventSucceeded }

// maxState bounds the state file, in bytes.
const maxState = 4 << 20

// errNoState means that the file is missing or damaged.
var errNoState = errors.New("no usable state file")

func loadState(on disk.FS, path string) (state, error) {
	data, err := disk.ReadFile(on, path, maxState)
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, fmt.Errorf("%w: %w", errNoState, err)
	}
	if err != nil {
		return state{}, fmt.Errorf("read the deployment state: %w", err)
	}
	var s state
	if err := json.Unmarshal(data, &s); err != nil {
		return state{}, fmt.Errorf("%w: %s: %w", errNoState, path, err)
	}
	return s, nil
}

func (f *folder) saveState(s state) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode the deployment state: %w", err)
	}
	if err := disk.ReplaceFile(f.disk, f.state(), append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the deployment state: %w", err)
	}
	f.stateSaved = true
	return nil
}
