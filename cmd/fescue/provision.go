package main

import (
	"context"
	"fmt"

	"github.com/fescue-edge/fescue/transfer"
)

type provisionCommand struct {
	serverFlags
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
