package cloud_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	ggtypes "github.com/aws/aws-sdk-go-v2/service/greengrass/types"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/aws-sdk-go-v2/service/iot/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/cloud"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/testkit"
)

func thingARN(region, name string) string {
	return "arn:aws:iot:" + region + ":" + account + ":thing/" + name
}

// codeOf is the exception of an API error, empty for none.
func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return fmt.Sprint(err)
}

// worker is a thing that is connected and subscribed to its jobs.
type worker struct {
	*mqttClient
	jobs *iot.Client
	thing,
	topics string // what the topics of its jobs begin with
}

func (s *server) worker(region, thing string) *worker {
	s.t.Helper()
	p := "$aws/things/" + thing + "/jobs/"
	w := &worker{s.mqttClient(s.provision(region, thing)), s.iot(region), thing, p}
	w.wait("SUBSCRIBE", w.SubscribeMultiple(map[string]byte{
		p + "notify": 1, p + "notify-next": 1, p + "get/+": 1, p + "start-next/+": 1, p + "+/get/+": 1, p + "+/update/+": 1,
	}, nil))
	return w
}

// create makes a job for the worker, and returns what the worker receives of it.
func (w *worker) create(t *testing.T, id string, timeout *types.TimeoutConfig) map[string]map[string]any {
	t.Helper()
	_, err := w.jobs.CreateJob(t.Context(), &iot.CreateJobInput{
		JobId: &id, Targets: []string{thingARN("us-east-1", w.thing)}, Document: aws.String(`{"do":"` + id + `"}`), TimeoutConfig: timeout,
	})
	if err != nil {
		t.Fatal(err)
	}
	return w.expect(w.topics, "notify", "notify-next")
}

// TestJobs: each part has a thing and jobs of its own on one server.
func TestJobs(t *testing.T) {
	t.Parallel()
	s := start(t, options(t.TempDir()))
	ctx, c := t.Context(), s.iot("us-east-1")
	text := func(v any, path ...string) string {
		for _, member := range path {
			m, _ := v.(map[string]any)
			v = m[member]
		}
		return fmt.Sprint(v)
	}
	job := func(t *testing.T, id string) *types.Job {
		t.Helper()
		out, err := c.DescribeJob(ctx, &iot.DescribeJobInput{JobId: &id})
		if err != nil {
			t.Fatal(err)
		}
		return out.Job
	}

	t.Run("a thing without jobs", func(t *testing.T) {
		device := s.worker("us-east-1", "idle")
		p := device.topics
		device.publish(p+"get", `{"clientToken":"t"}`)
		got := device.expect(p, "get/accepted")["get/accepted"]
		if diff := cmp.Diff(map[string]any{"clientToken": "t", "inProgressJobs": []any{}, "queuedJobs": []any{}, "timestamp": got["timestamp"]}, got); diff != "" {
			t.Error(diff)
		}
		for _, rest := range []string{"start-next", "$next/get"} {
			device.publish(p+rest, "")
			if got := device.expect(p, rest+"/accepted")[rest+"/accepted"]; got["execution"] != nil {
				t.Errorf("%s: %v", rest, got)
			}
		}
	})
	t.Run("receives a job, and does it", func(t *testing.T) {
		device := s.worker("us-east-1", "busy")
		p := device.topics
		got := device.create(t, "first", nil)
		if text(got["notify-next"], "execution", "jobDocument", "do") != "first" || !strings.Contains(text(got["notify"], "jobs", "QUEUED"), "first") {
			t.Errorf("%v", got)
		}
		device.publish(p+"start-next", `{"statusDetails":{"step":"1"}}`)
		started := device.expect(p, "start-next/accepted")["start-next/accepted"]
		if text(started, "execution", "status") != "IN_PROGRESS" || text(started, "execution", "versionNumber") != "2" || text(started, "execution", "statusDetails", "step") != "1" {
			t.Errorf("%v", started)
		}
		device.publish(p+"first/update", `{"status":"SUCCEEDED","expectedVersion":"7"}`)
		if got := device.expect(p, "first/update/rejected")["first/update/rejected"]; got["code"] != "VersionMismatch" || text(got, "executionState", "status") != "IN_PROGRESS" {
			t.Errorf("%v", got)
		}
		device.publish(p+"first/update", `{"status":"SUCCEEDED","expectedVersion":"2","includeJobExecutionState":true,"includeJobDocument":true,"clientToken":"u"}`)
		done := device.expect(p, "first/update/accepted", "notify", "notify-next")
		if text(done["first/update/accepted"], "executionState", "status") != "SUCCEEDED" || text(done["first/update/accepted"], "jobDocument", "do") != "first" ||
			done["notify-next"]["execution"] != nil {
			t.Errorf("%v", done)
		}
		if j := job(t, "first"); j.Status != types.JobStatusCompleted || *j.JobProcessDetails.NumberOfSucceededThings != 1 || j.CompletedAt == nil {
			t.Errorf("%+v", j)
		}
		device.publish(p+"first/update", `{"status":"FAILED"}`)
		if got := device.expect(p, "first/update/rejected")["first/update/rejected"]; got["code"] != "InvalidStateTransition" {
			t.Errorf("%v", got)
		}
	})
	t.Run("what is wrong over MQTT", func(t *testing.T) {
		device := s.worker("us-east-1", "wrong")
		p := device.topics
		device.create(t, "wrong", nil)
		for _, tc := range []struct{ rest, payload, code string }{
			{"none/get", ``, "ResourceNotFound"},
			{"a b/get", ``, "ResourceNotFound"},
			{"none/update", `{"status":"FAILED"}`, "ResourceNotFound"},
			{"wrong/update", `{"status":"QUEUED"}`, "InvalidRequest"},
			{"wrong/update", `{}`, "InvalidRequest"},
			{"wrong/update", `{"status":"FAILED","statusDetails":{"":"x"}}`, "InvalidRequest"},
			{"wrong/update", `{"status":"FAILED","stepTimeoutInMinutes":99999999999}`, "InvalidRequest"},
			{"wrong/get", `{"executionNumber":2}`, "InvalidRequest"},
			{"get", `{`, "InvalidJson"},
			{"get", `[]`, "InvalidJson"},
			{"start-next", `{"statusDetails":1}`, "InvalidJson"},
		} {
			device.publish(p+tc.rest, tc.payload)
			if got := device.expect(p, tc.rest+"/rejected")[tc.rest+"/rejected"]; got["code"] != tc.code || got["message"] == "" {
				t.Errorf("%s %s: %v, want %s", tc.rest, tc.payload, got, tc.code)
			}
		}
	})
	t.Run("what is wrong over the API", func(t *testing.T) {
		s.provision("us-east-1", "target")
		target := []string{thingARN("us-east-1", "target")}
		if _, err := c.CreateJob(ctx, &iot.CreateJobInput{JobId: aws.String("taken"), Targets: target, Document: aws.String("{}")}); err != nil {
			t.Fatal(err)
		}
		for title, tc := range map[string]struct {
			in   iot.CreateJobInput
			code string
		}{
			"the id is taken":         {iot.CreateJobInput{JobId: aws.String("taken"), Targets: target, Document: aws.String("{}")}, "ResourceAlreadyExistsException"},
			"no document":             {iot.CreateJobInput{JobId: aws.String("x"), Targets: target}, "InvalidRequestException"},
			"a document of another's": {iot.CreateJobInput{JobId: aws.String("x"), Targets: target, DocumentSource: aws.String("https://s3")}, "InvalidRequestException"},
			"no JSON":                 {iot.CreateJobInput{JobId: aws.String("x"), Targets: target, Document: aws.String("{")}, "InvalidRequestException"},
			"an id":                   {iot.CreateJobInput{JobId: aws.String("x y"), Targets: target, Document: aws.String("{}")}, "InvalidRequestException"},
			"no target":               {iot.CreateJobInput{JobId: aws.String("x"), Targets: []string{}, Document: aws.String("{}")}, "InvalidRequestException"},
			"an unknown thing":        {iot.CreateJobInput{JobId: aws.String("x"), Targets: []string{thingARN("us-east-1", "none")}, Document: aws.String("{}")}, "InvalidRequestException"},
			"a thing elsewhere":       {iot.CreateJobInput{JobId: aws.String("x"), Targets: []string{thingARN("eu-west-1", "target")}, Document: aws.String("{}")}, "InvalidRequestException"},
			"a thing group":           {iot.CreateJobInput{JobId: aws.String("x"), Targets: []string{"arn:aws:iot:us-east-1:" + account + ":thinggroup/g"}, Document: aws.String("{}")}, "InvalidRequestException"},
			"continuous":              {iot.CreateJobInput{JobId: aws.String("x"), Targets: target, Document: aws.String("{}"), TargetSelection: types.TargetSelectionContinuous}, "InvalidRequestException"},
		} {
			if _, err := c.CreateJob(ctx, &tc.in); codeOf(err) != tc.code {
				t.Errorf("%s: %v", title, err)
			}
		}
		none := aws.String("none")
		for title, call := range map[string]func() error{
			"describe": func() error { _, err := c.DescribeJob(ctx, &iot.DescribeJobInput{JobId: none}); return err },
			"cancel":   func() error { _, err := c.CancelJob(ctx, &iot.CancelJobInput{JobId: none}); return err },
			"delete":   func() error { _, err := c.DeleteJob(ctx, &iot.DeleteJobInput{JobId: none}); return err },
			"document": func() error { _, err := c.GetJobDocument(ctx, &iot.GetJobDocumentInput{JobId: none}); return err },
			"execution": func() error {
				_, err := c.DescribeJobExecution(ctx, &iot.DescribeJobExecutionInput{JobId: none, ThingName: aws.String("target")})
				return err
			},
			"executions of a thing": func() error {
				_, err := c.ListJobExecutionsForThing(ctx, &iot.ListJobExecutionsForThingInput{ThingName: none})
				return err
			},
			"executions of a job": func() error {
				_, err := c.ListJobExecutionsForJob(ctx, &iot.ListJobExecutionsForJobInput{JobId: none})
				return err
			},
		} {
			if err := call(); codeOf(err) != "ResourceNotFoundException" {
				t.Errorf("%s: %v", title, err)
			}
		}
		for n, want := range []string{codeOf(nil), "InvalidRequestException"} {
			if _, err := c.CancelJob(ctx, &iot.CancelJobInput{JobId: aws.String("taken")}); codeOf(err) != want {
				t.Errorf("cancel %d, which has ended after the first: %v", n+1, err)
			}
		}
	})
	t.Run("cancel, delete and lists", func(t *testing.T) {
		device := s.worker("us-east-1", "listed")
		p := device.topics
		device.create(t, "listed-first", nil)
		device.publish(p+"listed-first/update", `{"status":"SUCCEEDED"}`)
		device.expect(p, "listed-first/update/accepted", "notify", "notify-next")
		for _, id := range []string{"listed-second", "listed-third"} {
			device.create(t, id, &types.TimeoutConfig{InProgressTimeoutInMinutes: aws.Int64(5)})
		}
		device.publish(p+"start-next", "")
		if got := device.expect(p, "start-next/accepted"); text(got["start-next/accepted"], "execution", "jobId") != "listed-second" {
			t.Errorf("%v", got)
		}
		e, err := c.DescribeJobExecution(ctx, &iot.DescribeJobExecutionInput{JobId: aws.String("listed-second"), ThingName: &device.thing})
		if err != nil || e.Execution.Status != types.JobExecutionStatusInProgress || *e.Execution.ApproximateSecondsBeforeTimedOut < 200 || *e.Execution.ThingArn != thingARN("us-east-1", device.thing) {
			t.Errorf("%+v, %v", e, err)
		}
		if _, err := c.DeleteJob(ctx, &iot.DeleteJobInput{JobId: aws.String("listed-second")}); codeOf(err) != "InvalidStateTransitionException" {
			t.Errorf("delete what is under way: %v", err)
		}
		if _, err := c.CancelJob(ctx, &iot.CancelJobInput{JobId: aws.String("listed-second"), Force: true, ReasonCode: aws.String("R"), Comment: aws.String("c")}); err != nil {
			t.Error(err)
		}
		device.expect(p, "notify", "notify-next")
		if j := job(t, "listed-second"); j.Status != types.JobStatusCanceled || !*j.ForceCanceled || *j.ReasonCode != "R" || *j.TimeoutConfig.InProgressTimeoutInMinutes != 5 {
			t.Errorf("%+v", j)
		}
		if _, err := c.CancelJobExecution(ctx, &iot.CancelJobExecutionInput{JobId: aws.String("listed-third"), ThingName: &device.thing}); err != nil {
			t.Error(err)
		}
		device.expect(p, "notify", "notify-next")
		for _, tc := range []struct {
			in   iot.ListJobsInput
			want []string
		}{
			{iot.ListJobsInput{MaxResults: aws.Int32(2)}, []string{"listed-third COMPLETED", "listed-second CANCELED", "listed-first COMPLETED"}},
			{iot.ListJobsInput{Status: types.JobStatusCanceled, MaxResults: aws.Int32(1)}, []string{"listed-second CANCELED"}},
		} {
			var ids []string
			pages := iot.NewListJobsPaginator(c, &tc.in)
			for pages.HasMorePages() {
				page, err := pages.NextPage(ctx)
				if err != nil {
					t.Fatal(err)
				}
				for _, j := range page.Jobs {
					if strings.HasPrefix(*j.JobId, "listed-") { // others' lie beside them
						ids = append(ids, *j.JobId+" "+string(j.Status))
					}
				}
			}
			if diff := cmp.Diff(tc.want, ids); diff != "" {
				t.Error(diff)
			}
		}
		ofThing, err := c.ListJobExecutionsForThing(ctx, &iot.ListJobExecutionsForThingInput{ThingName: &device.thing, Status: types.JobExecutionStatusCanceled})
		if err != nil || len(ofThing.ExecutionSummaries) != 2 {
			t.Errorf("%+v, %v", ofThing, err)
		}
		ofJob, err := c.ListJobExecutionsForJob(ctx, &iot.ListJobExecutionsForJobInput{JobId: aws.String("listed-first")})
		if err != nil || len(ofJob.ExecutionSummaries) != 1 || ofJob.ExecutionSummaries[0].JobExecutionSummary.Status != types.JobExecutionStatusSucceeded {
			t.Errorf("%+v, %v", ofJob, err)
		}
		document, err := c.GetJobDocument(ctx, &iot.GetJobDocumentInput{JobId: aws.String("listed-first")})
		if err != nil || *document.Document != `{"do":"listed-first"}` {
			t.Errorf("%+v, %v", document, err)
		}
		if _, err := c.DeleteJob(ctx, &iot.DeleteJobInput{JobId: aws.String("listed-first")}); err != nil {
			t.Error(err)
		}
	})
	t.Run("the same by iot-jobs-data", func(t *testing.T) {
		device := s.worker("us-east-1", "lamp")
		p := device.topics
		device.create(t, "data", nil)
		for _, tc := range []struct {
			method, path, body string
			status             int
			exception, want    string
		}{
			{"GET", "/things/lamp/jobs", "", 200, "", `"queuedJobs":[{"jobId":"data"`},
			{"GET", "/things/none/jobs", "", 200, "", `"queuedJobs":[]`},
			{"PUT", "/things/none/jobs/$next", "{}", 200, "", `{}`},
			{"PUT", "/things/lamp/jobs/%24next", `{"stepTimeoutInMinutes":3}`, 200, "", `"jobDocument":"{\"do\":\"data\"}"`},
			{"GET", "/things/lamp/jobs/$next?includeJobDocument=false", "", 200, "", `"status":"IN_PROGRESS"`},
			{"GET", "/things/lamp/jobs/none", "", 404, "ResourceNotFoundException", "none"},
			{"POST", "/things/lamp/jobs/data", `{"status":"DONE"}`, 400, "InvalidRequestException", "status"},
			{"POST", "/things/lamp/jobs/data", `{"status":"FAILED","expectedVersion":9}`, 409, "InvalidStateTransitionException", "version 2"},
			{"POST", "/things/lamp/jobs/data", `{"status":"FAILED","statusDetails":{"why":"x"},"includeJobExecutionState":true}`, 200, "", `"executionState":{"status":"FAILED","statusDetails":{"why":"x"},"versionNumber":3}`},
			{"POST", "/things/lamp/jobs/data", `{"status":"FAILED"}`, 409, "InvalidStateTransitionException", "FAILED"},
			{"DELETE", "/things/lamp/jobs/data", "", 404, "UnknownOperationException", "DELETE"},
		} {
			status, exception, body := s.signed("us-east-1", "iot-jobs-data", tc.method, tc.path, tc.body)
			if status != tc.status || exception != tc.exception || !strings.Contains(body, tc.want) {
				t.Errorf("%s %s: %d %s %s; want %d %s with %s", tc.method, tc.path, status, exception, body, tc.status, tc.exception, tc.want)
			}
		}
		device.expect(p, "notify", "notify-next")
	})
	t.Run("in another Region", func(t *testing.T) {
		device := s.worker("us-east-1", "twin")
		p := device.topics
		west := s.iot("eu-west-1")
		if list, err := west.ListJobs(ctx, &iot.ListJobsInput{}); err != nil || len(list.Jobs) != 0 {
			t.Errorf("%+v, %v", list, err)
		}
		twin := s.mqttClient(s.provision("eu-west-1", "twin"))
		twin.wait("SUBSCRIBE", twin.Subscribe(p+"#", 1, nil))
		device.create(t, "here", nil)
		if _, err := west.DescribeJob(ctx, &iot.DescribeJobInput{JobId: aws.String("here")}); codeOf(err) != "ResourceNotFoundException" {
			t.Error(err)
		}
		twin.publish(p+"get", "")
		if topic, body := twin.next(); topic != p+"get/accepted" || len(body["queuedJobs"].([]any)) != 0 {
			t.Errorf("%s %v", topic, body)
		}
	})
}

func TestSoftwareUpdateJob(t *testing.T) {
	t.Parallel()
	s := start(t, options(t.TempDir()))
	ctx := t.Context()
	gg, c := s.greengrass("us-east-1", cloud.AccessKey{}), s.iot("us-east-1")
	mill := s.provision("us-east-1", "mill")
	input := func() *greengrass.CreateSoftwareUpdateJobInput {
		return &greengrass.CreateSoftwareUpdateJobInput{
			S3UrlSignerRole: aws.String("arn:aws:iam::" + account + ":role/signer"), SoftwareToUpdate: ggtypes.SoftwareToUpdateCore,
			UpdateTargets: []string{thingARN("us-east-1", "mill")}, UpdateTargetsArchitecture: ggtypes.UpdateTargetsArchitectureX8664,
			UpdateTargetsOperatingSystem: ggtypes.UpdateTargetsOperatingSystemUbuntu, AmznClientToken: aws.String("once"),
		}
	}
	made, err := gg.CreateSoftwareUpdateJob(ctx, input())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(*made.IotJobId, "GreengrassUpdateJob_") || *made.IotJobArn != "arn:aws:iot:us-east-1:"+account+":job/"+*made.IotJobId || *made.PlatformSoftwareVersion != "1.11.6" {
		t.Errorf("%+v", made)
	}
	describe := func() *types.Job {
		out, err := c.DescribeJob(ctx, &iot.DescribeJobInput{JobId: made.IotJobId})
		if err != nil {
			t.Fatal(err)
		}
		return out.Job
	}
	t.Run("is a snapshot job that waits for the core", func(t *testing.T) {
		job := describe()
		if job.Status != types.JobStatusInProgress || job.TargetSelection != types.TargetSelectionSnapshot || *job.JobProcessDetails.NumberOfQueuedThings != 1 ||
			*job.PresignedUrlConfig.ExpiresInSec != 3600 || !strings.HasSuffix(*job.PresignedUrlConfig.RoleArn, "role/signer") {
			t.Errorf("%+v", job)
		}
	})
	t.Run("a repeated call makes no other", func(t *testing.T) {
		again, err := gg.CreateSoftwareUpdateJob(ctx, input())
		if err != nil || *again.IotJobId != *made.IotJobId {
			t.Errorf("%+v, %v", again, err)
		}
		other := input()
		other.SoftwareToUpdate = ggtypes.SoftwareToUpdateOtaAgent
		if _, err := gg.CreateSoftwareUpdateJob(ctx, other); codeOf(err) != "InvalidInputException" {
			t.Error(err)
		}
	})
	t.Run("ends with the reason when the core asks for deployments", func(t *testing.T) {
		if _, err := s.link(mill).GetDeployment(ctx, "mill", corelink.Poll{}); err != nil {
			t.Fatal(err)
		}
		testkit.Until(t, "the job has ended", func() bool { return describe().Status == types.JobStatusCompleted })
		e, err := c.DescribeJobExecution(ctx, &iot.DescribeJobExecutionInput{JobId: made.IotJobId, ThingName: aws.String("mill")})
		if err != nil || e.Execution.Status != types.JobExecutionStatusRejected || !strings.Contains(e.Execution.StatusDetails.DetailsMap["reason"], "fescue-core") {
			t.Errorf("%+v, %v", e, err)
		}
	})
	for title, change := range map[string]func(*greengrass.CreateSoftwareUpdateJobInput){
		"a pair that was never updated": func(in *greengrass.CreateSoftwareUpdateJobInput) {
			in.UpdateTargetsArchitecture = ggtypes.UpdateTargetsArchitectureArmv6l
		},
		"another software":  func(in *greengrass.CreateSoftwareUpdateJobInput) { in.SoftwareToUpdate = "kernel" },
		"another log level": func(in *greengrass.CreateSoftwareUpdateJobInput) { in.UpdateAgentLogLevel = "LOUD" },
		"no role":           func(in *greengrass.CreateSoftwareUpdateJobInput) { in.S3UrlSignerRole = aws.String("signer") },
		"an unknown core": func(in *greengrass.CreateSoftwareUpdateJobInput) {
			in.UpdateTargets = []string{thingARN("us-east-1", "none")}
		},
		"no target": func(in *greengrass.CreateSoftwareUpdateJobInput) { in.UpdateTargets = []string{} },
	} {
		t.Run(title, func(t *testing.T) {
			in := input()
			in.AmznClientToken = nil
			change(in)
			if _, err := gg.CreateSoftwareUpdateJob(ctx, in); codeOf(err) != "InvalidInputException" {
				t.Error(err)
			}
		})
	}
}
