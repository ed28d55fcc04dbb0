package fescue

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/cloud/artifacts"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/pki"
)

// Artifacts keeps content by hash.
type Artifacts interface {
	artifacts.Opener
	Stat(ctx context.Context, hash string) (artifacts.Info, error)
}

// SigningKeys returns the public keys of manifests.
type SigningKeys interface {
	Public(ctx context.Context) (corelink.SigningKeys, error)
}

const (
	// bundleType is the content type of a bundle.
	bundleType = "application/x-tar"
	// bundleBuffer is how much of a bundle is sent at once, in bytes.
	bundleBuffer = 256 << 10
)

// bundleDeployment answers with a bundle. One that breaks off has no end, which its
// readers notice.
func (a *API) bundleDeployment(ctx context.Context, r *restjson.Request, _ nothing) (out restjson.File, err error) {
	group, id, err := deploymentLabels(r)
	if err != nil {
		return out, err
	}
	c, err := a.o.Deployments.Carry(ctx, r.Partition, group, id, by(r))
	switch {
	case errors.Is(err, fescue.ErrTransition):
		return out, refuse(http.StatusConflict, conflict, "Deployment '%s' is being built; try again when it is InProgress.", id)
	case errors.Is(err, fescue.ErrEnded):
		return out, refuse(http.StatusConflict, conflict, "Deployment '%s' has ended in %s; create another one.", id, c.Status)
	case errors.Is(err, deploy.ErrCoreCertificate):
		return out, refuse(http.StatusConflict, conflict, "The secrets of the group are not sealed: %v. Make that certificate ACTIVE and attach it to the core's thing, or name another core in a new group version and deploy that.", err)
	case errors.Is(err, pki.ErrWrapping):
		return out, refuse(http.StatusConflict, conflict, "The secrets of the group cannot be sealed for its core's certificate: %v.", err)
	case errors.Is(err, bundle.ErrFormat):
		return out, refuse(http.StatusConflict, conflict, "The core's software reads no format in which this server writes deployments: %v.", err)
	case err != nil:
		return out, notFoundAs(err, unknownDeployment(r))
	}
	keys, err := a.o.SigningKeys.Public(ctx)
	if err != nil {
		return out, err
	}
	keysText, err := json.Marshal(keys)
	if err != nil {
		return out, err
	}
	list := bundle.Carried{GroupID: group, DeploymentID: id, CoreThingArn: r.Partition.ThingARN(c.CoreThing)}
	seen := make(map[string]bool)
	for _, hash := range c.Artifacts {
		if seen[hash] {
			continue
		}
		seen[hash] = true
		info, err := a.o.Artifacts.Stat(ctx, hash)
		if err != nil {
			return out, err
		}
		list.Artifacts = append(list.Artifacts, bundle.CarriedPiece{SHA256: hash, Size: info.Size})
	}
	return restjson.File{Stream: restjson.Stream{ContentType: bundleType, Send: func(w io.Writer) {
		buffered := bufio.NewWriterSize(w, bundleBuffer)
		err := bundle.Carry(buffered, list, c.Envelope, keysText, c.Secrets, func(hash string) (io.ReadCloser, error) { return a.o.Artifacts.Open(ctx, hash, 0) })
		if err == nil {
			err = buffered.Flush()
		}
		if err != nil && ctx.Err() == nil {
			a.o.Logger.Error("a bundle broke off", "deployment", id, "error", err)
		}
	}}}, nil
}
