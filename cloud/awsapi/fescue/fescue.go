// Package fescue is the API of what Fescue can do and AWS's services could not: how
// deployments go, what cores are like, the audit record, messages as they come, and
// making again what was exported. It is REST-JSON below one path; requests are signed
// for any service that speaks REST-JSON. Each operation is a row that says what it
// takes and answers, from which openapi.go makes the description of the API.
package fescue

import (
	"context"
	"log/slog"
	"net/http"
	"reflect"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/definitions"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/inbound"
)

// Deployments is what the API needs of the deployment engine.
type Deployments interface {
	Deployments(ctx context.Context, p fescue.Partition, groupID string, page fescue.Page) ([]fescue.Deployment, error)
	DeploymentsIn(ctx context.Context, p fescue.Partition, status fescue.DeploymentStatus, page fescue.Page) ([]deploy.Listed, error)
	Timeline(ctx context.Context, p fescue.Partition, groupID, id string) (deploy.Timeline, error)
	Cancel(ctx context.Context, p fescue.Partition, groupID, id string, force bool, by string) (fescue.Deployment, error)
	Check(ctx context.Context, p fescue.Partition, groupID, groupVersionID string, wait time.Duration) (deploy.Check, error)
	Activity(ctx context.Context, p fescue.Partition, groupID string, wait time.Duration) (deploy.Activity, error)
	Epoch(ctx context.Context, p fescue.Partition, thing string) (int64, error)
	ResetEpoch(ctx context.Context, p fescue.Partition, thing string, epoch int64) (deploy.EpochReset, error)
	RestoreEpoch(ctx context.Context, p fescue.Partition, thing string, epoch int64) (deploy.EpochReset, error)
	Carry(ctx context.Context, p fescue.Partition, groupID, id, by string) (deploy.Carriage, error)
}

// Options are what an API is made of. All members are required where nothing else is said.
type Options struct {
	Definitions  *definitions.Service
	Deployments  Deployments
	Bulk         Bulk
	Fleet        Fleet
	Audit        Audit
	Operator     Operator
	Listener     Listener
	Logs         Logs
	Certificates Certificates
	Functions    Functions
	AccessKeys   AccessKeys
	History      History
	// Artifacts and SigningKeys are for bundles.
	Artifacts   Artifacts
	SigningKeys SigningKeys
	// Passes are for the console; nil on a server without one.
	Passes Passes
	// Terminals gives sessions to those who sign in from a terminal, and Provider knows
	// them; it is nil on a server without a provider of identities.
	Terminals Terminals
	Provider  Provider
	// Lent are operations of AWS's services in everything but that the original has
	// none such: those services give them.
	Lent   []restjson.Operation
	Now    func() time.Time
	Logger *slog.Logger
}

// API is the service.
type API struct {
	restjson.API
	o       Options
	streams inbound.Portions // by holder
}

var _ awsapi.Service = (*API)(nil)

// New makes the service.
func New(o Options) *API {
	a := &API{
		API: restjson.API{
			Failing:   awsapi.Failing{Translate: translate, Internal: "InternalServerErrorException", Logger: o.Logger},
			ErrorBody: errorBody,
			Malformed: malformed,
		},
		o: o,
	}
	var ops []restjson.Operation
	for _, op := range a.Described() {
		ops = append(ops, op.Operation)
	}
	a.Register(append(ops, o.Lent...))
	return a
}

// Operation is one row of the table, with what describes it.
type Operation struct {
	restjson.Operation
	// Summary is what it does, in a sentence.
	Summary string
	// Query are the parameters that it reads.
	Query []Parameter
	// Takes is the type of its body, nil for none, and Answers that of its answer.
	Takes, Answers reflect.Type
}

// Parameter is one of the query.
type Parameter struct {
	Name, Says string
	// Schema is what its value looks like.
	Schema object
}

// text is a parameter of any text, moment one of a time, as 2026-11-25T12:00:00Z, and
// number a whole one of a range.
func text(name, says string) Parameter {
	return Parameter{name, says, object{"type": "string"}}
}

func moment(name, says string) Parameter {
	return Parameter{name, says, schema(reflect.TypeFor[time.Time]())}
}

func number(name, says string, least, most int) Parameter {
	return Parameter{name, says, object{"type": "integer", "minimum": least, "maximum": most}}
}

// paged are the parameters of lists.
var paged = []Parameter{
	number("MaxResults", "How many a page has at most.", 1, maxPage),
	text("NextToken", "Where the page begins: what the page before answered."),
}

// nothing is the body of an operation without one.
type nothing = struct{}

// row makes a row from a handler that takes a decoded body.
func row[In, Out any](name, method, path, summary string, target func(*restjson.Request) string,
	handle func(context.Context, *restjson.Request, In) (Out, error), query ...Parameter,
) Operation {
	op := Operation{Summary: summary, Query: query, Answers: reflect.TypeFor[Out]()}
	if in := reflect.TypeFor[In](); in != reflect.TypeFor[nothing]() {
		op.Takes = in
	}
	op.Operation = restjson.Operation{
		Name: name, Method: method, Path: awsapi.OwnPath + path,
		Target: func(r *restjson.Request) awsapi.Target { return awsapi.Target{Resource: target(r)} },
		Handle: func(ctx context.Context, r *restjson.Request) (any, error) {
			var in In
			if op.Takes != nil {
				if err := restjson.Decode(r.Body, &in); err != nil {
					return nil, malformed(err.Error())
				}
			}
			return handle(ctx, r, in)
		},
	}
	return op
}

// Described are the rows, without those that are lent.
func (a *API) Described() []Operation {
	const deployment = "groups/{GroupId}/deployments/{DeploymentId}"
	status := text("Status", "Building, InProgress, Success or Failure.")
	over := text("Period", "Day, or Week; Day without it.")
	return []Operation{
		row("CancelDeployment", http.MethodPost, deployment+"/cancel",
			"Ends a deployment that its core has not claimed, asks the core to stop one that it has, or with Force ends it on the control plane's side alone.",
			onDeployment, a.cancelDeployment),
		row("BundleDeployment", http.MethodPost, deployment+"/bundle",
			"Answers with a file that has everything of a deployment which waits for its core, for a core that no line leads to; the timeline says that it was handed out.",
			onDeployment, a.bundleDeployment),
		row("GetDeploymentTimeline", http.MethodGet, deployment+"/timeline",
			"Returns what happened to a deployment, step by step, and what its core does.", onDeployment, a.getTimeline),
		row("ListDeploymentsByStatus", http.MethodGet, "deployments",
			"Lists the deployments of all groups that have a status, newest first.", onAll, a.listByStatus, append([]Parameter{status}, paged...)...),
		row("ListGroupDeployments", http.MethodGet, "groups/{GroupId}/deployments",
			"Lists the deployments of one group, newest first, with how they stand and why they failed.", onGroup, a.listOfGroup, paged...),
		row("GetBulkDeploymentProgress", http.MethodGet, "bulk/deployments/{BulkDeploymentId}",
			"Counts the records of a bulk deployment by what became of them, and tells why some failed.", onBulk, a.getBulkProgress),
		row("CheckGroupVersion", http.MethodPost, "groups/{GroupId}/versions/{GroupVersionId}/check",
			"Finds what would fail a deployment of a version of a group, here and on its core, without deploying it.", onVersion, a.checkGroupVersion),

		row("ListCores", http.MethodGet, "cores", "Lists cores with what they run and what they say of themselves.", onAll, a.listCores, append([]Parameter{
			text("Contains", "Only cores whose thing's or group's name, or address, has this text, in upper or lower case."),
			text("Tag", "Only cores whose group has this tag, as site=north. A name with an = in it stands in quotation marks."),
			text("State", "Only cores that are connected, offline or wrong: that say that something is, or on which the last deployment failed."),
		}, paged...)...),
		row("GetFleetSummary", http.MethodGet, "fleet", "Counts the cores, and those that are connected.", onAll, a.getFleetSummary),
		row("GetFleetHistory", http.MethodGet, "fleet/history", "Returns how many cores were connected and how deployments ended over the last day or week, as far as servers took samples.",
			onAll, a.getFleetHistory, over),
		row("ListGroupsByName", http.MethodGet, "groups", "Lists groups, to a limited key those that it covers.", onAll, a.listGroups,
			append([]Parameter{text("Contains", "Only groups whose name has this text, in upper or lower case, or whose id it is.")}, paged...)...),
		row("ListGroupCores", http.MethodGet, "groups/{GroupId}/cores", "Lists the core of one group, as ListCores does.", onGroup, a.listCores, paged...),
		row("ResetCoreEpoch", http.MethodPost, "cores/{ThingName}/epoch",
			"Settles which epoch a core has been through, where its word is not believed.", onCore, a.resetEpoch),
		row("GetCoreEpoch", http.MethodGet, "cores/{ThingName}/epoch",
			"Returns which epoch a core has been through, as far as is known here: 0 for one that is not known.", onCore, a.getEpoch),
		row("RestoreCoreEpoch", http.MethodPut, "cores/{ThingName}/epoch",
			"Raises the epoch that a core has been through to what its folder tells of, at most as far as the core itself is believed.", onCore, a.restoreEpoch),

		row("GetGroupActivity", http.MethodGet, "groups/{GroupId}/activity",
			"Asks a group's core what it does: the processes of its functions, their memory, restarts and queues.", onGroup, a.getActivity),
		row("ListLogEvents", http.MethodGet, "groups/{GroupId}/logs",
			"Lists lines of the logs of a group's core, as a logger of type AWSCloudWatch has the core send them, in the order in which they came.", onGroup, a.listLogEvents,
			moment("From", "When the oldest came, as 2026-11-25T12:00:00Z."), text("CoreThingName", "Only lines of this core."),
			text("Component", "Only lines of GreengrassSystem or of Lambda."), text("Name", "Only lines of this component's file or function."),
			text("NextToken", "Where the page begins: what the page before answered.")),

		row("ListFunctionFiles", http.MethodGet, "functions/{FunctionName}/files", "Lists the files of a function's code.", onFunction, a.listFunctionFiles,
			text("Qualifier", "The version or alias; $LATEST without it.")),
		row("GetFunctionFile", http.MethodGet, "functions/{FunctionName}/file", "Returns the text of a file of a function's code.", onFunction, a.getFunctionFile,
			text("Qualifier", "The version or alias; $LATEST without it."), text("Name", "The file's path in the zip.")),
		row("ListCertificatesByEnd", http.MethodGet, "certificates", "Lists the certificates of things that are ACTIVE by when they end, and those that the server uses.", onAll, a.listCertificatesByEnd,
			append([]Parameter{moment("Before", "Only certificates that end before this time, as 2026-11-25T12:00:00Z.")}, paged...)...),
		row("ListAuditRecords", http.MethodGet, "audit", "Lists the record of calls that changed something, or were denied it, oldest first unless Order says otherwise.", onAll, a.listAuditRecords,
			append([]Parameter{
				moment("From", "The time of the oldest, as 2026-11-25T12:00:00Z."), moment("To", "The time after the newest."),
				text("AccessKeyId", "Only calls with this access key."), text("Operation", "Only calls of this operation."),
				text("Order", "OldestFirst or NewestFirst."),
			}, paged...)...),
		row("GetMetrics", http.MethodGet, "metrics", "Returns the server's metrics in Prometheus's text format, to its own account.", onAll, a.getMetrics),
		row("GetRequestHistory", http.MethodGet, "metrics/requests", "Returns how many requests the servers answered and how long they took over the last day or week, to the server's own account.",
			onAll, a.getRequestHistory, over),
		row("GetEventDestinations", http.MethodGet, "events", "Returns how the delivery of events stands, to the server's own account.", onAll, a.getEventDestinations),
		row("Subscribe", http.MethodGet, "messages",
			"Answers with the messages that come on the topics of a filter, a line of JSON for each, until the caller goes or may no longer read them.",
			onFilter, a.subscribe, text("filter", "An MQTT topic filter.")),

		row("ListAccessKeys", http.MethodGet, "access-keys", "Lists the account's access keys, revoked ones too, without their secrets.", onAll, a.listAccessKeys),
		row("CreateAccessKey", http.MethodPost, "access-keys", "Makes an access key with an access level and a limit, and returns its secret, once.", onAll, a.createAccessKey),
		row("DeleteAccessKey", http.MethodDelete, "access-keys/{AccessKeyId}", "Revokes an access key of the account for good.", onAccessKey, a.deleteAccessKey),

		row("CreateConsoleLink", http.MethodPost, "console/links", "Makes a link that signs in to the console once, as the access key that asks for it.", onAll, a.createConsoleLink),
		row("CreateConsoleSession", http.MethodPost, "console/sessions", "Begins a session of the console, as the access key that asks for it; signing in calls it.", onAll, a.createConsoleSession),
		row("EndConsoleSession", http.MethodPost, "console/sessions/end", "Ends a session of the console; signing out calls it.", onAll, a.endConsoleSession),
		row("CreateTerminalSession", http.MethodPost, "terminal/sessions", "Makes a temporary key for a terminal, as the access key that asks for it; SignIn calls it.", onAll, a.createTerminalSession),
		row("EndTerminalSession", http.MethodPost, "terminal/sessions/end", "Ends the temporary key that signs the call, and those that somebody who signed in made with it; fescue logout calls it.", onAll, a.endTerminalSession),
	}
}

// by is who calls, for what a timeline says of it.
func by(r *restjson.Request) string {
	if r.Caller.Person != "" {
		return r.Caller.Person + " with access key " + r.KeyID
	}
	return "access key " + r.KeyID
}

// What operations act on.
func onAll(*restjson.Request) string { return "" }

func onGroup(r *restjson.Request) string {
	return r.Partition.DefinitionARN(fescue.GroupKind, r.Label("GroupId"))
}

func onVersion(r *restjson.Request) string {
	return r.Partition.VersionARN(fescue.GroupKind, r.Label("GroupId"), r.Label("GroupVersionId"))
}

func onDeployment(r *restjson.Request) string {
	return r.Partition.DeploymentARN(r.Label("GroupId"), r.Label("DeploymentId"))
}

func onCore(r *restjson.Request) string {
	p := r.Partition
	return fescue.ARN{AWS: p.AWS, Service: "greengrass", Region: p.Region, Account: p.Account, Resource: "/greengrass/cores/" + r.Label("ThingName")}.String()
}

func onFilter(r *restjson.Request) string { return r.Partition.TopicFilterARN(r.Query.Get("filter")) }

// maxPage is how much a page of a list has when nothing is asked.
const maxPage = 1000

// page reads MaxResults and NextToken of a list of ids.
func page(r *restjson.Request) (fescue.Page, error) { return r.Page(maxPage, fescue.ValidID) }

// timestamp is empty for the zero time. Times are as in Greengrass's API: RFC 3339 in
// UTC with milliseconds.
func timestamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return fescue.Timestamp(t)
}
