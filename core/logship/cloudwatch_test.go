package logship_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core/logs"
	"github.com/fescue-edge/fescue/core/logship"
)

// watch is an endpoint of CloudWatch Logs that keeps what it is given, and first
// refuses as the service does.
type watch struct {
	t       *testing.T
	groups  map[string]bool
	streams map[string][]string
	// refuse is said to calls to come, one each: status and body.
	refuse []string
	calls  []string
}

func (w *watch) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	operation := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "Logs_20140328.")
	w.calls = append(w.calls, operation)
	if auth := r.Header.Get("Authorization"); r.Method != "POST" || r.URL.Path != "/" || r.Header.Get("Content-Type") != "application/x-amz-json-1.1" ||
		!strings.HasPrefix(auth, "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20261129/eu-west-1/logs/aws4_request, SignedHeaders=") || r.Header.Get("X-Amz-Security-Token") != "session" {
		w.t.Errorf("%s %s, headers %v", r.Method, r.URL, r.Header)
	}
	body, _ := io.ReadAll(r.Body)
	var in struct {
		LogGroupName, LogStreamName, SequenceToken string
		LogEvents                                  []struct {
			Timestamp int64
			Message   string
		}
	}
	if err := json.Unmarshal(body, &in); err != nil {
		w.t.Error(err)
	}
	fail := func(status int, code, more string) {
		rw.WriteHeader(status)
		fmt.Fprintf(rw, `{"__type":"com.amazonaws.logs#%s","message":"m"%s}`, code, more)
	}
	stream := in.LogGroupName + " " + in.LogStreamName
	switch operation {
	case "CreateLogGroup":
		if w.groups[in.LogGroupName] {
			fail(400, "ResourceAlreadyExistsException", "")
			return
		}
		w.groups[in.LogGroupName] = true
	case "CreateLogStream":
		if !w.groups[in.LogGroupName] {
			fail(400, "ResourceNotFoundException", "")
			return
		}
		w.streams[stream] = []string{}
	case "PutLogEvents":
		if len(w.refuse) > 0 {
			code := w.refuse[0]
			w.refuse = w.refuse[1:]
			switch code {
			case "":
			case "InvalidSequenceTokenException":
				fail(400, code, `,"expectedSequenceToken":"7"`)
				return
			case "ServiceUnavailableException":
				fail(503, code, "")
				return
			default:
				fail(400, code, "")
				return
			}
		}
		if w.streams[stream] == nil {
			fail(400, "ResourceNotFoundException", "")
			return
		}
		if !slices.IsSortedFunc(in.LogEvents, func(a, b struct {
			Timestamp int64
			Message   string
		}) int {
			return int(a.Timestamp - b.Timestamp)
		}) {
			w.t.Errorf("events out of order: %v", in.LogEvents)
		}
		for _, e := range in.LogEvents {
			w.streams[stream] = append(w.streams[stream], e.Message)
		}
		w.streams[stream] = append(w.streams[stream], "token="+in.SequenceToken)
	}
	io.WriteString(rw, "{}")
}

var wrote = time.Date(2026, 11, 29, 12, 0, 0, 6e6, time.UTC)

func cloudWatch(t *testing.T) (*watch, *logship.CloudWatch) {
	w := &watch{t: t, groups: make(map[string]bool), streams: make(map[string][]string)}
	server := httptest.NewServer(w)
	t.Cleanup(server.Close)
	endpoint, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return w, &logship.CloudWatch{
		Endpoint: endpoint, Partition: fescue.Partition{AWS: "aws", Account: "123456789012", Region: "eu-west-1"}, Thing: "Mill_Core", HTTP: server.Client(),
		Credentials: func(_ context.Context, groupID string) (aws.Credentials, error) {
			if groupID != "g" {
				return aws.Credentials{}, fmt.Errorf("%w: another group is deployed", logship.ErrRefused)
			}
			return aws.Credentials{AccessKeyID: "AKIAEXAMPLE", SecretAccessKey: "s", SessionToken: "session"}, nil
		},
		Now: func() time.Time { return wrote },
	}
}

func batchOf(lines ...logs.Line) *logship.Batch {
	return &logship.Batch{ID: fescue.NewID(), GroupID: "g", Logs: []logship.Log{
		{Source: source("F"), Lost: 3, Lines: lines},
		{Source: logs.Source{Component: logs.SystemComponent, Name: "runtime"}, Lines: []logs.Line{{At: wrote, Level: logs.Warn, Text: "core.go:1,hot"}}},
	}}
}

const (
	streamF = "/aws/greengrass/Lambda/eu-west-1/123456789012/F 2026/11/29/123456789012/g/Mill_Core"
	streamR = "/aws/greengrass/GreengrassSystem/runtime 2026/11/29/123456789012/g/Mill_Core"
)

func TestCloudWatch(t *testing.T) {
	t.Parallel()
	first, second := logs.Line{At: wrote, Level: logs.Info, Text: "a.py:1,one"}, logs.Line{At: wrote.Add(-time.Second), Level: logs.Error, Text: "two"}
	t.Run("it makes group and stream", func(t *testing.T) {
		t.Parallel()
		w, c := cloudWatch(t)
		b := batchOf(first, second)
		if err := c.Send(t.Context(), b); err != nil || len(b.Logs) != 0 {
			t.Fatal(err, b)
		}
		if got, want := w.streams[streamF], []string{
			"[2026-11-29T11:59:59.006Z][ERROR]-two", `[2026-11-29T12:00:00.006Z][WARN]-core:0,Lines of this log were lost before this one. {"lines": 3}`,
			"[2026-11-29T12:00:00.006Z][INFO]-a.py:1,one", "token=",
		}; !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
		if got := w.streams[streamR]; len(got) != 2 || got[0] != "[2026-11-29T12:00:00.006Z][WARN]-core.go:1,hot" {
			t.Errorf("%q", got)
		}
		if err := c.Send(t.Context(), batchOf(first)); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(w.calls, " "); got != "PutLogEvents CreateLogGroup CreateLogStream PutLogEvents PutLogEvents CreateLogGroup CreateLogStream PutLogEvents PutLogEvents PutLogEvents" {
			t.Error(got)
		}
	})
	for _, tc := range []struct {
		name    string
		refuse  []string
		err     string // empty for none
		refused bool
		left    int // logs of the batch
		denied  int
	}{
		{name: "an old endpoint's token", refuse: []string{"InvalidSequenceTokenException"}},
		{name: "what was taken already", refuse: []string{"DataAlreadyAcceptedException"}},
		{name: "a busy service", refuse: []string{"ServiceUnavailableException"}, err: "503 ServiceUnavailableException", left: 2},
		{name: "a cut in the middle", refuse: []string{"", "ThrottlingException"}, err: "ThrottlingException", left: 1},
		{name: "no right", refuse: []string{"AccessDeniedException"}, denied: 1},
		{name: "what it never takes", refuse: []string{"InvalidParameterException"}, err: "InvalidParameterException", refused: true, left: 1},
		{name: "one that it does not take, and one that has to wait", refuse: []string{"AccessDeniedException", "ThrottlingException"}, err: "ThrottlingException", left: 1, denied: 1},
		{name: "tokens without end", refuse: slices.Repeat([]string{"InvalidSequenceTokenException"}, 3), err: "goes on to ask", left: 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w, c := cloudWatch(t)
			w.groups["/aws/greengrass/Lambda/eu-west-1/123456789012/F"], w.groups["/aws/greengrass/GreengrassSystem/runtime"] = true, true
			w.streams[streamF], w.streams[streamR] = []string{}, []string{}
			w.refuse = tc.refuse
			b := batchOf(first)
			err := c.Send(t.Context(), b)
			if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) || errors.Is(err, logship.ErrRefused) != tc.refused || len(b.Logs) != tc.left || len(b.Denied) != tc.denied {
				t.Errorf("error %v, %d logs are left", err, len(b.Logs))
			}
		})
	}
	t.Run("lines of a group that does not run any more", func(t *testing.T) {
		t.Parallel()
		w, c := cloudWatch(t)
		b := batchOf(first)
		b.GroupID = "before"
		if err := c.Send(t.Context(), b); !errors.Is(err, logship.ErrRefused) || len(w.calls) > 0 {
			t.Errorf("%v, after %v", err, w.calls)
		}
	})
	t.Run("many events", func(t *testing.T) {
		t.Parallel()
		w, c := cloudWatch(t)
		var lines []logs.Line
		for i := range 25_000 {
			lines = append(lines, logs.Line{At: wrote.Add(time.Duration(i) * 4 * time.Second), Level: logs.Info, Text: fmt.Sprint(i)}) // 28 hours
		}
		if err := c.Send(t.Context(), batchOf(lines...)); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(strings.Join(w.streams[streamF], " "), "token="); n != 3 || len(w.streams[streamF]) != 25_001+3 {
			t.Errorf("%d calls, %d events", n, len(w.streams[streamF])-n)
		}
	})
}
