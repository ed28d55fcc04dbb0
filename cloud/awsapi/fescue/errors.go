package fescue

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/topic"
)

// Exception names, as Greengrass has them.
const (
	badRequest       = "BadRequestException"
	resourceNotFound = "ResourceNotFoundException"
	conflict         = "ConflictException"
)

// refusals is how errors of the services go over the wire, with the text that they
// have.
var refusals = []struct {
	reason error
	status int
	code   string
}{
	{deploy.ErrEpoch, http.StatusBadRequest, badRequest},
	{deploy.ErrEpochJump, http.StatusConflict, conflict},
	{topic.ErrEmpty, http.StatusBadRequest, badRequest},
	{topic.ErrEncoding, http.StatusBadRequest, badRequest},
	{topic.ErrTooLong, http.StatusBadRequest, badRequest},
	{topic.ErrTooDeep, http.StatusBadRequest, badRequest},
	{topic.ErrWildcard, http.StatusBadRequest, badRequest},
}

func translate(err error) *awsapi.Error {
	var list *restjson.PageError
	switch {
	case errors.As(err, &list):
		return refuse(http.StatusBadRequest, badRequest, "%s", list.Text)
	case errors.Is(err, fescue.ErrPage):
		return refuse(http.StatusBadRequest, badRequest, "%s", restjson.ForeignToken)
	}
	for _, r := range refusals {
		if errors.Is(err, r.reason) {
			return refuse(r.status, r.code, "%v.", err)
		}
	}
	return nil
}

func refuse(status int, code, format string, args ...any) *awsapi.Error {
	return &awsapi.Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// malformed answers for a body, label or query that does not decode.
func malformed(cause string) *awsapi.Error {
	return refuse(http.StatusBadRequest, badRequest, "The request is malformed: %s.", strings.TrimSuffix(cause, "."))
}

// unknownGroup answers for a group that is not there.
var unknownGroup = refuse(http.StatusNotFound, resourceNotFound, "That group definition does not exist.")

// notFoundAs replaces fescue.ErrNotFound by a wire error and lets anything else
// through.
func notFoundAs(err error, e *awsapi.Error) error {
	if errors.Is(err, fescue.ErrNotFound) {
		return e
	}
	return err
}

func errorBody(e *awsapi.Error) any { return struct{ Message string }{e.Message} }
