//go:build linux

package test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/test/guest"
	"github.com/fescue-edge/fescue/testkit"
)

// gatewayRoot is the core's folder on the gateway.
const gatewayRoot = "/greengrass"

// emulated is how many times longer things may take on a gateway that is a guest.
const emulated = 5

// unit is that of the package fescue-core, for a program that lies elsewhere and has the
// console to speak on.
func unit(t *testing.T) string {
	t.Helper()
	text := string(readFile(t, "../packaging/core/fescue-core.service"))
	here := strings.Replace(text, "ExecStart=/usr/bin/", "ExecStart=/guest/", 1)
	if here == text {
		t.Fatalf("the unit does not start what is in /usr/bin:\n%s", text)
	}
	return here + "\n[Service]\nStandardOutput=tty\nStandardError=inherit\nTTYPath=/dev/console\n"
}

// TestContainersUnderSystemd: a gateway whose kernel has control groups of version 2
// alone, and whose core systemd starts, runs functions in containers.
func TestContainersUnderSystemd(t *testing.T) {
	m := guest.Need(t)
	needPython(t)
	h := startServer(t, "--public-host", guest.HostAddress+",localhost,127.0.0.1").site(region)
	viewer := h.connect(t, "Viewer")
	g := h.provision(t, "Systemd_Core")
	g.isolation = ""
	viewer.subscribe(t, "Systemd_Core/out")
	eater, other := h.python(t, "Hungry", hungry), h.python(t, "Neighbour", greeter)
	g.edit(t, func(config map[string]any) { config["runtime"] = map[string]any{"allowFunctionsToRunAsRoot": "yes"} })
	escapee := g.escapee(t, function{
		variables: out(g.thing, "root"), memory: aws.Int32(65536), timeout: 300, sysfs: true, runAs: &types.FunctionRunAsConfig{Uid: aws.Int32(0), Gid: aws.Int32(0)},
	}, gatewayRoot, 1<<20, other)
	escapee.pinned = false
	group, version := g.groupVersion(t, "", []function{
		escapee,
		{arn: eater, memory: aws.Int32(32768), timeout: 300, variables: out(g.thing, "eater")},
		{arn: other, pinned: true, memory: aws.Int32(32768), timeout: 300, variables: out(g.thing, "other")},
	}, append(ends(other, g.thing), route{eater, g.thing + "/out", "cloud"}, route{"cloud", g.thing + "/eat", eater},
		route{escapee.arn, g.thing + "/out", "cloud"}, route{"cloud", g.thing + "/try", escapee.arn}))
	deployment := g.deploy(t, group, version)

	machine := m.Start(t, guest.Prepare(t, guest.Disk{Unit: unit(t), Files: g.moved(t, gatewayRoot)}))
	const slow = emulated * patience
	ctx, cancel := context.WithTimeout(t.Context(), 2*slow)
	defer cancel()
	if err := machine.Until(ctx, 1, "Deployment agent connected to cloud"); err != nil {
		t.Fatal(err)
	}
	h.awaitWithin(t, slow, group, deployment, fescue.Success)
	viewer.nextWithin(t, slow, "started other")
	await(t, "publish", viewer.Publish("Systemd_Core/eat", 1, false, `{}`))
	viewer.nextWithin(t, slow, "eating")
	if err := machine.Until(ctx, 1, "killed for using more memory than its MemorySize of 32768 KB"); err != nil {
		t.Error(err)
	}
	await(t, "publish", viewer.Publish("Systemd_Core/in/x", 1, false, `{"alive":1}`))
	viewer.nextWithin(t, slow, `echo {"alive": 1}`)
	await(t, "publish", viewer.Publish("Systemd_Core/try", 1, false, `{}`))
	if said := string(viewer.nextWithin(t, slow, " refused=").Payload()); !strings.HasSuffix(said, "escaped=[]") {
		t.Error(said)
	}
}

// moved are the files of a gateway's program and folder, as they are to be on another
// machine.
func (g *gateway) moved(t *testing.T, root string) map[string]string {
	t.Helper()
	config := filepath.Join(g.root, "config", "config.json")
	text := strings.ReplaceAll(string(readFile(t, config)), g.root, root)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"guest/fescue-core": edgeBin}
	err := testkit.Walk(g.root, func(path string, info fs.FileInfo) error {
		if info.Mode().IsRegular() {
			files[root+strings.TrimPrefix(path, g.root)] = path
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
