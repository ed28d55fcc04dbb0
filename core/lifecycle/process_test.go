package lifecycle_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core/lifecycle"
	"github.com/fescue-edge/fescue/core/sandbox"
	"github.com/fescue-edge/fescue/testkit"
)

func TestEnvironment(t *testing.T) {
	t.Parallel()
	r := newSite(t, func(o *lifecycle.Options) {
		o.Environment["http_proxy"] = "http://proxy:3128"
		o.Environment["no_proxy"] = "example.com"
	})
	f := r.python("F", "import os\ndef handler(e, c):\n    return dict(os.environ)\n")
	f.Environment = map[string]string{
		"MINE": "as given = $HOME", "MY_FUNCTION_ARN": "forged", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "forged",
		"GG_DAEMON_PORT": "1", "_GG_LOG_FD_INFO": "0", "_GG_LOG_FD_OTHER": "0", "AWS_IOT_THING_NAME": "forged",
		"ROUTER_FUNCTION_ARN": "forged", "ENCODING_TYPE": "forged", "PYTHONPATH": "/extra", "PATH": "/opt/bin",
		"AWS_DEFAULT_REGION": "eu-central-1", "GROUP_ID": "mine", "http_proxy": "http://own:1",
	}
	f.LogLevel = "WARN"
	f.Arguments = []string{"--fast", "two words"}
	r.apply(f)
	var got map[string]string
	if err := json.Unmarshal(r.invoke("F", "").Payload, &got); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(got["AWS_CONTAINER_AUTHORIZATION_TOKEN"], "Basic ") || len(got["AWS_CONTAINER_AUTHORIZATION_TOKEN"]) != 50 {
		t.Errorf("token %q", got["AWS_CONTAINER_AUTHORIZATION_TOKEN"])
	}
	delete(got, "AWS_CONTAINER_AUTHORIZATION_TOKEN")
	if !strings.HasSuffix(got["FESCUE_PROCESS"], "/"+r.workers("F")[0].WorkerId) {
		t.Errorf("mark %q", got["FESCUE_PROCESS"])
	}
	delete(got, "FESCUE_PROCESS")
	delete(got, "LC_CTYPE") // Python sets it itself
	code := string(f.Code)
	want := map[string]string{
		"MINE": "as given = $HOME", "MY_FUNCTION_ARN": arn("F"), "GG_DAEMON_PORT": fmt.Sprint(r.port),
		"_GG_LOG_FD_INFO": "1", "_GG_LOG_FD_ERROR": "2", "_GG_LOG_FD_DEBUG": "3", "_GG_LOG_FD_WARN": "4",
		"_GG_LOG_FD_FATAL": "5", "_GG_LOG_FD_TRACE": "6", "AWS_IOT_THING_NAME": "Mill_Core",
		"ROUTER_FUNCTION_ARN":                "arn:aws:lambda:::function:GGRouter",
		"SHADOW_FUNCTION_ARN":                "arn:aws:lambda:::function:GGShadowService",
		"SECRETS_MANAGER_FUNCTION_ARN":       "arn:aws:lambda:::function:GGSecretManager:1",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI": fmt.Sprintf("http://localhost:%d/2016-11-01/credentialprovider/", r.port),
		"ENCODING_TYPE":                      "json", "GGC_MAX_INTERFACE_VERSION": "1.5", "STREAM_MANAGER_SERVER_PORT": "8088",
		"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-central-1", "GROUP_ID": "mine", "LOG_LEVEL": "WARN",
		"AWS_GG_RESOURCE_PREFIX": code, "HOME": code, "LANG": "C.UTF-8",
		"PYTHONPATH": code + ":/extra", "http_proxy": "http://own:1",
		"no_proxy": "localhost,127.0.0.1,example.com", "NO_PROXY": "localhost,127.0.0.1",
		"PATH": "/opt/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:" + code + "/",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestOutput(t *testing.T) {
	t.Parallel()
	r := newSite(t)
	r.apply(r.python("F", `
import logging, os, sys
def handler(event, context):
    print("said")
    sys.stderr.write("complained\n")
    logging.getLogger().warning("careful")
    logging.getLogger().critical("over")
    os.write(1, b"raw\xff and no newline")
    os.write(2, b"x" * 40000 + b"\n")
    for i in range(30):
        print(i)
`))
	r.wantResult("F", "", "null")
	r.apply() // the rest of the output has been read when a process has ended
	log := r.logs.String()
	for _, want := range []string{
		"eu-west-1/123456789012/F INFO |app.py:4,said",
		"eu-west-1/123456789012/F ERROR |app.py:5,complained",
		"eu-west-1/123456789012/F WARN |app.py:6,careful",
		"eu-west-1/123456789012/F FATAL |app.py:7,over",
		"eu-west-1/123456789012/F INFO stdout|raw\uFFFD and no newline",
		"eu-west-1/123456789012/F ERROR stderr|" + strings.Repeat("x", 32<<10),
		"eu-west-1/123456789012/F ERROR stderr|" + strings.Repeat("x", 40000-32<<10),
	} {
		if !strings.Contains(log, want) {
			t.Errorf("log lacks %.80q", want)
		}
	}
}

func TestCredential(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can start processes as somebody else; run the tests as root to include this one")
	}
	// t.TempDir is closed to other users.
	dir, err := os.MkdirTemp("", "credential-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	script := "#!/bin/sh\nid -u; id -g; id -G; pwd\nexec sleep 1000\n"
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(filepath.Join(dir, "run.sh"), []byte(script), 0o755)); err != nil {
		t.Fatal(err)
	}
	r := newSite(t)
	f := function("F")
	f.Code, f.Handler, f.Runtime = sandbox.HostPath(dir), "run.sh", fescue.ExecutableRuntime
	f.RunAs = &sandbox.Credential{UID: 54321, GID: 54322, Groups: []uint32{54323}}
	r.apply(f)
	testkit.Until(r.t, "it has spoken", func() bool { return len(r.sup.Tail(f.ARN)) == 4 })
	var got []string
	for _, line := range r.sup.Tail(f.ARN) {
		got = append(got, line.Text)
	}
	if diff := cmp.Diff([]string{"54321", "54322", "54322 54323", dir}, got); diff != "" {
		t.Error(diff)
	}
}
