package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/client"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/corelink"
)

// logsCommand reads the logs of a group's core through the API.
type logsCommand struct {
	serverFlags
	groupFlag
	Function string        `placeholder:"NAME|ARN" xor:"what" help:"Only lines of this function."`
	System   bool          `xor:"what" help:"Only lines of the core itself."`
	Core     string        `placeholder:"THING" help:"Only lines of this core, of a group that has had several."`
	Since    time.Duration `default:"1h" help:"How far back to begin, by when lines came to the server."`
	Follow   bool          `short:"f" help:"Go on with what comes, until interrupted."`
	JSON     bool          `name:"json" help:"Print a line of JSON for each line."`
}

// Help implements kong.HelpProvider.
func (logsCommand) Help() string {
	return `Prints what the core of a group wrote into its logs, in the order in which it came. A core
sends lines when its group has a logger of type AWSCloudWatch for them: for Lambda what
functions print and log, for GreengrassSystem what the core says. It sends them every few
seconds; what it cannot send waits in a bounded place, and where lines were lost it says so.

Examples:
  fescue logs --group Mill
  fescue logs --group Mill --function Blinker --since 24h
  fescue logs --group Mill --follow
  fescue logs --group Mill --system --json`
}

const (
	// logOverlap is how far back is read again for what came beside the last lines.
	logOverlap = 10 * time.Second
	logPoll    = time.Second
)

// Run prints the lines.
func (c logsCommand) Run(ctx context.Context, t *terminal) error {
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	group, err := c.find(ctx, api)
	if err != nil {
		return err
	}
	q := url.Values{}
	if c.Core != "" {
		q.Set("CoreThingName", c.Core)
	}
	if c.Function != "" {
		q.Set("Component", corelink.FunctionLogs)
		q.Set("Name", functionName(c.Function))
	}
	if c.System {
		q.Set("Component", corelink.SystemLogs)
	}
	show := logText(t.stdout)
	if c.JSON {
		show = logJSON(t.stdout)
	}
	from, seen, any := time.Now().Add(-c.Since), make(map[string]time.Time), false
	for {
		latest := from
		err := c.read(ctx, api, group.Id, q, from, func(e ownapi.LogEvent) error {
			came, err := time.Parse(time.RFC3339, e.CameAt)
			if err != nil {
				return fmt.Errorf("when line %s came: %w", e.Id, err)
			}
			if _, known := seen[e.Id]; known {
				return nil
			}
			if c.Follow {
				seen[e.Id] = came
			}
			latest, any = came, true
			return show(e)
		})
		if err != nil {
			return err
		}
		if !c.Follow {
			if !any {
				fmt.Fprintln(t.stderr, "No such lines. Cores send lines when their group has a logger of type AWSCloudWatch for the component; fescue logs --help tells more.")
			}
			return nil
		}
		if begin := latest.Add(-logOverlap); begin.After(from) {
			from = begin
		}
		for id, came := range seen {
			if came.Before(from) {
				delete(seen, id)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(logPoll):
		}
	}
}

// read reads all pages from a time on.
func (c logsCommand) read(ctx context.Context, api *client.Client, group string, q url.Values, from time.Time, show func(ownapi.LogEvent) error) error {
	q.Set("From", from.UTC().Format(time.RFC3339Nano))
	q.Del("NextToken")
	for {
		var page ownapi.LogEvents
		err := api.Call(ctx, "greengrass", "ListLogEvents", http.MethodGet, awsapi.OwnPath+"groups/"+group+"/logs?"+q.Encode(), nil, &page)
		if err != nil {
			return err
		}
		for _, e := range page.Events {
			if err := show(e); err != nil {
				return err
			}
		}
		if page.NextToken == "" {
			return nil
		}
		q.Set("NextToken", page.NextToken)
	}
}

// functionName is that of a function's ARN, or what was given.
func functionName(function string) string {
	if arn, err := fescue.ParseARN(function); err == nil {
		if name, _, ok := arn.Function(); ok {
			return name
		}
	}
	return function
}

func logJSON(w io.Writer) func(ownapi.LogEvent) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return func(e ownapi.LogEvent) error { return enc.Encode(e) }
}

// logText prints lines for people. What a function prints is not to steer their
// terminal.
func logText(w io.Writer) func(ownapi.LogEvent) error {
	return func(e ownapi.LogEvent) error {
		message := e.Message
		if e.Lost > 0 {
			message = fmt.Sprintf("(%d lines were lost here: the core had no room for them until they could be sent)", e.Lost)
		}
		_, err := fmt.Fprintf(w, "%s %-5s %s  %s\n", e.Time, e.Level, printable(e.Name), printable(message))
		return err
	}
}

// printable is a text without what a terminal acts on.
func printable(text string) string {
	if !strings.ContainsFunc(text, steers) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if steers(r) {
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func steers(r rune) bool {
	return r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r))
}
