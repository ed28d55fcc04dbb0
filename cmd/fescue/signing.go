package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/fescue-edge/fescue/cloud"
	"github.com/fescue-edge/fescue/cloud/signing"
)

// signingCommand works on a data folder, also while a server runs on it.
type signingCommand struct {
	List   listSigning   `cmd:"" help:"List the signing keys, the newest first."`
	Rotate rotateSigning `cmd:"" help:"Have a new key sign deployments."`
}

// Help implements kong.HelpProvider.
func (signingCommand) Help() string {
	return `Cores trust the key that they met first, and every later one that a trusted key
vouches for. A rotation counts at once, also on a server that runs; cores follow
when they next speak with it, over any number of rotations.

Examples:
  fescue keys signing list --data /var/lib/fescue
  fescue keys signing rotate --data /var/lib/fescue
  fescue keys signing rotate --data /var/lib/fescue --revoke`
}

func (f dataFlag) openSigning(ctx context.Context, t *terminal, use func(*signing.Keys) error) error {
	keys, closeData, err := cloud.OpenSigningKeys(ctx, f.state(), t.logger)
	if err != nil {
		return err
	}
	defer closeData()
	return use(keys)
}

type signingRow struct {
	ID        string    `json:"keyId"`
	State     string    `json:"state"`
	CreatedAt time.Time `json:"createdAt"`
}

// signingState is what a key is good for.
func signingState(k signing.Key) string {
	switch {
	case k.Signs:
		return "signs"
	case k.Revoked:
		return "revoked"
	}
	return "trusted"
}

type listSigning struct{ dataFlag }

// Help implements kong.HelpProvider.
func (listSigning) Help() string {
	return `Says of each whether it signs, is trusted by cores that met it or a key before it, or was
revoked.

Examples:
  fescue keys signing list --data /var/lib/fescue
  fescue keys signing list --data /var/lib/fescue --json`
}

// Run prints the keys as a table or as JSON.
func (c listSigning) Run(ctx context.Context, t *terminal) error {
	return c.openSigning(ctx, t, func(keys *signing.Keys) error {
		all, err := keys.List(ctx)
		if err != nil {
			return err
		}
		rows := make([]signingRow, 0, len(all))
		for _, k := range all {
			rows = append(rows, signingRow{k.ID, signingState(k), k.CreatedAt})
		}
		if c.JSON {
			return c.print(t, rows)
		}
		w := tabwriter.NewWriter(t.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "SIGNING KEY\tSTATE\tCREATED")
		for _, r := range rows {
			fmt.Fprintf(w, "%s\t%s\t%s\n", r.ID, r.State, r.CreatedAt.Format(time.RFC3339))
		}
		return w.Flush()
	})
}

type rotateSigning struct {
	dataFlag
	Revoke bool `help:"Revoke all earlier keys: cores that learn of it accept nothing new that they sign. For a key that may be in other hands."`
}

// Help implements kong.HelpProvider.
func (rotateSigning) Help() string {
	return `The key that signs now vouches for the new one, which signs from now on, also on a server
that runs. Make a backup afterwards: one from before does not have the new key.

Examples:
  fescue keys signing rotate --data /var/lib/fescue
  fescue keys signing rotate --data /var/lib/fescue --revoke`
}

// Run rotates and prints the new key.
func (c rotateSigning) Run(ctx context.Context, t *terminal) error {
	return c.openSigning(ctx, t, func(keys *signing.Keys) error {
		key, err := keys.Rotate(ctx, c.Revoke)
		if err != nil {
			return err
		}
		if c.JSON {
			return c.print(t, signingRow{key.ID, signingState(key), key.CreatedAt})
		}
		_, err = fmt.Fprintf(t.stdout, "signs now  %s\n\nNext: make a backup; one from before does not have this key.\n", key.ID)
		return err
	})
}
