//go:build linux

package test

import (
	"encoding/json"
	"net"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
)

// discovered is what a device was answered: the places of each core of each group.
type discovered struct {
	Status int                            `json:"status"`
	Groups map[string]map[string][]string `json:"groups"`
}

// discover asks as a device does that speaks HTTP by itself.
func (g *gateway) discover(t *testing.T, host string) discovered {
	t.Helper()
	cert, key, ca := g.identity(t)
	address, port, err := net.SplitHostPort(g.device)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("python3", filepath.Join("testdata", "discover.py"), address, port, ca, cert, key, g.thing, host).CombinedOutput()
	var got discovered
	if err == nil {
		err = json.Unmarshal(out, &got)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return got
}

// TestDiscovery follows a device from a group's definition until the group lets it
// go: it is answered what the core runs, not of what was defined.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is not installed")
	}
	h := startServer(t).site(region)
	ctx := t.Context()
	core, lamp := h.provision(t, "Discovered_Core"), h.provision(t, "Lamp")
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	answered := func(when string, want discovered) {
		t.Helper()
		for _, host := range []string{"greengrass-ats.iot.example.com:8443", ""} {
			if diff := cmp.Diff(want, lamp.discover(t, host)); diff != "" {
				t.Errorf("%s, Host %q: %s", when, host, diff)
			}
		}
	}
	// What provision made is a core's identity, and cores do not discover.
	answered("without the right", discovered{Status: 403})
	_, err := h.iot.CreatePolicy(ctx, &iot.CreatePolicyInput{PolicyName: aws.String("lamps"), PolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"greengrass:Discover","Resource":"` + lamp.thingARN + `"}]}`)})
	check(err)
	_, err = h.iot.AttachPolicy(ctx, &iot.AttachPolicyInput{PolicyName: aws.String("lamps"), Target: &lamp.certARN})
	check(err)
	nothing := discovered{Status: 404}

	group, without := core.groupVersion(t, "", nil, nil)
	v, err := h.greengrass.GetGroupVersion(ctx, &greengrass.GetGroupVersionInput{GroupId: &group, GroupVersionId: &without})
	check(err)
	devices, err := h.greengrass.CreateDeviceDefinition(ctx, &greengrass.CreateDeviceDefinitionInput{InitialVersion: &types.DeviceDefinitionVersion{
		Devices: []types.Device{{Id: aws.String("lamp"), ThingArn: &lamp.thingARN, CertificateArn: &lamp.certARN}},
	}})
	check(err)
	with, err := h.greengrass.CreateGroupVersion(ctx, &greengrass.CreateGroupVersionInput{
		GroupId: &group, CoreDefinitionVersionArn: v.Definition.CoreDefinitionVersionArn, DeviceDefinitionVersionArn: devices.LatestVersionArn,
	})
	check(err)
	_, err = h.greengrass.UpdateConnectivityInfo(ctx, &greengrass.UpdateConnectivityInfoInput{ThingName: &core.thing, ConnectivityInfo: []types.ConnectivityInfo{
		{Id: aws.String("a"), HostAddress: aws.String("core.example.com"), PortNumber: aws.Int32(8883)},
		{Id: aws.String("b"), HostAddress: aws.String("192.168.7.8"), PortNumber: aws.Int32(8884)},
	}})
	check(err)
	member := discovered{200, map[string]map[string][]string{group: {core.thingARN: {"192.168.7.8:8884", "core.example.com:8883"}}}}

	answered("before the first deployment", nothing)
	deployment := h.deploy(t, group, *with.Version)
	h.await(t, group, deployment, fescue.InProgress)
	answered("while the core has not said that it runs", nothing)
	core.run(t)
	h.await(t, group, deployment, fescue.Success)
	answered("once the core runs it", member)
	deployment = h.deploy(t, group, without)
	h.await(t, group, deployment, fescue.Success)
	answered("after a version without the device", nothing)
	deployment = h.deploy(t, group, *with.Version)
	h.await(t, group, deployment, fescue.Success)
	answered("after a version with it", member)
	reset, err := h.greengrass.ResetDeployments(ctx, &greengrass.ResetDeploymentsInput{GroupId: &group})
	check(err)
	h.await(t, group, *reset.DeploymentId, fescue.Success)
	answered("after a reset", nothing)
}
