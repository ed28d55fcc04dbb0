package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/client"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/cloud/bulk"
)

type bulkCommand struct {
	serverFlags
	ID      string        `arg:"" optional:"" name:"bulk-deployment-id" help:"The bulk deployment. Default: the newest."`
	Follow  bool          `short:"f" help:"Show how it goes on, until all of its deployments have ended."`
	Timeout time.Duration `default:"0" placeholder:"DURATION" help:"With --follow: give up after this time, with exit code 3; 0 waits until the end."`
	JSON    bool          `name:"json" help:"Print JSON; with --follow each change as one line."`
}

// Help implements kong.HelpProvider.
func (bulkCommand) Help() string {
	return `How many of its records are done, how the deployments that they became stand, and of failures
the causes with what to do. The exit code is 1 when all is over and something failed. Where
there is no bulk deployment yet, that is said, with --json by null.

Examples:
  fescue bulk
  fescue bulk 6f3c1b52-58a5-4c2b-9a58-1f6f3d1f2c11 --follow
  fescue bulk --json`
}

// Validate implements kong.Validatable.
func (c *bulkCommand) Validate() error {
	if c.Timeout != 0 && !c.Follow {
		return fmt.Errorf("--timeout is for --follow")
	}
	return nil
}

// Run shows the bulk deployment.
func (c *bulkCommand) Run(ctx context.Context, t *terminal) error {
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	id := c.ID
	if id == "" {
		if id, err = newestBulk(ctx, api); err != nil {
			return err
		}
		if id == "" {
			return c.none(t)
		}
	}
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.Timeout, &exitError{code: exitNoAnswer, text: "the bulk deployment has not ended within --timeout"})
		defer cancel()
	}
	last := ""
	return repeat(ctx, t, bulkPoll, func() (ended bool, err error) {
		var p ownapi.BulkProgress
		if err := api.Call(ctx, "greengrass", "GetBulkDeploymentProgress", http.MethodGet, "/fescue/v1/bulk/deployments/"+url.PathEscape(id), nil, &p); err != nil {
			return !c.Follow, err
		}
		if c.Follow && (p.Live || c.JSON) {
			line, err := bulkLine(p, c.JSON)
			if err != nil {
				return true, err
			}
			if line != last {
				if last = line; !c.JSON {
					line = time.Now().UTC().Format(time.TimeOnly) + "  " + line
				}
				if _, err := fmt.Fprintln(t.stdout, line); err != nil {
					return true, err
				}
			}
			if p.Live {
				return false, nil
			}
		}
		switch {
		case c.JSON && c.Follow:
		case c.JSON:
			err = printJSON(t.stdout, p)
		default:
			err = showBulk(t, p)
		}
		switch {
		case err != nil || p.Live:
		case p.BulkDeploymentStatus == bulk.BulkFailed:
			err = &exitError{code: 1, text: "the bulk deployment failed; no record became a deployment"}
		case len(p.Failures) > 0:
			err = &exitError{code: 1, text: "not all of the bulk deployment ended in Success"}
		}
		return true, err
	})
}

// bulkPoll is how often --follow looks.
const bulkPoll = 2 * time.Second

// none says that there is no bulk deployment, in JSON by null.
func (c *bulkCommand) none(t *terminal) error {
	if c.JSON {
		return printJSON(t.stdout, nil)
	}
	return t.table("There is no bulk deployment yet; aws greengrass start-bulk-deployment makes one.", nil, nil)
}

// newestBulk is the id of the newest bulk deployment, empty where there is none.
func newestBulk(ctx context.Context, api *client.Client) (string, error) {
	var list struct {
		BulkDeployments []struct{ BulkDeploymentId string }
	}
	if err := api.Call(ctx, "greengrass", "ListBulkDeployments", http.MethodGet, "/greengrass/bulk/deployments?MaxResults=1", nil, &list); err != nil {
		return "", err
	}
	if len(list.BulkDeployments) == 0 {
		return "", nil
	}
	return list.BulkDeployments[0].BulkDeploymentId, nil
}

// bulkLine is how it stands in one line.
func bulkLine(p ownapi.BulkProgress, asJSON bool) (string, error) {
	if asJSON {
		line, err := json.Marshal(p)
		return string(line), err
	}
	return fmt.Sprintf("%s  %d of %d records; deployments: %s", p.BulkDeploymentStatus, p.Reported, p.Records, bulkStates(p)), nil
}

// bulkStates is "12 Building, 3 Success".
func bulkStates(p ownapi.BulkProgress) string {
	if len(p.States) == 0 {
		return "none yet"
	}
	var list []string
	for _, s := range p.States {
		name := string(s.DeploymentStatus)
		if name == "" {
			name = "no longer kept"
		}
		list = append(list, fmt.Sprint(s.Count, " ", name))
	}
	return strings.Join(list, ", ")
}

// showBulk prints how it stands.
func showBulk(t *terminal, p ownapi.BulkProgress) error {
	fmt.Fprintf(t.stdout, "bulk deployment %s  %s\n", p.BulkDeploymentId, p.BulkDeploymentStatus)
	fmt.Fprintf(t.stdout, "made        %s\n", p.CreatedAt)
	fmt.Fprintf(t.stdout, "records     %d of %d done, %d not valid, %d tried again\n", p.Reported, p.Records, p.Invalid, p.Retried)
	_, err := fmt.Fprintf(t.stdout, "deployments %s\n", bulkStates(p))
	if p.ErrorMessage != "" {
		_, err = fmt.Fprintf(t.stdout, "wrong       %s\n", p.ErrorMessage)
	}
	if err != nil || len(p.Failures) == 0 {
		return err
	}
	var causes, records [][]string
	for _, f := range p.Failures {
		causes = append(causes, []string{f.DetailedErrorCode, strconv.Itoa(f.Count), f.DetailedErrorMessage})
	}
	for _, f := range p.Failed {
		records = append(records, []string{strconv.FormatInt(f.Line, 10), f.GroupName, f.GroupId, f.DeploymentId, f.DetailedErrorCode})
	}
	more := -len(p.Failed)
	for _, s := range p.States {
		if s.DeploymentStatus == fescue.Failure {
			more += s.Count
		}
	}
	fmt.Fprintln(t.stdout)
	if err := t.table("", []string{"CODE", "COUNT", "ONE OF THEM"}, causes); err != nil {
		return err
	}
	fmt.Fprintln(t.stdout)
	if err := t.table("", []string{"LINE", "GROUP", "GROUP ID", "DEPLOYMENT", "WHY"}, records); err != nil || more <= 0 {
		return err
	}
	_, err = fmt.Fprintf(t.stdout, "… and %d more\n", more)
	return err
}
