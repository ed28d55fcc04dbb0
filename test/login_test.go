//go:build linux

package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/greengrass"

	"github.com/fescue-edge/fescue"
)

// TestLogin: what login keeps makes flags and environment unnecessary, and says whose it is.
func TestLogin(t *testing.T) {
	t.Parallel()
	at := address(t)
	_, port, _ := strings.Cut(at, ":")
	secure := startServer(t, "--api", "0.0.0.0:"+port)
	plain := startServer(t)
	home := t.TempDir()
	key := filepath.Join(home, "key.json")
	if err := os.WriteFile(key, fmt.Appendf(nil, `{"accessKeyId":%q,"secretAccessKey":%q}`, keyID, secret), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(t *testing.T, want int, says string, environment []string, args ...string) {
		t.Helper()
		out, errs, code := programIn(t, append([]string{"HOME=" + home, "XDG_CONFIG_HOME=", "AWS_CONFIG_FILE=", "AWS_SHARED_CREDENTIALS_FILE=", "AWS_CA_BUNDLE="}, environment...), fescueBin, args...)
		if code != want || !strings.Contains(out+errs, says) {
			t.Errorf("fescue %q: exit code %d, want %d and %q\n%s%s", args, code, want, says, out, errs)
		}
	}
	own := []string{"AWS_ACCESS_KEY_ID=" + keyID, "AWS_SECRET_ACCESS_KEY=" + secret}
	foreign := []string{"AWS_ACCESS_KEY_ID=AKIAOFANOTHERSERVER0", "AWS_SECRET_ACCESS_KEY=x", "AWS_REGION=us-west-2", "AWS_ENDPOINT_URL=http://127.0.0.1:1", "AWS_CA_BUNDLE=" + key}
	run(t, 1, "no access key", nil, "login", "http://"+plain.api)
	run(t, 1, "is not the URL of a server's API", nil, "login", "greengrass.example.com", "--key", key)
	run(t, 1, "is no name of a profile", nil, "login", "http://"+plain.api, "--profile", "../x", "--key", key)
	run(t, 1, "InvalidClientTokenId", foreign[:2], "login", "http://"+plain.api, "--region", region)
	run(t, 1, "certificate", nil, "login", "https://localhost:"+port, "--region", region, "--key", key)
	if left, _ := os.ReadDir(filepath.Join(home, ".config")); len(left) > 0 {
		t.Errorf("what was refused is kept: %v", left)
	}

	run(t, 0, "account "+account+", Region "+region+": profile default", nil, "login", "https://localhost:"+port, "--region", region, "--key", key, "--ca", filepath.Join(secure.data, "ca.pem"))
	run(t, 0, "profile test", own, "login", "http://"+plain.api+"/", "--region", region, "--profile", "test")
	for _, file := range []string{"default", "default.pem", "test"} {
		if info, err := os.Stat(filepath.Join(home, ".config/fescue/profiles", file)); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v %v", file, info, err)
		}
	}
	run(t, 0, "server       https://localhost:"+port, nil, "status")
	run(t, 0, "server       http://"+plain.api, nil, "status", "--profile", "test")
	run(t, 0, "server       http://"+plain.api, []string{"FESCUE_PROFILE=test"}, "status")
	// What is named counts more than the environment, and that more than the default.
	run(t, 0, "server       http://"+plain.api, foreign[:4], "status", "--profile", "test")
	run(t, 0, "server       https://localhost:"+port, foreign, "status", "--profile", "default")
	run(t, 1, "is a server running at http://127.0.0.1:1", foreign[:4], "status")
	run(t, 1, "there is no profile other", nil, "status", "--profile", "other")

	run(t, 0, "Removed the profile test", nil, "logout", "--profile", "test")
	run(t, 0, "Removed the profile default", nil, "logout")
	run(t, 1, "there is no profile default", nil, "logout")
	if left, _ := os.ReadDir(filepath.Join(home, ".config/fescue/profiles")); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}

// TestStatus: one screen says how it stands, and its exit code whether somebody has to look.
func TestStatus(t *testing.T) {
	t.Parallel()
	h := startServer(t).site(region)
	type status struct {
		Groups      *int
		Cores       struct{ Known, Connected int }
		Deployments []struct{ DeploymentId string }
		Wrong       []struct{ What, Says string }
		EndsSoon    []struct{ What string }
	}
	as := h.environment()
	ask := func(t *testing.T, want int, args ...string) (s status) {
		t.Helper()
		out, errs, code := programIn(t, as, fescueBin, append([]string{"status", "--json"}, args...)...)
		if err := json.Unmarshal([]byte(out), &s); err != nil || code != want {
			t.Fatalf("%v, exit code %d, want %d\n%s%s", err, code, want, out, errs)
		}
		return s
	}
	if s := ask(t, 0); s.Cores.Known != 0 || len(s.Deployments)+len(s.Wrong)+len(s.EndsSoon) != 0 {
		t.Errorf("%+v", s)
	}
	if s := ask(t, 1, "--soon", "1000000h"); len(s.EndsSoon) != 2 || !strings.HasPrefix(s.EndsSoon[0].What, "certificate of the server, ") {
		t.Errorf("%+v", s)
	}
	waiting, failing := h.provision(t, "Waiting_Core"), h.provision(t, "Failing_Core")
	group, version := waiting.groupVersion(t, "", nil, nil)
	deployment := h.deploy(t, group, version)
	h.await(t, group, deployment, fescue.InProgress)
	missing := "arn:aws:lambda:" + region + ":" + account + ":function:Missing"
	broken, version := failing.groupVersion(t, "", []function{{arn: missing + ":1"}, {arn: missing + "2:1"}}, nil)
	failed := h.deploy(t, broken, version)
	h.await(t, broken, failed, fescue.Failure)
	s := ask(t, 1)
	if s.Groups != nil || s.Cores.Known != 1 || s.Cores.Connected != 0 || len(s.Deployments) != 1 || s.Deployments[0].DeploymentId != deployment {
		t.Errorf("%+v", s)
	}
	if len(s.Wrong) != 1 || s.Wrong[0].What != "group Failing_Core" || !strings.Contains(s.Wrong[0].Says, "ended in Failure") || !strings.Contains(s.Wrong[0].Says, "{ErrorSet(errorSet=[") {
		t.Errorf("%+v", s.Wrong)
	}
	out, _, code := h.program(t, "status")
	if code != 1 || !strings.Contains(out, "\ncores        1, of which 0 are connected\n") || !strings.Contains(out, "\nends soon    none\n") || strings.Contains(out, "\ngroups ") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	for _, want := range []string{": FUNCTION_NOT_FOUND_ERROR: ", "Missing:1", " (and 1 more)\n", " fescue watch --group " + broken + " " + failed + " shows all of it\n"} {
		if !strings.Contains(out, want) || strings.Contains(out, "ErrorSet") {
			t.Errorf("of the failure it does not say %q alone:\n%s", want, out)
		}
	}
	t.Run("of the groups that a key is limited to", func(t *testing.T) {
		limit := func(tag string) {
			var key struct{ AccessKeyID, SecretAccessKey string }
			text := runProgram(t, "keys", "create", "--data", h.data, "--name", "north", "--access", "reader", "--groups", tag, "--json")
			if err := json.Unmarshal([]byte(text), &key); err != nil {
				t.Fatal(err)
			}
			as = append(h.environment(), "AWS_ACCESS_KEY_ID="+key.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+key.SecretAccessKey)
		}
		for id, site := range map[string]string{group: "north", broken: "south"} {
			arn := "arn:aws:greengrass:" + region + ":" + account + ":/greengrass/groups/" + id
			if _, err := h.greengrass.TagResource(t.Context(), &greengrass.TagResourceInput{ResourceArn: &arn, Tags: map[string]string{"site": site}}); err != nil {
				t.Fatal(err)
			}
		}
		limit("site=north")
		if s := ask(t, 0, "--soon", "1000000h"); s.Groups == nil || *s.Groups != 1 || len(s.Deployments) != 1 || s.Deployments[0].DeploymentId != deployment || len(s.EndsSoon) != 0 {
			t.Errorf("%+v", s)
		}
		limit("site=south")
		if s := ask(t, 1); *s.Groups != 1 || s.Cores.Known != 0 || len(s.Deployments) != 0 || len(s.Wrong) != 1 || s.Wrong[0].What != "group Failing_Core" {
			t.Errorf("%+v", s)
		}
		if s := ask(t, 0, "--since", "1ms"); len(s.Wrong) != 0 {
			t.Errorf("%+v", s)
		}
		if out, _, code := programIn(t, as, fescueBin, "status"); code != 1 || !strings.Contains(out, "\ngroups       1, to which this key is limited\ncores        0,") {
			t.Errorf("exit code %d\n%s", code, out)
		}
		limit("site=east")
		if s := ask(t, 0); *s.Groups != 0 || s.Cores.Known != 0 || len(s.Wrong) != 0 {
			t.Errorf("%+v", s)
		}
	})
	if _, errs, code := h.program(t, "status", "--limit", "0"); code != 2 || !strings.Contains(errs, "--limit") {
		t.Errorf("%d %s", code, errs)
	}
}
