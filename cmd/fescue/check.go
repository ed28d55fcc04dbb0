package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/client"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
)

type checkCommand struct {
	serverFlags
	groupFlag
	Version string        `help:"The group version. Default: the latest."`
	Wait    time.Duration `default:"10s" help:"How long to wait for the core's answer, at most 50s; 0 does not ask the core."`
	JSON    bool          `name:"json" help:"Print JSON."`
}

// Help implements kong.HelpProvider.
func (checkCommand) Help() string {
	return `Finds what a deployment of a group version would find, without deploying anything: all
that the control plane checks while Building, and, when the core is connected, what the
core would miss: interpreters, users, resources, space. Exit code 0 when nothing was found or
only warnings, of what would run without having an effect; 1 when something was that would
fail a deployment; 3 when nothing was found so far but the core did not answer: it is offline
or busy. With --wait 0 the core is not asked, and that is no failure.

Examples:
  fescue check --group Mill
  fescue check --group Mill --version 5a1f1d8f-0c2d-4a5e-8f0e-3f6f0c9c3b1a --json`
}

// Run checks the version.
func (c *checkCommand) Run(ctx context.Context, t *terminal) error {
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	g, err := c.find(ctx, api)
	if err != nil {
		return err
	}
	version := c.Version
	if version == "" {
		version = g.LatestVersion
	}
	if version == "" {
		return fmt.Errorf("the group %s has no version; aws greengrass create-group-version makes one", g.Name)
	}
	var result ownapi.CheckResult
	in := struct{ WaitSeconds int }{int(c.Wait.Seconds())}
	err = api.CallWithin(ctx, c.Wait+client.Timeout, "greengrass", "CheckGroupVersion", http.MethodPost,
		"/fescue/v1/groups/"+g.Id+"/versions/"+url.PathEscape(version)+"/check", in, &result)
	if err != nil {
		return err
	}
	if c.JSON {
		if err := printJSON(t.stdout, result); err != nil {
			return err
		}
	} else if _, err := fmt.Fprint(t.stdout, checkText(g, version, result)); err != nil {
		return err
	}
	if !result.Deployable {
		return &exitError{code: 1, text: "the group version cannot be deployed as it is"}
	}
	if !result.CoreAnswered && c.Wait > 0 {
		return &exitError{code: exitNoAnswer, text: "the core was not checked; --wait 0 checks without it"}
	}
	return nil
}

// checkText prints a result for people.
func checkText(g client.Group, version string, r ownapi.CheckResult) string {
	var b strings.Builder
	fmt.Fprintf(&b, "group %s, version %s\n", g.Name, version)
	list := func(where string, details []fescue.ErrorDetail) {
		if len(details) == 0 {
			fmt.Fprintf(&b, "%-14s ok\n", where)
			return
		}
		fmt.Fprintf(&b, "%-14s %d found\n", where, len(details))
		writeDetails(&b, "  ", details)
	}
	list("control plane", r.Building)
	if r.CoreAnswered {
		list("core", r.OnCore)
	}
	if len(r.Warnings) > 0 {
		list("warnings", r.Warnings)
	}
	if r.CoreAnswered {
		if r.BytesToFetch > 0 {
			fmt.Fprintf(&b, "%-14s %s\n", "to download", size(r.BytesToFetch))
		}
		return b.String()
	}
	fmt.Fprintf(&b, "%-14s not checked: %s", "core", r.Reason)
	if r.Core != nil && !r.Core.Online && r.Core.OfflineSince != "" {
		fmt.Fprintf(&b, " Last seen %s.", r.Core.OfflineSince)
	}
	b.WriteByte('\n')
	return b.String()
}

// writeDetails prints problems or warnings, each with its code above it.
func writeDetails(w io.Writer, indent string, details []fescue.ErrorDetail) {
	for _, d := range details {
		fmt.Fprintf(w, "%s%s\n%s  %s\n", indent, d.DetailedErrorCode, indent, strings.ReplaceAll(d.DetailedErrorMessage, "\n", "\n  "+indent))
	}
}
