//go:build linux

package test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue"
)

// bundled writes a bundle of a group's version, and returns its file and deployment.
func (h *site) bundled(t *testing.T, group, version string) (file, deployment string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "g.bundle")
	// Whoever may write in the folder must not have the command write elsewhere.
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Symlink(elsewhere, file+".new"); err != nil {
		t.Fatal(err)
	}
	out := h.says(t, 0, []string{`"File"`}, "bundle", "--group", group, "--version", version, "--json", file)
	var made struct{ DeploymentId string }
	if err := json.Unmarshal([]byte(out[strings.Index(out, "{"):]), &made); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := os.Stat(elsewhere); !os.IsNotExist(err) {
		t.Errorf("it was written through a link: %v", err)
	}
	return file, made.DeploymentId
}

// apply runs the command on the gateway and checks its exit code and what it prints.
func (g *gateway) apply(t *testing.T, code int, text, file string) {
	t.Helper()
	p := startProgram(t, edgeBin, nil, "apply", file, "--root", g.root)
	<-p.Done
	if got := p.ProcessState.ExitCode(); got != code || !strings.Contains(p.out.String(), text) {
		t.Errorf("apply: exit code %d, want %d with %q\n%s", got, code, text, p.out)
	}
}

// TestBundle has deployments come to a core by files, while there is no control plane.
func TestBundle(t *testing.T) {
	t.Parallel()
	h := startServer(t).site(region)
	mill, other := h.provision(t, "Bundle_Mill"), h.provision(t, "Bundle_Other")
	arn := h.echo(t, "Bundled")
	functions := func(g *gateway, tag string) []function {
		return []function{{arn: arn, pinned: true, encoding: types.EncodingTypeBinary, variables: out(g.thing, tag)}}
	}
	groups := make(map[*gateway]string)
	for _, g := range []*gateway{mill, other} {
		group, version := g.groupVersion(t, "", functions(g, "one"), ends(arn, g.thing))
		groups[g] = group
		g.run(t)
		h.await(t, group, h.deploy(t, group, version), fescue.Success)
		if err := g.process.interrupt(t); err != nil {
			t.Fatal(err)
		}
	}
	group := groups[mill]
	_, second := mill.groupVersion(t, group, functions(mill, "two"), ends(arn, mill.thing))
	const secret = "geheim-4711"
	mill.resources = []types.Resource{secretResource("pump", h.keep(t, "bundled/pump", secret, "AWSCURRENT"))}
	_, third := mill.groupVersion(t, group, functions(mill, "three"), ends(arn, mill.thing))
	_, foreignVersion := other.groupVersion(t, groups[other], functions(other, "two"), ends(arn, other.thing))
	first, superseded := h.bundled(t, group, second)
	last, newest := h.bundled(t, group, third)
	foreign, _ := h.bundled(t, groups[other], foreignVersion)
	wantNowhere(t, filepath.Dir(last), secret)
	h.says(t, 1, []string{"is there already"}, "bundle", "--group", group, last)
	before := h.says(t, 0, nil, "deployments", "--json")
	h.says(t, 1, []string{"no such file or directory"}, "bundle", "--group", group, filepath.Join(last, "..", "nowhere", "g.bundle"))
	if after := h.says(t, 0, nil, "deployments", "--json"); after != before {
		t.Errorf("deployed for a file that cannot be written:\n%s", after)
	}
	h.says(t, 1, []string{"newer deployment"}, "bundle", "--group", group, "--deployment", superseded, "--force", first)
	h.says(t, 0, []string{"InProgress (Offered)"}, "deployments")
	h.Kill()

	mill.apply(t, 0, "deployment "+superseded+" runs", first)
	mill.run(t)
	eventually(t, "the core runs", func() error { _, err := os.Stat(filepath.Join(mill.root, "ggc", "core.lock")); return err })
	mill.apply(t, 0, "deployment "+newest+" runs", last)
	mill.apply(t, 0, "deployment "+newest+" runs", last)
	mill.apply(t, 1, "MANIFEST_OTHER_CORE_ERROR", foreign)
	mill.apply(t, 1, "MANIFEST_EPOCH_ERROR", first)
	half := filepath.Join(t.TempDir(), "half.bundle")
	data := readFile(t, last)
	if err := os.WriteFile(half, data[:len(data)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	mill.apply(t, 1, "it is cut off", half)
	data[len(data)/2] ^= 1
	if err := os.WriteFile(half, data, 0o600); err != nil {
		t.Fatal(err)
	}
	mill.apply(t, 1, "was changed", half)

	wantNowhere(t, mill.root, secret)
	if _, err := os.Stat(filepath.Join(mill.root, "ggc", "deployment", ".secrets", newest+".dsse")); err != nil {
		t.Errorf("the secrets did not come: %v", err)
	}

	h.server.run(t)
	h.await(t, group, newest, fescue.Success)
	h.says(t, 0, []string{"Bundled", "Claimed", "it came as a bundle", "Success"}, "watch", "--group", group, newest)
	status, err := h.greengrass.GetDeploymentStatus(t.Context(), &greengrass.GetDeploymentStatusInput{GroupId: &group, DeploymentId: &superseded})
	if err != nil || *status.DeploymentStatus != string(fescue.Failure) {
		t.Errorf("%+v, %v", status, err)
	}
}
