package fescue

import (
	"fmt"
	"strings"
)

// FailureCode names one way in which a deployment can fail. Codes are stable:
// scripts may compare DetailedErrorCode with them.
type FailureCode string

// The failure codes of the Building phase, found by the control plane.
// THING_CERT_NOT_FOUND_ERROR and RESOURCE_TYPE_UNEXPECTED_ERROR were seen from
// the original; the others follow their form.
const (
	DefinitionNotFound   FailureCode = "DEFINITION_VERSION_NOT_FOUND_ERROR"
	CoreCount            FailureCode = "CORE_COUNT_ERROR"
	ThingCertNotFound    FailureCode = "THING_CERT_NOT_FOUND_ERROR"
	CoreInOtherGroup     FailureCode = "CORE_IN_OTHER_GROUP_ERROR"
	FunctionNotFound     FailureCode = "FUNCTION_NOT_FOUND_ERROR"
	FunctionUnpublished  FailureCode = "FUNCTION_VERSION_UNPUBLISHED_ERROR"
	FunctionDuplicate    FailureCode = "FUNCTION_DUPLICATE_ERROR"
	EndpointNotFound     FailureCode = "SUBSCRIPTION_ENDPOINT_NOT_FOUND_ERROR"
	ResourceNotFound     FailureCode = "RESOURCE_NOT_FOUND_ERROR"
	ResourceUnexpected   FailureCode = "RESOURCE_TYPE_UNEXPECTED_ERROR"
	ConnectorDuplicate   FailureCode = "CONNECTOR_DUPLICATE_ERROR"
	ConnectorUnsupported FailureCode = "CONNECTOR_UNSUPPORTED_ERROR"
	QuotaExceeded        FailureCode = "GROUP_QUOTA_EXCEEDED_ERROR"
	ServiceRoleMissing   FailureCode = "SERVICE_ROLE_MISSING_ERROR"
	DeploymentSuperseded FailureCode = "DEPLOYMENT_SUPERSEDED"
	DeploymentForcedAway FailureCode = "DEPLOYMENT_FORCED_AWAY"
	DeploymentCancelled  FailureCode = "DEPLOYMENT_CANCELLED"
	DeploymentExpired    FailureCode = "DEPLOYMENT_EXPIRED"
	DeploymentTimedOut   FailureCode = "DEPLOYMENT_TIMED_OUT"
	DeploymentOutdated   FailureCode = "DEPLOYMENT_OUTDATED"
	NothingToReset       FailureCode = "NOTHING_TO_RESET"
	InternalFailure      FailureCode = "INTERNAL_FAILURE"
)

// DeploymentFailure is one row of the table of deployment failures.
type DeploymentFailure struct {
	Code FailureCode
	// Text is the problem, a format for the values that Detail is given.
	Text string
	// Remedy is what to do about it.
	Remedy string
}

// DeploymentFailures is the table. Texts that the original documented are kept.
var DeploymentFailures = []DeploymentFailure{
	{
		DefinitionNotFound,
		"The group version refers to the %s definition version %s, which does not exist any more",
		"Create the definition version again and a group version that refers to it, then deploy that.",
	},
	{
		CoreCount,
		"The core definition version must have exactly one core to be deployed, but has %d",
		"Create a core definition version with one core and a group version that refers to it.",
	},
	{
		ThingCertNotFound,
		"The certificate %s of %s '%s' is not an ACTIVE certificate attached to thing %s",
		"Activate it with iot update-certificate, attach it with iot attach-thing-principal, or name the right pair in the definition.",
	},
	{
		CoreInOtherGroup,
		"The core %s is deployed by another group",
		"Reset that group's deployments with ResetDeployments, then deploy this group.",
	},
	{
		FunctionNotFound,
		"The function %s does not exist",
		"Publish the version or create the alias in Lambda, or name an existing one in the function definition.",
	},
	{
		FunctionUnpublished,
		"The function %s does not name a published version",
		"Publish a version with lambda publish-version and refer to it by its number or by an alias that points to it; $LATEST cannot be deployed.",
	},
	{
		FunctionDuplicate,
		"The function version %s stands in the group more than once",
		"Keep one entry for each function version in the function definition.",
	},
	{
		EndpointNotFound,
		"The %s %s of subscription '%s' is not in the group",
		"Use the ARN exactly as it stands in the group's function, device or connector definition, or add it there.",
	},
	{
		ResourceNotFound,
		"The function %s refers to the resource '%s', which is not in the group",
		"Add the resource to the group's resource definition or remove it from the function's ResourceAccessPolicies.",
	},
	{
		ResourceUnexpected,
		"Function %s refers to resource of type '%s' that is not allowed in IsolationMode='NoContainer'",
		"Detach the resource from the function or run the function in a container.",
	},
	{
		ConnectorDuplicate,
		"The connector %s stands in the group more than once",
		"Keep one instance and one version of each connector in a group.",
	},
	{
		ConnectorUnsupported,
		"The connector %s cannot be run by this version",
		"Remove it from the group, or put a function in its place.",
	},
	{
		QuotaExceeded,
		"The group has %d %s; at most %d can be deployed",
		"Split the group.",
	},
	{
		ServiceRoleMissing,
		"TES service role is not associated with this account",
		"Associate one with greengrass associate-service-role-to-account, or start the server without --require-service-role.",
	},
	{
		DeploymentSuperseded,
		"The core had not claimed this deployment when deployment %s took its place",
		"Nothing is to be done: poll the newer deployment.",
	},
	{
		DeploymentForcedAway,
		"%s ended this deployment; what the core made of it is not known",
		"The core goes back to the last accepted deployment when it hears of that. Deploy the group again when it is back.",
	},
	{
		DeploymentCancelled,
		"The deployment was cancelled by %s",
		"The core runs what it ran before. Deploy the group again when you want to.",
	},
	{
		DeploymentExpired,
		"The core %s did not come for this deployment within %v; it was last heard of: %v",
		"Check that the gateway is on, that fescue-core runs and that it reaches this server, then deploy again; --offline-deadline sets how long a deployment waits.",
	},
	{
		DeploymentTimedOut,
		"The core %s claimed this deployment and did not end it: it was longer than %v in the phase %v",
		"The core goes back to the last accepted deployment when it hears of that. Its runtime.log says what held it up; then deploy again.",
	},
	{
		DeploymentOutdated,
		"The core %s has been through a deployment with epoch %d, later than this one's %d, of which this server has lost the end: it was restored from a backup",
		"The core runs what it ran before. Deploy the group again.",
	},
	{
		NothingToReset,
		"Group id: %s has not been deployed or has already been reset",
		"Nothing is to be done.",
	},
	{
		InternalFailure,
		"The server could not build the deployment: %s",
		"Deploy again; if it fails again, the server's log has the cause.",
	},
}

// Detail is the failure as an ErrorDetail, its text filled in and the remedy
// added. It panics for a code that is not in the table.
func (c FailureCode) Detail(values ...any) ErrorDetail {
	for _, f := range DeploymentFailures {
		if f.Code == c {
			return ErrorDetail{
				DetailedErrorCode:    string(c),
				DetailedErrorMessage: fmt.Sprintf(f.Text, values...) + ". " + f.Remedy,
			}
		}
	}
	panic("fescue: failure code " + string(c) + " is not in the table")
}

// InvalidGroupMessage is the ErrorMessage of a deployment that failed in
// Building because its group cannot be deployed, with the braces of the
// original (seen by users of greengo and aws-greengrass-provisioner).
func InvalidGroupMessage(details []ErrorDetail) string {
	models := make([]string, len(details))
	for i, d := range details {
		models[i] = fmt.Sprintf("ErrorModel(errorCode=%s, errorMsg=%s)", d.DetailedErrorCode, d.DetailedErrorMessage)
	}
	return "We cannot deploy because the group definition is invalid or corrupted for the following reasons: {ErrorSet(errorSet=[" +
		strings.Join(models, ", ") + "])}"
}

// FailureMessage is the ErrorMessage of a deployment that failed otherwise.
func FailureMessage(d Deployment, cause string) string {
	return fmt.Sprintf("Deployment %s of type %s for group %s failed error: %s", d.ID, d.Type, d.GroupID, cause)
}
