package agent

import (
	"errors"

	"github.com/fescue-edge/fescue/disk"
)

// Standing is how it stands with the deployments of a core's folder.
type Standing struct {
	// Epoch is that of the last deployment that ended here, Accepted that of the last one
	// that succeeded; 0 where none did.
	Epoch, Accepted int64
	// Unreported is whether the control plane has not taken note of an end yet. Failure is what
	// failed then, empty where nothing did.
	Unreported bool
	Failure    string
}

// Stands reads how it stands with a deployment folder, whose core may run.
func Stands(folder string) (Standing, error) {
	s, err := loadState(disk.Local{}, layout{folder}.state())
	if errors.Is(err, errNoState) {
		return Standing{}, nil
	}
	if err != nil {
		return Standing{}, err
	}
	found := Standing{Epoch: s.Epoch, Accepted: s.Accepted, Unreported: s.Ended != nil}
	if s.Ended != nil && !s.Ended.succeeded() {
		found.Failure = s.Ended.Report.Message
	}
	return found, nil
}
