package lambda

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/functions"
)

// refusals is how each kind of refusal goes over the wire (Lambda API model).
var refusals = []struct {
	kind   error
	status int
	code   string
}{
	{functions.ErrShape, http.StatusBadRequest, "ValidationException"},
	{functions.ErrInvalid, http.StatusBadRequest, "InvalidParameterValueException"},
	{functions.ErrTooLarge, http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException"},
	{functions.ErrPrecondition, http.StatusPreconditionFailed, "PreconditionFailedException"},
	{fescue.ErrNotFound, http.StatusNotFound, "ResourceNotFoundException"},
	{fescue.ErrExists, http.StatusConflict, "ResourceConflictException"},
	{fescue.ErrInUse, http.StatusConflict, "ResourceConflictException"},
	{fescue.ErrConflict, http.StatusConflict, "ResourceConflictException"},
}

func translate(err error) *awsapi.Error {
	for _, row := range refusals {
		if errors.Is(err, row.kind) {
			return &awsapi.Error{Status: row.status, Code: row.code, Message: err.Error()}
		}
	}
	return nil
}

// malformed is for requests that do not decode.
func malformed(cause string) *awsapi.Error {
	return &awsapi.Error{
		Status: http.StatusBadRequest, Code: "InvalidRequestContentException",
		Message: "Could not parse request body into json: " + cause,
	}
}

// invalid is for values that never get as far as the service.
func invalid(format string, args ...any) *awsapi.Error {
	return &awsapi.Error{
		Status: http.StatusBadRequest, Code: "InvalidParameterValueException",
		Message: fmt.Sprintf(format, args...),
	}
}

// errorBody is Lambda's: clients read Message or message.
func errorBody(e *awsapi.Error) any {
	kind := "User"
	if e.Status >= http.StatusInternalServerError {
		kind = "Service"
	}
	return struct {
		Type    string
		Message string
		Lower   string `json:"message"`
	}{kind, e.Message, e.Message}
}
