//go:build linux

package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
)

// TestOperator: what an operator sees of a fleet, and does to it, with the operator's
// program alone.
func TestOperator(t *testing.T) {
	s := startServer(t)
	h := s.house(region)
	g := h.provision(t, "Operated_Core")
	missing := func(n int) string {
		return fmt.Sprintf("arn:aws:lambda:%s:%s:function:Missing:%d", region, account, n)
	}

	t.Run("no deployments", func(t *testing.T) {
		out, errs, code := h.program(t, "deployments", "--status", "Success,Failure")
		if code != 0 || out != "" || errs != "No deployment is Success or Failure.\n" {
			t.Errorf("exit code %d, stdout %q, stderr %q", code, out, errs)
		}
		if out, _, _ := h.program(t, "deployments", "--json"); out != "[]\n" {
			t.Errorf("as JSON %q", out)
		}
	})

	group, broken := g.groupVersion(t, "", []function{{arn: missing(1)}, {arn: missing(2)}, {arn: missing(3)}}, nil)
	t.Run("deployments have their group's name, and each code once", func(t *testing.T) {
		id := h.deploy(t, group, broken)
		h.await(t, group, id, fescue.Failure)
		h.says(t, 0, []string{"DEPLOYMENT", "WHY", id, g.thing, group, "Failure", "FUNCTION_NOT_FOUND_ERROR (3)\n"}, "deployments", "--status", "Failure")
		out, _, _ := h.program(t, "deployments", "--status", "Failure", "--json")
		if !strings.Contains(out, fmt.Sprintf(`"GroupName": %q`, g.thing)) {
			t.Error(out)
		}
	})
	t.Run("export finds a group by its name", func(t *testing.T) {
		h.says(t, 1, []string{`no group is named "Operated"`}, "export", "--group", "Operated")
		h.says(t, 0, []string{`"Name": "` + g.thing + `"`}, "export", "--group", g.thing)
	})
	t.Run("a Region that is not served", func(t *testing.T) {
		h.says(t, 1, []string{"eu-west-9", "set AWS_REGION (or --region)"}, "deployments", "--region", "eu-west-9")
		h.says(t, 0, []string{group}, "deployments", "--status", "Failure", "--region", region)
	})
}
