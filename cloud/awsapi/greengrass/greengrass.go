// Package greengrass speaks the AWS IoT Greengrass V1 control plane API
// (2017-06-07): the table of its operations, the shapes of its requests and
// answers, and its error texts. What the operations do is in packages
// definitions, deploy, bulk, cores, groupca and jobs.
package greengrass

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/bulk"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/definitions"
	"github.com/fescue-edge/fescue/cloud/groupca"
)

// Deployments is what the API needs of the deployment engine.
type Deployments interface {
	CreateWithin(ctx context.Context, p fescue.Partition, groupTag, groupID string, t fescue.DeploymentType, groupVersionID, deploymentID string, token fescue.Token) (fescue.Deployment, error)
	Deployed(ctx context.Context, p fescue.Partition, groupID, deploymentID string) (groupVersionID string, err error)
	Reset(ctx context.Context, p fescue.Partition, groupID string, force bool, token fescue.Token) (fescue.Deployment, error)
	Status(ctx context.Context, p fescue.Partition, groupID, id string) (fescue.CurrentStatus, error)
	Deployments(ctx context.Context, p fescue.Partition, groupID string, page fescue.Page) ([]fescue.Deployment, error)
}

// Roles keeps the service role (empty group id) and the groups' roles.
type Roles interface {
	AssociateRole(ctx context.Context, p fescue.Partition, groupID, roleARN string) (time.Time, error)
	DisassociateRole(ctx context.Context, p fescue.Partition, groupID string) (time.Time, error)
	AssociatedRole(ctx context.Context, p fescue.Partition, groupID string) (roleARN string, at time.Time, err error)
}

// Options are what an API is made of. All members are required.
type Options struct {
	Definitions *definitions.Service
	Deployments Deployments
	Roles       Roles
	Cores       *cores.Service
	Authorities *groupca.Service
	Bulk        *bulk.Service
	Updates     Updates
	Logger      *slog.Logger
}

// API is the service.
type API struct {
	restjson.API
	definitions *definitions.Service
	deployments Deployments
	roles       Roles
	cores       *cores.Service
	authorities *groupca.Service
	bulk        *bulk.Service
	updates     Updates
}

var _ awsapi.Service = (*API)(nil)

// New makes the service.
func New(o Options) *API {
	a := &API{
		API: restjson.API{
			Failing:   awsapi.Failing{Translate: translate, Internal: "InternalServerErrorException", Logger: o.Logger},
			ErrorBody: errorBody,
			Malformed: malformed,
			Target:    target,
		},
		definitions: o.Definitions, deployments: o.Deployments, roles: o.Roles, cores: o.Cores, authorities: o.Authorities,
		bulk: o.Bulk, updates: o.Updates,
	}
	a.Register(slices.Concat(
		a.containerOperations(), a.deploymentOperations(), a.roleOperations(),
		a.tagOperations(), a.coreOperations(), a.authorityOperations(), a.bulkOperations(), a.updateOperations(),
	))
	return a
}

func errorBody(e *awsapi.Error) any {
	return struct {
		Message      string
		ErrorDetails []fescue.ErrorDetail `json:",omitempty"`
	}{e.Message, e.Details}
}

// Paging: the original's page sizes are unknown; scripts that do not page get
// as much as is reasonable.
const maxPage = 1000

// page reads MaxResults and NextToken of a list of ids.
func page(r *restjson.Request) (fescue.Page, error) { return r.Page(maxPage, fescue.ValidID) }

// token reads X-Amzn-Client-Token, which makes a create call idempotent. A call without one
// is so among its attempts: SDKs give all of them one id, and try again what may have been
// carried out.
func token(r *restjson.Request) (fescue.Token, error) {
	value := r.Header.Get("X-Amzn-Client-Token")
	if value == "" {
		return attempt(r), nil
	}
	for _, c := range value {
		if c > unicode.MaxASCII || !unicode.IsPrint(c) {
			return fescue.Token{}, refuse(http.StatusBadRequest, badRequest, "X-Amzn-Client-Token must be printable ASCII.")
		}
	}
	if len(value) > 64 {
		return fescue.Token{}, refuse(http.StatusBadRequest, badRequest, "X-Amzn-Client-Token has %d characters; at most 64 are allowed.", len(value))
	}
	return fescue.Token{Operation: r.Operation, Value: value, RequestHash: requestHash(r)}, nil
}

// attempt is the token of a call that brings none. Whoever gives several requests the same
// id means nothing by it: the token is of the request and of who signed it, too.
func attempt(r *restjson.Request) fescue.Token {
	id, err := uuid.Parse(r.Header.Get("Amz-Sdk-Invocation-Id"))
	if err != nil || id == uuid.Nil {
		return fescue.Token{}
	}
	hash := sha256.Sum256([]byte(strings.Join([]string{id.String(), r.KeyID, requestHash(r)}, "\x00")))
	return fescue.AttemptToken(r.Operation, hex.EncodeToString(hash[:]))
}

func requestHash(r *restjson.Request) string {
	h := sha256.New()
	for _, l := range slices.SortedFunc(slices.Values(r.Labels), func(a, b restjson.Label) int { return strings.Compare(a.Name, b.Name) }) {
		h.Write([]byte(l.Name + "=" + l.Value + "\x00"))
	}
	h.Write(canonicalJSON(r.Body))
	return hex.EncodeToString(h.Sum(nil))
}

// canonicalJSON makes equal requests equal bytes, whatever the order of their
// members.
func canonicalJSON(body []byte) []byte {
	var v any
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if dec.Decode(&v) != nil {
		return body
	}
	out, err := json.Marshal(v)
	if err != nil {
		return body
	}
	return out
}
