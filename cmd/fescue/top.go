package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"text/tabwriter"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/client"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/corelink"
)

// topCommand shows what a group's core does.
type topCommand struct {
	serverFlags
	groupFlag
	Once     bool          `help:"Show it once."`
	Interval time.Duration `default:"2s" help:"How often to ask the core."`
	JSON     bool          `name:"json" help:"Print JSON, a document each time."`
}

// Help implements kong.HelpProvider.
func (topCommand) Help() string {
	return `Asks the core of a group what it does and shows it as a table, again and again until
interrupted: a row for each process of a function, with its state, memory (with that of its
child processes) and age, and for each function how many calls wait, how many processes ended
without being asked to, how many calls took too long and how many failed, all since the
function's version was started.

The exit code with --once is 3 when the core did not answer: it is offline or busy.

Examples:
  fescue top --group Mill
  fescue top --group Mill --once --json`
}

// Run shows it.
func (c topCommand) Run(ctx context.Context, t *terminal) error {
	if c.Interval < 500*time.Millisecond {
		return fmt.Errorf("--interval %s is shorter than 500ms", c.Interval)
	}
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	g, err := c.find(ctx, api)
	if err != nil {
		return err
	}
	for {
		var a ownapi.GroupActivity
		if err := api.Call(ctx, "greengrass", "GetGroupActivity", http.MethodGet, awsapi.OwnPath+"groups/"+g.Id+"/activity", nil, &a); err != nil {
			return err
		}
		if c.JSON {
			err = printJSON(t.stdout, a)
		} else {
			text := topText(g, a)
			if !c.Once && isTerminal(t.stdout) {
				text = "\x1b[H\x1b[J" + text // to the upper left, and all else away
			}
			_, err = fmt.Fprint(t.stdout, text)
		}
		if err != nil {
			return err
		}
		if c.Once {
			if a.Activity == nil {
				return &exitError{code: exitNoAnswer, text: "the core reported nothing"}
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(c.Interval):
		}
	}
}

// isTerminal says whether a person sees what is written.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// topText prints it for people.
func topText(g client.Group, a ownapi.GroupActivity) string {
	var b bytes.Buffer
	if reason := unanswered(g, a); reason != "" {
		return reason + "\n"
	}
	now := a.Activity
	fmt.Fprintf(&b, "%s on %s at %s, up %s, core %s, for the cloud %d messages wait (%d bytes), %d dropped\n\n", g.Name, a.Core.ThingName,
		now.At.Format(time.RFC3339), age(now.At.Sub(now.Since)), megabytes(now.MemoryKB), now.Messages, now.Bytes, now.Dropped)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FUNCTION\tSTATE\tPID\tMEMORY\tUP\tQUEUED\tRESTARTS\tTIMEOUTS\tERRORS")
	for _, f := range now.Functions {
		counts := fmt.Sprintf("%d\t%s\t%d\t%d", f.Queued, restarts(f), f.Timeouts, f.Errors)
		if len(f.Workers) == 0 {
			state := "idle"
			if f.Pinned {
				state = "NotStarted"
			}
			fmt.Fprintf(w, "%s\t%s\t-\t-\t-\t%s\n", shortFunction(f.ARN), state, counts)
		}
		for _, p := range f.Workers {
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\n", shortFunction(f.ARN), p.State, p.PID, megabytes(p.MemoryKB), age(now.At.Sub(p.Since)), counts)
		}
	}
	if len(now.Functions) == 0 {
		fmt.Fprintln(w, "(no function)")
	}
	w.Flush()
	return b.String()
}

func restarts(f corelink.FunctionActivity) string {
	if f.OutOfMemory > 0 {
		return fmt.Sprintf("%d (%d memory)", f.Restarts, f.OutOfMemory)
	}
	return fmt.Sprint(f.Restarts)
}

// shortFunction is name and version.
func shortFunction(arn string) string {
	if parsed, err := fescue.ParseARN(arn); err == nil {
		if name, version, ok := parsed.Function(); ok {
			return printable(name + ":" + version)
		}
	}
	return printable(arn)
}

func megabytes(kb int64) string { return fmt.Sprintf("%.1f MB", float64(kb)/1024) }

func age(d time.Duration) string { return max(0, d).Truncate(time.Second).String() }

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
