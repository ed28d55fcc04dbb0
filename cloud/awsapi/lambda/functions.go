package lambda

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/functions"
)

// environment is Environment and EnvironmentResponse of the API model.
type environment struct{ Variables map[string]string }

// configuration is FunctionConfiguration of the API model. State and
// LastUpdateStatus are final at once: nothing has to start here.
type configuration struct {
	FunctionName     string
	FunctionArn      string
	Runtime          string
	Role             string
	Handler          string
	CodeSize         int64
	Description      string
	Timeout          int
	MemorySize       int
	LastModified     string
	CodeSha256       string
	Version          string
	Environment      *environment `json:",omitempty"`
	TracingConfig    struct{ Mode string }
	RevisionId       string
	State            string
	LastUpdateStatus string
	PackageType      string
	Architectures    []string
}

// configure is a version as the API shows it, with an ARN of that qualifier.
func configure(p fescue.Partition, v fescue.FunctionVersion, qualifier string) configuration {
	c := configuration{
		FunctionName: v.Name, FunctionArn: p.FunctionARN(v.Name),
		Runtime: v.Runtime, Role: v.Role, Handler: v.Handler,
		CodeSize: v.CodeSize, Description: v.Description, Timeout: v.Timeout, MemorySize: v.MemorySize,
		LastModified: v.UpdatedAt.UTC().Format("2006-01-02T15:04:05.000-0700"),
		CodeSha256:   functions.CodeSHA256(v), Version: v.Version, RevisionId: v.RevisionID,
		State: "Active", LastUpdateStatus: "Successful", PackageType: "Zip", Architectures: v.Architectures,
	}
	c.TracingConfig.Mode = "PassThrough"
	if qualifier != "" {
		c.FunctionArn += ":" + qualifier
	}
	if len(v.Environment) > 0 {
		c.Environment = &environment{v.Environment}
	}
	return c
}

// changedQualifier qualifies the ARN in the answer to a change: a version that
// was published with it has its number there, $LATEST nothing.
func changedQualifier(v fescue.FunctionVersion) string {
	if v.Version == fescue.LatestVersion {
		return ""
	}
	return v.Version
}

// functionRequest is the body of CreateFunction and UpdateFunctionConfiguration;
// each has some of the members.
type functionRequest struct {
	FunctionName  string
	Runtime       *string
	Role          *string
	Handler       *string
	Description   *string
	Timeout       *int
	MemorySize    *int
	Environment   *environment
	Code          source
	PackageType   string
	Publish       bool
	Tags          map[string]string
	Architectures []string
	RevisionId    string
}

func (in functionRequest) settings() functions.Settings {
	s := functions.Settings{
		Runtime: in.Runtime, Role: in.Role, Handler: in.Handler, Description: in.Description,
		Timeout: in.Timeout, MemorySize: in.MemorySize,
	}
	if in.Environment != nil {
		if s.Environment = in.Environment.Variables; s.Environment == nil {
			s.Environment = map[string]string{}
		}
	}
	return s
}

func (a *API) createFunction(ctx context.Context, r *restjson.Request) (any, error) {
	var in functionRequest
	zip, err := a.receive(r, []string{"Code", "ZipFile"}, &in)
	if err != nil {
		return nil, err
	}
	defer zip.discard()
	if err := r.Covers(ctx, functionARN(r, in.FunctionName)); err != nil {
		return nil, err
	}
	if in.PackageType != "" && in.PackageType != "Zip" {
		return nil, invalid("PackageType %.20q is not supported: a Greengrass core runs functions from zips.", in.PackageType)
	}
	if err := a.fetch(ctx, r.Call, in.Code, zip); err != nil {
		return nil, err
	}
	v, err := a.functions.Create(ctx, r.Partition, functions.Creation{
		Function: in.FunctionName, Settings: in.settings(), Archive: zip.archive(),
		Architectures: in.Architectures, Tags: in.Tags, Publish: in.Publish,
	})
	if err != nil {
		return nil, err
	}
	return configure(r.Partition, v, changedQualifier(v)), nil
}

func (a *API) updateCode(ctx context.Context, r *restjson.Request) (any, error) {
	// Members of an embedded struct would have its name in errors.
	var in struct {
		S3Bucket        string
		S3Key           string
		S3ObjectVersion string
		ImageUri        string
		Publish         bool
		DryRun          bool
		RevisionId      string
		Architectures   []string
	}
	zip, err := a.receive(r, []string{"ZipFile"}, &in)
	if err != nil {
		return nil, err
	}
	defer zip.discard()
	if err := a.fetch(ctx, r.Call, source{in.S3Bucket, in.S3Key, in.S3ObjectVersion, in.ImageUri}, zip); err != nil {
		return nil, err
	}
	v, err := a.functions.UpdateCode(ctx, r.Partition, functions.CodeUpdate{
		Function: r.Label("FunctionName"), Archive: zip.archive(), Architectures: in.Architectures,
		Publish: in.Publish, DryRun: in.DryRun, RevisionID: in.RevisionId,
	})
	if err != nil {
		return nil, err
	}
	return configure(r.Partition, v, changedQualifier(v)), nil
}

func (a *API) updateConfiguration(ctx context.Context, r *restjson.Request) (any, error) {
	var in functionRequest
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	v, err := a.functions.UpdateConfiguration(ctx, r.Partition, functions.ConfigurationUpdate{
		Function: r.Label("FunctionName"), Settings: in.settings(), RevisionID: in.RevisionId,
	})
	if err != nil {
		return nil, err
	}
	return configure(r.Partition, v, ""), nil
}

func decode(r *restjson.Request, v any) error {
	if err := restjson.Decode(r.Body, v); err != nil {
		return malformed(err.Error())
	}
	return nil
}

// find reads the version that FunctionName and Qualifier mean. The ARN in the
// answer has the qualifier that was asked for.
func (a *API) find(ctx context.Context, r *restjson.Request) (fescue.FunctionVersion, configuration, error) {
	ref, err := functions.ParseReference(r.Partition, r.Label("FunctionName"), r.Query.Get("Qualifier"))
	if err != nil {
		return fescue.FunctionVersion{}, configuration{}, err
	}
	v, err := a.functions.Get(ctx, r.Partition, ref)
	if err != nil {
		return fescue.FunctionVersion{}, configuration{}, err
	}
	return v, configure(r.Partition, v, ref.Qualifier), nil
}

func (a *API) getConfiguration(ctx context.Context, r *restjson.Request) (any, error) {
	_, c, err := a.find(ctx, r)
	return c, err
}

func (a *API) getFunction(ctx context.Context, r *restjson.Request) (any, error) {
	v, c, err := a.find(ctx, r)
	if err != nil {
		return nil, err
	}
	tags, err := a.functions.Tags(ctx, r.Partition, v.Name)
	if err != nil {
		return nil, err
	}
	type code struct{ RepositoryType, Location string }
	return struct {
		Configuration configuration
		Code          code
		Tags          map[string]string `json:",omitempty"`
	}{c, code{"S3", a.location(r, v)}, tags}, nil
}

func (a *API) deleteFunction(ctx context.Context, r *restjson.Request) (any, error) {
	ref, err := functions.ParseReference(r.Partition, r.Label("FunctionName"), r.Query.Get("Qualifier"))
	if err != nil {
		return nil, err
	}
	return nil, a.functions.Delete(ctx, r.Partition, ref)
}

// page reads Marker and MaxItems.
func page(r *restjson.Request) (functions.Page, error) {
	pg := functions.Page{Marker: r.Query.Get("Marker")}
	if r.Query.Has("MaxItems") {
		n, err := strconv.Atoi(r.Query.Get("MaxItems"))
		if err != nil || n == 0 {
			return pg, &awsapi.Error{
				Status: http.StatusBadRequest, Code: "ValidationException",
				Message: "1 validation error detected: Value '" + r.Query.Get("MaxItems") + "' at 'maxItems' failed to satisfy constraint: Member must be a number from 1 to 10000",
			}
		}
		pg.MaxItems = n
	}
	return pg, nil
}

func (a *API) listFunctions(ctx context.Context, r *restjson.Request) (any, error) {
	pg, err := page(r)
	if err != nil {
		return nil, err
	}
	list, qualify := a.functions.List, changedQualifier
	switch which := r.Query.Get("FunctionVersion"); which {
	case "":
	case "ALL":
		list, qualify = a.functions.ListAll, ownQualifier
	default:
		return nil, invalid("FunctionVersion %.20q is not known: it may be ALL, or be left out for $LATEST only.", which)
	}
	versions, next, err := list(ctx, r.Partition, pg)
	if err != nil {
		return nil, err
	}
	if versions, err = shown(ctx, r, versions); err != nil {
		return nil, err
	}
	return struct {
		Functions  []configuration
		NextMarker string `json:",omitempty"`
	}{configureAll(r.Partition, versions, qualify), next}, nil
}

// shown leaves out of a list what a limited caller may not read: configurations
// have the functions' environment.
func shown(ctx context.Context, r *restjson.Request, list []fescue.FunctionVersion) (shown []fescue.FunctionVersion, err error) {
	for _, v := range list {
		err := r.Covers(ctx, r.Partition.FunctionARN(v.Name))
		if refused := (*awsapi.Error)(nil); errors.As(err, &refused) {
			continue
		}
		if err != nil {
			return nil, err
		}
		shown = append(shown, v)
	}
	return shown, nil
}

func (a *API) publishVersion(ctx context.Context, r *restjson.Request) (any, error) {
	var in struct {
		CodeSha256  string
		Description *string
		RevisionId  string
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	v, err := a.functions.Publish(ctx, r.Partition, functions.Publication{
		Function: r.Label("FunctionName"), Description: in.Description, CodeSHA256: in.CodeSha256, RevisionID: in.RevisionId,
	})
	if err != nil {
		return nil, err
	}
	return configure(r.Partition, v, v.Version), nil
}

func (a *API) listVersions(ctx context.Context, r *restjson.Request) (any, error) {
	pg, err := page(r)
	if err != nil {
		return nil, err
	}
	versions, next, err := a.functions.ListVersions(ctx, r.Partition, r.Label("FunctionName"), pg)
	if err != nil {
		return nil, err
	}
	return struct {
		Versions   []configuration
		NextMarker string `json:",omitempty"`
	}{configureAll(r.Partition, versions, ownQualifier), next}, nil
}

// ownQualifier qualifies the ARN by the version, $LATEST too.
func ownQualifier(v fescue.FunctionVersion) string { return v.Version }

func configureAll(p fescue.Partition, versions []fescue.FunctionVersion, qualify func(fescue.FunctionVersion) string) []configuration {
	list := make([]configuration, len(versions))
	for i, v := range versions {
		list[i] = configure(p, v, qualify(v))
	}
	return list
}
