// Package lambda speaks the AWS Lambda API (2015-03-31) as far as scripts for
// Greengrass use it: functions, versions, aliases and tags. It translates
// between the wire and package functions, and has no rules of its own. Nothing
// is invoked here: functions run on cores.
package lambda

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"

	"golang.org/x/sync/semaphore"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/functions"
)

// Functions is the service behind the API; functions.Service is one.
type Functions interface {
	Create(ctx context.Context, p fescue.Partition, c functions.Creation) (fescue.FunctionVersion, error)
	UpdateCode(ctx context.Context, p fescue.Partition, u functions.CodeUpdate) (fescue.FunctionVersion, error)
	UpdateConfiguration(ctx context.Context, p fescue.Partition, u functions.ConfigurationUpdate) (fescue.FunctionVersion, error)
	Publish(ctx context.Context, p fescue.Partition, pub functions.Publication) (fescue.FunctionVersion, error)
	Restore(ctx context.Context, p fescue.Partition, version string, c functions.Creation) (v fescue.FunctionVersion, made bool, err error)
	Get(ctx context.Context, p fescue.Partition, ref functions.Reference) (fescue.FunctionVersion, error)
	Delete(ctx context.Context, p fescue.Partition, ref functions.Reference) error
	List(ctx context.Context, p fescue.Partition, page functions.Page) ([]fescue.FunctionVersion, string, error)
	ListAll(ctx context.Context, p fescue.Partition, page functions.Page) ([]fescue.FunctionVersion, string, error)
	ListVersions(ctx context.Context, p fescue.Partition, function string, page functions.Page) ([]fescue.FunctionVersion, string, error)

	CreateAlias(ctx context.Context, p fescue.Partition, c functions.AliasChange) (fescue.FunctionAlias, error)
	Alias(ctx context.Context, p fescue.Partition, function, name string) (fescue.FunctionAlias, error)
	UpdateAlias(ctx context.Context, p fescue.Partition, c functions.AliasChange) (fescue.FunctionAlias, error)
	DeleteAlias(ctx context.Context, p fescue.Partition, function, name string) error
	ListAliases(ctx context.Context, p fescue.Partition, function, version string, page functions.Page) ([]fescue.FunctionAlias, string, error)

	AddPermission(ctx context.Context, p fescue.Partition, function, qualifier string, permission functions.Permission) (statement string, err error)
	Policy(ctx context.Context, p fescue.Partition, function, qualifier string) (string, error)
	RemovePermission(ctx context.Context, p fescue.Partition, function, qualifier, id string) error

	Tags(ctx context.Context, p fescue.Partition, function string) (map[string]string, error)
	Tag(ctx context.Context, p fescue.Partition, function string, tags map[string]string) error
	Untag(ctx context.Context, p fescue.Partition, function string, keys []string) error
}

// Options is what an API is made of.
type Options struct {
	Functions Functions
	// Buckets hold code that requests name by S3Bucket and S3Key.
	Buckets Buckets
	// Links are for Code.Location of GetFunction.
	Links *CodeLinks
	// Scheme, "http" or "https", and BasePath, empty or "/like/this", are how
	// clients reach this server; the host is the one that they ask.
	Scheme   string
	BasePath string
	// SpoolDir holds zips while they are checked; empty is the system's folder
	// for temporary files.
	SpoolDir string
	Logger   *slog.Logger
}

// API answers the requests that are signed for lambda.
type API struct {
	restjson.API
	functions Functions
	options   Options
	fetches   *semaphore.Weighted // from buckets
}

var _ awsapi.Service = (*API)(nil)

// New makes an API.
func New(o Options) *API {
	a := &API{functions: o.Functions, options: o, fetches: semaphore.NewWeighted(maxFetches)}
	a.API = restjson.API{
		Failing:   awsapi.Failing{Translate: translate, Internal: "ServiceException", Logger: o.Logger},
		ErrorBody: errorBody, Malformed: malformed, Target: targetOf,
	}
	a.Register(a.operations())
	a.RegisterNotServed(notServed)
	return a
}

// maxRequest bounds CreateFunction and UpdateFunctionCode: a zip of
// functions.MaxArchive in base64, and a megabyte for the rest.
const maxRequest = functions.MaxArchive/3*4 + 4 + awsapi.DefaultMaxBody

func (a *API) operations() []restjson.Operation {
	const (
		all     = "/2015-03-31/functions"
		one     = all + "/{FunctionName}"
		aliases = one + "/aliases"
		alias   = aliases + "/{Name}"
		tags    = "/2017-03-31/tags/{ARN}"

		get, post, put, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete
	)
	return []restjson.Operation{
		{Name: "CreateFunction", Method: post, Path: all, Status: http.StatusCreated, MaxBody: maxRequest, Stream: true, Handle: a.createFunction},
		{Name: "GetFunction", Method: get, Path: one, Handle: a.getFunction},
		{Name: "GetFunctionConfiguration", Method: get, Path: one + "/configuration", Handle: a.getConfiguration},
		{Name: "UpdateFunctionCode", Method: put, Path: one + "/code", MaxBody: maxRequest, Stream: true, Handle: a.updateCode},
		{Name: "UpdateFunctionConfiguration", Method: put, Path: one + "/configuration", Handle: a.updateConfiguration},
		{Name: "DeleteFunction", Method: del, Path: one, Status: http.StatusNoContent, Handle: a.deleteFunction},
		{Name: "ListFunctions", Method: get, Path: all + "/", Handle: a.listFunctions},
		{Name: "PublishVersion", Method: post, Path: one + "/versions", Status: http.StatusCreated, Handle: a.publishVersion},
		{Name: "ListVersionsByFunction", Method: get, Path: one + "/versions", Handle: a.listVersions},

		{Name: "CreateAlias", Method: post, Path: aliases, Status: http.StatusCreated, Handle: a.createAlias},
		{Name: "GetAlias", Method: get, Path: alias, Handle: a.getAlias},
		{Name: "UpdateAlias", Method: put, Path: alias, Handle: a.updateAlias},
		{Name: "DeleteAlias", Method: del, Path: alias, Status: http.StatusNoContent, Handle: a.deleteAlias},
		{Name: "ListAliases", Method: get, Path: aliases, Handle: a.listAliases},

		{Name: "AddPermission", Method: post, Path: one + "/policy", Status: http.StatusCreated, Handle: a.addPermission},
		{Name: "GetPolicy", Method: get, Path: one + "/policy", Handle: a.getPolicy},
		{Name: "RemovePermission", Method: del, Path: one + "/policy/{StatementId}", Status: http.StatusNoContent, Handle: a.removePermission},

		{Name: "ListTags", Method: get, Path: tags, Handle: a.listTags},
		{Name: "TagResource", Method: post, Path: tags, Status: http.StatusNoContent, Handle: a.tagResource},
		{Name: "UntagResource", Method: del, Path: tags, Status: http.StatusNoContent, Handle: a.untagResource},

		{Name: "Invoke", Method: post, Path: one + "/invocations", MaxBody: maxPayload, Stream: true, Handle: a.invoke},
		{Name: "InvokeAsync", Method: post, Path: "/2014-11-13/functions/{FunctionName}/invoke-async", MaxBody: maxPayload, Stream: true, Handle: a.invoke},
	}
}

// maxPayload is what Lambda takes as input of a function: 6 MB (AWS Lambda
// quotas). Invoke reads none of it, but has to answer what it is.
const maxPayload = 6 << 20

// location is a URL of a version's zip that needs no further authentication.
func (a *API) location(r *restjson.Request, v fescue.FunctionVersion) string {
	u := url.URL{Scheme: a.options.Scheme, Host: r.Host, Path: a.options.BasePath + a.options.Links.Path(r.Partition, v.CodeHash, v.CodeSize)}
	return u.String()
}

// invoke refuses to run a function in the cloud.
func (a *API) invoke(_ context.Context, r *restjson.Request) (any, error) {
	return nil, &awsapi.Error{
		Status: http.StatusBadRequest, Code: "UnknownOperationException",
		Message: fmt.Sprintf("Invoke is not available: Fescue does not run functions in the cloud. Deploy %.300q to a core, and send it a message through a subscription.", r.Label("FunctionName")),
	}
}
