//go:build linux

package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/testkit/programs"
)

// TestAWSCLI is the smallest script that provisions and deploys, by the unmodified
// AWS CLI; a core provisioned beside it takes the deployment.
func TestAWSCLI(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("aws"); err != nil {
		t.Skip("aws (the AWS CLI, Debian's package awscli) is not installed")
	}
	h := startServer(t).site(region)
	run := func(args ...string) ([]byte, error) {
		cmd := exec.Command("aws", append([]string{"--endpoint-url", "http://" + h.api, "--output", "json"}, args...)...)
		cmd.Env = append(programs.Environment(), "AWS_ACCESS_KEY_ID="+keyID, "AWS_SECRET_ACCESS_KEY="+secret, "AWS_DEFAULT_REGION="+region,
			"AWS_CONFIG_FILE=/nonexistent", "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=")
		out, err := cmd.Output()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return out, err
	}
	aws := func(t *testing.T, args ...string) map[string]any {
		t.Helper()
		out, err := run(args...)
		if err != nil {
			t.Fatalf("aws %s: %v", strings.Join(args, " "), err)
		}
		var answer map[string]any
		if len(out) > 0 && args[0] != "s3" { // which prints text
			if err := json.Unmarshal(out, &answer); err != nil {
				t.Fatalf("aws %s: %v in %s", strings.Join(args, " "), err, out)
			}
		}
		return answer
	}
	text := func(answer map[string]any, member string) string { return fmt.Sprint(answer[member]) }

	if got := text(aws(t, "sts", "get-caller-identity"), "Account"); got != account {
		t.Errorf("account %s", got)
	}
	const thing = "CLI_Core"
	thingARN := text(aws(t, "iot", "create-thing", "--thing-name", thing), "thingArn")
	certificate := aws(t, "iot", "create-keys-and-certificate", "--set-as-active")
	certARN := text(certificate, "certificateArn")
	aws(t, "iot", "create-policy", "--policy-name", "cli", "--policy-document",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["iot:*","greengrass:*"],"Resource":"*"}]}`)
	aws(t, "iot", "attach-policy", "--policy-name", "cli", "--target", certARN)
	aws(t, "iot", "attach-thing-principal", "--thing-name", thing, "--principal", certARN)
	if got := text(aws(t, "iot", "describe-endpoint", "--endpoint-type", "iot:Data-ATS"), "endpointAddress"); got != "localhost" {
		t.Errorf("endpoint %s", got)
	}

	archive := filepath.Join(t.TempDir(), "f.zip")
	if err := os.WriteFile(archive, zipOf(t, map[string][]byte{"echo": readFile(t, echoBin)}), 0o600); err != nil {
		t.Fatal(err)
	}
	aws(t, "lambda", "create-function", "--function-name", "CLI", "--runtime", "python3.7", "--role", "arn:aws:iam::"+account+":role/x",
		"--handler", "echo", "--zip-file", "fileb://"+archive)
	aws(t, "lambda", "publish-version", "--function-name", "CLI")
	alias := text(aws(t, "lambda", "create-alias", "--function-name", "CLI", "--name", "PROD", "--function-version", "1"), "AliasArn")

	version := func(kind, body string) string {
		t.Helper()
		return text(aws(t, "greengrass", "create-"+kind+"-definition", "--name", "cli", "--initial-version", body), "LatestVersionArn")
	}
	core := version("core", fmt.Sprintf(`{"Cores":[{"Id":"1","ThingArn":%q,"CertificateArn":%q,"SyncShadow":false}]}`, thingARN, certARN))
	devices := version("device", `{"Devices":[]}`)
	runAs := "" // a test machine has no ggc_user
	if os.Geteuid() == 0 {
		runAs = `,"RunAs":{"Uid":65534,"Gid":65534}`
	}
	functions := version("function", fmt.Sprintf(`{"DefaultConfig":{"Execution":{"IsolationMode":"NoContainer"%s}},
		"Functions":[{"Id":"f","FunctionArn":%q,"FunctionConfiguration":{"Pinned":true,"Timeout":3,"EncodingType":"binary",
		"FunctionRuntimeOverride":%q,"Environment":{"Variables":{"OUT":"hello/world"}}}}]}`, runAs, alias, fescue.ExecutableRuntime))
	subscriptions := version("subscription", fmt.Sprintf(`{"Subscriptions":[{"Id":"s","Source":%q,"Subject":"hello/world","Target":"cloud"}]}`, alias))
	group := text(aws(t, "greengrass", "create-group", "--name", "cli"), "Id")
	groupVersion := text(aws(t, "greengrass", "create-group-version", "--group-id", group, "--core-definition-version-arn", core,
		"--device-definition-version-arn", devices, "--function-definition-version-arn", functions,
		"--subscription-definition-version-arn", subscriptions), "Version")
	deployment := text(aws(t, "greengrass", "create-deployment", "--deployment-type", "NewDeployment",
		"--group-id", group, "--group-version-id", groupVersion), "DeploymentId")

	t.Run("ids that paths take for themselves", func(t *testing.T) {
		for _, command := range []string{"greengrass list-group-versions", "greengrass delete-group"} {
			for _, id := range []string{"", ".", ".."} {
				args := append(strings.Fields(command), "--group-id", id)
				if _, err := run(args...); err == nil || !strings.Contains(err.Error(), "(BadRequestException)") || !strings.Contains(err.Error(), "GroupId") {
					t.Errorf("aws %q: %v", args, err)
				}
			}
		}
	})

	// The core is the script's own: its certificate goes into a folder in the
	// original's format.
	g := h.provision(t, "Template_Core")
	pair, ok := certificate["keyPair"].(map[string]any)
	if !ok {
		t.Fatalf("no key pair in %v", certificate)
	}
	g.adopt(t, thingARN, text(certificate, "certificatePem"), fmt.Sprint(pair["PrivateKey"]))
	g.run(t)
	eventually(t, "Success", func() error {
		if got := text(aws(t, "greengrass", "get-deployment-status", "--group-id", group, "--deployment-id", deployment), "DeploymentStatus"); got != string(fescue.Success) {
			return fmt.Errorf("status %s", got)
		}
		return nil
	})

	// The same group once more, from a file.
	input := filepath.Join(t.TempDir(), "records.json")
	if err := os.WriteFile(input, []byte(bulkLine(group, groupVersion)), 0o600); err != nil {
		t.Fatal(err)
	}
	aws(t, "s3", "mb", "s3://cli-input")
	aws(t, "s3", "cp", input, "s3://cli-input/bulk/records.json")
	bulk := text(aws(t, "greengrass", "start-bulk-deployment", "--execution-role-arn", bulkRole,
		"--input-file-uri", "s3://cli-input/bulk/records.json"), "BulkDeploymentId") // it fetches https URLs itself
	eventually(t, "Completed", func() error {
		if got := text(aws(t, "greengrass", "get-bulk-deployment-status", "--bulk-deployment-id", bulk), "BulkDeploymentStatus"); got != "Completed" {
			return fmt.Errorf("status %s", got)
		}
		return nil
	})
	eventually(t, "Success in the reports", func() error {
		reports, _ := aws(t, "greengrass", "list-bulk-deployment-detailed-reports", "--bulk-deployment-id", bulk)["Deployments"].([]any)
		if len(reports) != 1 || reports[0].(map[string]any)["DeploymentStatus"] != string(fescue.Success) {
			return fmt.Errorf("%v", reports)
		}
		return nil
	})
}

// adopt gives a provisioned folder another identity.
func (g *gateway) adopt(t *testing.T, thingARN, certificate, key string) {
	t.Helper()
	certs, err := filepath.Glob(filepath.Join(g.root, "certs", "*.cert.pem"))
	if err != nil || len(certs) != 1 {
		t.Fatalf("certificates %v: %v", certs, err)
	}
	for name, content := range map[string]string{certs[0]: certificate, strings.TrimSuffix(certs[0], ".cert.pem") + ".private.key": key} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g.configure(t, "thingArn", thingARN)
}
