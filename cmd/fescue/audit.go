package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/fescue-edge/fescue/client"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
)

// auditCommand reads the audit record through the API.
type auditCommand struct {
	serverFlags
	Since     time.Duration `default:"24h" help:"How far back to begin."`
	From      time.Time     `help:"When to begin, as 2026-11-25T12:00:00Z, in place of --since."`
	To        time.Time     `help:"When to end."`
	Key       string        `placeholder:"ACCESS-KEY-ID" help:"Only calls that this access key signed."`
	Operation string        `help:"Only this operation, for example CreateDeployment."`
	Follow    bool          `short:"f" help:"Go on with what comes, until interrupted."`
	JSON      bool          `name:"json" help:"Print a line of JSON for each record."`
}

// Help implements kong.HelpProvider.
func (auditCommand) Help() string {
	return `Shows the calls that changed something, or were refused when they meant to, oldest
first: of the Region that is configured, and of what belongs to the account as a
whole. It needs a key with the access level admin.

Examples:
  fescue audit
  fescue audit --since 168h --operation CreateDeployment
  fescue audit --follow --json --key AKIAEXAMPLE`
}

// Records that come late: a call whose record is written a moment after that of
// a call which ended later.
const (
	auditOverlap = 10 * time.Second
	auditPoll    = time.Second
)

// Run prints the records.
func (c auditCommand) Run(ctx context.Context, t *terminal) error {
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	from := c.From
	if from.IsZero() {
		from = time.Now().Add(-c.Since)
	}
	show := c.table(t.stdout)
	if c.JSON {
		show = lines(t.stdout)
	}
	seen := make(map[string]time.Time)
	for {
		records, err := c.read(ctx, api, from)
		if err != nil {
			return err
		}
		var fresh []ownapi.AuditRecord
		latest := from
		for _, r := range records {
			at, err := time.Parse(time.RFC3339, r.Time)
			if err != nil {
				return fmt.Errorf("the time of record %s: %w", r.RequestID, err)
			}
			if _, ok := seen[r.RequestID]; !ok {
				fresh = append(fresh, r)
			}
			seen[r.RequestID] = at
			latest = at
		}
		if err := show(fresh); err != nil {
			return err
		}
		if !c.Follow {
			if len(fresh) == 0 && !c.JSON {
				fmt.Fprintln(t.stderr, "No such calls.")
			}
			return nil
		}
		if begin := latest.Add(-auditOverlap); begin.After(from) {
			from = begin
		}
		for id, at := range seen {
			if at.Before(from) {
				delete(seen, id)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(auditPoll):
		}
	}
}

// read reads all pages from a time on.
func (c auditCommand) read(ctx context.Context, api *client.Client, from time.Time) ([]ownapi.AuditRecord, error) {
	q := url.Values{"From": {from.UTC().Format(time.RFC3339Nano)}}
	for name, value := range map[string]string{"AccessKeyId": c.Key, "Operation": c.Operation} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if !c.To.IsZero() {
		q.Set("To", c.To.UTC().Format(time.RFC3339Nano))
	}
	var list []ownapi.AuditRecord
	for {
		var page ownapi.AuditRecords
		err := api.Call(ctx, "greengrass", "ListAuditRecords", http.MethodGet, awsapi.OwnPath+"audit?"+q.Encode(), nil, &page)
		if err != nil {
			return nil, err
		}
		list = append(list, page.Records...)
		if page.NextToken == "" {
			return list, nil
		}
		q.Set("NextToken", page.NextToken)
	}
}

func lines(w io.Writer) func([]ownapi.AuditRecord) error {
	enc := json.NewEncoder(w)
	return func(list []ownapi.AuditRecord) error {
		for _, r := range list {
			if err := enc.Encode(r); err != nil {
				return err
			}
		}
		return nil
	}
}

// table prints a head once, and then rows under it.
func (c auditCommand) table(out io.Writer) func([]ownapi.AuditRecord) error {
	begun := false
	return func(list []ownapi.AuditRecord) error {
		if len(list) == 0 {
			return nil
		}
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		if !begun {
			fmt.Fprintln(w, "TIME\tWHO\tFROM\tCALL\tRESOURCE\tOUTCOME")
			begun = true
		}
		for _, r := range list {
			who := r.KeyName
			if r.AccessKeyID != "" {
				who += " (" + r.AccessKeyID + ")"
			}
			outcome := fmt.Sprintf("%d %s", r.Status, cmp.Or(r.ErrorCode, "OK"))
			if r.Repeats > 0 {
				outcome += fmt.Sprintf(", %d more alike", r.Repeats)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s:%s\t%s\t%s\n", r.Time, who, cmp.Or(r.SourceIP, "-"), r.Service, r.Operation, r.Resource, outcome)
		}
		return w.Flush()
	}
}
