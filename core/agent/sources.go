package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/disk"
)

// sources are where the pieces and the secrets of deployments come from: the control
// plane, and for the deployment that was handed over its folder.
type sources struct {
	Cloud
	disk    disk.FS
	folder  string
	carried *bundle.Carried
}

func (s *sources) has(deploymentID string) bool {
	return s.carried != nil && s.carried.DeploymentID == deploymentID
}

// GetArtifact implements depot.Source.
func (s *sources) GetArtifact(ctx context.Context, groupID, deploymentID, hash string, offset int64) (io.ReadCloser, error) {
	if !s.has(deploymentID) {
		return s.Cloud.GetArtifact(ctx, groupID, deploymentID, hash, offset)
	}
	if !fescue.ValidHash(hash) {
		return nil, missing("an artifact %.70q", hash)
	}
	f, err := s.disk.OpenFile(filepath.Join(s.folder, hash), os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missing("the artifact %s", hash)
	}
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, f, offset); err != nil {
		return nil, errors.Join(corelink.ErrNotContinued, err, f.Close())
	}
	return f, nil
}

// missing is a refusal: trying again does not help.
func missing(format string, args ...any) error {
	return &corelink.StatusError{HTTPStatus: http.StatusNotFound, Code: "NotFound", Message: "the bundle does not have " + fmt.Sprintf(format, args...)}
}

// SealSecrets implements secrets.Source: they were sealed when the bundle was written.
func (s *sources) SealSecrets(ctx context.Context, groupID, deploymentID, coreARN string, r corelink.SecretsRequest) ([]byte, error) {
	if !s.has(deploymentID) {
		return s.Cloud.SealSecrets(ctx, groupID, deploymentID, coreARN, r)
	}
	data, err := disk.ReadFile(s.disk, filepath.Join(s.folder, bundle.CarriedSecrets), bundle.MaxSealedSecrets)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missing("the group's secrets")
	}
	return data, err
}
