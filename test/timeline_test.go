//go:build linux

package test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue"
)

// exits runs the operator's program to its end and returns its exit code.
func (h *site) exits(t testing.TB, args ...string) (out string, code int) {
	t.Helper()
	p := start(t, h.environment(), args...)
	<-p.Done
	return p.out.String(), p.ProcessState.ExitCode()
}

// says runs the program and checks its exit code and what it prints.
func (h *site) says(t testing.TB, code int, texts []string, args ...string) string {
	t.Helper()
	out, got := h.exits(t, args...)
	if got != code {
		t.Errorf("fescue %v: exit code %d, want %d\n%s", args, got, code, out)
	}
	for rest := out; len(texts) > 0; texts = texts[1:] {
		_, after, found := strings.Cut(rest, texts[0])
		if !found {
			t.Errorf("fescue %v does not say %q at its place:\n%s", args, texts[0], out)
			break
		}
		rest = after
	}
	return out
}

// sleeper never leaves module level: it is healthy only at the bound.
const sleeper = `
import time
print("sleeping")
time.sleep(3600)
`

func TestWatchCheckAndCancel(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	h := s.site(region)
	g := h.provision(t, "Watched_Core")
	viewer := h.connect(t, "Viewer")
	viewer.subscribe(t, "Watched_Core/out")
	arn := h.echo(t, "Watched")
	functions := []function{{arn: arn, pinned: true, encoding: types.EncodingTypeBinary, variables: out(g.thing, "watched")}}
	group, version := g.groupVersion(t, "", functions, ends(arn, g.thing))

	t.Run("while the core is offline", func(t *testing.T) {
		id := h.deploy(t, group, version)
		eventually(t, "offered", func() error {
			if out, _ := h.exits(t, "deployments"); !strings.Contains(out, "InProgress (Offered)") || !strings.Contains(out, id) {
				return fmt.Errorf("%s", out)
			}
			return nil
		})
		h.says(t, 3, []string{"Created", "Built", "waits for core Watched_Core, which was never seen", "has not ended within"}, "watch", "--group", group, "--timeout", "5s")
		h.says(t, 3, []string{"control plane  ok", "core           not checked: The core is offline."}, "check", "--group", group)
		h.says(t, 0, []string{"control plane  ok", "core           not checked"}, "check", "--group", group, "--wait", "0")
		h.says(t, 0, []string{"cancelled deployment " + id}, "cancel", "--group", group)
		h.says(t, 1, []string{"Cancelled", "cloud  access key " + keyID, "Failure", "DEPLOYMENT_CANCELLED", "was cancelled by access key " + keyID}, "watch", "--group", group)
		h.says(t, 1, []string{"ended in Failure", "409 ConflictException"}, "cancel", "--group", group, id)
	})

	g.run(t)
	id := h.deploy(t, group, version)
	viewer.next(t, "started watched")
	t.Run("a deployment that succeeds", func(t *testing.T) {
		h.says(t, 0, []string{"Created", "Built", "Claimed", "Staged", "fetched", "Switched", "Succeeded", "Success\n"}, "watch", "--group", group)
		var list []struct{ DeploymentId string }
		text, _ := h.exits(t, "deployments", "--status", "Success", "--json")
		if err := json.Unmarshal([]byte(text), &list); err != nil || len(list) != 1 || list[0].DeploymentId != id {
			t.Errorf("%v: %s", err, text)
		}
	})

	t.Run("a check asks the core", func(t *testing.T) {
		h.says(t, 0, []string{"control plane  ok\n", "core           ok\n"}, "check", "--group", group)
		old := h.publish(t, "Old", "python2.6", "app.handler", zipOf(t, map[string][]byte{"x": []byte("x")}))
		_, other := g.groupVersion(t, group, append(functions, function{arn: old, pinned: true}), nil)
		h.says(t, 1, []string{"control plane  ok", "core           1 found", "RUNTIME_MISSING_ERROR", old}, "check", "--group", group, "--version", other)
		_, broken := g.groupVersion(t, group, append(functions, function{arn: old + "7", pinned: true}), nil)
		h.says(t, 1, []string{"control plane  1 found", "FUNCTION_NOT_FOUND_ERROR", "core           not checked"}, "check", "--group", group, "--version", broken)
		h.says(t, 1, []string{"Version " + group + " of Group Definition"}, "check", "--group", group, "--version", group)
	})

	t.Run("what has no effect is a warning", func(t *testing.T) {
		spooler := function{arn: "arn:aws:lambda:::function:GGCloudSpooler:1", pinned: true, variables: map[string]string{"GG_CONFIG_STORAGE_TYPE": "Disk"}}
		_, other := g.groupVersion(t, group, append(functions, spooler), nil)
		warned := []string{"warnings", "SPOOLER_SETTING_UNSERVED", "GG_CONFIG_STORAGE_TYPE of GGCloudSpooler is Disk"}
		said := h.says(t, 0, append([]string{"control plane  ok\n", "core           ok\n"}, warned...), "check", "--group", group, "--version", other)
		if n := strings.Count(said, "SPOOLER_SETTING_UNSERVED"); n != 1 {
			t.Errorf("said %d times:\n%s", n, said)
		}
		h.await(t, group, h.deploy(t, group, other), fescue.Success)
		said = h.says(t, 0, append(append([]string{"Built"}, warned...), "Claimed", "Success\n"), "watch", "--group", group)
		if n := strings.Count(said, "SPOOLER_SETTING_UNSERVED"); n != 1 {
			t.Errorf("said %d times:\n%s", n, said)
		}
		h.await(t, group, h.deploy(t, group, version), fescue.Success)
	})

	t.Run("a cancel in the middle, and what ran goes on", func(t *testing.T) {
		needPython(t)
		slow := h.python(t, "Sleeper", sleeper)
		_, other := g.groupVersion(t, group, append(functions, function{arn: slow, pinned: true}), ends(arn, g.thing))
		id := h.deploy(t, group, other)
		eventually(t, "switched", func() error {
			if out, _ := h.exits(t, "deployments"); !strings.Contains(out, "InProgress (Switched)") {
				return fmt.Errorf("%s", out)
			}
			return nil
		})
		h.says(t, 0, []string{"asked the core Watched_Core to stop deployment " + id}, "cancel", "--group", group)
		h.says(t, 1, []string{"Switched", "CancelRequested", "Failed", "Failure", "DEPLOYMENT_CANCELLED"}, "watch", "--group", group)
		// The function that ran before was never touched.
		await(t, "publish", viewer.Publish("Watched_Core/in/x", 1, false, "still there"))
		viewer.next(t, "echo still there")
	})

	t.Run("the epoch of a core is reset", func(t *testing.T) {
		h.says(t, 0, []string{"the epoch of core Watched_Core is 70000, it was "}, "reset-epoch", "--core", "Watched_Core", "--epoch", "70000")
		h.says(t, 0, []string{`"Before": 70000`}, "reset-epoch", "--core", "Watched_Core", "--json")
		h.says(t, 1, []string{"There is neither a core nor a thing Nobody"}, "reset-epoch", "--core", "Nobody")
		h.says(t, 1, []string{"-1 does not lie between 0 and"}, "reset-epoch", "--core", "Watched_Core", "--epoch=-1")
	})

	t.Run("a key that may only read cannot cancel", func(t *testing.T) {
		p := start(t, nil, "keys", "create", "--data", s.data, "--account", account, "--name", "looker", "--role", "reader")
		<-p.Done
		key, _ := p.out.Find(`AWS_ACCESS_KEY_ID=(\S+)`)
		secret, _ := p.out.Find(`AWS_SECRET_ACCESS_KEY=(\S+)`)
		environment := append(h.environment(), "AWS_ACCESS_KEY_ID="+key, "AWS_SECRET_ACCESS_KEY="+secret)
		for _, row := range []struct {
			code int
			text string
			args []string
		}{
			{0, "control plane  ok", []string{"check", "--group", group, "--version", version}},
			{1, "is not authorized to perform: fescue:CancelDeployment on resource: arn:aws:greengrass:" + region + ":" + account + ":/greengrass/groups/" + group + "/deployments/" + id,
				[]string{"cancel", "--group", group, id}},
		} {
			p := start(t, environment, row.args...)
			<-p.Done
			if got := p.ProcessState.ExitCode(); got != row.code || !strings.Contains(p.out.String(), row.text) {
				t.Errorf("fescue %v: exit code %d\n%s", row.args, got, p.out)
			}
		}
	})
}
