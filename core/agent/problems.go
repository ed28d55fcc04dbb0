package agent

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
)

// Problem is one reason why a deployment cannot run on this core.
type Problem struct {
	// Function is the ARN of the function concerned, empty for the whole group.
	Function string
	// Code is stable and becomes DetailedErrorCode; Message says what is wrong
	// and what to do.
	Code, Message string
}

// Codes of what a core finds. The original's codes of this phase are not known.
const (
	codeManifest        = "MANIFEST_REFUSED_ERROR"
	codeKeyUnknown      = "MANIFEST_KEY_UNKNOWN_ERROR"
	codeKeyRevoked      = "MANIFEST_KEY_REVOKED_ERROR"
	codeSignature       = "MANIFEST_SIGNATURE_ERROR"
	codeOtherCore       = "MANIFEST_OTHER_CORE_ERROR"
	codeOtherDeployment = "MANIFEST_OTHER_DEPLOYMENT_ERROR"
	codeReplay          = "MANIFEST_REPLAY_ERROR"
	codeEpoch           = "MANIFEST_EPOCH_ERROR"
	codeDownload        = "ARTIFACT_DOWNLOAD_ERROR"
	codeHash            = "ARTIFACT_HASH_ERROR"
	codeUnpack          = "ARTIFACT_UNPACK_ERROR"
	codeDiskFull        = "CORE_DISK_FULL_ERROR"
	codeDisk            = "CORE_FILE_SYSTEM_ERROR"
	codeGroupFile       = "GROUP_FILE_ERROR"
	codeContainer       = "CONTAINER_UNSUPPORTED_ERROR"
	codeIsolation       = "ISOLATION_MODE_ERROR"
	codeRuntime         = "RUNTIME_MISSING_ERROR"
	codeUser            = "RUN_AS_USER_ERROR"
	codeRoot            = "RUN_AS_ROOT_ERROR"
	codeHandler         = "HANDLER_MISSING_ERROR"
	codeFeature         = "FEATURE_UNSUPPORTED_ERROR"
	codeSpooler         = "SPOOLER_CONFIGURATION_ERROR"
	codeRoute           = "SUBSCRIPTION_INVALID_ERROR"
	codeApply           = "FUNCTIONS_APPLY_ERROR"
	codeUnhealthy       = "FUNCTION_UNHEALTHY_ERROR"
	codeInterrupted     = "DEPLOYMENT_INTERRUPTED_ERROR"
)

// failure ends a deployment: trying again would not help.
type failure struct{ problems []Problem }

// Error joins the problems.
func (f *failure) Error() string {
	texts := make([]string, len(f.problems))
	for i, p := range f.problems {
		texts[i] = p.Message
	}
	return strings.Join(texts, "; ")
}

func fail(code, format string, args ...any) error {
	return &failure{[]Problem{{Code: code, Message: fmt.Sprintf(format, args...)}}}
}

// diskFailure is the end of a deployment by the core's own file system.
func diskFailure(doing string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fail(codeDiskFull, "%s: %v. The core's disk is full: free space in the deployment folder and deploy again", doing, err)
	}
	return fail(codeDisk, "%s: %v", doing, err)
}

// problemsOf gives the problems of any error.
func problemsOf(err error, code string) []Problem {
	var f *failure
	if errors.As(err, &f) {
		return f.problems
	}
	return []Problem{{Code: code, Message: err.Error()}}
}

// details is the problems as a report carries them, within its limits.
func details(problems []Problem) []fescue.ErrorDetail {
	const most, longest = 20, 4096
	list := make([]fescue.ErrorDetail, 0, len(problems))
	for _, p := range problems[:min(len(problems), most)] {
		list = append(list, fescue.ErrorDetail{DetailedErrorCode: p.Code, DetailedErrorMessage: cut(p.Message, longest)})
	}
	return list
}

// cut shortens a text to n bytes at a character's border.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// failureMessage is the deployment's ErrorMessage, in the original's words (AWS
// IoT Greengrass V1 developer guide, "Troubleshooting").
func failureMessage(m bundle.Manifest, problems []Problem) string {
	return fescue.FailureMessage(fescue.Deployment{
		ID:      m.DeploymentID,
		Type:    m.DeploymentType,
		GroupID: m.GroupID,
	}, cut((&failure{problems}).Error(), 4096))
}
