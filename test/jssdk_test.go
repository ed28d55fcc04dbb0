//go:build linux

package test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/testkit/programs"
)

// nodePackage installs what a folder of testdata needs from the npm registry, a package and
// what that needs, and returns where.
func nodePackage(t testing.TB, folder, name string) (dir string) {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(program + " (Debian's packages nodejs and npm) is not installed")
		}
	}
	dir = t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", folder))); err != nil {
		t.Fatal(err)
	}
	install := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("the npm registry has not given %s: %v\n%s", name, err, out)
	}
	return dir
}

// TestJavaScriptSDK has the AWS SDK for JavaScript v3, as it comes from the npm
// registry, deploy to a core.
func TestJavaScriptSDK(t *testing.T) {
	t.Parallel()
	dir := nodePackage(t, "jssdk", "@aws-sdk/client-greengrass")
	h := startServer(t).site(region)
	g := h.provision(t, "JavaScript_Core")
	g.run(t)

	script := exec.Command("node", "ten.mjs")
	script.Dir = dir
	script.Env = append(programs.Environment(), "AWS_ACCESS_KEY_ID="+keyID, "AWS_SECRET_ACCESS_KEY="+secret, "AWS_REGION="+region,
		"ENDPOINT=http://"+h.api, "CORE_THING_ARN="+g.thingARN, "CORE_CERTIFICATE_ARN="+g.certARN, "ROLE_ARN=arn:aws:iam::"+account+":role/r")
	out, err := script.Output()
	if err != nil {
		var stderr []byte
		if exit, ok := err.(*exec.ExitError); ok {
			stderr = exit.Stderr
		}
		t.Fatalf("%v\n%s", err, stderr)
	}
	type refusal struct {
		Name, Message string
		Status        int
		Modelled      bool
	}
	type seen struct {
		Name            string
		Tags            map[string]string
		Latest, Listed  bool
		Deployments     []string
		Deployed, Reset string
		Refusals        []refusal
	}
	var got seen
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if diff := cmp.Diff(seen{
		Name: "Grüße/über", Tags: map[string]string{"made": "by JavaScript"}, Latest: true, Listed: true,
		Deployments: []string{"NewDeployment"}, Deployed: "Success", Reset: "Success",
		Refusals: []refusal{
			{"IdNotFoundException", "That Group Definition does not exist.", 404, false},
			{"BadRequestException", "That role ARN is invalid.", 400, true},
		},
	}, got); diff != "" {
		t.Error(diff)
	}
}
