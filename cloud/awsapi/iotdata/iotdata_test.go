package iotdata_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/iotdata"
)

var here = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}

// message is what a publisher was given.
type message struct {
	Partition fescue.Partition
	Topic     string
	Payload   string
	QoS       byte
	Retain    bool
}

// recorder keeps what it is given, or fails.
type recorder struct {
	messages []message
	err      error
}

func (p *recorder) Publish(_ context.Context, partition fescue.Partition, topic string, payload []byte, qos byte, retain bool) error {
	if p.err == nil {
		p.messages = append(p.messages, message{partition, topic, string(payload), qos, retain})
	}
	return p.err
}

// post publishes through a server that takes every request for signed.
func post(t *testing.T, p *recorder, method, path, body string) (status int, code string, answer map[string]any) {
	t.Helper()
	service := iotdata.New(iotdata.Options{Publisher: p, Logger: slog.New(slog.DiscardHandler)})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		service.ServeCall(w, r, &awsapi.Call{Partition: here, RequestID: "request-1"})
	}))
	defer server.Close()
	req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		t.Fatalf("body %q: %v", data, err)
	}
	return res.StatusCode, res.Header.Get("x-amzn-ErrorType"), answer
}

func TestPublish(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		title, path, body string
		want              message
	}{
		{"one segment", "/topics/a", "x", message{Topic: "a", Payload: "x"}},
		{"an escaped topic", "/topics/a%2Fb%20c", "x", message{Topic: "a/b c", Payload: "x"}},
		{"raw slashes", "/topics/a/b/c", "x", message{Topic: "a/b/c", Payload: "x"}},
		{"both", "/topics/a%2Fb/c", "x", message{Topic: "a/b/c", Payload: "x"}},
		{"empty levels", "/topics//a//b/", "x", message{Topic: "/a//b/", Payload: "x"}},
		{"escaped empty levels", "/topics/%2Fa%2F", "x", message{Topic: "/a/", Payload: "x"}},
		{"dots are a topic like any other", "/topics/..%2f..%2fa", "x", message{Topic: "../../a", Payload: "x"}},
		{"letters of any script", "/topics/%E6%B8%A9%E5%BA%A6", "x", message{Topic: "温度", Payload: "x"}},
		{"QoS 1", "/topics/a?qos=1", "x", message{Topic: "a", Payload: "x", QoS: 1}},
		{"QoS 0", "/topics/a?qos=0&retain=false", "x", message{Topic: "a", Payload: "x"}},
		{"retained", "/topics/a?qos=1&retain=true", "", message{Topic: "a", QoS: 1, Retain: true}},
		{"bytes that are not text", "/topics/a", "\x00\xff", message{Topic: "a", Payload: "\x00\xff"}},
		{"the largest payload", "/topics/a", strings.Repeat("x", 128<<10), message{Topic: "a", Payload: strings.Repeat("x", 128<<10)}},
		{"a shadow update", "/topics/$aws/things/lamp/shadow/update", "{}", message{Topic: "$aws/things/lamp/shadow/update", Payload: "{}"}},
		{"an escaped dollar", "/topics/%24aws%2Fthings%2Flamp%2Fother", "{}", message{Topic: "$aws/things/lamp/other", Payload: "{}"}},
	} {
		t.Run(tc.title, func(t *testing.T) {
			t.Parallel()
			p := &recorder{}
			status, code, answer := post(t, p, "POST", tc.path, tc.body)
			if status != 200 || code != "" || answer["message"] != "OK" || answer["traceId"] != "request-1" {
				t.Errorf("status %d, type %q, body %v", status, code, answer)
			}
			tc.want.Partition = here
			if diff := cmp.Diff([]message{tc.want}, p.messages); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPublishRefused(t *testing.T) {
	t.Parallel()
	const invalid = "InvalidRequestException"
	for _, tc := range []struct {
		title, method, path, body string
		status                    int
		code, text                string
	}{
		{"no topic", "POST", "/topics/", "x", 400, invalid, "empty"},
		{"a wildcard", "POST", "/topics/a%2F%23", "x", 400, invalid, "wildcard"},
		{"another wildcard", "POST", "/topics/a/+/b", "x", 400, invalid, "wildcard"},
		{"eight slashes", "POST", "/topics/a/b/c/d/e/f/g/h/i", "x", 400, invalid, "levels"},
		{"257 bytes", "POST", "/topics/" + strings.Repeat("a", 257), "x", 400, invalid, "too long"},
		{"NUL", "POST", "/topics/a%00", "x", 400, invalid, "malformed"},
		{"bad UTF-8", "POST", "/topics/%ff", "x", 400, invalid, "malformed"},
		{"QoS 2", "POST", "/topics/a?qos=2", "x", 400, invalid, "qos"},
		{"retain of another kind", "POST", "/topics/a?retain=1", "x", 400, invalid, "retain"},
		{"a broken query", "POST", "/topics/a?qos=%zz", "x", 400, invalid, "query"},
		{"reserved", "POST", "/topics/$SYS/x", "x", 400, invalid, "reserved"},
		{"reserved, escaped", "POST", "/topics/%24aws%2Frules%2Fr%2Fx", "x", 400, invalid, "reserved"},
		{"things without a thing", "POST", "/topics/$aws/things/", "x", 400, invalid, "reserved"},
		{"things without a topic", "POST", "/topics/$aws/things/lamp", "x", 400, invalid, "reserved"},
		{"things with a thing without name", "POST", "/topics/$aws/things//shadow/update", "x", 400, invalid, "reserved"},
		{"retained for a thing", "POST", "/topics/$aws/things/lamp/x?retain=true", "x", 400, invalid, "retain"},
		{"an answer of the shadow service", "POST", "/topics/$aws/things/lamp/shadow/update/accepted", "x", 400, invalid, "shadow service"},
		{"an answer of a named shadow", "POST", "/topics/$aws/things/lamp/shadow/name/n/update/delta", "x", 400, invalid, "shadow service"},
		{"a payload too large", "POST", "/topics/a", strings.Repeat("x", 128<<10+1), 413, "RequestEntityTooLargeException", "131072"},
		{"another operation", "GET", "/retainedMessage", "", 404, "UnknownOperationException", "/retainedMessage"},
		{"another method", "GET", "/topics/a", "", 404, "UnknownOperationException", "/topics/a"},
	} {
		t.Run(tc.title, func(t *testing.T) {
			t.Parallel()
			p := &recorder{}
			status, code, answer := post(t, p, tc.method, tc.path, tc.body)
			if message, _ := answer["message"].(string); status != tc.status || code != tc.code || !strings.Contains(message, tc.text) {
				t.Errorf("status %d, type %q, body %v; want %d, %s, %q", status, code, answer, tc.status, tc.code, tc.text)
			}
			if len(p.messages) != 0 {
				t.Errorf("published %v", p.messages)
			}
		})
	}
}

func TestPublisherFails(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err    error
		status int
		code   string
	}{
		{errors.New("the password is secret"), 500, "InternalFailureException"},
		{fmt.Errorf("broker: %w", context.DeadlineExceeded), 503, "ServiceUnavailableException"},
		{fmt.Errorf("broker: %w", fescue.ErrCrowded), 429, "ThrottlingException"},
	} {
		t.Run(tc.code, func(t *testing.T) {
			t.Parallel()
			status, code, answer := post(t, &recorder{err: tc.err}, "POST", "/topics/a", "x")
			if status != tc.status || code != tc.code || strings.Contains(fmt.Sprint(answer), "secret") {
				t.Errorf("status %d, type %q, body %v", status, code, answer)
			}
		})
	}
}

func TestMaxBody(t *testing.T) {
	t.Parallel()
	service := iotdata.New(iotdata.Options{Publisher: &recorder{}, Logger: slog.New(slog.DiscardHandler)})
	if got := service.MaxBody(httptest.NewRequest("POST", "/topics/a/b", nil)); got != iotdata.MaxPayload {
		t.Errorf("MaxBody is %d, want %d", got, iotdata.MaxPayload)
	}
}

func FuzzPublish(f *testing.F) {
	for _, path := range []string{"a", "a%2Fb", "//", "$aws/things/x/shadow/update", "%24aws%2Frules", "..%2f", "%00", "%ff", "%zz", "a?qos=1"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		p := &recorder{}
		service := iotdata.New(iotdata.Options{Publisher: p, Logger: slog.New(slog.DiscardHandler)})
		r, err := http.NewRequest("POST", "http://host/topics/"+path, strings.NewReader("x"))
		if err != nil {
			return
		}
		w := httptest.NewRecorder()
		service.ServeCall(w, r, &awsapi.Call{Partition: here})
		if w.Code >= 500 {
			t.Errorf("%q: status %d", path, w.Code)
		}
		for _, m := range p.messages {
			if strings.HasPrefix(m.Topic, "$") && !strings.HasPrefix(m.Topic, "$aws/things/") {
				t.Errorf("%q was published to %q", path, m.Topic)
			}
		}
	})
}
