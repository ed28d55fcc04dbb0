package main

import (
	"context"

	"github.com/fescue-edge/fescue/client"
)

// serverFlags are on every command that calls a server.
type serverFlags struct {
	Profile  string `env:"FESCUE_PROFILE" help:"Profile of fescue login, which has server and key. Default: what AWS_PROFILE, AWS_ENDPOINT_URL and AWS_ACCESS_KEY_ID say, else the profile default." placeholder:"NAME"`
	Endpoint string `help:"URL of the server's API. Default: the profile's, AWS_ENDPOINT_URL, else ${local_endpoint}." placeholder:"URL"`
	Region   string `help:"Region to call, one that the server serves. Default: AWS_REGION, else the profile's." placeholder:"REGION"`
}

// connect makes a client of the server.
func (f serverFlags) connect(ctx context.Context) (*client.Client, error) {
	return f.connectIn(ctx, "")
}

// connectIn is connect, in a Region of the caller's where nothing else names one.
func (f serverFlags) connectIn(ctx context.Context, region string) (*client.Client, error) {
	return client.New(ctx, client.Options{Profile: f.Profile, Endpoint: f.Endpoint, Region: f.Region, FallbackRegion: region})
}

// groupFlag names a group.
type groupFlag struct {
	Group string `required:"" placeholder:"ID|NAME" help:"The group: its id, or its name when only one group has it."`
}

// find reads the group.
func (f groupFlag) find(ctx context.Context, api *client.Client) (client.Group, error) {
	return api.FindGroup(ctx, f.Group)
}
