package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/fescue-edge/fescue/cloud"
	"github.com/fescue-edge/fescue/cloud/identity"
)

// keysCommand works on a data folder, also while a server runs on it.
type keysCommand struct {
	List   listKeys  `cmd:"" help:"List the access keys."`
	Create createKey `cmd:"" help:"Create an access key and print its secret, once."`
	Revoke revokeKey `cmd:"" help:"Revoke an access key for good."`

	Signing signingCommand `cmd:"" help:"List and rotate the keys that sign deployments."`
}

// Help implements kong.HelpProvider.
func (keysCommand) Help() string {
	return `Works on the data folder, whether or not a server runs on it. A revoked key is
unknown within a second.

Examples:
  fescue keys list --data /var/lib/fescue
  fescue keys create --data /var/lib/fescue --name build-server --access deployer
  fescue keys create --data /var/lib/fescue --name north --access deployer --groups site=north --things 'north-*' --functions 'north-*'
  fescue keys revoke --data /var/lib/fescue AKIAEXAMPLE
  fescue keys signing list --data /var/lib/fescue
  fescue keys signing rotate --data /var/lib/fescue`
}

type dataFlag struct {
	databaseFlag
	Data string `required:"" type:"existingdir" env:"FESCUE_DATA" help:"The server's data folder."`
	JSON bool   `name:"json" help:"Print JSON."`
}

func (f dataFlag) state() cloud.State {
	return cloud.State{DataDir: f.Data, Database: f.Database, MasterKeyFile: os.Getenv("FESCUE_MASTER_KEY_FILE")}
}

func (f dataFlag) open(ctx context.Context, t *terminal, use func(*identity.Keys) error) error {
	keys, closeData, err := cloud.OpenKeys(ctx, f.state(), t.logger)
	if err != nil {
		return err
	}
	defer closeData()
	return use(keys)
}

func (f dataFlag) print(t *terminal, v any) error {
	enc := json.NewEncoder(t.stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

type keyRow struct {
	ID      string `json:"accessKeyId"`
	Account string `json:"account"`
	Name    string `json:"name"`
	Access  string `json:"access"`
	// Role is Access by the name that earlier versions gave it.
	Role      string         `json:"role"`
	Groups    string         `json:"groups,omitempty"`
	Limit     identity.Limit `json:"limit,omitzero"`
	CreatedAt time.Time      `json:"createdAt"`
	RevokedAt *time.Time     `json:"revokedAt,omitempty"`
	// Changed is true for a row that was changed outside Fescue: the key is refused.
	Changed bool `json:"changed,omitempty"`
}

func (r keyRow) state() string {
	switch {
	case r.RevokedAt != nil:
		return "revoked " + r.RevokedAt.Format(time.RFC3339)
	case r.Changed:
		return "refused: its row in the database was changed; revoke it"
	}
	return "good"
}

type listKeys struct{ dataFlag }

// Help implements kong.HelpProvider.
func (listKeys) Help() string {
	return `Lists the keys of all accounts, revoked ones too, without their secrets.

Examples:
  fescue keys list --data /var/lib/fescue
  fescue keys list --data /var/lib/fescue --json`
}

// Run prints the keys as a table or as JSON.
func (c listKeys) Run(ctx context.Context, t *terminal) error {
	return c.open(ctx, t, func(keys *identity.Keys) error {
		all, err := keys.List(ctx)
		if err != nil {
			return err
		}
		rows := make([]keyRow, 0, len(all))
		for _, k := range all {
			row := keyRow{ID: k.ID, Account: k.Account, Name: k.Name, Access: k.Access, Role: k.Access, Groups: k.Limit.GroupTag, Limit: k.Limit, CreatedAt: k.CreatedAt, Changed: keys.Check(k) != nil}
			if !k.RevokedAt.IsZero() {
				row.RevokedAt = &k.RevokedAt
			}
			rows = append(rows, row)
		}
		if c.JSON {
			return c.print(t, rows)
		}
		w := tabwriter.NewWriter(t.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ACCESS KEY\tACCOUNT\tNAME\tACCESS\tLIMIT\tCREATED\tSTATE")
		for _, r := range rows {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, r.Account, r.Name, r.Access, cmp.Or(r.Limit.String(), "none"), r.CreatedAt.Format(time.RFC3339), r.state())
		}
		return w.Flush()
	})
}

type createKey struct {
	dataFlag
	Account string `env:"FESCUE_ACCOUNT" help:"Account that the key belongs to. Default: the data folder's."`
	Name    string `required:"" help:"What the key is for; shown by list and by sts get-caller-identity."`
	Access  string `required:"" aliases:"role" placeholder:"admin|deployer|reader" enum:"admin,deployer,reader" help:"What the key may do: ${enum}."`
	Groups  string `placeholder:"TAG=VALUE" help:"Limit the key to groups and definitions with this tag, and to what those groups run."`

	Things    []string `placeholder:"PATTERN" help:"Limit the key to things with such names, besides those of its groups; * and ? are wildcards."`
	Functions []string `placeholder:"PATTERN" help:"Limit the key to functions with such names, besides those of its groups."`
	Secrets   []string `placeholder:"PATTERN" help:"Limit the key to secrets with such names, besides those of its groups."`
	Buckets   []string `placeholder:"PATTERN" help:"Limit the key to buckets with such names, besides those of its groups."`
}

// Help implements kong.HelpProvider.
func (createKey) Help() string {
	return `A limited key does what its access level allows on what its limit covers, and on nothing
else: what has the tag of --groups or a name of the other patterns, and what its groups run.

Examples:
  fescue keys create --data /var/lib/fescue --name build-server --access deployer
  fescue keys create --data /var/lib/fescue --name dashboard --access reader --account 210987654321
  fescue keys create --data /var/lib/fescue --name north --access deployer --groups site=north --things 'north-*' --functions 'north-*'`
}

// Run prints the new key; the secret is not shown again.
func (c createKey) Run(ctx context.Context, t *terminal) error {
	if c.Account == "" {
		known, err := cloud.KnownPlace(ctx, c.state(), t.logger)
		if err != nil {
			return err
		}
		if c.Account = known.Account; c.Account == "" {
			return fmt.Errorf("no server has run on %s yet: name the key's account with --account", c.Data)
		}
	}
	return c.open(ctx, t, func(keys *identity.Keys) error {
		id, secret, err := keys.Create(ctx, c.Account, c.Name, identity.Grant{
			Access: c.Access, Limit: identity.Limit{GroupTag: c.Groups, Things: c.Things, Functions: c.Functions, Secrets: c.Secrets, Buckets: c.Buckets},
		})
		if err != nil {
			return err
		}
		if c.JSON {
			return c.print(t, cloud.AccessKey{ID: id, Secret: secret})
		}
		_, err = fmt.Fprintf(t.stdout, "AWS_ACCESS_KEY_ID=%s\nAWS_SECRET_ACCESS_KEY=%s\n", id, secret)
		return err
	})
}

type revokeKey struct {
	dataFlag
	ID string `arg:"" name:"access-key-id" help:"The key."`
}

// Help implements kong.HelpProvider.
func (revokeKey) Help() string {
	return `The key is unknown within a second, also to a server that runs. It stays in the list, and
cannot be made good again.

Examples:
  fescue keys list --data /var/lib/fescue
  fescue keys revoke --data /var/lib/fescue AKIAEXAMPLE`
}

// Run revokes the key.
func (c revokeKey) Run(ctx context.Context, t *terminal) error {
	return c.open(ctx, t, func(keys *identity.Keys) error {
		if err := keys.Revoke(ctx, c.ID); err != nil {
			return fmt.Errorf("%w; fescue keys list shows the keys", err)
		}
		_, err := fmt.Fprintf(t.stdout, "revoked %s\n", c.ID)
		return err
	})
}
