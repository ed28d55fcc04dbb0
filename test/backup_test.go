//go:build linux

package test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue"
)

// TestBackup: a backup is made while deployments are; later the server is lost,
// and the fleet goes on with the restored one.
func TestBackup(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	h := s.site(region)
	viewer := h.connect(t, "Viewer")
	busy, ahead, same, absent := h.provision(t, "Busy_Core"), h.provision(t, "Ahead_Core"), h.provision(t, "Same_Core"), h.provision(t, "Absent_Core")
	groups, versions := map[*gateway]string{}, map[*gateway]string{}
	for _, g := range []*gateway{busy, ahead, same, absent} {
		viewer.subscribe(t, g.thing+"/out")
		arn := h.echo(t, g.thing)
		groups[g], versions[g] = g.groupVersion(t, "", []function{
			{arn: arn, pinned: true, encoding: types.EncodingTypeBinary, variables: out(g.thing, g.thing)},
		}, ends(arn, g.thing))
	}
	deploy := func(g *gateway) string { return h.deploy(t, groups[g], versions[g]) }
	success := func(g *gateway) { h.await(t, groups[g], deploy(g), fescue.Success) }
	for _, g := range []*gateway{busy, ahead} {
		g.run(t)
		success(g)
	}
	// Offered in the backup, ended on the core before the server was lost.
	open := map[*gateway]string{same: deploy(same), absent: deploy(absent)}
	for g, id := range open {
		h.await(t, groups[g], id, fescue.InProgress)
	}
	ahead.process.Kill()
	outdated := deploy(ahead)
	h.await(t, groups[ahead], outdated, fescue.InProgress)

	// Make backups while deployments are made, and keep the last.
	file := filepath.Join(t.TempDir(), "fescue.tar")
	deploying := make(chan string)
	go func() {
		defer close(deploying)
		for range 5 {
			id := deploy(busy)
			deploying <- id
			h.await(t, groups[busy], id, fescue.Success)
		}
	}()
	for id := range deploying {
		runProgram(t, "backup", file, "--data", s.data, "--overwrite")
		t.Logf("a backup while deployment %s was made", id)
	}

	// What the backup does not know: more deployments, each to its end.
	ahead.run(t)
	h.await(t, groups[ahead], outdated, fescue.Success)
	for range 3 {
		success(ahead)
	}
	same.run(t)
	h.await(t, groups[same], open[same], fescue.Success)
	viewer.next(t, "started "+same.thing)
	// It knows that the server knows the end, too, so that the server is lost after.
	eventually(t, "the core's end", func() error {
		if state := string(readFile(t, filepath.Join(same.root, "ggc", "deployment", "state.json"))); strings.Contains(state, `"ended"`) {
			return errors.New(state)
		}
		return nil
	})

	// The server and its disk are lost.
	s.Kill()
	lost := s.data
	s.data = filepath.Join(t.TempDir(), "restored")
	text := runProgram(t, "restore", file, "--data", s.data, "--master-key", filepath.Join(lost, "master.key"))
	if !strings.Contains(text, "Next: start a server") {
		t.Errorf("restore said:\n%s", text)
	}
	for i, arg := range s.args {
		if arg == "--data" {
			s.args[i+1] = s.data
		}
	}
	s.restart(t) // the same ports: the cores come back by themselves

	status := h.await(t, groups[ahead], outdated, fescue.Failure)
	if got := details(status); !strings.Contains(got, string(fescue.DeploymentOutdated)) {
		t.Errorf("details %q", got)
	}
	h.await(t, groups[same], open[same], fescue.Success) // the core said it again
	for _, g := range []*gateway{busy, ahead, same} {
		success(g)
	}
	absent.run(t)
	h.await(t, groups[absent], open[absent], fescue.Success) // what waited still does
}

func TestRestoreCutShort(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	file := filepath.Join(t.TempDir(), "whole.tar")
	runProgram(t, "backup", file, "--data", s.data, "--include-master-key")
	s.Kill()
	data := t.TempDir()
	runProgram(t, "restore", file, "--data", data)
	if err := os.WriteFile(filepath.Join(data, "restore-unfinished"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, nil, "server", "--data", data, "--api", address(t), "--device", address(t), "--mqtt", address(t))
	<-p.Done
	if p.Err == nil || !strings.Contains(p.out.String(), "fescue restore") {
		t.Errorf("%v: %s", p.Err, p.out)
	}
	if err := os.Remove(filepath.Join(data, "restore-unfinished")); err != nil {
		t.Fatal(err)
	}
	again := startServerOn(t, data)
	if got, want := fmt.Sprint(accessKeys(t, data)), keyID; !strings.Contains(got, want) {
		t.Errorf("keys %s, want %s", got, want)
	}
	again.Kill()
}
