package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/client"
)

// rewriteFlag is on every command that restores a group from outside the server.
type rewriteFlag struct {
	Rewrite bool `help:"Rewrite ARNs to the account of the key and the Region of the environment where the group is of others. Without it the group keeps its own."`
}

// rewriteHelp says where a group comes to lie.
const rewriteHelp = `Credentials are found the way the AWS CLI finds them. The group keeps its account and
Region: the key must be of that account, and the server must serve that Region, whatever
Region the environment has. With --rewrite, ARNs are rewritten to the key's account and
the environment's Region instead.`

// connect makes a client in the partition where a group of another is restored: the
// group's own, or with --rewrite that of key and environment.
func (f rewriteFlag) connect(ctx context.Context, e serverFlags, from fescue.Partition) (*client.Client, fescue.Partition, error) {
	api, err := e.connectIn(ctx, from.Region)
	if err != nil {
		return nil, fescue.Partition{}, err
	}
	if !f.Rewrite {
		api = api.In(from.Region)
	}
	p, err := api.Partition(ctx)
	if err != nil || f.Rewrite {
		return api, p, err
	}
	if p != from {
		return nil, p, fmt.Errorf("the group is of account %s (%s), the access key of %s (%s): take a key of that account (fescue keys create --account %s on the server), "+
			"or give --rewrite to rewrite ARNs", from.Account, from.AWS, p.Account, p.AWS, from.Account)
	}
	// Whose the key is can be asked in any Region; only a served one answers here.
	err = api.Call(ctx, "greengrass", "ListGroups", http.MethodGet, "/greengrass/groups?MaxResults=1", nil, nil)
	if client.IsCode(err, "InvalidSignatureException") {
		return nil, p, fmt.Errorf("the server does not serve %s, the group's Region: start it with that Region too, or give --rewrite to rewrite ARNs to the Region of the environment (%w)", from.Region, err)
	}
	return api, p, nil
}
