//go:build linux && keep

package test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue"
)

// TestKeepDataFolder writes a data folder for TestKeptDataFolder with the present
// version. FESCUE_KEEP names the folder, which must not exist:
//
//	FESCUE_KEEP=testdata/data-2026-11 go test -tags keep -run TestKeepDataFolder ./test
func TestKeepDataFolder(t *testing.T) {
	to := os.Getenv("FESCUE_KEEP")
	if err := os.Mkdir(to, 0o755); err != nil {
		t.Fatal(err)
	}
	s := startServer(t)
	h := s.site(region)
	ctx := t.Context()
	kept := keptFolder{Groups: map[string]string{}}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	script := func(text string) string {
		arn := h.publish(t, "Kept", fescue.ExecutableRuntime, "run.sh", zipOf(t, map[string][]byte{"run.sh": []byte(text)}))
		kept.Functions = append(kept.Functions, arn)
		return arn
	}
	provision := func(thing string) *gateway {
		kept.Things = append(kept.Things, thing)
		return h.provision(t, thing)
	}
	version := func(g *gateway, group, arn string) (string, string) {
		id, v := g.groupVersion(t, group, []function{{arn: arn, pinned: true, encoding: types.EncodingTypeBinary}}, ends(arn, g.thing))
		kept.Groups[id] = g.thing
		return id, v
	}
	keep := func(group, id string) { kept.Deployments = append(kept.Deployments, h.described(t, group, id)) }
	one := script("#!/bin/sh\necho version one\nexec sleep 1000000\n")

	// The group of the kept core: a success and a failure behind it.
	g := provision("Kept_Core")
	stop := runKeptCore(t, g.root, local(h.mqtt), local(h.device))
	group, first := version(g, "", one)
	running := h.deploy(t, group, first)
	h.await(t, group, running, fescue.Success)
	kept.Running = h.described(t, group, running)
	_, broken := version(g, group, script("#!/bin/sh\necho broken\nexit 3\n"))
	failed := h.deploy(t, group, broken)
	h.await(t, group, failed, fescue.Failure)
	keep(group, failed)

	// A group that was reset, and one whose core never came.
	r := provision("Reset_Core")
	stopReset := runKeptCore(t, r.root, local(h.mqtt), local(h.device))
	resetGroup, v := version(r, "", one)
	deployed := h.deploy(t, resetGroup, v)
	h.await(t, resetGroup, deployed, fescue.Success)
	reset, err := h.greengrass.ResetDeployments(ctx, &greengrass.ResetDeploymentsInput{GroupId: &resetGroup})
	must(err)
	h.await(t, resetGroup, *reset.DeploymentId, fescue.Success)
	stopReset()
	keep(resetGroup, deployed)
	keep(resetGroup, *reset.DeploymentId)
	absent, v := version(provision("Absent_Core"), "", one)
	superseded := h.deploy(t, absent, v)
	h.await(t, absent, superseded, fescue.InProgress)
	offered := h.deploy(t, absent, v)
	h.await(t, absent, offered, fescue.InProgress)
	keep(absent, superseded)
	keep(absent, offered)

	// One definition of each other kind, an authority, access keys.
	_, err = h.greengrass.CreateDeviceDefinition(ctx, &greengrass.CreateDeviceDefinitionInput{InitialVersion: &types.DeviceDefinitionVersion{
		Devices: []types.Device{{Id: aws.String("d"), ThingArn: &r.thingARN, CertificateArn: &r.certARN}},
	}})
	must(err)
	_, err = h.greengrass.CreateLoggerDefinition(ctx, &greengrass.CreateLoggerDefinitionInput{InitialVersion: &types.LoggerDefinitionVersion{
		Loggers: []types.Logger{{
			Id: aws.String("l"), Component: types.LoggerComponentLambda, Level: types.LoggerLevelInfo, Type: types.LoggerTypeFileSystem, Space: aws.Int32(128),
		}},
	}})
	must(err)
	_, err = h.greengrass.CreateResourceDefinition(ctx, &greengrass.CreateResourceDefinitionInput{InitialVersion: &types.ResourceDefinitionVersion{
		Resources: []types.Resource{{Id: aws.String("r"), Name: aws.String("r"), ResourceDataContainer: &types.ResourceDataContainer{
			LocalVolumeResourceData: &types.LocalVolumeResourceData{SourcePath: aws.String("/srv"), DestinationPath: aws.String("/srv")},
		}}},
	}})
	must(err)
	_, err = h.greengrass.CreateConnectorDefinition(ctx, &greengrass.CreateConnectorDefinitionInput{InitialVersion: &types.ConnectorDefinitionVersion{
		Connectors: []types.Connector{{Id: aws.String("c"), ConnectorArn: aws.String("arn:aws:greengrass:" + region + "::/connectors/SNS/versions/1")}},
	}})
	must(err)
	kept.Definitions = h.definitions(t)
	_, err = h.greengrass.CreateGroupCertificateAuthority(ctx, &greengrass.CreateGroupCertificateAuthorityInput{GroupId: &group})
	must(err)
	kept.GroupAuthority = h.groupAuthority(t, group)
	for _, name := range []string{"good", "revoked"} {
		p := start(t, nil, "keys", "create", "--data", s.data, "--name", name, "--access", "admin")
		<-p.Done
		must(p.Err)
		if id, _ := p.out.Find(`AWS_ACCESS_KEY_ID=(\S+)`); name == "revoked" {
			p := start(t, nil, "keys", "revoke", "--data", s.data, id)
			<-p.Done
			must(p.Err)
		}
	}
	kept.AccessKeys = accessKeys(t, s.data)

	// What waits for the kept core when it is gone.
	stop()
	_, v = version(g, group, script("#!/bin/sh\necho version two\nexec sleep 1000000\n"))
	waiting := h.deploy(t, group, v)
	h.await(t, group, waiting, fescue.InProgress)
	kept.Waiting = h.described(t, group, waiting)
	kept.Definitions = h.definitions(t)
	must(s.interrupt(t))

	makeRelative(t, g.root)
	for _, logs := range []string{"ggc/var/log", "ggc/packages", "ggc/var/packages"} {
		must(os.RemoveAll(filepath.Join(g.root, logs)))
	}
	for name, from := range map[string]string{"core": g.root, "server": s.data} {
		tar(t, "-czf", filepath.Join(to, name+".tar.gz"), "--owner=0", "--group=0", "--numeric-owner", "-C", from, ".")
	}
	text, err := json.MarshalIndent(kept, "", "  ")
	must(err)
	must(os.WriteFile(filepath.Join(to, "kept.json"), append(text, '\n'), 0o644))
}

// makeRelative has config.json name its files without the folder that it was
// written in.
func makeRelative(t testing.TB, root string) {
	t.Helper()
	file := filepath.Join(root, "config", "config.json")
	text := strings.ReplaceAll(string(readFile(t, file)), "file://"+root+"/", "file://")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
