package iot

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/jobs"
	"github.com/fescue-edge/fescue/cloud/registry"
	"github.com/fescue-edge/fescue/policy"
)

// Exception names that handlers use themselves.
const (
	invalidRequest   = "InvalidRequestException"
	resourceNotFound = "ResourceNotFoundException"
	malformedPolicy  = "MalformedPolicyException"
)

// refusals is how each reason of the registry goes over the wire: {name} and
// {arn} stand for what it is about. Codes and statuses are the API model's; the
// texts are those recorded from AWS by the moto project where it has one.
var refusals = []struct {
	reason error
	status int
	code   string
	text   string
}{
	{registry.ErrThingDiffers, http.StatusConflict, "ResourceAlreadyExistsException", "Thing {name} already exists in account with different attributes"},
	{registry.ErrThingVersion, http.StatusConflict, "VersionConflictException", "The version of thing {name} is not the expected one. Read the thing again and repeat the change."},
	{registry.ErrThingAttached, http.StatusBadRequest, invalidRequest, "Cannot delete. Thing {name} is still attached to one or more principals"},
	{registry.ErrTypeDiffers, http.StatusConflict, "ResourceAlreadyExistsException", "Thing type {name} already exists in account with different properties"},
	{registry.ErrTypeDeprecated, http.StatusBadRequest, invalidRequest, "Can not create new thing with deprecated thing type:{name}"},
	{registry.ErrTypeNotDeprecated, http.StatusBadRequest, invalidRequest, "Cannot delete. Thing type {name} is not deprecated: deprecate it first"},
	{registry.ErrTypeHasThings, http.StatusBadRequest, invalidRequest, "Cannot delete. Thing type {name} still has things: give them another type, or none, by update-thing"},
	{registry.ErrCertificateExists, http.StatusConflict, "ResourceAlreadyExistsException", "The certificate is already registered (id={name})"},
	{registry.ErrCertificateElsewhere, http.StatusConflict, "CertificateConflictException", "The certificate cannot be registered here: on this server a fingerprint belongs to one account and Region only (id={name})"},
	{registry.ErrCertificateActive, http.StatusNotAcceptable, "CertificateStateException", "Certificate must be deactivated (not ACTIVE) before deletion. Id: {name}"},
	{registry.ErrCertificateRevoked, http.StatusNotAcceptable, "CertificateStateException", "The certificate is REVOKED, which is final. Issue or register another one. Id: {name}"},
	{registry.ErrCertificateHasThings, http.StatusConflict, "DeleteConflictException", "Things must be detached before deletion (arn: {arn})"},
	{registry.ErrCertificateHasPolicies, http.StatusConflict, "DeleteConflictException", "Certificate policies must be detached before deletion (arn: {arn})"},
	{registry.ErrPolicyExists, http.StatusConflict, "ResourceAlreadyExistsException", "Policy cannot be created - name already exists (name={name})"},
	{registry.ErrPolicyAttached, http.StatusConflict, "DeleteConflictException", "The policy cannot be deleted as the policy is attached to one or more principals (name={name})"},
	{registry.ErrPolicyHasVersions, http.StatusConflict, "DeleteConflictException", "Cannot delete the policy because it has one or more policy versions attached to it (name={name})"},
	{registry.ErrVersionIsDefault, http.StatusBadRequest, invalidRequest, "Cannot delete the default version of a policy"},
	{registry.ErrVersionLimit, http.StatusConflict, "VersionsLimitExceededException", fmt.Sprintf("The policy {name} already has the maximum number of versions (%d). Delete one first.", registry.MaxPolicyVersions)},
	{registry.ErrRoleAliasExists, http.StatusConflict, "ResourceAlreadyExistsException", "RoleAlias cannot be created - already exists (name={name})"},
	{registry.ErrRoleAliasUnknown, http.StatusNotFound, resourceNotFound, "RoleAlias not found (name= {name})"},
	{registry.ErrPolicyLimit, http.StatusGone, "LimitExceededException", fmt.Sprintf("The certificate already has the maximum number of policies (%d). Detach one first (arn: {arn})", registry.MaxPolicies)},
}

// translate maps what the registry says to the wire; what the table does not
// have passes through and becomes an internal error.
func translate(err error) error {
	var refusal *registry.Refusal
	var argument *registry.InvalidError
	var size *registry.SizeError
	var job *jobs.InvalidError
	var wire *awsapi.Error
	switch {
	case err == nil, errors.As(err, &wire):
		return err
	case errors.As(err, &refusal):
		for _, row := range refusals {
			if refusal.Reason == row.reason {
				e := refuse(row.status, row.code, "%s", strings.NewReplacer("{name}", refusal.Name, "{arn}", refusal.ARN).Replace(row.text))
				if row.code == "ResourceAlreadyExistsException" {
					e.Members = map[string]string{"resourceId": refusal.Name, "resourceArn": refusal.ARN}
				}
				return e
			}
		}
		return err
	case errors.As(err, &argument):
		return invalid("%s.", argument.Text)
	case errors.As(err, &size):
		return refuse(http.StatusBadRequest, malformedPolicy, "%v.", size)
	case errors.Is(err, policy.ErrMalformed):
		return refuse(http.StatusBadRequest, malformedPolicy, "%v.", err)
	case errors.Is(err, registry.ErrCertificateInvalid):
		return refuse(http.StatusBadRequest, "CertificateValidationException", "certificatePem %v.", err)
	case errors.As(err, &job):
		return invalid("%s.", job.Text)
	case errors.Is(err, jobs.ErrExists):
		return refuse(http.StatusConflict, "ResourceAlreadyExistsException", "%s.", capital(err))
	case errors.Is(err, jobs.ErrUnderWay):
		return refuse(http.StatusConflict, "InvalidStateTransitionException", "%s.", capital(err))
	case errors.Is(err, jobs.ErrEnded):
		return invalid("%s.", capital(err))
	case errors.Is(err, jobs.ErrVersion):
		return refuse(http.StatusConflict, "VersionConflictException", "%s.", capital(err))
	case errors.Is(err, fescue.ErrNotFound):
		return refuse(http.StatusNotFound, resourceNotFound, "%v.", err)
	}
	return err
}

// capital is an error's text as a sentence begins.
func capital(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:]
}

func refuse(status int, code, format string, args ...any) *awsapi.Error {
	return &awsapi.Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *awsapi.Error {
	return refuse(http.StatusBadRequest, invalidRequest, format, args...)
}

// malformed answers for a body, label or query that does not decode.
func malformed(cause string) *awsapi.Error {
	return invalid("The request is malformed: %s.", strings.TrimSuffix(cause, "."))
}

func errorBody(e *awsapi.Error) any {
	body := map[string]string{"message": e.Message}
	for name, value := range e.Members {
		body[name] = value
	}
	return body
}
