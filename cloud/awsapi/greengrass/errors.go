package greengrass

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/bulk"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/definitions"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/jobs"
)

// Exception names. Live codes are wider than the API model's two.
const (
	badRequest       = "BadRequestException"
	invalidInput     = "InvalidInputException"
	invalidContainer = "InvalidContainerDefinitionException"
	idNotFound       = "IdNotFoundException"
	versionNotFound  = "VersionNotFoundException"
	resourceNotFound = "ResourceNotFoundException"
	missingCore      = "MissingCoreException"
	concurrent       = "ConcurrentDeployment"
)

// texts are the words of a kind's errors. The original was not consistent, so
// each kind has its own row; those of connectors and loggers are inferred.
type texts struct {
	// get answers Get, other answers Update, Delete, ListVersions and
	// GetVersion, createVersion answers Create…Version, of an unknown container.
	get, other, createVersion string
	// version is the noun in "Version {v} of {noun} Definition {id} does not
	// exist.", versionCode the code that goes with it.
	version, versionCode string
	// subject and fault begin "The {subject} is {fault}. (ErrorDetails: […])".
	subject, fault string
}

var kindTexts = map[string]texts{
	fescue.GroupKind.Segment: {
		"That Group Definition does not exist.", "That group definition does not exist.", "That group does not exist.",
		"Group", versionNotFound, "group", "invalid or corrupted",
	},
	fescue.CoreKind.Segment: {
		"That Core List Definition does not exist", "That cores definition does not exist.", "That cores definition does not exist.",
		"Core List", versionNotFound, "cores definition", "invalid or corrupted",
	},
	fescue.DeviceKind.Segment: {
		"That Device List Definition does not exist.", "That devices definition does not exist.", "That devices definition does not exist.",
		"Device List", versionNotFound, "devices definition", "invalid or corrupted",
	},
	fescue.FunctionKind.Segment: {
		"That Lambda List Definition does not exist.", "That lambdas definition does not exist.", "That lambdas does not exist.",
		"Lambda List", idNotFound, "lambdas definition", "invalid or corrupted",
	},
	fescue.ResourceKind.Segment: {
		"That Resource List Definition does not exist.", "That resources definition does not exist.", "That resource definition does not exist.",
		"Resource List", versionNotFound, "resources definition", "invalid",
	},
	fescue.SubscriptionKind.Segment: {
		"That Subscription List Definition does not exist.", "That subscriptions definition does not exist.", "That subscriptions does not exist.",
		"Subscription List", versionNotFound, "subscriptions definition", "invalid or corrupted",
	},
	fescue.ConnectorKind.Segment: {
		"That Connector List Definition does not exist.", "That connectors definition does not exist.", "That connectors definition does not exist.",
		"Connector List", versionNotFound, "connectors definition", "invalid or corrupted",
	},
	fescue.LoggerKind.Segment: {
		"That Logger List Definition does not exist.", "That loggers definition does not exist.", "That loggers definition does not exist.",
		"Logger List", versionNotFound, "loggers definition", "invalid or corrupted",
	},
}

func refuse(status int, code, format string, args ...any) *awsapi.Error {
	return &awsapi.Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// unknown answers for a container or a version that is not there.
func unknown(text string) *awsapi.Error { return refuse(http.StatusNotFound, idNotFound, "%s", text) }

func unknownVersion(k fescue.Kind, id, version string) *awsapi.Error {
	t := kindTexts[k.Segment]
	return refuse(http.StatusNotFound, t.versionCode, "Version %s of %s Definition %s does not exist.", version, t.version, id)
}

// unknownBulk answers for a bulk deployment that is not there; the original's text
// is not known.
var unknownBulk = unknown("That bulk deployment does not exist.")

// notFoundAs replaces fescue.ErrNotFound by a wire error and lets anything else
// through.
func notFoundAs(err error, e *awsapi.Error) error {
	if errors.Is(err, fescue.ErrNotFound) {
		return e
	}
	return err
}

// malformed answers for a body, label or query that does not decode.
func malformed(cause string) *awsapi.Error {
	return refuse(http.StatusBadRequest, badRequest, "The request is malformed: %s.", strings.TrimSuffix(cause, "."))
}

// translate maps what the services refuse to the wire.
func translate(err error) *awsapi.Error {
	var invalid *definitions.InvalidError
	var badType *deploy.TypeError
	var badTags *definitions.TagError
	var badCore *cores.InvalidError
	var badURI *bulk.URIError
	var badJob *jobs.InvalidError
	var list *restjson.PageError
	switch {
	case errors.As(err, &list):
		return refuse(http.StatusBadRequest, badRequest, "%s", list.Text)
	case errors.As(err, &invalid):
		t := kindTexts[invalid.Kind.Segment]
		return refuse(http.StatusBadRequest, "", "The %s is %s. (ErrorDetails: [%s])", t.subject, t.fault, strings.Join(invalid.Problems, ", "))
	case errors.Is(err, definitions.ErrMalformed):
		return malformed(err.Error())
	case errors.Is(err, fescue.ErrTokenReused):
		return refuse(http.StatusBadRequest, invalidInput, "The client token was used before for a different request. Use a new token.")
	case errors.Is(err, fescue.ErrPage):
		return refuse(http.StatusBadRequest, badRequest, "%s", restjson.ForeignToken)
	case errors.As(err, &badTags):
		return refuse(http.StatusBadRequest, badRequest, "%s", badTags.Text)
	case errors.As(err, &badCore):
		return refuse(http.StatusBadRequest, badRequest, "%s", badCore.Text)
	case errors.As(err, &badURI):
		return refuse(http.StatusBadRequest, badRequest, "%s", badURI.Text)
	case errors.Is(err, bulk.ErrRole):
		return refuse(http.StatusBadRequest, badRequest, "That role ARN is invalid.")
	case errors.Is(err, bulk.ErrFinished):
		return refuse(http.StatusBadRequest, invalidInput, "Cannot change state of finished execution.")
	case errors.Is(err, bulk.ErrActive):
		return refuse(http.StatusBadRequest, concurrent, "Concurrent Deployment Error: another bulk deployment of this account and Region has not ended. Wait until it has, or end it with StopBulkDeployment.")
	case errors.As(err, &badJob):
		return refuse(http.StatusBadRequest, invalidInput, "%s.", strings.ToUpper(badJob.Text[:1])+badJob.Text[1:])
	case errors.As(err, &badType):
		return refuse(http.StatusBadRequest, invalidInput, "%s", badType.Text)
	case errors.Is(err, deploy.ErrNoCore):
		return refuse(http.StatusBadRequest, missingCore, "%s", `{"ErrorDetails": [{"DetailedErrorCode": "GG-303", "DetailedErrorMessage": "You need a Greengrass Core in this Group before you can deploy."}]}`)
	case errors.Is(err, deploy.ErrUnfinished):
		return refuse(http.StatusBadRequest, concurrent, "A deployment of this group is Building or InProgress. Wait until it has ended, or reset with Force.")
	case errors.Is(err, deploy.ErrConcurrent):
		return refuse(http.StatusBadRequest, concurrent, "Another deployment of this group is being built. Poll its status with GetDeploymentStatus and try again when it is no longer Building.")
	}
	return nil
}
