package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/client"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/disk"
)

// DeviceIdentity is what ProvisionDevice made.
type DeviceIdentity struct {
	Device
	// GroupVersion is the version of the group that has the device.
	GroupVersion string
	// Files of the certificate, its key, the server's authority and the group's. ServerCA
	// is empty where the server's certificate is the operator's.
	CertificateFile, KeyFile, ServerCA, GroupCA string
	// Endpoints are the server's.
	Endpoints corelink.Endpoints
}

// ProvisionDevice makes a client device's identity through the API, writes it into a
// folder, and makes a version of the group that has the device. It deploys nothing.
func ProvisionDevice(ctx context.Context, c *client.Client, name string, group client.Group, folder string) (DeviceIdentity, error) {
	made := DeviceIdentity{
		CertificateFile: filepath.Join(folder, name+".cert.pem"), KeyFile: filepath.Join(folder, name+".private.key"),
		GroupCA: filepath.Join(folder, "group.ca.pem"),
	}
	if !fescue.ValidThingName(name) {
		return made, fmt.Errorf("%q is not the name of a thing: 1 to 128 characters of a-z, A-Z, 0-9, ':', '_' and '-'", name)
	}
	if _, err := os.Stat(made.KeyFile); err == nil {
		return made, fmt.Errorf("%s %w: remove it to make a new identity", made.KeyFile, ErrProvisioned)
	}
	p, err := c.Partition(ctx)
	if err != nil {
		return made, err
	}
	if err := c.Call(ctx, "", "GetEndpoints", http.MethodGet, "/fescue/v1/endpoints", nil, &made.Endpoints); err != nil {
		return made, err
	}
	authorities, err := groupAuthorities(ctx, c, group.Id)
	if err != nil {
		return made, err
	}
	if made.Device, err = RegisterDevice(ctx, c, name, fescue.DevicePolicy(p, name)); err != nil {
		return made, err
	}
	if err := disk.MakeFolder(folder, 0o755); err != nil {
		return made, err
	}
	if made.Endpoints.CA != "" {
		made.ServerCA = filepath.Join(folder, "root.ca.pem")
		if err := disk.WriteFile(made.ServerCA, []byte(made.Endpoints.CA), 0o644); err != nil {
			return made, err
		}
	}
	for _, f := range []struct {
		name, text string
		mode       os.FileMode
	}{
		{made.GroupCA, authorities, 0o644}, {made.CertificateFile, made.CertificatePEM, 0o644}, {made.KeyFile, made.PrivateKey, 0o600},
	} {
		if err := disk.WriteFile(f.name, []byte(f.text), f.mode); err != nil {
			return made, err
		}
	}
	made.GroupVersion, err = addDevice(ctx, c, group, fescue.Device{Id: name, ThingArn: made.ThingARN, CertificateArn: made.CertificateARN})
	return made, err
}

// groupAuthorities are those that vouch for the group's core, in PEM.
func groupAuthorities(ctx context.Context, c *client.Client, groupID string) (pems string, err error) {
	base := "/greengrass/groups/" + groupID + "/certificateauthorities"
	var list struct {
		GroupCertificateAuthorities []struct{ GroupCertificateAuthorityId string }
	}
	if err := c.Call(ctx, "greengrass", "ListGroupCertificateAuthorities", http.MethodGet, base, nil, &list); err != nil {
		return "", err
	}
	for _, a := range list.GroupCertificateAuthorities {
		var one struct{ PemEncodedCertificate string }
		if err := c.Call(ctx, "greengrass", "GetGroupCertificateAuthority", http.MethodGet, base+"/"+a.GroupCertificateAuthorityId, nil, &one); err != nil {
			return "", err
		}
		pems += one.PemEncodedCertificate
	}
	return pems, nil
}

// addDevice makes a version of a group's latest with one more device, in the group's
// device definition or in a new one.
func addDevice(ctx context.Context, c *client.Client, group client.Group, d fescue.Device) (version string, err error) {
	if group.LatestVersion == "" {
		return "", errors.New("the group has no version yet: make one with its core first, with greengrass create-group-version")
	}
	groups := "/greengrass/groups/" + group.Id + "/versions"
	var latest struct{ Definition map[string]string }
	if err := c.Call(ctx, "greengrass", "GetGroupVersion", http.MethodGet, groups+"/"+group.LatestVersion, nil, &latest); err != nil {
		return "", err
	}
	const member = "DeviceDefinitionVersionArn"
	var made struct{ Arn, LatestVersionArn string }
	if old := latest.Definition[member]; old == "" {
		body := map[string]any{"Name": group.Name + " devices", "InitialVersion": fescue.DeviceDefinitionVersion{Devices: []fescue.Device{d}}}
		err = c.Call(ctx, "greengrass", "CreateDeviceDefinition", http.MethodPost, "/greengrass/definition/devices", body, &made)
	} else {
		arn, parseErr := fescue.ParseARN(old)
		if parseErr != nil {
			return "", fmt.Errorf("the group's device definition: %w", parseErr)
		}
		var before struct {
			Definition fescue.DeviceDefinitionVersion
		}
		if err := c.Call(ctx, "greengrass", "GetDeviceDefinitionVersion", http.MethodGet, arn.Resource, nil, &before); err != nil {
			return "", err
		}
		// A run that is repeated replaces what the one before added.
		devices := slices.DeleteFunc(before.Definition.Devices, func(o fescue.Device) bool { return o.ThingArn == d.ThingArn })
		err = c.Call(ctx, "greengrass", "CreateDeviceDefinitionVersion", http.MethodPost, path.Dir(arn.Resource),
			fescue.DeviceDefinitionVersion{Devices: append(devices, d)}, &made)
	}
	if err != nil {
		return "", err
	}
	latest.Definition[member] = made.Arn
	if made.LatestVersionArn != "" {
		latest.Definition[member] = made.LatestVersionArn
	}
	body, err := json.Marshal(latest.Definition)
	if err != nil {
		return "", err
	}
	var created struct{ Version string }
	err = c.Call(ctx, "greengrass", "CreateGroupVersion", http.MethodPost, groups, json.RawMessage(body), &created)
	return created.Version, err
}
