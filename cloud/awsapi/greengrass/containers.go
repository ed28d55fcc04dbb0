package greengrass

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
)

// information is a container as the API shows it: GroupInformation and
// DefinitionInformation of the API model.
type information struct {
	Arn                  string
	CreationTimestamp    string
	Id                   string
	LastUpdatedTimestamp string
	LatestVersion        string            `json:",omitempty"`
	LatestVersionArn     string            `json:",omitempty"`
	Name                 string            `json:",omitempty"`
	Tags                 map[string]string `json:"tags,omitzero"`
}

func inform(p fescue.Partition, d fescue.Definition) information {
	i := information{
		Arn:                  p.DefinitionARN(d.Kind, d.ID),
		CreationTimestamp:    fescue.Timestamp(d.CreatedAt),
		Id:                   d.ID,
		LastUpdatedTimestamp: fescue.Timestamp(d.UpdatedAt),
		Name:                 d.Name,
	}
	if d.LatestVersion != "" {
		i.LatestVersion = d.LatestVersion
		i.LatestVersionArn = p.VersionARN(d.Kind, d.ID, d.LatestVersion)
	}
	return i
}

// versionInformation is a version as the API shows it; Definition stands only
// where one version is read.
type versionInformation struct {
	Arn               string
	CreationTimestamp string
	Definition        json.RawMessage `json:",omitempty"`
	Id                string
	Version           string
}

func informVersion(p fescue.Partition, v fescue.DefinitionVersion) versionInformation {
	return versionInformation{
		Arn:               p.VersionARN(v.Kind, v.DefinitionID, v.ID),
		CreationTimestamp: fescue.Timestamp(v.CreatedAt),
		Definition:        v.Body,
		Id:                v.DefinitionID,
		Version:           v.ID,
	}
}

// containerOperations are the eight operations of each of the eight kinds.
func (a *API) containerOperations() []restjson.Operation {
	var ops []restjson.Operation
	for _, k := range append([]fescue.Kind{fescue.GroupKind}, fescue.DefinitionKinds...) {
		ops = append(ops, a.kindOperations(k)...)
	}
	return ops
}

func (a *API) kindOperations(k fescue.Kind) []restjson.Operation {
	noun, idLabel := k.Name+"Definition", k.Name+"DefinitionId"
	base := "/greengrass/definition/" + k.Segment
	if k == fescue.GroupKind {
		noun, idLabel, base = "Group", "GroupId", "/greengrass/groups"
	}
	c := &container{a, k, idLabel, noun + "VersionId"}
	item := base + "/{" + idLabel + "}"
	versions := item + "/versions"
	return []restjson.Operation{
		{Name: "Create" + noun, Method: http.MethodPost, Path: base, Status: http.StatusCreated, Handle: c.create},
		{Name: "Create" + noun + "Version", Method: http.MethodPost, Path: versions, Status: http.StatusCreated, Handle: c.createVersion},
		{Name: "Delete" + noun, Method: http.MethodDelete, Path: item, Handle: c.delete},
		{Name: "Get" + noun, Method: http.MethodGet, Path: item, Handle: c.get},
		{Name: "Get" + noun + "Version", Method: http.MethodGet, Path: versions + "/{" + c.versionLabel + "}", Handle: c.getVersion},
		{Name: "List" + noun + "s", Method: http.MethodGet, Path: base, Handle: c.list},
		{Name: "List" + noun + "Versions", Method: http.MethodGet, Path: versions, Handle: c.listVersions},
		{Name: "Update" + noun, Method: http.MethodPut, Path: item, Handle: c.update},
	}
}

// container answers the operations of one kind.
type container struct {
	*API
	kind                  fescue.Kind
	idLabel, versionLabel string
}

// covered refuses a version whose body names what a limited caller may not use. A
// deployment asks again: others may have made the version, or the limit may have
// changed.
func (a *API) covered(ctx context.Context, r *restjson.Request, k fescue.Kind, body json.RawMessage) error {
	if r.Caller.Scope == nil {
		return nil
	}
	names, err := a.definitions.Named(ctx, r.Partition, k, body)
	if err != nil {
		return err
	}
	return r.Covers(ctx, names...)
}

func (c *container) create(ctx context.Context, r *restjson.Request) (any, error) {
	var in struct {
		Name           string
		InitialVersion json.RawMessage
		Tags           tagMap `json:"tags"`
	}
	if err := restjson.Decode(r.Body, &in); err != nil {
		return nil, malformed(err.Error())
	}
	if c.kind == fescue.GroupKind && in.Name == "" {
		return nil, malformed("Name is required")
	}
	if string(in.InitialVersion) == "null" {
		in.InitialVersion = nil
	}
	t, err := token(r)
	if err != nil {
		return nil, err
	}
	if err := c.covered(ctx, r, c.kind, in.InitialVersion); err != nil {
		return nil, err
	}
	tags := in.Tags
	if r.Caller.Scope != nil {
		tags = r.Caller.Scope.Tags(tags)
	}
	d, err := c.definitions.Create(ctx, r.Partition, c.kind, in.Name, in.InitialVersion, tags, t)
	if err != nil {
		return nil, err
	}
	return inform(r.Partition, d), nil
}

func (c *container) createVersion(ctx context.Context, r *restjson.Request) (any, error) {
	missing := unknown(kindTexts[c.kind.Segment].createVersion)
	id := r.Label(c.idLabel)
	if !fescue.ValidID(id) {
		return nil, missing
	}
	var in map[string]json.RawMessage // the version itself; its shape is checked below
	if err := restjson.Decode(r.Body, &in); err != nil {
		return nil, malformed(err.Error())
	}
	body := r.Body
	if len(in) == 0 {
		body = []byte("{}")
	}
	t, err := token(r)
	if err != nil {
		return nil, err
	}
	if err := c.covered(ctx, r, c.kind, body); err != nil {
		return nil, err
	}
	v, err := c.definitions.AddVersion(ctx, r.Partition, c.kind, id, body, t)
	if err != nil {
		return nil, notFoundAs(err, missing)
	}
	v.Body = nil
	return informVersion(r.Partition, v), nil
}

func (c *container) get(ctx context.Context, r *restjson.Request) (any, error) {
	d, err := c.find(ctx, r, kindTexts[c.kind.Segment].get)
	if err != nil {
		return nil, err
	}
	info := inform(r.Partition, d)
	info.Tags = d.Tags
	return info, nil
}

func (c *container) find(ctx context.Context, r *restjson.Request, missing string) (fescue.Definition, error) {
	id := r.Label(c.idLabel)
	if !fescue.ValidID(id) {
		return fescue.Definition{}, unknown(missing)
	}
	d, err := c.definitions.Definition(ctx, r.Partition, c.kind, id)
	return d, notFoundAs(err, unknown(missing))
}

func (c *container) getVersion(ctx context.Context, r *restjson.Request) (any, error) {
	d, err := c.find(ctx, r, kindTexts[c.kind.Segment].other)
	if err != nil {
		return nil, err
	}
	version := r.Label(c.versionLabel)
	missing := unknownVersion(c.kind, d.ID, version)
	if !fescue.ValidID(version) {
		return nil, missing
	}
	v, err := c.definitions.Version(ctx, r.Partition, c.kind, d.ID, version)
	if err != nil {
		return nil, notFoundAs(err, missing)
	}
	return informVersion(r.Partition, v), nil
}

func (c *container) list(ctx context.Context, r *restjson.Request) (any, error) {
	pg, err := page(r)
	if err != nil {
		return nil, err
	}
	list, err := c.definitions.Definitions(ctx, r.Partition, c.kind, pg)
	if err != nil {
		return nil, err
	}
	list, next := restjson.Cut(list, pg, func(d fescue.Definition) string { return d.ID })
	infos := make([]information, 0, len(list))
	for _, d := range list {
		infos = append(infos, inform(r.Partition, d))
	}
	if c.kind == fescue.GroupKind {
		return struct {
			Groups    []information
			NextToken string `json:",omitempty"`
		}{infos, next}, nil
	}
	return struct {
		Definitions []information
		NextToken   string `json:",omitempty"`
	}{infos, next}, nil
}

func (c *container) listVersions(ctx context.Context, r *restjson.Request) (any, error) {
	missing := unknown(kindTexts[c.kind.Segment].other)
	id := r.Label(c.idLabel)
	if !fescue.ValidID(id) {
		return nil, missing
	}
	pg, err := page(r)
	if err != nil {
		return nil, err
	}
	list, err := c.definitions.Versions(ctx, r.Partition, c.kind, id, pg)
	if err != nil {
		return nil, notFoundAs(err, missing)
	}
	list, next := restjson.Cut(list, pg, func(v fescue.DefinitionVersion) string { return v.ID })
	infos := make([]versionInformation, 0, len(list))
	for _, v := range list {
		infos = append(infos, informVersion(r.Partition, v))
	}
	return struct {
		NextToken string `json:",omitempty"`
		Versions  []versionInformation
	}{next, infos}, nil
}

func (c *container) update(ctx context.Context, r *restjson.Request) (any, error) {
	missing := unknown(kindTexts[c.kind.Segment].other)
	var in struct{ Name string }
	if err := restjson.Decode(r.Body, &in); err != nil {
		return nil, malformed(err.Error())
	}
	id := r.Label(c.idLabel)
	if !fescue.ValidID(id) {
		return nil, missing
	}
	if strings.TrimSpace(in.Name) == "" {
		if _, err := c.find(ctx, r, missing.Message); err != nil {
			return nil, err
		}
		if c.kind == fescue.ResourceKind {
			return nil, refuse(http.StatusBadRequest, invalidInput, "Invalid resource name.")
		}
		return nil, refuse(http.StatusBadRequest, invalidContainer, "Input does not contain any attributes to be updated")
	}
	return nil, notFoundAs(c.definitions.RenameDefinition(ctx, r.Partition, c.kind, id, in.Name), missing)
}

func (c *container) delete(ctx context.Context, r *restjson.Request) (any, error) {
	missing := unknown(kindTexts[c.kind.Segment].other)
	id := r.Label(c.idLabel)
	if !fescue.ValidID(id) {
		return nil, missing
	}
	err := c.definitions.DeleteDefinition(ctx, r.Partition, c.kind, id)
	if errors.Is(err, fescue.ErrInUse) {
		return nil, refuse(http.StatusBadRequest, badRequest,
			"Group %s is deployed or has a deployment that has not ended. Reset its deployments with ResetDeployments and wait for Success before you delete it.", id)
	}
	return nil, notFoundAs(err, missing)
}
