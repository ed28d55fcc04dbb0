//go:build linux

package test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue"
)

// run runs the operator's program to its end and returns what it printed.
func runProgram(t testing.TB, args ...string) string {
	t.Helper()
	p := start(t, nil, args...)
	<-p.Done
	if p.Err != nil {
		t.Fatalf("fescue %s: %v\n%s", strings.Join(args, " "), p.Err, p.out)
	}
	return p.out.String()
}

// TestSigningKeyRotation: a running server signs with a new key at once, cores
// follow, also one that was away for several rotations.
func TestSigningKeyRotation(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	h := s.site(region)
	rotate := func(flags ...string) string {
		t.Helper()
		var key struct{ KeyID string }
		text := runProgram(t, append([]string{"keys", "signing", "rotate", "--data", s.data, "--json"}, flags...)...)
		if err := json.Unmarshal([]byte(text), &key); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		return key.KeyID
	}
	g := h.provision(t, "Rotation_Core")
	g.run(t)
	arn := h.echo(t, "Rotated")
	group, version := g.groupVersion(t, "", []function{
		{arn: arn, pinned: true, encoding: types.EncodingTypeBinary, variables: out(g.thing, "rotated")},
	}, ends(arn, g.thing))
	h.await(t, group, h.deploy(t, group, version), fescue.Success)
	chain := filepath.Join(g.root, "certs", "fescue-signing.pub.chain")
	signedBy := func() string {
		var envelope struct{ Signatures []struct{ KeyID string } }
		if err := json.Unmarshal(readFile(t, filepath.Join(g.root, "ggc", "deployment", "manifest.dsse")), &envelope); err != nil || len(envelope.Signatures) != 1 {
			t.Fatalf("manifest on the core: %+v, %v", envelope, err)
		}
		return envelope.Signatures[0].KeyID
	}

	t.Run("while everything runs", func(t *testing.T) {
		key := rotate()
		h.await(t, group, h.deploy(t, group, version), fescue.Success)
		if got := signedBy(); got != key {
			t.Errorf("the deployment is signed by %s, the new key is %s", got, key)
		}
		if _, err := os.Stat(chain); err != nil {
			t.Errorf("the core keeps no chain: %v", err)
		}
	})
	t.Run("while a deployment waits for a core that is away", func(t *testing.T) {
		g.process.Kill()
		waiting := h.deploy(t, group, version)
		h.await(t, group, waiting, fescue.InProgress)
		rotate()
		rotate()
		key := rotate("--revoke")
		g.run(t)
		h.await(t, group, waiting, fescue.Success)
		if got := signedBy(); got != key {
			t.Errorf("the deployment is signed by %s, the newest key is %s", got, key)
		}
	})
	t.Run("a new core takes the newest key", func(t *testing.T) {
		late := h.provision(t, "New_Core")
		late.run(t)
		arn := h.echo(t, "New")
		group, version := late.groupVersion(t, "", []function{
			{arn: arn, pinned: true, encoding: types.EncodingTypeBinary, variables: out(late.thing, "new")},
		}, ends(arn, late.thing))
		h.await(t, group, h.deploy(t, group, version), fescue.Success)
	})
	t.Run("the keys are listed", func(t *testing.T) {
		text := runProgram(t, "keys", "signing", "list", "--data", s.data)
		if strings.Count(text, " signs ") != 1 || strings.Count(text, " revoked ") != 4 || strings.Count(text, "\n") != 6 {
			t.Errorf("list:\n%s", text)
		}
	})
}
