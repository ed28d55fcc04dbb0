package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
	URL    string `arg:"" optional:"" help:"URL of the server's API. Default: the profile's."`
	Region string `env:"AWS_REGION" help:"Region to call, one that the server serves. Default: the profile's where no URL is given, else us-east-1."`
	Key    string `placeholder:"FILE" xor:"who" help:"File with the access key, as the server's access-key.json and fescue keys create --json have it; - reads it from standard input. Default: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."`
	SSO    bool   `name:"sso" xor:"who" help:"Sign in as yourself, at the server's provider of OpenID Connect. Default where there is no key and the server has a provider."`
	CA     string `name:"ca" type:"existingfile" placeholder:"FILE" help:"PEM file of the authorities to trust, such as the server's ca.pem. Default: AWS_CA_BUNDLE, else the machine's."`
}

// Help implements kong.HelpProvider.
func (loginCommand) Help() string {
	return `Keeps a server's URL, a Region, an access key and the authority to trust in a profile of
this user's, so that later commands need neither flags nor environment. The server is asked
whether it takes the key first. What AWS_PROFILE, AWS_ENDPOINT_URL or AWS_ACCESS_KEY_ID say
in the environment counts more than the profile "default", and less than --profile.

With --sso no key is needed: it prints an address and a code, with which you sign in at your
provider in any browser, and keeps a temporary key, which ends after twelve hours. Then
fescue login without a URL signs in again.

Examples:
  fescue login https://greengrass.example.com --key access-key.json --ca ca.pem --region eu-west-1
  fescue login https://greengrass.example.com --sso
  fescue login https://test.example.com --profile test --key - < key.json
  fescue status --profile test`
}

// Run asks the server and keeps the profile.
func (c *loginCommand) Run(ctx context.Context, t *terminal) error {
	kept, err := client.OwnProfiles()
	if err != nil {
		return err
	}
	profile, err := c.profile(ctx, kept)
	if err != nil {
		return err
	}
	if err := c.identify(ctx, t, &profile); err != nil {
		return err
	}
	// It is tried as it will be used, before it takes the place of another one.
	api, err := clientOf(ctx, c.Profile, profile)
	if err != nil {
		return err
	}
	at, err := api.Partition(ctx)
	if err != nil {
		return err
	}
	before, none := kept.Kept(ctx, c.Profile)
	if err := kept.Keep(c.Profile, profile); err != nil {
		return err
	}
	if none == nil {
		if err := endSession(ctx, c.Profile, before); err != nil {
			fmt.Fprintf(t.stderr, "The session that the profile had is not ended, and goes on until %s: %v\n", localTime(before.Session.Ends), err)
		}
	}
	who := profile.KeyID
	if profile.Session.Token != "" {
		who = printable(profile.Session.Person)
	}
	fmt.Fprintf(t.stdout, "Logged in to %s as %s, account %s, Region %s: profile %s.\n", profile.Endpoint, who, at.Account, at.Region, c.Profile)
	if ends := profile.Session.Ends; !ends.IsZero() {
		fmt.Fprintf(t.stdout, "The session ends at %s.\n", localTime(ends))
	}
	fmt.Fprintf(t.stderr, "For the AWS CLI: export AWS_CONFIG_FILE=%s AWS_PROFILE=%s\n", kept.File(c.Profile), c.Profile)
	return nil
}

// clientOf is a client of a profile, whether it is kept or not.
func clientOf(ctx context.Context, name string, p client.Profile) (*client.Client, error) {
	folder, err := os.MkdirTemp("", "fescue-profile-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder) // the client has read it
	of := client.Profiles{Folder: folder}
	if err := of.Keep(name, p); err != nil {
		return nil, err
	}
	return client.New(ctx, client.Options{Profile: name, Profiles: &of})
}

// profile is what is to be kept, as far as the flags say it, and the profile that is there
// already where no URL is given.
func (c *loginCommand) profile(ctx context.Context, kept client.Profiles) (p client.Profile, err error) {
	if c.URL == "" {
		p, err = kept.Kept(ctx, c.Profile)
		if errors.Is(err, fs.ErrNotExist) {
			return p, fmt.Errorf("there is no profile %s: give the URL of a server's API", c.Profile)
		}
		if err != nil {
			return p, err
		}
	} else {
		p.Endpoint = strings.TrimSuffix(c.URL, "/")
	}
	if err := client.CheckEndpoint(p.Endpoint); err != nil {
		return p, err
	}
	p.Region = cmp.Or(c.Region, p.Region, "us-east-1")
	if ca := c.authority(p); ca != "" {
		if p.CA, err = os.ReadFile(ca); err != nil {
			return p, fmt.Errorf("read the authorities to trust: %w", err)
		}
	}
	return p, nil
}

// authority is the file of those to trust, empty where the profile has them or none are
// named.
func (c *loginCommand) authority(p client.Profile) string {
	if len(p.CA) > 0 {
		return c.CA
	}
	return cmp.Or(c.CA, os.Getenv("AWS_CA_BUNDLE"))
}

// identify finds who logs in: by the access key that is given, or by signing in, which is
// also what whoever has no key does.
func (c *loginCommand) identify(ctx context.Context, t *terminal, p *client.Profile) error {
	again := c.Key == "" && p.Session.Token != ""
	p.Session = client.Session{}
	if c.SSO || again {
		return signIn(ctx, t, p)
	}
	var err error
	if p.KeyID, p.Secret, err = c.key(); !errors.Is(err, errNoKey) {
		return err
	}
	offered, none := offer(ctx, *p)
	if noOffer(none) {
		return err
	}
	if none != nil {
		return none
	}
	return offered.signIn(ctx, t, p)
}

var errNoKey = errors.New("no access key: give --key FILE, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")

// key is the access key that is given.
func (c *loginCommand) key() (id, secret string, err error) {
	if c.Key == "" {
		if id, secret = os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"); id == "" || secret == "" {
			return "", "", errNoKey
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

type logoutCommand struct {
	profileFlag
	Local bool `help:"Only remove the profile, and leave a session to its end: for a server that is not there any more."`
}

// Help implements kong.HelpProvider.
func (logoutCommand) Help() string {
	return `Removes a profile from this machine. A session that login --sso began is ended at the
server first, within a second for whoever kept a copy, too, and so are roles that were assumed
with it. An access key goes on: fescue keys revoke ends it.

Examples:
  fescue logout
  fescue logout --profile test`
}

// Run ends the profile's session and removes the profile.
func (c *logoutCommand) Run(ctx context.Context, t *terminal) error {
	kept, err := client.OwnProfiles()
	if err != nil {
		return err
	}
	if profile, err := kept.Kept(ctx, c.Profile); err == nil && !c.Local {
		if err := endSession(ctx, c.Profile, profile); err != nil {
			return fmt.Errorf("the session of %s is not ended, and its profile stays: fescue logout --local removes that alone, and the session ends at %s: %w",
				printable(profile.Session.Person), localTime(profile.Session.Ends), err)
		}
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
