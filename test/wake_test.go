//go:build linux

package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iot"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/corelink"
)

// soon is long before a core would ask of itself: that would be after half an hour.
const soon = 3 * time.Minute

// TestWaking: a deployment starts soon, whatever keeps the core from being woken for it.
func TestWaking(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	h := s.site(region)
	arn := h.echo(t, "Echo")
	groups := make(map[string]string) // by core
	// deploys deploys to a core n times; meddle is called when a deployment is accepted.
	deploys := func(t *testing.T, g *gateway, n int, meddle func()) {
		t.Helper()
		for i := range n {
			group, version := g.echoes(t, groups[g.thing], arn, fmt.Sprint(g.thing, i))
			groups[g.thing] = group
			began := time.Now()
			deployment := h.deploy(t, group, version)
			meddle()
			h.await(t, group, deployment, fescue.Success)
			if took := time.Since(began); took > soon {
				t.Errorf("deployment %d took %v", i, took)
			}
		}
	}
	says := func(t *testing.T, g *gateway, what string) {
		t.Helper()
		eventually(t, what, func() error {
			if text := g.process.out.String(); !strings.Contains(text, what) {
				return fmt.Errorf("the core says:\n%s", text)
			}
			return nil
		})
	}
	t.Run("a policy that takes the wakes of a connected core", func(t *testing.T) {
		g := h.provision(t, "Deaf_Core")
		g.run(t)
		deploys(t, g, 1, func() {})
		document := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"iot:Receive","Resource":"arn:aws:iot:%s:%s:topic/%s"}]}`,
			region, account, corelink.WakeTopic(g.thing))
		if _, err := h.iot.CreatePolicy(t.Context(), &iot.CreatePolicyInput{PolicyName: new("deaf"), PolicyDocument: &document}); err != nil {
			t.Fatal(err)
		}
		if _, err := h.iot.AttachPolicy(t.Context(), &iot.AttachPolicyInput{PolicyName: new("deaf"), Target: &g.certARN}); err != nil {
			t.Fatal(err)
		}
		deploys(t, g, 2, func() {})
		says(t, g, "The cloud refuses a subscription")
	})
	t.Run("a network that lets no MQTT through", func(t *testing.T) {
		g := h.provision(t, "Walled_Core")
		g.process = startProgram(t, edgeBin, nil, "--root", g.root, "--iot-host", address(t))
		deploys(t, g, 2, func() {})
		says(t, g, "The connection to the cloud is down")
	})
	t.Run("a server that is killed when it has accepted a deployment", func(t *testing.T) {
		g := h.provision(t, "Patient_Core")
		g.run(t)
		deploys(t, g, 1, func() {})
		deploys(t, g, 4, func() { s.restart(t) })
	})
}
