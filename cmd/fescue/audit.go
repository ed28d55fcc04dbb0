package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"text/tabwriter"
	"time"

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
		show = jsonLines[ownapi.AuditRecord](t.stdout)
	}
	q := url.Values{}
	for name, value := range map[string]string{"AccessKeyId": c.Key, "Operation": c.Operation} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if !c.To.IsZero() {
		q.Set("To", c.To.UTC().Format(time.RFC3339Nano))
	}
	shown, err := following[ownapi.AuditRecord]{
		api: api, operation: "ListAuditRecords", path: "audit", query: q, show: show, whole: true,
		page: func() (any, func() ([]ownapi.AuditRecord, string)) {
			var page ownapi.AuditRecords
			return &page, func() ([]ownapi.AuditRecord, string) { return page.Records, page.NextToken }
		},
		key: func(r ownapi.AuditRecord) (id, at string) { return r.RequestID, r.Time },
	}.read(ctx, from, c.Follow)
	if err == nil && shown == 0 && !c.JSON {
		fmt.Fprintln(t.stderr, "No such calls.")
	}
	return err
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
			if r.Person != "" {
				who = r.Person + " as " + who
			}
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
