//go:build linux

package test

import (
	"testing"

	"github.com/fescue-edge/fescue"
)

// A core whose cloud has one port for HTTPS and MQTT speaks both there.
func TestCoreOnOnePort(t *testing.T) {
	t.Parallel()
	at := address(t)
	h := startServer(t, "--device", at, "--mqtt", at).site(region)
	g := h.provision(t, "One_Core")
	g.run(t)
	viewer := h.connect(t, "Viewer")
	viewer.subscribe(t, "One_Core/out")
	group, version := g.echoes(t, "", h.echo(t, "Echo"), "here")
	h.await(t, group, h.deploy(t, group, version), fescue.Success)
	viewer.next(t, "started here")
	await(t, "publish", viewer.Publish("One_Core/in/x", 1, false, "ping"))
	viewer.next(t, "echo ping")
}
