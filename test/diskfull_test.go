//go:build linux

package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue"
)

// smallDisk mounts a disk of some megabytes at a folder, or skips.
func smallDisk(t *testing.T, dir string, megabytes int) {
	t.Helper()
	if err := syscall.Mount("fescue-test", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=0755", megabytes)); err != nil {
		t.Skipf("no disk can be mounted here, which takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// fill writes a file until the disk is full.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
}

func TestServerDiskFull(t *testing.T) {
	t.Parallel()
	s := &server{data: t.TempDir()}
	smallDisk(t, s.data, 160)
	s.args = []string{
		"server", "--data", s.data, "--api", address(t), "--device", address(t), "--mqtt", address(t),
		"--account", account, "--region", region,
	}
	s.run(t)
	h := s.site(region)
	g, group, second := versions(t, h, "Roomy_Core")
	ballast := filepath.Join(s.data, "ballast")
	fill(t, ballast)

	create := func() error {
		_, err := h.greengrass.CreateGroup(t.Context(), &greengrass.CreateGroupInput{Name: aws.String("another")},
			func(o *greengrass.Options) { o.RetryMaxAttempts = 1 })
		return err
	}
	// The server looks at its disk now and then.
	eventually(t, "refusal", func() error {
		err := create()
		if err == nil || !strings.Contains(err.Error(), "disk") || !strings.Contains(err.Error(), "full") {
			return fmt.Errorf("no refusal that names the disk: %v", err)
		}
		return nil
	})
	if _, err := h.greengrass.GetGroup(t.Context(), &greengrass.GetGroupInput{GroupId: &group}); err != nil {
		t.Errorf("what is there cannot be read: %v", err)
	}
	g.runs(t, "v1")
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eventually(t, "room", create)
	h.await(t, group, h.deploy(t, group, second), fescue.Success)
	g.runs(t, "v2")
}

func TestCoreDiskFull(t *testing.T) {
	t.Parallel()
	h := startServer(t).site(region)
	g := h.provision(t, "Cramped_Core")
	if err := os.Mkdir(filepath.Join(g.root, "ggc"), 0o755); err != nil {
		t.Fatal(err)
	}
	smallDisk(t, filepath.Join(g.root, "ggc"), 40)
	g.run(t)
	arn := h.echo(t, "Small")
	group, version := g.groupVersion(t, "", []function{{arn: arn, pinned: true, encoding: types.EncodingTypeBinary, variables: out(g.thing, "v1")}}, ends(arn, g.thing))
	h.await(t, group, h.deploy(t, group, version), fescue.Success)
	manifest := filepath.Join(g.root, "ggc", "deployment", "manifest.dsse")
	before := string(readFile(t, manifest))

	huge := h.publish(t, "Huge", fescue.ExecutableRuntime, "echo", zipOf(t, map[string][]byte{"echo": readFile(t, echoBin), "huge": make([]byte, 60<<20)}))
	_, version = g.groupVersion(t, group, []function{{arn: huge, pinned: true, encoding: types.EncodingTypeBinary, variables: out(g.thing, "v2")}}, ends(huge, g.thing))
	end := h.await(t, group, h.deploy(t, group, version), fescue.Failure)
	if text := details(end); !strings.Contains(text, "CORE_DISK_FULL_ERROR") || !strings.Contains(text, "The core's disk is full") || !strings.Contains(text, huge) {
		t.Errorf("the details are %s", text)
	}
	g.runs(t, "v1")
	if string(readFile(t, manifest)) != before {
		t.Error("the core has switched")
	}
	if left, err := filepath.Glob(filepath.Join(g.root, "ggc", "deployment", ".store", "*.new")); err != nil || len(left) > 0 {
		t.Errorf("left in the store: %v, %v", left, err)
	}
}
