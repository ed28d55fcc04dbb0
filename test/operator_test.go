//go:build linux

package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	awsgreengrass "github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
	"golang.org/x/sys/unix"

	"github.com/fescue-edge/fescue"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
)

// TestOperator: what an operator sees of a fleet, and does to it, with the operator's
// program alone.
func TestOperator(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--ops", address(t))
	h := s.site(region)
	g := h.provision(t, "Operated_Core")
	missing := func(n int) string {
		return fmt.Sprintf("arn:aws:lambda:%s:%s:function:Missing:%d", region, account, n)
	}

	t.Run("no calls in the audit record", func(t *testing.T) {
		out, errs, code := h.program(t, "audit", "--operation", "Nothing")
		if code != 0 || out != "" || errs != "No such calls.\n" {
			t.Errorf("exit code %d, stdout %q, stderr %q", code, out, errs)
		}
	})
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

	cores := func(t *testing.T, flags ...string) []ownapi.CoreSummary {
		t.Helper()
		var list []ownapi.CoreSummary
		out, errs, code := h.program(t, append([]string{"cores", "--json"}, flags...)...)
		if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 {
			t.Fatalf("exit code %d, %v\n%s%s", code, err, out, errs)
		}
		return list
	}
	t.Run("no core has spoken", func(t *testing.T) {
		out, errs, code := h.program(t, "cores")
		if code != 0 || out != "" || !strings.Contains(errs, "No core has spoken") {
			t.Errorf("exit code %d, stdout %q, stderr %q", code, out, errs)
		}
	})
	arn := h.echo(t, "Operated")
	_, version := g.groupVersion(t, group, []function{{arn: arn, pinned: true, encoding: types.EncodingTypeBinary, variables: out(g.thing, "operated")}}, ends(arn, g.thing))
	t.Run("deploy waits for a core that never came", func(t *testing.T) {
		h.says(t, 3, []string{"NewDeployment of group " + group, "never seen", "--timeout"}, "deploy", "--group", g.thing, "--wait", "--timeout", "5s")
		if list := cores(t, "--offline"); len(list) != 1 || list[0].Online || list[0].LastDeployment == nil || list[0].LastDeployment.Phase != fescue.Offered {
			t.Errorf("cores %+v", list)
		}
		h.says(t, 0, []string{"CORE", "PROBLEMS", g.thing, "never seen", "0\n"}, "cores")
		h.says(t, 0, []string{"cancelled deployment"}, "cancel", "--group", g.thing)
	})

	g.run(t)
	second := h.provision(t, "Second_Core")
	second.run(t)
	t.Run("deploy takes the latest version, and shows its steps", func(t *testing.T) {
		h.says(t, 0, []string{"NewDeployment of group " + group, "Claimed", "Succeeded", "Success\n"}, "deploy", "--group", g.thing, "--wait")
	})
	t.Run("cores", func(t *testing.T) {
		eventually(t, "both are connected", func() error {
			if list := cores(t); len(list) != 2 || !list[0].Online || !list[1].Online || list[0].Version == "" || list[0].OnlineSince == "" {
				return fmt.Errorf("%+v", list)
			}
			return nil
		})
		list := cores(t)
		first := list[0]
		if first.ThingName != g.thing || first.Address != "127.0.0.1" || first.Architecture == "" || first.GroupName != g.thing ||
			first.Runs == nil || first.Runs.GroupVersionId != version || list[1].Runs != nil || list[1].GroupId != "" {
			t.Errorf("cores %+v", list)
		}
		if list := cores(t, "--group", group); len(list) != 1 || list[0].ThingName != g.thing {
			t.Errorf("of the group %+v", list)
		}
		if list := cores(t, "--offline"); len(list) != 0 {
			t.Errorf("offline %+v", list)
		}
		eventually(t, "the metrics count both", func() error {
			if text := s.metrics(t); !strings.Contains(text, "\nfescue_cores 2\n") || !strings.Contains(text, "\nfescue_cores_connected 2\n") {
				return fmt.Errorf("%s", text)
			}
			return nil
		})
	})
	t.Run("another version, again, and off the core", func(t *testing.T) {
		h.says(t, 1, []string{"Failure", "FUNCTION_NOT_FOUND_ERROR"}, "deploy", "--group", group, "--version", broken, "--wait")
		h.says(t, 0, []string{"deployment ", "of group " + g.thing, "Next: fescue watch --group " + group}, "deploy", "--group", group, "--version", version)
		h.says(t, 0, []string{"Success\n"}, "watch", "--group", group)
		h.says(t, 0, []string{"Redeployment of group", "Success\n"}, "deploy", "--group", group, "--redeploy", "--wait")
		h.says(t, 0, []string{"ResetDeployment of group", "Success\n"}, "deploy", "--group", group, "--reset", "--wait")
		if list := cores(t); list[0].Runs != nil || list[0].GroupId != "" {
			t.Errorf("after a reset %+v", list[0])
		}
		var made struct{ DeploymentId, DeploymentArn string }
		out, _, _ := h.program(t, "deploy", "--group", group, "--redeploy", "--json")
		if err := json.Unmarshal([]byte(out), &made); err != nil || !strings.HasSuffix(made.DeploymentArn, made.DeploymentId) || made.DeploymentId == "" {
			t.Errorf("%v: %s", err, out)
		}
		h.await(t, group, made.DeploymentId, fescue.Success)
		for _, want := range []string{
			`fescue_deployments_ended_total{code="",end="Success",type="NewDeployment"} 2`,
			`fescue_deployments_ended_total{code="",end="Success",type="ResetDeployment"} 1`,
			`fescue_deployments_ended_total{code="FUNCTION_NOT_FOUND_ERROR",end="Failure",type="NewDeployment"} 2`,
			`fescue_deployments_ended_total{code="DEPLOYMENT_CANCELLED",end="Failure",type="NewDeployment"} 1`,
		} {
			if text := s.metrics(t); !strings.Contains(text, want) {
				t.Errorf("no %s in\n%s", want, text)
			}
		}
	})
	t.Run("a key that is limited to groups sees the core of its own", func(t *testing.T) {
		arn := "arn:aws:greengrass:" + region + ":" + account + ":/greengrass/groups/" + group
		if _, err := h.greengrass.TagResource(t.Context(), &awsgreengrass.TagResourceInput{ResourceArn: &arn, Tags: map[string]string{"site": "north"}}); err != nil {
			t.Fatal(err)
		}
		var key struct{ AccessKeyID, SecretAccessKey string }
		text := runProgram(t, "keys", "create", "--data", s.data, "--name", "north", "--role", "reader", "--groups", "site=north", "--json")
		if err := json.Unmarshal([]byte(text), &key); err != nil {
			t.Fatal(err)
		}
		limited := append(h.environment(), "AWS_ACCESS_KEY_ID="+key.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+key.SecretAccessKey)
		if list := cores(t, "--tag", "site=north"); len(list) != 1 || list[0].ThingName != g.thing {
			t.Errorf("with the tag %+v", list)
		}
		if list := cores(t, "--tag", "site=north", "--offline"); len(list) != 0 {
			t.Errorf("with the tag, offline %+v", list)
		}
		h.says(t, 0, []string{"No such core."}, "cores", "--tag", "site=south")
		h.says(t, 1, []string{"Tag 'site' is not the name and the value of a tag"}, "cores", "--tag", "site")
		h.says(t, 2, []string{"--group", "--tag"}, "cores", "--tag", "site=north", "--group", group)
		if _, errs, code := programIn(t, limited, fescueBin, "cores"); code != 1 || !strings.Contains(errs, "fescue:ListCores") {
			t.Errorf("all cores: exit code %d\n%s", code, errs)
		}
		if out, errs, code := programIn(t, limited, fescueBin, "cores", "--group", group); code != 0 || !strings.Contains(out, g.thing) {
			t.Errorf("its own: exit code %d\n%s%s", code, out, errs)
		}
		if out, errs, code := programIn(t, limited, fescueBin, "status"); code != 0 || !strings.Contains(out, "\ngroups       1, to which this key is limited\ncores        1, of which 1 are connected\n") {
			t.Errorf("how it stands: exit code %d\n%s%s", code, out, errs)
		}
	})
	t.Run("a core that went", func(t *testing.T) {
		second.process.Kill()
		eventually(t, "it is offline", func() error {
			if list := cores(t, "--offline"); len(list) != 1 || list[0].ThingName != second.thing || list[0].OfflineSince == "" {
				return fmt.Errorf("%+v", list)
			}
			return nil
		})
	})
	t.Run("what was known survives the server", func(t *testing.T) {
		before := cores(t, "--group", group)
		s.Kill()
		s.restart(t)
		after := cores(t, "--group", group)
		if len(after) != 1 || after[0].Version != before[0].Version || after[0].Runs == nil || after[0].Runs.DeploymentId != before[0].Runs.DeploymentId || after[0].Address == "" {
			t.Errorf("before %+v, after %+v", before, after)
		}
	})
}

// metrics are those at the address of operators, as text.
func (s *server) metrics(t testing.TB) string {
	t.Helper()
	resp, err := http.Get("http://" + s.ops + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestMemoryLimit: a server's garbage is collected before it has all memory, and not before there
// is some; where GOMEMLIMIT and GOGC are set as they say.
func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	figures := func(environment ...string) (limit, percent float64) {
		s := startServerWith(t, environment, t.TempDir(), "--ops", address(t))
		resp, err := http.Get("http://" + s.ops + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), " ")
			into, wanted := map[string]*float64{"go_gc_gomemlimit_bytes": &limit, "go_gc_gogc_percent": &percent}[name]
			if !wanted {
				continue
			}
			if *into, err = strconv.ParseFloat(value, 64); err != nil {
				t.Fatal(err)
			}
		}
		return limit, percent
	}
	var machine unix.Sysinfo_t
	if err := unix.Sysinfo(&machine); err != nil {
		t.Fatal(err)
	}
	limit, percent := figures()
	if all := float64(machine.Totalram) * float64(machine.Unit); limit <= 0 || limit > 0.81*all {
		t.Errorf("%.0f of %.0f bytes", limit, all)
	}
	if percent <= 100 {
		t.Errorf("garbage is collected when there is %.0f %% of what is in use", percent)
	}
	if limit, percent := figures("GOMEMLIMIT=300MiB", "GOGC=120"); limit != 300<<20 || percent != 120 {
		t.Errorf("%.0f bytes, %.0f %%", limit, percent)
	}
}
