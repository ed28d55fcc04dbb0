package deploy

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/cloud/secrets"
)

// Secrets reads secrets.
type Secrets interface {
	// Find is the secret that a name or an ARN means, deleted or not; one that is not
	// there is fescue.ErrNotFound.
	Find(ctx context.Context, p fescue.Partition, id string) (secrets.Secret, error)
	// ForCore reads the versions that have one of the labels, with their values. The
	// error is fescue.ErrNotFound when the secret or a label is not there.
	ForCore(ctx context.Context, p fescue.Partition, id string, labels []string) (bundle.Secret, error)
}

// checkSecrets looks whether the group's secrets are there, with the labels that it
// asks for, and puts their whole ARNs in the place of what the group calls them.
func (b *builder) checkSecrets(ctx context.Context, r *resolved) error {
	named := make(map[string]string)
	for i, res := range r.resources {
		data := res.ResourceDataContainer.SecretsManagerSecretResourceData
		if data == nil {
			continue
		}
		secret, err := b.secrets.Find(ctx, r.deployment.Partition, data.ARN)
		if errors.Is(err, fescue.ErrNotFound) || err == nil && !secret.DeletedAt.IsZero() {
			r.problem(fescue.SecretNotFound, data.ARN, res.Id)
			continue
		}
		if err != nil {
			return err
		}
		arn := r.deployment.Partition.SecretARN(secret.Name, secret.Suffix)
		if other, taken := named[arn]; taken {
			r.problem(fescue.SecretDuplicate, other, res.Id, arn)
		}
		named[arn] = res.Id
		for _, label := range data.Labels() {
			if secret.Stages[label] == "" {
				r.problem(fescue.SecretLabelNotFound, arn, res.Id, label)
			}
		}
		whole := *data
		whole.ARN = arn
		r.resources[i].ResourceDataContainer.SecretsManagerSecretResourceData = &whole
	}
	return nil
}

// sealer gives cores the secrets of what they deploy.
type sealer struct {
	builder     *builder
	deployments sealedDeployments
	logger      *slog.Logger
}

// sealedDeployments are the deployments of whose secrets cores ask.
type sealedDeployments interface {
	Deployment(ctx context.Context, p fescue.Partition, groupID, id string) (fescue.Deployment, error)
}

// SealSecrets gives a core the secrets of a deployment that it has not ended, as they
// are now, sealed for its public key. The errors are fescue.ErrNotFound, which also
// stands for a secret that is not there any more, fescue.ErrEnded,
// fescue.ErrWrongEpoch, pki.ErrWrapping and bundle.ErrSecrets.
func (s *sealer) SealSecrets(ctx context.Context, p fescue.Partition, thing, groupID, id string, epoch int64, to crypto.PublicKey) ([]byte, error) {
	d, err := s.deployments.Deployment(ctx, p, groupID, id)
	switch {
	case err != nil:
		return nil, err
	case d.CoreThing != thing:
		return nil, fmt.Errorf("deployment %s is not for core %s: %w", id, thing, fescue.ErrNotFound)
	case d.Epoch != epoch:
		return nil, fmt.Errorf("epoch %d, the deployment has %d: %w", epoch, d.Epoch, fescue.ErrWrongEpoch)
	case d.Over():
		return nil, fmt.Errorf("status is %s: %w", d.Status, fescue.ErrEnded)
	}
	resources, err := s.builder.secretResources(ctx, d)
	if err != nil {
		return nil, err
	}
	var list []bundle.Secret
	for _, data := range resources {
		secret, err := s.builder.secrets.ForCore(ctx, p, data.ARN, data.Labels())
		if err != nil {
			return nil, fmt.Errorf("secret %s: %w", data.ARN, err)
		}
		list = append(list, secret)
	}
	of := bundle.SecretsOf{CoreThingArn: p.ThingARN(thing), GroupID: groupID, DeploymentID: id, Epoch: epoch}
	envelope, err := s.builder.signer.SignSecrets(ctx, of, list, to)
	if err == nil {
		s.logger.Info("secrets sealed for a core", "deployment", id, "group", groupID, "core", thing, "secrets", len(list))
	}
	return envelope, err
}

// secretResources are the secrets that the group version of a deployment has.
func (b *builder) secretResources(ctx context.Context, d fescue.Deployment) (list []*fescue.SecretsManagerSecretResourceData, err error) {
	g, err := b.groupVersion(ctx, d.Partition, d.GroupID, d.GroupVersionID)
	if err != nil {
		return nil, err
	}
	r := &resolved{deployment: d}
	var v fescue.ResourceDefinitionVersion
	if err := b.definition(ctx, r, fescue.ResourceKind, g.Reference(fescue.ResourceKind), &v); err != nil {
		return nil, err
	}
	if len(r.problems) > 0 {
		return nil, fmt.Errorf("%s: %w", r.problems[0].DetailedErrorMessage, fescue.ErrNotFound)
	}
	for _, res := range v.Resources {
		if data := res.ResourceDataContainer.SecretsManagerSecretResourceData; data != nil {
			list = append(list, data)
		}
	}
	return list, nil
}
