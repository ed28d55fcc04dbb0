package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/fescue-edge/fescue/transfer"
)

type provisionCommand struct {
	serverFlags
	Name   string   `arg:"" optional:"" help:"Name of the core's thing, for example Mill_Core."`
	Root   string   `type:"path" help:"The core's root folder, for example /greengrass."`
	Topics []string `placeholder:"FILTER" help:"MQTT filters of the topics that functions may use in the cloud, as far as the certificate's policy decides it; + covers any number of levels there, as # does. Default: every topic."`
	Device string   `placeholder:"NAME" help:"Provision a client device in place of a core, with this name of its thing."`
	Group  string   `placeholder:"ID|NAME" help:"The device's group: its id, or its name when only one group has it."`
	Out    string   `type:"path" placeholder:"DIR" help:"The folder for the device's files."`
}

// Help implements kong.HelpProvider.
func (provisionCommand) Help() string {
	return `Makes thing, key, certificate, policy and attachments through the server's API, and
writes certs/ and config/config.json in the original's format below the root folder.
The policy allows what a core needs and no more: to connect as itself, its own
shadows and deployments, and the topics. Credentials and Region are found the way
the AWS CLI finds them.

With --device it makes a client device's: NAME.cert.pem, NAME.private.key, and the
authorities to trust, root.ca.pem for discovery and group.ca.pem for the core. The device
gets a place in a new version of the group, which is still to be deployed.

Examples:
  fescue provision Mill_Core --root /greengrass
  fescue provision Mill_Core --root /greengrass --endpoint https://greengrass.example.com
  fescue provision Mill_Core --root /greengrass --topics 'mill/#,alarms/+/mill'
  fescue provision --device Lamp --group Mill --out ./lamp`
}

// Validate is called by kong.
func (c *provisionCommand) Validate() error {
	if c.Device != "" {
		if c.Name != "" || c.Root != "" || len(c.Topics) > 0 {
			return errors.New("--device makes a client device: leave out the core's name, --root and --topics")
		}
		if c.Group == "" || c.Out == "" {
			return errors.New("--device needs --group and --out")
		}
		return nil
	}
	if c.Name == "" || c.Root == "" {
		return errors.New("give the name of the core's thing and --root, or --device with --group and --out")
	}
	if c.Group != "" || c.Out != "" {
		return errors.New("--group and --out are for --device")
	}
	return nil
}

// Run provisions a core or a device.
func (c *provisionCommand) Run(ctx context.Context, t *terminal) error {
	if c.Device != "" {
		return c.device(ctx, t)
	}
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	id, err := transfer.Provision(ctx, api, c.Name, c.Root, c.Topics)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.stdout, "thing        %s\ncertificate  %s\npolicy       %s\nconfig       %s\n\n", id.ThingARN, id.CertificateARN, id.Policy, id.ConfigFile)
	fmt.Fprintf(t.stdout, "Next: put the core into a group's core definition and run\n  fescue core --root %s\n", c.Root)
	return nil
}

func (c *provisionCommand) device(ctx context.Context, t *terminal) error {
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	group, err := groupFlag{c.Group}.find(ctx, api)
	if err != nil {
		return err
	}
	id, err := transfer.ProvisionDevice(ctx, api, c.Device, group, c.Out)
	if err != nil {
		return err
	}
	trust := ""
	if id.ServerCA != "" {
		trust = "--cacert " + id.ServerCA + " "
	}
	fmt.Fprintf(t.stdout, "thing          %s\ncertificate    %s\npolicy         %s\ngroup version  %s\nfiles          %s\n\n",
		id.ThingARN, id.CertificateARN, id.Policy, id.GroupVersion, c.Out)
	fmt.Fprintf(t.stdout, "Next: give the device its subscriptions, deploy the group, and try the discovery of its core:\n"+
		"  fescue deploy --group %s\n  curl %s--cert %s --key %s https://%s:%d/greengrass/discover/thing/%s\n",
		group.Id, trust, id.CertificateFile, id.KeyFile, id.Endpoints.Host, id.Endpoints.DevicePort, c.Device)
	return nil
}
