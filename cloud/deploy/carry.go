package deploy

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/pki"
)

// Carriage is what a bundle has of a deployment, see bundle.Carry.
type Carriage struct {
	fescue.Deployment
	// Envelope is the signed manifest, Secrets the group's secrets, sealed for the
	// core; nil without any.
	Envelope, Secrets []byte
	// Artifacts are the hashes of its artifacts.
	Artifacts []string
}

// ErrCoreCertificate means that secrets would be sealed for a certificate which is its
// core's no more.
var ErrCoreCertificate = errors.New("the certificate is not ACTIVE, or not attached to the core")

// Carry gives what a core needs for a deployment that waits for it, and writes down in
// the timeline that it was handed out, and to whom. The secrets are sealed for the key
// of the certificate that the group names for its core. The errors are
// fescue.ErrNotFound, fescue.ErrTransition while the deployment is being built,
// fescue.ErrEnded, ErrCoreCertificate, pki.ErrWrapping and bundle.ErrFormat.
func (e *Engine) Carry(ctx context.Context, p fescue.Partition, groupID, id, by string) (c Carriage, err error) {
	for {
		if c.Deployment, err = e.deployments.Deployment(ctx, p, groupID, id); err != nil {
			return c, err
		}
		switch {
		case c.Status == fescue.Building:
			return c, fmt.Errorf("the deployment is being built: %w", fescue.ErrTransition)
		case c.Status != fescue.InProgress:
			return c, fmt.Errorf("status is %s: %w", c.Status, fescue.ErrEnded)
		}
		waiting, envelope, err := e.tracker.offers.Waiting(ctx, p, c.CoreThing, c.Epoch-1)
		if err != nil {
			return c, err
		}
		if waiting.ID != id {
			return c, fmt.Errorf("the deployment waits no more: %w", fescue.ErrEnded)
		}
		// A core that has not said which formats it reads is one of the oldest.
		info, _, err := e.tracker.cores.CoreInfo(ctx, p, c.CoreThing)
		if err != nil && !errors.Is(err, fescue.ErrNotFound) {
			return c, err
		}
		if c.Envelope, _, err = e.tracker.signer.Renew(ctx, envelope, info.Formats...); err != nil {
			return c, err
		}
		if c.Artifacts, err = e.tracker.offers.OfferedArtifacts(ctx, c.Deployment); err != nil {
			return c, err
		}
		if c.Secrets, err = e.carriedSecrets(ctx, c.Deployment); err != nil {
			return c, err
		}
		_, err = e.tracker.deployments.ApplyStep(ctx, c.Deployment, fescue.CloudActor, fescue.DeploymentStep{
			Event: fescue.EventBundled, At: e.now().UTC(), Note: "written into a bundle for " + by,
		})
		if !errors.Is(err, fescue.ErrConflict) {
			return c, err
		}
	}
}

// carriedSecrets seals the secrets of a deployment for its core; nil without any.
func (e *Engine) carriedSecrets(ctx context.Context, d fescue.Deployment) ([]byte, error) {
	if d.Type.Reset() {
		return nil, nil
	}
	resources, err := e.builder.secretResources(ctx, d)
	if err != nil || len(resources) == 0 {
		return nil, err
	}
	g, err := e.builder.groupVersion(ctx, d.Partition, d.GroupID, d.GroupVersionID)
	if err != nil {
		return nil, err
	}
	r := &resolved{deployment: d}
	var v fescue.CoreDefinitionVersion
	if err := e.builder.definition(ctx, r, fescue.CoreKind, g.Reference(fescue.CoreKind), &v); err != nil {
		return nil, err
	}
	if len(v.Cores) == 0 {
		return nil, fmt.Errorf("core of group version %s: %w", d.GroupVersionID, fescue.ErrNotFound)
	}
	certificateID := path.Base(v.Cores[0].CertificateArn)
	principal, err := e.builder.principals.Principal(ctx, certificateID)
	if err != nil && !errors.Is(err, fescue.ErrNotFound) {
		return nil, fmt.Errorf("certificate of core %s: %w", d.CoreThing, err)
	}
	// It was so when the deployment was built; what is sealed now cannot be called back.
	if err != nil || principal.Partition != d.Partition || principal.Certificate.Status != fescue.CertificateActive || !slices.Contains(principal.Things, d.CoreThing) {
		return nil, fmt.Errorf("certificate %s of core %s: %w", certificateID, d.CoreThing, ErrCoreCertificate)
	}
	cert, err := pki.ParseCertificate([]byte(principal.Certificate.PEM))
	if err != nil {
		return nil, fmt.Errorf("certificate of core %s: %w", d.CoreThing, err)
	}
	return e.SealSecrets(ctx, d.Partition, d.CoreThing, d.GroupID, d.ID, d.Epoch, cert.PublicKey)
}
