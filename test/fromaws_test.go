//go:build linux

package test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/google/uuid"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/testkit"
)

// greengrassd stands in for AWS's program: it starts and ends a daemon that runs functions
// of the folder.
const greengrassd = `#!/bin/sh
pid=/var/run/greengrassd.pid
case "$1" in
start)
	test -d /greengrass/ggc/deployment/lambda && grep -q Mill_Core /greengrass/ggc/deployment/group/group.json || exit 1
	setsid sleep infinity >/dev/null 2>&1 &
	echo $! >$pid
	;;
stop) kill "$(cat $pid)"; rm $pid ;;
esac
`

// legacyUnit is that of AWS's documentation.
const legacyUnit = `[Unit]
Description=Greengrass Daemon

[Service]
Type=forking
PIDFile=/var/run/greengrassd.pid
Restart=on-failure
ExecStart=/greengrass/ggc/core/greengrassd start
ExecStop=/greengrass/ggc/core/greengrassd stop

[Install]
WantedBy=multi-user.target
`

// commands are those of a page, one a line, without those that a test of packages runs.
func commands(t *testing.T, page string) (list []string) {
	t.Helper()
	fenced, inside := false, false
	for line := range strings.Lines(string(readFile(t, page))) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
			inside = fenced && line == "```"
			continue
		}
		line = strings.TrimPrefix(line, "sudo ")
		if inside && !strings.HasPrefix(line, "dpkg -i ") && !strings.HasPrefix(line, "sudoedit ") && line != "systemctl enable --now fescue-server" {
			list = append(list, line)
		}
	}
	return list
}

// TestFromAWS runs the commands of docs/from-aws.md: a gateway whose AWS core systemd starts
// is moved to a server, and back, and again.
func TestFromAWS(t *testing.T) {
	t.Parallel()
	needPython(t)
	m := boot(t)
	left, group, _ := deployedFolder(t)
	err := testkit.Walk(left, func(path string, info os.FileInfo) error {
		if info.Mode().IsRegular() {
			m.put(t, "/greengrass"+strings.TrimPrefix(path, left), []byte(strings.ReplaceAll(string(readFile(t, path)), left, "/greengrass")), info.Mode().Perm())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	h := startServer(t).site(region)
	for path, file := range map[string]struct {
		content []byte
		mode    os.FileMode
	}{
		"/greengrass/ggc/core/greengrassd":            {[]byte(greengrassd), 0o755},
		"/etc/systemd/system/greengrass.service":      {[]byte(legacyUnit), 0o644},
		"/usr/bin/fescue-core":                        {readFile(t, edgeBin), 0o755},
		"/usr/bin/fescue":                             {readFile(t, fescueBin), 0o755},
		"/usr/lib/systemd/system/fescue-core.service": {readFile(t, "../packaging/core/fescue-core.service"), 0o644},
		"/etc/fescue/ca.pem":                          {readFile(t, filepath.Join(h.data, "ca.pem")), 0o644},
		"/root/ca.pem":                                {readFile(t, filepath.Join(h.data, "ca.pem")), 0o644},
		"/root/access-key.json":                       {fmt.Appendf(nil, `{"accessKeyId":%q,"secretAccessKey":%q}`, keyID, secret), 0o600},
	} {
		m.put(t, path, file.content, file.mode)
	}
	m.run(t, "chmod 755 /greengrass /greengrass/ggc /greengrass/ggc/deployment /greengrass/ggc/deployment/lambda")
	m.run(t, "id ggc_user >/dev/null 2>&1 || { groupadd --system ggc_group; useradd --system --gid ggc_group ggc_user; }; systemctl daemon-reload; systemctl enable --now greengrass")

	state := func(legacy, own string) {
		t.Helper()
		m.expect(t, legacy, "systemctl is-active greengrass || true")
		m.expect(t, own, "systemctl is-active fescue-core || true")
	}
	viewer := h.connect(t, "Viewer_"+uuid.NewString())
	viewer.subscribe(t, "Mill_Core/out")
	const files = "sha256sum /greengrass/ggc/deployment/group/group.json; find /greengrass/ggc/deployment/lambda -type f | sort | xargs -d '\\n' sha256sum"
	v1 := m.run(t, files)
	words := strings.NewReplacer("https://greengrass.example.com", "http://"+h.api, "--iot-host greengrass.example.com", "--iot-host "+local(h.mqtt),
		"--gg-host greengrass.example.com", "--gg-host "+local(h.device), "--region eu-west-1", "--region "+region)
	took := regexp.MustCompile(`to the other's success it took ([0-9.a-z]+)\.`)
	const takeover, back = "fescue-core takeover /greengrass --iot-host ", "fescue-core takeover /greengrass --back"
	list, deployed := commands(t, "../docs/from-aws.md"), ""
	if len(list) != 10 {
		t.Fatalf("commands %q", list)
	}
	// Back is tried between two takeovers.
	list = append(list, list[slices.IndexFunc(list, func(c string) bool { return strings.HasPrefix(c, takeover) })])
	for n, command := range list {
		script := "export HOME=/root; cd; " + words.Replace(command)
		if strings.HasPrefix(command, "fescue recover") && n > 0 && deployed == "" {
			// Nothing waits yet.
			out, err := m.try("%s", words.Replace(list[slices.IndexFunc(list, func(c string) bool { return strings.HasPrefix(c, takeover) })]))
			if err == nil || !strings.Contains(out, "nothing was switched: see what is marked fail") || !strings.Contains(out, "greengrass.service runs") {
				t.Errorf("%v: %s", err, out)
			}
			state("active", "inactive")
		}
		out, err := m.try("%s", script)
		if err != nil && command != "fescue status" { // whose exit code says that there is something to look at
			t.Fatal(err)
		}
		switch {
		case strings.HasPrefix(command, "fescue deploy"):
			answer, err := h.greengrass.ListDeployments(t.Context(), &greengrass.ListDeploymentsInput{GroupId: &group})
			if err != nil || len(answer.Deployments) != 1 {
				t.Fatalf("%+v, %v", answer, err)
			}
			deployed = *answer.Deployments[0].DeploymentId
		case strings.HasPrefix(command, "fescue-core takeover /greengrass --check"):
			if !strings.Contains(out, deployed+" waits for this core") || !strings.Contains(out, "this version runs all of it") {
				t.Error(out)
			}
			state("active", "inactive")
			m.expect(t, "none", "test -e /etc/systemd/system/fescue-core.service.d || echo none")
		case strings.HasPrefix(command, takeover):
			state("inactive", "active")
			h.await(t, group, deployed, fescue.Success)
			answers(t, viewer, "Mill_Core")
			found := took.FindStringSubmatch(out)
			if found == nil {
				t.Fatalf("it does not say for how long functions did not run: %s", out)
			}
			if down, err := time.ParseDuration(found[1]); err != nil || down > patience {
				t.Errorf("functions did not run for %s, %v", found[1], err)
			}
			t.Logf("functions did not run for %s", found[1])
			m.run(t, "systemctl start greengrass") // as the machine does at its next start
			state("inactive", "active")
		case command == back:
			state("active", "inactive")
			m.expect(t, v1, files)
			m.run(t, "systemctl start fescue-core")
			state("active", "inactive")
		}
	}
}
