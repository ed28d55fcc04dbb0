package greengrass_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/testkit"
)

// input is the object store of all partitions: keys have contents, whatever the
// bucket.
type input struct{ sync.Map }

func (i *input) Open(_ context.Context, _ fescue.Partition, _, key string) (io.ReadCloser, int64, error) {
	content, ok := i.Load(key)
	if !ok {
		return nil, 0, fescue.ErrNotFound
	}
	return io.NopCloser(strings.NewReader(content.(string))), int64(len(content.(string))), nil
}

const (
	bulkPath = "/greengrass/bulk/deployments"
	bulkARN  = arnPrefix + bulkPath + "/"
	bulkMade = `{"BulkDeploymentArn":"` + bulkARN + `<id>","BulkDeploymentId":"<id>"}`
)

func bulkRequest(key, more string) string {
	return `{"ExecutionRoleArn":"arn:aws:iam::123456789012:role/bulk","InputFileUri":"https://input.s3-us-east-1.amazonaws.com/` + key + `"` + more + `}`
}

func TestBulkDeployments(t *testing.T) {
	t.Parallel()
	a := open(t)
	status := func(metrics, status, more, tags string) string {
		return `{"BulkDeploymentMetrics":` + metrics + `,"BulkDeploymentStatus":"` + status + `","CreatedAt":"` + stamp + `"` + more + `,"tags":` + tags + `}`
	}
	const none = `{"InvalidInputRecords":0,"RecordsProcessed":0,"RetryAttempts":0}`
	a.do("GET", bulkPath, "").is(200, `{"BulkDeployments":[]}`)
	// Nothing runs yet.
	first := a.call(here, "POST", bulkPath, "X-Amzn-Client-Token: t", bulkRequest("none", `,"tags":{"a":"b"}`)).is(200, bulkMade)["id"]
	if again := a.call(here, "POST", bulkPath, "X-Amzn-Client-Token: t", bulkRequest("none", `,"tags":{"a":"b"}`)).is(200, bulkMade)["id"]; again != first {
		t.Errorf("a repeated call made %s, the first %s", again, first)
	}
	a.call(here, "POST", bulkPath, "X-Amzn-Client-Token: t", bulkRequest("other", "")).mentions(400, "InvalidInputException", "client token")
	a.do("POST", bulkPath, bulkRequest("none", "")).mentions(400, "ConcurrentDeployment", "Concurrent Deployment Error")
	a.do("GET", bulkPath+"/"+first+"/status", "").is(200, status(none, "Initializing", "", `{"a":"b"}`))
	a.do("GET", bulkPath+"/"+first+"/detailed-reports", "").is(200, `{"Deployments":[]}`)

	t.Run("tags", func(t *testing.T) {
		a := a.with(t)
		path := tagsPath(bulkARN + first)
		a.do("GET", path, "").is(200, `{"tags":{"a":"b"}}`)
		a.nothing("POST", path, `{"tags":{"c":"d"}}`)
		a.nothing("DELETE", path+"?tagKeys=a", "")
		a.do("GET", bulkPath+"/"+first+"/status", "").is(200, status(none, "Initializing", "", `{"c":"d"}`))
		a.do("GET", tagsPath(bulkARN+fescue.NewID()), "").refused(404, "IdNotFoundException", "That bulk deployment does not exist.")
		a.call(there, "GET", path, "", "").refused(404, "IdNotFoundException", "That bulk deployment does not exist.")
	})
	t.Run("stopped", func(t *testing.T) {
		a := a.with(t)
		for range 2 {
			a.do("PUT", bulkPath+"/"+first+"/$stop", "").is(200, `{}`)
		}
		a.do("GET", bulkPath+"/"+first+"/status", "").is(200, status(none, "Stopping", "", `{"c":"d"}`))
		a.do("POST", bulkPath, bulkRequest("none", "")).mentions(400, "ConcurrentDeployment", "Concurrent Deployment Error")
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); a.bulk.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	ended := func(id string) (text string) {
		t.Helper()
		testkit.Eventually(t, "the end", func() error {
			text = a.do("GET", bulkPath+"/"+id+"/status", "").text
			if s := decoded(t, text)["BulkDeploymentStatus"]; s != "Completed" && s != "Failed" && s != "Stopped" {
				return errors.New(text)
			}
			return nil
		})
		return text
	}
	if got := ended(first); got != status(none, "Stopped", "", `{"c":"d"}`) {
		t.Errorf("%s", got)
	}
	a.do("PUT", bulkPath+"/"+first+"/$stop", "").refused(400, "InvalidInputException", "Cannot change state of finished execution.")

	group, version := a.deployable(here)
	a.input.Store("bad", `{"GroupId":"g","GroupVersionId":"v","DeploymentType":"ResetDeployment"}`)
	failed := a.do("POST", bulkPath, bulkRequest("bad", "")).is(200, bulkMade)["id"]
	const text = "InvalidInputFile: Invalid deployment type at line number : 1. Only valid type is 'NewDeployment'."
	if got := ended(failed); got != status(none, "Failed", `,"ErrorDetails":[{"DetailedErrorCode":"400","DetailedErrorMessage":"`+text+`"}],"ErrorMessage":"`+text+`"`, `{}`) {
		t.Errorf("%s", got)
	}
	unknown := fescue.NewID()
	a.input.Store("good", fmt.Sprintf(`{"GroupId":%q,"GroupVersionId":%q,"DeploymentType":"NewDeployment"}`+"\n"+
		`{"GroupId":%q,"GroupVersionId":%q,"DeploymentType":"NewDeployment"}`, group, version, group, unknown))
	good := a.do("POST", bulkPath, bulkRequest("good", "")).is(200, bulkMade)["id"]
	if got := ended(good); got != status(`{"InvalidInputRecords":1,"RecordsProcessed":2,"RetryAttempts":0}`, "Completed", "", `{}`) {
		t.Errorf("%s", got)
	}

	deployments := decoded(t, a.do("GET", "/greengrass/groups/"+group+"/deployments", "").text)["Deployments"].([]any)
	deployment := deployments[0].(map[string]any)["DeploymentId"].(string)
	problem := "Line 2: Version " + unknown + " of Group Definition " + group + " does not exist."
	bad := `{"CreatedAt":"` + stamp + `","DeploymentStatus":"Failure","DeploymentType":"NewDeployment","ErrorDetails":[{"DetailedErrorCode":"404","DetailedErrorMessage":"` +
		problem + `"}],"ErrorMessage":"` + problem + `","GroupArn":"` + arnPrefix + "/greengrass/groups/" + group + "/versions/" + unknown + `"}`
	entry := func(status string) string {
		return `{"CreatedAt":"` + stamp + `","DeploymentArn":"` + arnPrefix + "/greengrass/groups/" + group + "/deployments/" + deployment +
			`","DeploymentId":"123456789012:` + deployment + `","DeploymentStatus":` + status + `,"GroupArn":"` +
			arnPrefix + "/greengrass/groups/" + group + "/versions/" + version + `"}`
	}
	reports := bulkPath + "/" + good + "/detailed-reports"
	a.do("GET", reports, "").is(200, `{"Deployments":[`+bad+`,`+entry(`"Building","DeploymentType":"NewDeployment"`)+`]}`)
	a.do("GET", "/greengrass/groups/"+group+"/deployments/123456789012:"+deployment+"/status", "").is(200,
		`{"DeploymentStatus":"Building","DeploymentType":"NewDeployment","UpdatedAt":"`+stamp+`"}`)
	a.ends(here, group, deployment)
	last := `{"Deployments":[` + entry(`"Failure","DeploymentType":"NewDeployment","ErrorDetails":[{"DetailedErrorCode":"A","DetailedErrorMessage":"b"}],"ErrorMessage":"no core"`) + `]}`
	next, _ := decoded(t, a.do("GET", reports+"?MaxResults=1", "").text)["NextToken"].(string)
	a.do("GET", reports+"?MaxResults=1&NextToken="+next, "").is(200, last)

	t.Run("listed newest first, by page", func(t *testing.T) {
		a := a.with(t)
		item := func(id string) string {
			return `{"BulkDeploymentArn":"` + bulkARN + id + `","BulkDeploymentId":"` + id + `","CreatedAt":"` + stamp + `"}`
		}
		a.do("GET", bulkPath, "").is(200, `{"BulkDeployments":[`+item(good)+`,`+item(failed)+`,`+item(first)+`]}`)
		next, _ := decoded(t, a.do("GET", bulkPath+"?MaxResults=2", "").text)["NextToken"].(string)
		a.do("GET", bulkPath+"?MaxResults=2&NextToken="+next, "").is(200, `{"BulkDeployments":[`+item(first)+`]}`)
		a.call(there, "GET", bulkPath, "", "").is(200, `{"BulkDeployments":[]}`)
	})
	t.Run("what is refused", func(t *testing.T) {
		a := a.with(t)
		for _, body := range []struct{ body, text string }{
			{`{`, "malformed"},
			{`{"ExecutionRoleArn":"arn:aws:iam::123456789012:role/r"}`, "InputFileUri is required"},
			{`{"InputFileUri":"s3://bucket/key"}`, "ExecutionRoleArn is required"},
			{`{"ExecutionRoleArn":"me","InputFileUri":"s3://bucket/key"}`, "That role ARN is invalid."},
			{strings.Replace(bulkRequest("k", ""), "us-east-1", "eu-west-1", 1), "Region eu-west-1"},
			{bulkRequest("k", `,"tags":{"aws:a":"b"}`), "reserved"},
			{bulkRequest("k", `,"tags":{"a":null}`), "malformed"},
		} {
			a.do("POST", bulkPath, body.body).mentions(400, "BadRequestException", body.text)
		}
		a.do("GET", reports+"?NextToken=!", "").mentions(400, "BadRequestException", "NextToken")
		a.do("GET", reports+"?NextToken=eA", "").mentions(400, "BadRequestException", "NextToken")
		a.do("GET", bulkPath+"?MaxResults=0", "").mentions(400, "BadRequestException", "MaxResults")
		for _, call := range []struct{ method, path string }{{"GET", "/status"}, {"GET", "/detailed-reports"}, {"PUT", "/$stop"}} {
			for _, id := range []string{"x", fescue.NewID()} {
				a.do(call.method, bulkPath+"/"+id+call.path, "").refused(404, "IdNotFoundException", "That bulk deployment does not exist.")
			}
			a.call(there, call.method, bulkPath+"/"+good+call.path, "", "").refused(404, "IdNotFoundException", "That bulk deployment does not exist.")
		}
	})
	t.Run("with the SDK", func(t *testing.T) {
		c, ctx := a.sdk(), t.Context()
		made, err := c.StartBulkDeployment(ctx, &sdk.StartBulkDeploymentInput{
			ExecutionRoleArn: aws.String("arn:aws:iam::123456789012:role/bulk"), InputFileUri: aws.String("s3://input/good"),
			Tags: map[string]string{"x": "y"}, AmznClientToken: aws.String("sdk"),
		})
		if err != nil {
			t.Fatal(err)
		}
		ended(*made.BulkDeploymentId)
		got, err := c.GetBulkDeploymentStatus(ctx, &sdk.GetBulkDeploymentStatusInput{BulkDeploymentId: made.BulkDeploymentId})
		if err != nil || got.BulkDeploymentStatus != types.BulkDeploymentStatusCompleted || *got.BulkDeploymentMetrics.RecordsProcessed != 2 || got.Tags["x"] != "y" {
			t.Errorf("%+v, %v", got, err)
		}
		var seen int
		for in := (&sdk.ListBulkDeploymentDetailedReportsInput{BulkDeploymentId: made.BulkDeploymentId, MaxResults: aws.String("1")}); ; {
			page, err := c.ListBulkDeploymentDetailedReports(ctx, in)
			if err != nil {
				t.Fatal(err)
			}
			seen += len(page.Deployments)
			if in.NextToken = page.NextToken; in.NextToken == nil {
				break
			}
		}
		if seen != 2 {
			t.Errorf("%d reports", seen)
		}
		if _, err := c.StopBulkDeployment(ctx, &sdk.StopBulkDeploymentInput{BulkDeploymentId: made.BulkDeploymentId}); err == nil {
			t.Error("a finished one was stopped")
		}
	})
}
