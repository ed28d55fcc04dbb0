package greengrass

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/definitions"
)

// Restore is an operation for the API of what is Fescue's own. It makes a version of a group or definition, and the container
// where it is missing, under given ids: the original's API
// makes every id itself, while a core's folder and an exported group bring
// theirs.
func (a *API) Restore() restjson.Operation {
	return a.Lend(restjson.Operation{
		Name: "RestoreVersion", Method: http.MethodPut, Path: awsapi.OwnPath + "definitions/{Kind}/{Id}/versions/{VersionId}", Handle: a.restoreVersion,
	})
}

func (a *API) restoreVersion(ctx context.Context, r *restjson.Request) (any, error) {
	kind, ok := kindOf(r.Label("Kind"))
	if !ok {
		return nil, refuse(http.StatusNotFound, idNotFound, "%.64q is no kind of definition. The kinds are groups, connectors, cores, devices, functions, loggers, resources and subscriptions.", r.Label("Kind"))
	}
	var in struct {
		Name                 string
		Tags                 tagMap `json:"tags"`
		CreationTimestamp    string
		LastUpdatedTimestamp string
		Version              struct {
			CreationTimestamp string
			Definition        json.RawMessage
		}
	}
	if err := restjson.Decode(r.Body, &in); err != nil {
		return nil, malformed(err.Error())
	}
	if kind == fescue.GroupKind && in.Name == "" {
		return nil, malformed("Name is required")
	}
	if d := string(in.Version.Definition); d == "" || d == "null" {
		return nil, malformed("Version.Definition is required")
	}
	restoration := definitions.Restoration{
		Definition: fescue.Definition{Kind: kind, ID: r.Label("Id"), Name: in.Name, Tags: in.Tags},
		VersionID:  r.Label("VersionId"), Body: in.Version.Definition,
	}
	for _, at := range []struct {
		member, text string
		into         *time.Time
	}{
		{"CreationTimestamp", in.CreationTimestamp, &restoration.Definition.CreatedAt},
		{"LastUpdatedTimestamp", in.LastUpdatedTimestamp, &restoration.Definition.UpdatedAt},
		{"Version.CreationTimestamp", in.Version.CreationTimestamp, &restoration.CreatedAt},
	} {
		if at.text == "" {
			continue
		}
		when, err := time.Parse(time.RFC3339, at.text)
		if err != nil || when.UnixMilli() <= 0 {
			return nil, malformed(at.member + " is not a time such as 2024-05-01T12:00:00.000Z")
		}
		*at.into = when.UTC()
	}
	if err := a.covered(ctx, r, kind, restoration.Body); err != nil {
		return nil, err
	}
	made, err := a.definitions.Restore(ctx, r.Partition, restoration)
	if errors.Is(err, fescue.ErrExists) {
		return nil, refuse(http.StatusConflict, "ConflictException",
			"Version %s of %s %s exists with other content. A version never changes.", restoration.VersionID, kind.Name, restoration.Definition.ID)
	}
	if err != nil {
		return nil, err
	}
	return struct {
		Arn string
		// Made is false when the version was there.
		Made bool
	}{r.Partition.VersionARN(kind, restoration.Definition.ID, restoration.VersionID), made}, nil
}

// kindOf finds a kind by its segment.
func kindOf(segment string) (fescue.Kind, bool) {
	if segment == fescue.GroupKind.Segment {
		return fescue.GroupKind, true
	}
	for _, k := range fescue.DefinitionKinds {
		if k.Segment == segment {
			return k, true
		}
	}
	return fescue.Kind{}, false
}
