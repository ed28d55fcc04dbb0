//go:build linux

package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/fescue-edge/fescue"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/cloud/bulk"
)

// bulkRole is an execution role; nobody looks behind its form.
const bulkRole = "arn:aws:iam::" + account + ":role/bulk"

// put writes an object, in a bucket that is made when it is missing.
func (h *site) put(t testing.TB, bucket, key, content string) {
	t.Helper()
	client := s3.New(s3.Options{
		Region: h.region, BaseEndpoint: aws.String("http://" + h.api), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(keyID, secret, ""),
	})
	ctx := t.Context()
	if _, err := client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &bucket}); err != nil {
		if _, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(content)}); err != nil {
		t.Fatal(err)
	}
}

// bulkLine is a record of a bulk deployment's input.
func bulkLine(group, version string) string {
	return fmt.Sprintf(`{"GroupId":%q,"GroupVersionId":%q,"DeploymentType":"NewDeployment"}`+"\n", group, version)
}

// startBulk starts a bulk deployment of an input.
func (h *site) startBulk(t testing.TB, content string) string {
	t.Helper()
	h.put(t, "bulk-input", "records.json", content)
	out, err := h.greengrass.StartBulkDeployment(t.Context(), &greengrass.StartBulkDeploymentInput{
		ExecutionRoleArn: aws.String(bulkRole), InputFileUri: aws.String("s3://bulk-input/records.json"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return *out.BulkDeploymentId
}

func (h *site) bulkStatus(ctx context.Context, id string) (*greengrass.GetBulkDeploymentStatusOutput, error) {
	return h.greengrass.GetBulkDeploymentStatus(ctx, &greengrass.GetBulkDeploymentStatusInput{BulkDeploymentId: &id})
}

// bulkEnds waits for the end of a bulk deployment.
func (h *site) bulkEnds(t testing.TB, id string, want types.BulkDeploymentStatus) *greengrass.GetBulkDeploymentStatusOutput {
	t.Helper()
	var out *greengrass.GetBulkDeploymentStatusOutput
	eventually(t, "bulk deployment "+string(want), func() (err error) {
		if out, err = h.bulkStatus(t.Context(), id); err != nil {
			return err
		}
		if out.BulkDeploymentStatus != want {
			return fmt.Errorf("status %s, %+v, %s", out.BulkDeploymentStatus, out.BulkDeploymentMetrics, aws.ToString(out.ErrorMessage))
		}
		return nil
	})
	return out
}

// deployedOnce checks that each group has one deployment, and is reported once.
func (h *site) deployedOnce(t *testing.T, id string, groups []string) {
	t.Helper()
	reported := make(map[string]int)
	for in := (&greengrass.ListBulkDeploymentDetailedReportsInput{BulkDeploymentId: &id, MaxResults: aws.String("50")}); ; {
		page, err := h.greengrass.ListBulkDeploymentDetailedReports(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range page.Deployments {
			reported[strings.TrimPrefix(aws.ToString(d.DeploymentId), account+":")]++
		}
		if in.NextToken = page.NextToken; in.NextToken == nil {
			break
		}
	}
	if len(reported) != len(groups) {
		t.Errorf("%d deployments reported, %d groups", len(reported), len(groups))
	}
	for _, group := range groups {
		list, err := h.greengrass.ListDeployments(t.Context(), &greengrass.ListDeploymentsInput{GroupId: &group})
		if err != nil {
			t.Fatal(err)
		}
		if len(list.Deployments) != 1 || reported[*list.Deployments[0].DeploymentId] != 1 {
			t.Errorf("group %s: %d deployments", group, len(list.Deployments))
		}
	}
}

// TestBulkSurvivesKills: a server that is killed again and again in a bulk
// deployment deploys every group once.
func TestBulkSurvivesKills(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--bulk-rate", "40")
	h := s.site(region)
	var groups []string
	var content strings.Builder
	for range 120 {
		group, version := h.unbuildable(t)
		groups = append(groups, group)
		content.WriteString(bulkLine(group, version))
	}
	id := h.startBulk(t, content.String())
	for kills := 1; kills <= 3; kills++ {
		// Another server's lease is waited for, so that each kill finds work done.
		before := int32(0)
		eventually(t, "progress", func() error {
			out, err := h.bulkStatus(t.Context(), id)
			if err != nil {
				return err
			}
			processed := aws.ToInt32(out.BulkDeploymentMetrics.RecordsProcessed)
			if before == 0 {
				before = processed + 1
			}
			if processed < before+int32(rand.IntN(10)) && out.BulkDeploymentStatus == types.BulkDeploymentStatusRunning || processed == 0 {
				return fmt.Errorf("%d processed", processed)
			}
			return nil
		})
		time.Sleep(rand.N(20 * time.Millisecond)) // anywhere in its work
		s.restart(t)
	}
	out := h.bulkEnds(t, id, types.BulkDeploymentStatusCompleted)
	if m := out.BulkDeploymentMetrics; *m.RecordsProcessed != 120 || *m.InvalidInputRecords != 0 {
		t.Errorf("processed %d, invalid %d", *m.RecordsProcessed, *m.InvalidInputRecords)
	}
	h.deployedOnce(t, id, groups)
}

// TestBulkDeployment deploys to a running core beside records that cannot be
// deployed, and stops a run.
func TestBulkDeployment(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--bulk-rate", "20")
	h := s.site(region)
	for _, args := range [][]string{{"bulk"}, {"bulk", "--follow"}, {"bulk", "--json"}} {
		want := ""
		if args[len(args)-1] == "--json" {
			want = "null\n"
		}
		if out, errs, code := h.program(t, args...); code != 0 || out != want || want == "" && !strings.HasPrefix(errs, "There is no bulk deployment yet;") {
			t.Errorf("%s without any: exit code %d\n%s%s", args, code, out, errs)
		}
	}
	g := h.provision(t, "Bulk_Core")
	g.run(t)
	group, version := g.groupVersion(t, "", nil, nil)
	id := h.startBulk(t, bulkLine(fescue.NewID(), version)+bulkLine(group, version))
	out := h.bulkEnds(t, id, types.BulkDeploymentStatusCompleted)
	if m := out.BulkDeploymentMetrics; *m.RecordsProcessed != 2 || *m.InvalidInputRecords != 1 {
		t.Errorf("processed %d, invalid %d", *m.RecordsProcessed, *m.InvalidInputRecords)
	}
	eventually(t, "Success in the report", func() error {
		page, err := h.greengrass.ListBulkDeploymentDetailedReports(t.Context(), &greengrass.ListBulkDeploymentDetailedReportsInput{BulkDeploymentId: &id})
		if err != nil {
			return err
		}
		if len(page.Deployments) != 2 || aws.ToString(page.Deployments[0].DeploymentStatus) != string(fescue.Success) {
			return fmt.Errorf("%+v", page.Deployments)
		}
		return nil
	})
	stdout, stderr, code := h.program(t, "bulk", id)
	for _, want := range []string{id + "  Completed", "2 of 2 done, 1 not valid", "1 Success, 1 Failure", "does not exist"} {
		if !strings.Contains(stdout, want) || code != 1 {
			t.Errorf("fescue bulk, exit code %d, lacks %q:\n%s%s", code, want, stdout, stderr)
		}
	}

	var content strings.Builder
	for range 100 {
		content.WriteString(bulkLine(h.unbuildable(t)))
	}
	id = h.startBulk(t, content.String())
	eventually(t, "running", func() error {
		out, err := h.bulkStatus(t.Context(), id)
		if err == nil && aws.ToInt32(out.BulkDeploymentMetrics.RecordsProcessed) < 3 {
			err = errors.New("not running")
		}
		return err
	})
	if _, err := h.greengrass.StopBulkDeployment(t.Context(), &greengrass.StopBulkDeploymentInput{BulkDeploymentId: &id}); err != nil {
		t.Fatal(err)
	}
	stopped := h.bulkEnds(t, id, types.BulkDeploymentStatusStopped)
	if n := *stopped.BulkDeploymentMetrics.RecordsProcessed; n >= 100 {
		t.Errorf("%d processed: nothing was stopped", n)
	}
	_, err := h.greengrass.StopBulkDeployment(t.Context(), &greengrass.StopBulkDeploymentInput{BulkDeploymentId: &id})
	wantCode(t, err, "InvalidInputException")

	stdout, stderr, code = h.program(t, "bulk", "--follow", "--timeout", "1m", "--json")
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	var last ownapi.BulkProgress
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || code != 1 {
		t.Fatalf("fescue bulk --follow --json, exit code %d: %v\n%s%s", code, err, stdout, stderr)
	}
	if last.BulkDeploymentId != id || last.BulkDeploymentStatus != bulk.BulkStopped || last.Live || last.Records >= 100 || last.Records != last.Reported || last.Reported != last.Failures[0].Count || last.Failed[0].DeploymentId == "" {
		t.Errorf("%+v", last)
	}
	if _, stderr, code := h.program(t, "bulk", fescue.NewID()); code != 1 || !strings.Contains(stderr, "does not exist") {
		t.Errorf("of one that is not there: %d, %s", code, stderr)
	}
}
