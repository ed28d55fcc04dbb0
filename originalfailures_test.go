package fescue_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
)

// originalFailure is one of the failures that the original documented (AWS IoT Greengrass
// V1 developer guide, "Troubleshooting", "Access machine learning resources" and "How to
// configure local resource access"), and what has its place here.
type originalFailure struct {
	// said is its text, or the heart of it.
	said string
	// codes are those that a deployment fails with; none for what fails no deployment.
	codes []fescue.FailureCode
	// here is what comes up besides, or why nothing can.
	here string
	// tests are those that reach it, as "folder TestName"; the codes have theirs (see
	// TestEveryFailureIsReached).
	tests []string
}

// originalFailures are all that was documented, but for what stands in the way of a core's
// start, which docs/core.md has.
var originalFailures = []struct {
	title string
	rows  []originalFailure
}{
	{"Containers", []originalFailure{
		{said: "`mounting \"proc\" to rootfs …`, `operation not permitted`; `container test process with pid N failed`, `exec user process caused \"no such file or directory\"`",
			codes: []fescue.FailureCode{fescue.ContainerUnsupported}, here: "The core makes a container as it starts: the text names each thing that is missing, or the step that failed, and what to do",
			tests: []string{"core/sandbox TestNoContainers", "test TestDoctor"}},
		{said: "`failed to mask greengrass root in overlay upper dir: … file exists`: /usr on a file system of its own",
			here: "Cannot come up: `/usr`, `/opt` and the like are shown wherever they lie", tests: []string{"core/sandbox TestRootOfAContainer"}},
		{said: "`failed to create overlay fs for container: … too many levels of symbolic links`",
			codes: []fescue.FailureCode{fescue.ContainerUnsupported}, here: "The step that failed is named; `system.useOverlayWithTmpfs` of `config.json` has layers in memory, for file systems that cannot have them",
			tests: []string{"core/sandbox TestLayersInMemory", "core/config TestEveryKey"}},
		{said: "`running exec setns process for init caused \"wait: no child processes\"`",
			here: "Cannot come up: nothing enters a container from outside"},
		{said: "`mounting \"/var/run\" … invalid argument`", codes: []fescue.FailureCode{fescue.ResourceRefused}, here: "Nothing of `/var` is a volume"},
		{said: "`mounting \"/dev/shm\" … operation not permitted`", codes: []fescue.FailureCode{fescue.ResourceRefused}, here: "`/dev/shm` goes with `rw` only"},
		{said: "`Failed to reset thread's mount namespace …`: a container function inside Docker", codes: []fescue.FailureCode{fescue.ContainerUnsupported},
			here: "The core goes on", tests: []string{"core/sandbox TestNoContainers"}},
		{said: "`…/rootfs/merged is not an absolute path or is a symlink`: in a snap", codes: []fescue.FailureCode{fescue.ContainerUnsupported}, tests: []string{"core/sandbox TestNoContainers"}},
		{said: "`exec: \"nodejs12.x\": executable file not found in $PATH`, `cannot find executable nodejs12.x under any of the provided paths [/usr/bin /usr/local/bin]`",
			codes: []fescue.FailureCode{fescue.RuntimeMissing}, here: "Before anything changes"},
	}},
	{"Deployments", []originalFailure{
		{said: "`403 Forbidden`", here: "No failure of a deployment, which cannot be offered to such a core: `runtime.log` names the action that the policy lacks, and the deployment ends by its deadline",
			tests: []string{"core/agent TestDownloadWhileNotLetIn", "cloud/edge TestPolicies"}},
		{said: "ConcurrentDeployment", here: "CreateDeployment is refused while another deployment of the group is in Building", tests: []string{"cloud/deploy TestCreate"}},
		{said: "`TES service role is not associated with this account`, `Greengrass is not authorized to assume the Service Role associated with this account`",
			codes: []fescue.FailureCode{fescue.ServiceRoleMissing, fescue.ServiceRoleRefused}, here: "With `--require-service-role` alone"},
		{said: "`error while downloading the Group definition file: … x509: certificate has expired or is not yet valid`",
			here:  "No failure of a deployment, which a core with a wrong clock does not come for: CORE_CLOCK_WRONG and CORE_CERTIFICATE_EXPIRES stand in `runtime.log` and `fescue cores`",
			tests: []string{"core/agent TestFindings"}},
		{said: "a deployment that does not finish", codes: []fescue.FailureCode{fescue.DeploymentExpired, fescue.DeploymentTimedOut}, here: "Deadlines end it"},
		{said: "`Unable to find java or java8 executables`, `Installed Java version must be greater than or equal to 8`",
			codes: []fescue.FailureCode{fescue.RuntimeMissing, fescue.SystemComponentUnsupported}, here: "Of Java functions; the stream manager is not served in this version"},
		{said: "`wait 1s for container to stop`, again and again", here: "Cannot come up: what does not end is killed after five seconds", tests: []string{"core/sandbox TestContainersEnd", "test TestFaultsOfContainers"}},
		{said: "`failed to report deployment status back to cloud …`", here: "In `runtime.log`, in the same words; the core tries until it is acknowledged", tests: []string{"core/agent TestReportsUntilAcknowledged"}},
		{said: "`group config is invalid: 112 or [119 0] don't have rw permission on the file: …`", codes: []fescue.FailureCode{fescue.ResourceClosed}},
		{said: "`… are configured to run as root but Greengrass is not configured to run Lambda functions with root permissions.`", codes: []fescue.FailureCode{fescue.RunAsRoot}},
		{said: "`could not find UID based on user name, userName: ggc_user: user: unknown user ggc_user.`", codes: []fescue.FailureCode{fescue.AccountMissing}},
		{said: "`dial tcp: lookup …: no such host`, `Client.Timeout exceeded while awaiting headers`", here: "No failure of a deployment: in `runtime.log`, and in `fescue-core doctor` with what to do", tests: []string{"test TestDoctor"}},
		{said: "`Error while unpacking the file from … to …, error: open …: no such file or directory`: a model without a parent folder",
			codes: []fescue.FailureCode{fescue.ArtifactUnpack}, here: "Of archives that cannot be laid out; one without a parent folder can"},
		{said: "`Artifact download retry exceeded the max retries`", codes: []fescue.FailureCode{fescue.ArtifactDownload}},
		{said: "a secret that can't be found", codes: []fescue.FailureCode{fescue.SecretNotFound, fescue.SecretsNotFetched}},
		{said: "a model's bucket, or a secret, that the service role cannot read", here: "Cannot come up: the control plane reads its own store with its own rights"},
		{said: "`security token included in the request is invalid`, `We're having a problem right now`", codes: []fescue.FailureCode{fescue.InternalFailure},
			here: "The control plane asks no other service with tokens of its own"},
	}},
	{"Definitions", []originalFailure{
		{said: "`Your 'IsolationMode' configuration for the group is invalid.`, `… for function with arn … is invalid.`", codes: []fescue.FailureCode{fescue.IsolationModeOfGroup, fescue.IsolationModeOfFunction},
			here: "When the definition is made, too", tests: []string{"cloud/definitions TestRules"}},
		{said: "`MemorySize configuration for function with arn … is not allowed in IsolationMode=NoContainer.`, `Access Sysfs configuration …`",
			codes: []fescue.FailureCode{fescue.MemorySizeUnexpected, fescue.AccessSysfsUnexpected}, here: "When the definition is made, too", tests: []string{"cloud/definitions TestRules"}},
		{said: "`MemorySize configuration for function with arn … is required in IsolationMode=GreengrassContainer.`", here: "When the definition is made", tests: []string{"cloud/definitions TestRules"}},
		{said: "`Function … refers to resource of type … that is not allowed in IsolationMode=NoContainer.`", codes: []fescue.FailureCode{fescue.ResourceUnexpected}},
		{said: "`Execution configuration for function with arn … is not allowed.`", codes: []fescue.FailureCode{fescue.ExecutionUnexpected}, here: "When the definition is made, too", tests: []string{"cloud/definitions TestRules"}},
		{said: "`InvalidMLModelOwner …`", codes: []fescue.FailureCode{fescue.ModelOwnerInvalid}},
		{said: "`NoContainer function cannot configure permission when attaching Machine Learning resources. …`", codes: []fescue.FailureCode{fescue.ModelPermissionUnexpected}},
		{said: "`… with missing permission in both ResourceAccessPolicy and resource OwnerSetting.`", codes: []fescue.FailureCode{fescue.ModelPermissionMissing}},
		{said: "`… with permission \"rw\", while resource owner setting GroupPermission only allows \"ro\".`", codes: []fescue.FailureCode{fescue.ModelPermissionWider}},
		{said: "`NoContainer Function … refers to resources of nested destination path.`", codes: []fescue.FailureCode{fescue.ModelPathsNested}},
		{said: "`Lambda … gains access to resource … by sharing the same group owner id`", codes: []fescue.FailureCode{fescue.ModelGroupShared}},
		{said: "`SourcePath` outside of /dev, `/sys`", here: "When the definition is made", tests: []string{"cloud/definitions TestRules"}},
		{said: "connector parameters: `does not match required pattern`", codes: []fescue.FailureCode{fescue.ConnectorUnsupported}, here: "Connectors are not served in this version"},
		{said: "`Device is a member of too many groups, devices may not be in more than 10 groups`", here: "Discovery answers the device with it", tests: []string{"cloud/edge TestDiscover"}},
	}},
	{"While functions run", []originalFailure{
		{said: "`Cloud messaging error: Error occurred while trying to publish a message. {\"errorString\": \"operation timed out\"}`", here: "In `runtime.log`, in the same words; the message stays first in the queue",
			tests: []string{"core/cloudlink TestPublish"}},
		{said: "a loop of connecting and disconnecting: the client id is used elsewhere", here: "`The connection to the cloud is down.` in `runtime.log` names client id and cause; `coreThing.coreClientId` gives another one", tests: []string{"core/config TestEveryKey"}},
		{said: "`Failed to get routes. Discarding message.`", here: "In `runtime.log`, in the same words, at DEBUG", tests: []string{"core/router TestPublish"}},
		{said: "`unable to get cloud shadow … for synchronization`, `Failed to execute sync operation {… VersionDiscontinued []}`",
			here: "`The cloud cannot be reached to keep shadows in step` in `GGShadowSyncManager.log`: what changes meanwhile is merged later. `system.shadowSyncTimeout` counts", tests: []string{"core/shadows TestRun", "core/config TestEveryKey"}},
		{said: "a device's shadow that never syncs: the policy lacks GetThingShadow or UpdateThingShadow", here: "`A shadow cannot be kept in step with the cloud` in `GGShadowSyncManager.log` names the shadow, the cause and the right", tests: []string{"core/shadows TestRefusedUpdates"}},
		{said: "`[Errno 24] Too many open files` in a function's log", here: "The function's own doing; it takes nothing from others", tests: []string{"test TestFaultsOfContainers"}},
		{said: "memory beyond MemorySize", codes: []fescue.FailureCode{fescue.FunctionUnhealthy}, here: "While it is deployed; later the caller's error and `runtime.log` say so", tests: []string{"core/sandbox TestMemoryOfContainers", "test TestContainers"}},
		{said: "a function that does not reach the internet behind a proxy", here: "Functions have `http_proxy` and the like of `networkProxy`; a library that does not ask for them is the function's", tests: []string{"core/lifecycle TestEnvironment"}},
		{said: "telemetry that stays `OutOfSync`", here: "Until the core has come with the setting", tests: []string{"test TestTelemetry"}},
		{said: "a full disk: shadows, certificates and deployments fail", codes: []fescue.FailureCode{fescue.CoreDiskFull}, here: "`runtime.log` and `fescue check` say so before", tests: []string{"test TestCoreDiskFull"}},
		{said: "OTA: `Permission denied when attempting to use role … to access s3 url …`", here: "Cannot come up: cores are updated with the machine's packages"},
	}},
}

// originalFailureSections are the part of docs/deployment-errors.md that is made of the
// table.
func originalFailureSections() string {
	var b strings.Builder
	b.WriteString("\n## The original's failures, one by one\n\nWhat stands in the way of a core's start is in [core.md](core.md#when-a-core-does-not-start).\n")
	for _, section := range originalFailures {
		fmt.Fprintf(&b, "\n### %s\n\n| the original's | here |\n|---|---|\n", section.title)
		for _, row := range section.rows {
			var here []string
			for _, code := range row.codes {
				here = append(here, string(code))
			}
			text := strings.Join(here, ", ")
			if text != "" && row.here != "" {
				text += ". "
			}
			fmt.Fprintf(&b, "| %s | %s |\n", row.said, text+row.here)
		}
	}
	return b.String()
}

// TestOriginalFailures: each failure of the original's has a code of the table, or a test
// that reaches what has its place, or says why it cannot come up.
func TestOriginalFailures(t *testing.T) {
	t.Parallel()
	for _, section := range originalFailures {
		for _, row := range section.rows {
			impossible := strings.HasPrefix(row.here, "Cannot come up: ")
			if len(row.codes)+len(row.tests) == 0 && !impossible {
				t.Errorf("%s: nothing shows what comes of it", row.said)
			}
			if impossible && len(row.codes) > 0 {
				t.Errorf("%s: it cannot come up and fails with %v", row.said, row.codes)
			}
			if strings.Contains(row.said+row.here, "|") {
				t.Errorf("%s: a cell of a table has no bar", row.said)
			}
			for _, code := range row.codes {
				if code.Detail("", "", "", "", "").DetailedErrorCode != string(code) {
					t.Errorf("%s: %s is no code", row.said, code)
				}
			}
			for _, test := range row.tests {
				if err := hasTest(test); err != nil {
					t.Errorf("%s: %v", row.said, err)
				}
			}
		}
	}
}

// hasTest looks for a test, as "folder TestName", in the source.
func hasTest(test string) error {
	folder, name, _ := strings.Cut(test, " ")
	files, err := filepath.Glob(filepath.Join(filepath.FromSlash(folder), "*_test.go"))
	if err != nil {
		return err
	}
	declaration := regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(name) + `\(t \*testing\.T\)`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if declaration.Match(text) {
			return nil
		}
	}
	return fmt.Errorf("%s has no %s", folder, name)
}
