package main

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
	"github.com/fescue-edge/fescue/cloud"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/policy"
	"github.com/fescue-edge/fescue/topic"
)

type provisionCommand struct {
	endpointFlag
	Name   string   `arg:"" help:"Name of the core's thing, for example Mill_Core."`
	Root   string   `required:"" type:"path" help:"The core's root folder, for example /greengrass."`
	Topics []string `placeholder:"FILTER" help:"MQTT filters of the topics that functions may use in the cloud, as far as the certificate's policy decides it; + covers any number of levels there, as # does. Default: every topic."`
}

// Help implements kong.HelpProvider.
func (provisionCommand) Help() string {
	return `Makes thing, key, certificate, policy and attachments through the server's API, and
writes certs/ and config/config.json in the original's format below the root folder.
The policy allows what a core needs and no more: to connect as itself, its own
shadows and deployments, and the topics. Credentials and Region are found the way
the AWS CLI finds them.

Examples:
  fescue provision Mill_Core --root /greengrass
  fescue provision Mill_Core --root /greengrass --endpoint https://greengrass.example.com
  fescue provision Mill_Core --root /greengrass --topics 'mill/#,alarms/+/mill'`
}

// Run provisions a core.
func (c *provisionCommand) Run(ctx context.Context, t *terminal) error {
	client, err := c.client(ctx)
	if err != nil {
		return err
	}
	id, err := provision(ctx, client, c.Name, c.Root, c.Topics)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.stdout, "thing        %s\ncertificate  %s\npolicy       %s\nconfig       %s\n\n", id.ThingARN, id.CertificateARN, id.Policy, id.ConfigFile)
	fmt.Fprintf(t.stdout, "Next: put the core into a group's core definition and run\n  fescue core --root %s\n", c.Root)
	return nil
}

// coreIdentity is what provision made.
type coreIdentity struct {
	ThingARN, CertificateARN, Policy, ConfigFile string
}

// errProvisioned means that the root folder has a configuration already.
var errProvisioned = errors.New("is provisioned already")

// provision makes a core's identity through the API and writes it below root.
// The configuration is written last, so that a run that was cut short can be
// repeated.
func provision(ctx context.Context, c *apiClient, name, root string, topics []string) (coreIdentity, error) {
	configFile := filepath.Join(root, "config", "config.json")
	if _, err := os.Stat(configFile); err == nil {
		return coreIdentity{}, fmt.Errorf("%s %w: remove it to make a new identity", configFile, errProvisioned)
	}
	for _, filter := range topics {
		if err := topic.ValidFilter(filter); err != nil {
			return coreIdentity{}, fmt.Errorf("--topics %q: %w", filter, err)
		}
	}
	p, err := c.partition(ctx)
	if err != nil {
		return coreIdentity{}, err
	}
	document := fescue.CorePolicy(p, name, topics)
	if n := policy.Size(document); n > policy.MaxIoTDocument {
		return coreIdentity{}, fmt.Errorf("the core's policy would have %d characters, at most %d are allowed: give fewer or wider --topics", n, policy.MaxIoTDocument)
	}
	var endpoints cloud.Endpoints
	if err := c.call(ctx, "", "GetEndpoints", http.MethodGet, "/fescue/v1/endpoints", nil, &endpoints); err != nil {
		return coreIdentity{}, err
	}
	dev, err := registerDevice(ctx, c, name, document)
	if err != nil {
		return coreIdentity{}, err
	}
	short := dev.CertificateID[:10]
	certs := filepath.Join(root, "certs")
	// Functions read the authority's certificate and nothing else of what lies here.
	for dir, mode := range map[string]os.FileMode{certs: 0o711, filepath.Dir(configFile): 0o700} {
		if err := disk.MakeFolder(filepath.Dir(dir), 0o755); err != nil {
			return coreIdentity{}, err
		}
		if err := disk.MakeFolder(dir, mode); err != nil {
			return coreIdentity{}, err
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
			return coreIdentity{}, err
		}
	}
	absolute, err := filepath.Abs(certs)
	if err != nil {
		return coreIdentity{}, err
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
		return coreIdentity{}, err
	}
	if err := disk.WriteFile(configFile, append(config, '\n'), 0o600); err != nil {
		return coreIdentity{}, err
	}
	return coreIdentity{dev.ThingARN, dev.CertificateARN, dev.Policy, configFile}, nil
}

// device is a thing with a new certificate.
type device struct {
	ThingARN, CertificateARN, CertificateID, Policy string
	CertificatePEM, PrivateKey, PublicKey           string
}

// registerDevice makes a thing, a certificate and a policy with the document, and
// attaches them.
func registerDevice(ctx context.Context, c *apiClient, name, document string) (device, error) {
	var thing struct{ ThingArn string }
	if err := c.call(ctx, "iot", "CreateThing", http.MethodPost, "/things/"+url.PathEscape(name), struct{}{}, &thing); err != nil {
		return device{}, err
	}
	var cert struct {
		CertificateArn, CertificateId, CertificatePem string
		KeyPair                                       struct{ PublicKey, PrivateKey string }
	}
	if err := c.call(ctx, "iot", "CreateKeysAndCertificate", http.MethodPost, "/keys-and-certificate?setAsActive=true", nil, &cert); err != nil {
		return device{}, err
	}
	attached := name + "-policy"
	err := c.call(ctx, "iot", "CreatePolicy", http.MethodPost, "/policies/"+url.PathEscape(attached),
		map[string]string{"policyDocument": document}, nil)
	if err != nil && !isCode(err, "ResourceAlreadyExistsException") {
		return device{}, err
	}
	if err := c.call(ctx, "iot", "AttachPolicy", http.MethodPut, "/target-policies/"+url.PathEscape(attached),
		map[string]string{"target": cert.CertificateArn}, nil); err != nil {
		return device{}, err
	}
	if err := c.call(ctx, "iot", "AttachThingPrincipal", http.MethodPut, "/things/"+url.PathEscape(name)+"/principals",
		nil, nil, "x-amzn-principal", cert.CertificateArn); err != nil {
		return device{}, err
	}
	return device{
		thing.ThingArn, cert.CertificateArn, cert.CertificateId, attached,
		cert.CertificatePem, cert.KeyPair.PrivateKey, cert.KeyPair.PublicKey,
	}, nil
}
