//go:build linux && slow

package test

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/test/guest"
)

// TestLanguagesOfVersion2 has functions run in containers on a gateway whose kernel has
// control groups of version 2 alone. It takes a minute of an idle machine and five
// of a busy one, most of them to start interpreters on an emulated processor.
func TestLanguagesOfVersion2(t *testing.T) {
	host := guest.Need(t)
	inGuests(t, "python3", "python3")
	inGuests(t, "node", "nodejs")
	java := filepath.Dir(inGuests(t, "java", "default-jdk-headless"))
	settings, err := guest.Linked(filepath.Dir(java))
	if err != nil {
		t.Fatal(err)
	}
	h := startServer(t, "--public-host", guest.HostAddress+",localhost,127.0.0.1").site(region)
	m := &matrix{
		gateway: h.provision(t, "Babel_Core"), viewer: h.connect(t, "Viewer"), slow: emulated,
		main: []types.FunctionIsolationMode{inContainer}, raw: []types.FunctionIsolationMode{inContainer},
	}
	m.isolation = ""
	m.loggers = []types.Logger{logger(types.LoggerTypeAWSCloudWatch, types.LoggerComponentLambda, types.LoggerLevelInfo)}
	files := m.moved(t, gatewayRoot)
	maps.Copy(files, settings)
	// What the interpreters load is in memory when the core asks them for their versions.
	script := guest.Delegated + "export PATH=" + java + ":$PATH; java -version; node --version; python3 --version; in_unit ./fescue-core --root " + gatewayRoot
	machine := host.Start(t, guest.Prepare(t, guest.Disk{Script: script, Files: files}))
	m.deployed = func(t *testing.T, group, version string) {
		deployment := m.deploy(t, group, version)
		ctx, cancel := context.WithTimeout(t.Context(), 2*emulated*patience)
		defer cancel()
		if err := machine.Until(ctx, 1, "Deployment agent connected to cloud"); err != nil {
			t.Fatal(err)
		}
		m.awaitWithin(t, emulated*patience, group, deployment, fescue.Success)
	}
	m.log = func(t *testing.T, group string, f resident) (string, error) {
		var lines strings.Builder
		for _, e := range h.printed(t, h.environment(), "--group", group, "--function", f.arn) {
			fmt.Fprintf(&lines, "[%s]-%s\n", e.Level, e.Message)
		}
		return lines.String(), nil
	}
	m.play(t)
}

// inGuests is where a guest has a program of the host's; it has of the host /usr alone.
func inGuests(t *testing.T, name, debian string) string {
	t.Helper()
	for _, folder := range []string{"/usr/bin", "/usr/local/bin"} {
		if path, err := filepath.EvalSymlinks(filepath.Join(folder, name)); err == nil && strings.HasPrefix(path, "/usr/") {
			return path
		}
	}
	t.Skipf("%s is not installed in /usr (Debian's package %s); install it to run this test", name, debian)
	return ""
}
