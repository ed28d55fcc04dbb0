package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
)

// UpdatePrefix begins the ids of jobs that CreateSoftwareUpdateJob made.
const UpdatePrefix = "GreengrassUpdateJob_"

// SoftwareUpdate is a job to update the software of cores.
type SoftwareUpdate struct {
	// Software is "core" or "ota_agent".
	Software     string
	Architecture string
	OS           string
	LogLevel     string
	// SignerRole is the ARN of the role for the URLs of packages.
	SignerRole string
	Targets    []string
}

// presigned is the lifetime of URLs in such jobs, as one that was captured has it.
const presigned = time.Hour

// CreateSoftwareUpdate makes the job of a software update. A Fescue core does not
// take it: see EndUpdates.
func (s *Service) CreateSoftwareUpdate(ctx context.Context, p fescue.Partition, u SoftwareUpdate, version string, token fescue.Token) (Job, error) {
	document, err := json.Marshal(map[string]string{
		"operation": "greengrass-software-update", "softwareToUpdate": u.Software, "version": version,
		"architecture": u.Architecture, "operatingSystem": u.OS, "updateAgentLogLevel": u.LogLevel,
	})
	if err != nil {
		return Job{}, err
	}
	return s.Create(ctx, p, Job{
		ID: UpdatePrefix + fescue.NewID(), Targets: u.Targets, Document: string(document),
		Description: fmt.Sprintf("Update of %s to %s", u.Software, version),
		SignerRole:  u.SignerRole, URLLifetime: presigned,
	}, token)
}

// updateAnswer is what becomes of a software update on a Fescue core.
var updateAnswer = map[string]string{
	"reason": "fescue-core does not update itself: install the new fescue-core with the package manager or replace its binary, then restart it",
}

// SawCore notes that a Fescue core asks for deployments under the name of a thing.
// It does not wait: Run ends the updates that wait on the core. What is noted while
// many others wait is forgotten, since the core asks again.
func (s *Service) SawCore(p fescue.Partition, thing string) {
	select {
	case s.cores <- thingKey{p, thing}:
	default:
	}
}

// maxSeen bounds the cores that wait for Run to look at them.
const maxSeen = 1000

// EndUpdates rejects the software updates that wait on a Fescue core. Such a core
// is updated by its host: what nobody will do ends with the reason, instead of
// waiting for ever.
func (s *Service) EndUpdates(ctx context.Context, p fescue.Partition, thing string) error {
	pending, err := s.Store.PendingExecutions(ctx, p, thing, maxPending)
	if err != nil {
		return fmt.Errorf("software updates of core %s: %w", thing, err)
	}
	for _, e := range pending {
		if !strings.HasPrefix(e.JobID, UpdatePrefix) || e.Status != ExecutionQueued {
			continue
		}
		if err := s.end(ctx, p, e, ExecutionRejected, updateAnswer); err != nil {
			return fmt.Errorf("reject %s on core %s: %w", e.JobID, thing, err)
		}
	}
	return nil
}
