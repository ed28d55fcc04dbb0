package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/fescue-edge/fescue"
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
		show = jsonLines[ownapi.LogEvent](t.stdout)
	}
	shown, err := following[ownapi.LogEvent]{
		api: api, operation: "ListLogEvents", path: "groups/" + group.Id + "/logs", query: q, show: show,
		page: func() (any, func() ([]ownapi.LogEvent, string)) {
			var page ownapi.LogEvents
			return &page, func() ([]ownapi.LogEvent, string) { return page.Events, page.NextToken }
		},
		key: func(e ownapi.LogEvent) (id, at string) { return e.Id, e.CameAt },
	}.read(ctx, time.Now().Add(-c.Since), c.Follow)
	if err == nil && shown == 0 {
		fmt.Fprintln(t.stderr, "No such lines. Cores send lines when their group has a logger of type AWSCloudWatch for the component; fescue logs --help says more.")
	}
	return err
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

// logText prints lines for people. What a function prints is not to steer their
// terminal.
func logText(w io.Writer) func([]ownapi.LogEvent) error {
	return func(list []ownapi.LogEvent) error {
		for _, e := range list {
			message := e.Message
			if e.Lost > 0 {
				message = fmt.Sprintf("(%d lines were lost here: the core had no room for them until they could be sent)", e.Lost)
			}
			if _, err := fmt.Fprintf(w, "%s %-5s %s  %s\n", e.Time, e.Level, printable(e.Name), printable(message)); err != nil {
				return err
			}
		}
		return nil
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
