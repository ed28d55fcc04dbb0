//go:build linux

package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
		Cores       struct{ Known, Connected int }
		Deployments []struct{ DeploymentId string }
		Wrong       []struct{ What, Says string }
		EndsSoon    []struct{ What string }
	}
	ask := func(t *testing.T, want int, args ...string) (s status) {
		t.Helper()
		out, errs, code := h.program(t, append([]string{"status", "--json"}, args...)...)
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
	group, version = failing.groupVersion(t, "", []function{{arn: "arn:aws:lambda:" + region + ":" + account + ":function:Missing:1"}}, nil)
	h.await(t, group, h.deploy(t, group, version), fescue.Failure)
	s := ask(t, 1)
	if s.Cores.Known != 1 || s.Cores.Connected != 0 || len(s.Deployments) != 1 || s.Deployments[0].DeploymentId != deployment {
		t.Errorf("%+v", s)
	}
	if len(s.Wrong) != 1 || s.Wrong[0].What != "group Failing_Core" || !strings.Contains(s.Wrong[0].Says, "ended in Failure") || !strings.Contains(s.Wrong[0].Says, "Missing") {
		t.Errorf("%+v", s.Wrong)
	}
	out, _, code := h.program(t, "status")
	if code != 1 || !strings.Contains(out, "\ncores        1, of which 0 are connected\n") || !strings.Contains(out, "\nends soon    none\n") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if _, errs, code := h.program(t, "status", "--limit", "0"); code != 2 || !strings.Contains(errs, "--limit") {
		t.Errorf("%d %s", code, errs)
	}
}
