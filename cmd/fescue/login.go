package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/fescue-edge/fescue/client"
	"github.com/fescue-edge/fescue/cloud"
)

// profileFlag names what login keeps.
type profileFlag struct {
	Profile string `env:"FESCUE_PROFILE" default:"default" placeholder:"NAME" help:"Name of the profile."`
}

type loginCommand struct {
	profileFlag
	URL    string `arg:"" help:"URL of the server's API."`
	Region string `env:"AWS_REGION" default:"us-east-1" help:"Region to call, one that the server serves."`
	Key    string `placeholder:"FILE" help:"File with the access key, as the server's access-key.json and fescue keys create --json have it; - reads it from standard input. Default: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."`
	CA     string `name:"ca" type:"existingfile" placeholder:"FILE" help:"PEM file of the authorities to trust, such as the server's ca.pem. Default: AWS_CA_BUNDLE, else the machine's."`
}

// Help implements kong.HelpProvider.
func (loginCommand) Help() string {
	return `Keeps a server's URL, a Region, an access key and the authority to trust in a profile of
this user's, so that later commands need neither flags nor environment. The server is asked
whether it takes the key first. What AWS_PROFILE, AWS_ENDPOINT_URL or AWS_ACCESS_KEY_ID say
in the environment counts more than the profile "default", and less than --profile.

Examples:
  fescue login https://greengrass.example.com --key access-key.json --ca ca.pem --region eu-west-1
  fescue login https://test.example.com --profile test --key - < key.json
  fescue status --profile test`
}

// Run asks the server and keeps the profile.
func (c *loginCommand) Run(ctx context.Context, t *terminal) error {
	if err := client.CheckEndpoint(c.URL); err != nil {
		return err
	}
	profile := client.Profile{Endpoint: strings.TrimSuffix(c.URL, "/"), Region: c.Region}
	var err error
	if profile.KeyID, profile.Secret, err = c.key(); err != nil {
		return err
	}
	if ca := cmp.Or(c.CA, os.Getenv("AWS_CA_BUNDLE")); ca != "" {
		if profile.CA, err = os.ReadFile(ca); err != nil {
			return fmt.Errorf("read the authorities to trust: %w", err)
		}
	}
	// It is tried as it will be used, before it takes the place of another one.
	trial, err := os.MkdirTemp("", "fescue-login-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(trial)
	tried := client.Profiles{Folder: trial}
	if err := tried.Keep(c.Profile, profile); err != nil {
		return err
	}
	api, err := client.New(ctx, client.Options{Profile: c.Profile, Profiles: &tried})
	if err != nil {
		return err
	}
	at, err := api.Partition(ctx)
	if err != nil {
		return err
	}
	kept, err := client.OwnProfiles()
	if err != nil {
		return err
	}
	if err := kept.Keep(c.Profile, profile); err != nil {
		return err
	}
	fmt.Fprintf(t.stdout, "Logged in to %s as %s, account %s, Region %s: profile %s.\n", profile.Endpoint, profile.KeyID, at.Account, at.Region, c.Profile)
	fmt.Fprintf(t.stderr, "For the AWS CLI: export AWS_CONFIG_FILE=%s AWS_PROFILE=%s\n", kept.File(c.Profile), c.Profile)
	return nil
}

// key is the access key that is given.
func (c *loginCommand) key() (id, secret string, err error) {
	if c.Key == "" {
		if id, secret = os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"); id == "" || secret == "" {
			return "", "", errors.New("no access key: give --key FILE, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
		}
		return id, secret, nil
	}
	in := os.Stdin
	if c.Key != "-" {
		if in, err = os.Open(c.Key); err != nil {
			return "", "", fmt.Errorf("read --key: %w", err)
		}
		defer in.Close()
	}
	var key cloud.AccessKey
	if err := json.NewDecoder(io.LimitReader(in, 64<<10)).Decode(&key); err != nil {
		return "", "", fmt.Errorf("--key %s has no access key in JSON: %w", c.Key, err)
	}
	if key.ID == "" || key.Secret == "" {
		return "", "", fmt.Errorf("--key %s has no accessKeyId and secretAccessKey", c.Key)
	}
	return key.ID, key.Secret, nil
}

type logoutCommand struct{ profileFlag }

// Help implements kong.HelpProvider.
func (logoutCommand) Help() string {
	return `Removes a profile from this machine. The access key goes on: fescue keys revoke ends it.

Examples:
  fescue logout
  fescue logout --profile test`
}

// Run removes the profile.
func (c *logoutCommand) Run(t *terminal) error {
	kept, err := client.OwnProfiles()
	if err != nil {
		return err
	}
	there, err := kept.Forget(c.Profile)
	if err != nil {
		return fmt.Errorf("remove the profile %s: %w", c.Profile, err)
	}
	if !there {
		return fmt.Errorf("there is no profile %s", c.Profile)
	}
	fmt.Fprintf(t.stdout, "Removed the profile %s.\n", c.Profile)
	return nil
}
