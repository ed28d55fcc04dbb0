package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/client"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/policy"
	"github.com/fescue-edge/fescue/topic"
)

// CoreIdentity is what Provision made.
type CoreIdentity struct {
	ThingARN, CertificateARN, Policy, ConfigFile string
}

// ErrProvisioned means that the root folder has a configuration already.
var ErrProvisioned = errors.New("is provisioned already")

// Provision makes a core's identity through the API and writes it below root.
// The configuration is written last, so that a run that was cut short can be
// repeated.
func Provision(ctx context.Context, c *client.Client, name, root string, topics []string) (CoreIdentity, error) {
	configFile := filepath.Join(root, "config", "config.json")
	if _, err := os.Stat(configFile); err == nil {
		return CoreIdentity{}, fmt.Errorf("%s %w: remove it to make a new identity", configFile, ErrProvisioned)
	}
	for _, filter := range topics {
		if err := topic.ValidFilter(filter); err != nil {
			return CoreIdentity{}, fmt.Errorf("--topics %q: %w", filter, err)
		}
	}
	p, err := c.Partition(ctx)
	if err != nil {
		return CoreIdentity{}, err
	}
	document := fescue.CorePolicy(p, name, topics)
	if n := policy.Size(document); n > policy.MaxIoTDocument {
		return CoreIdentity{}, fmt.Errorf("the core's policy would have %d characters, at most %d are allowed: give fewer or wider --topics", n, policy.MaxIoTDocument)
	}
	var endpoints corelink.Endpoints
	if err := c.Call(ctx, "", "GetEndpoints", http.MethodGet, "/fescue/v1/endpoints", nil, &endpoints); err != nil {
		return CoreIdentity{}, err
	}
	dev, err := RegisterDevice(ctx, c, name, document)
	if err != nil {
		return CoreIdentity{}, err
	}
	short := dev.CertificateID[:10]
	certs := filepath.Join(root, "certs")
	// Functions read the authority's certificate and nothing else of what lies here.
	for dir, mode := range map[string]os.FileMode{certs: 0o711, filepath.Dir(configFile): 0o700} {
		if err := disk.MakeFolder(filepath.Dir(dir), 0o755); err != nil {
			return CoreIdentity{}, err
		}
		if err := disk.MakeFolder(dir, mode); err != nil {
			return CoreIdentity{}, err
		}
	}
	keyFile, certFile, caFile := short+".private.key", short+".cert.pem", "root.ca.pem"
	for _, f := range []struct {
		name, text string
		mode       os.FileMode
	}{
		{keyFile, dev.PrivateKey, 0o600}, {short + ".public.key", dev.PublicKey, 0o600},
		{certFile, dev.CertificatePEM, 0o600}, {caFile, endpoints.CA, 0o644},
	} {
		if err := disk.WriteFile(filepath.Join(certs, f.name), []byte(f.text), f.mode); err != nil {
			return CoreIdentity{}, err
		}
	}
	absolute, err := filepath.Abs(certs)
	if err != nil {
		return CoreIdentity{}, err
	}
	uri := func(file string) string {
		return (&url.URL{Scheme: "file", Path: filepath.Join(absolute, file)}).String()
	}
	type object = map[string]any
	config, err := json.MarshalIndent(object{
		"coreThing": object{
			"caPath": caFile, "certPath": certFile, "keyPath": keyFile, "thingArn": dev.ThingARN,
			"iotHost": endpoints.Host, "ggHost": endpoints.Host, "keepAlive": 600,
			"iotMqttPort": endpoints.MQTTPort, "iotHttpPort": endpoints.DevicePort, "ggHttpPort": endpoints.DevicePort,
		},
		"runtime":        object{"cgroup": object{"useSystemd": "yes"}},
		"managedRespawn": false,
		"crypto": object{
			"caPath": uri(caFile),
			"principals": object{
				"IoTCertificate": object{"privateKeyPath": uri(keyFile), "certificatePath": uri(certFile)},
				"SecretsManager": object{"privateKeyPath": uri(keyFile)},
			},
		},
	}, "", "  ")
	if err != nil {
		return CoreIdentity{}, err
	}
	if err := disk.WriteFile(configFile, append(config, '\n'), 0o600); err != nil {
		return CoreIdentity{}, err
	}
	return CoreIdentity{dev.ThingARN, dev.CertificateARN, dev.Policy, configFile}, nil
}

// Device is a thing with a new certificate.
type Device struct {
	ThingARN, CertificateARN, CertificateID, Policy string
	CertificatePEM, PrivateKey, PublicKey           string
}

// RegisterDevice makes a thing, a certificate and a policy with the document, and
// attaches them.
func RegisterDevice(ctx context.Context, c *client.Client, name, document string) (Device, error) {
	var thing struct{ ThingArn string }
	if err := c.Call(ctx, "iot", "CreateThing", http.MethodPost, "/things/"+url.PathEscape(name), struct{}{}, &thing); err != nil {
		return Device{}, err
	}
	var cert struct {
		CertificateArn, CertificateId, CertificatePem string
		KeyPair                                       struct{ PublicKey, PrivateKey string }
	}
	if err := c.Call(ctx, "iot", "CreateKeysAndCertificate", http.MethodPost, "/keys-and-certificate?setAsActive=true", nil, &cert); err != nil {
		return Device{}, err
	}
	attached := name + "-policy"
	err := c.Call(ctx, "iot", "CreatePolicy", http.MethodPost, "/policies/"+url.PathEscape(attached),
		map[string]string{"policyDocument": document}, nil)
	if err != nil && !client.IsCode(err, "ResourceAlreadyExistsException") {
		return Device{}, err
	}
	if err := c.Call(ctx, "iot", "AttachPolicy", http.MethodPut, "/target-policies/"+url.PathEscape(attached),
		map[string]string{"target": cert.CertificateArn}, nil); err != nil {
		return Device{}, err
	}
	if err := c.Call(ctx, "iot", "AttachThingPrincipal", http.MethodPut, "/things/"+url.PathEscape(name)+"/principals",
		nil, nil, "x-amzn-principal", cert.CertificateArn); err != nil {
		return Device{}, err
	}
	return Device{
		thing.ThingArn, cert.CertificateArn, cert.CertificateId, attached,
		cert.CertificatePem, cert.KeyPair.PrivateKey, cert.KeyPair.PublicKey,
	}, nil
}
