package ipc_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/core/credentials"
	"github.com/fescue-edge/fescue/core/invoke"
)

func TestCalls(t *testing.T) {
	t.Parallel()
	const (
		base   = "/2016-11-01/functions/"
		router = base + "arn:aws:lambda:::function:GGRouter"
	)
	tests := []struct {
		name         string
		method, path string
		body         string
		headers      []string
		err          error
		status       int
		want         []string // calls
	}{
		{name: "invoke and wait", method: "POST", path: base + other, body: "p", status: 200,
			headers: []string{"X-Amz-Client-Context", "Y3R4", "X-Amz-Invocation-Type", "RequestResponse"},
			want:    []string{"invoke by w1: " + other + " RequestResponse Y3R4 p"}},
		{name: "invoke an event", method: "POST", path: base + other, headers: []string{"X-Amz-Invocation-Type", "Event"}, status: 202,
			want: []string{"invoke by w1: " + other + " Event  "}},
		{name: "invoke without a type", method: "POST", path: base + other, status: 200,
			want: []string{"invoke by w1: " + other + " RequestResponse  "}},
		{name: "an escaped ARN", method: "POST", path: base + strings.ReplaceAll(other, ":", "%3A"), status: 200,
			want: []string{"invoke by w1: " + other + " RequestResponse  "}},
		{name: "header names in lower case", method: "POST", path: base + other, headers: []string{"x-amz-invocation-type", "Event"},
			status: 202, want: []string{"invoke by w1: " + other + " Event  "}},
		{name: "another type", method: "POST", path: base + other, headers: []string{"X-Amz-Invocation-Type", "DryRun"}, status: 400},
		{name: "a context too long", method: "POST", path: base + other,
			headers: []string{"X-Amz-Client-Context", strings.Repeat("A", 40<<10)}, status: 400},
		{name: "a payload too long", method: "POST", path: base + other, body: strings.Repeat("x", 101), status: 413},
		{name: "an unknown function", method: "POST", path: base + other, err: invoke.ErrNotFound, status: 404,
			want: []string{"invoke by w1: " + other + " RequestResponse  "}},
		{name: "a full queue", method: "POST", path: base + other, err: invoke.ErrQueueFull, status: 429,
			want: []string{"invoke by w1: " + other + " RequestResponse  "}},
		{name: "a core that stops", method: "POST", path: base + other, err: invoke.ErrShuttingDown, status: 503,
			want: []string{"invoke by w1: " + other + " RequestResponse  "}},
		{name: "an error of its own", method: "POST", path: base + other, err: errors.New("disk"), status: 500,
			want: []string{"invoke by w1: " + other + " RequestResponse  "}},
		{name: "no token", method: "POST", path: base + other, headers: []string{"Authorization", "-"}, status: 401},
		{name: "an unknown token", method: "POST", path: base + other, headers: []string{"Authorization", token + "x"}, status: 401},

		{name: "result without an id", method: "GET", path: base + other, status: 400},
		{name: "the result of an invocation that there is not", method: "GET", path: base + other,
			headers: []string{"X-Amz-InvocationId", "id1"}, status: 404},
		{name: "invoke a function that is not there", method: "POST", path: base + other + "x", status: 404},

		{name: "answer", method: "POST", path: base + own + "/work", body: "r", headers: []string{"X-Amz-InvocationId", "id1"},
			status: 200, want: []string{"complete by w1: id1 r"}},
		{name: "answer with the empty error header of old clients", method: "POST", path: base + own + "/work",
			headers: []string{"X-Amz-InvocationId", "id1", "X-Amz-Function-Error", ""}, status: 200,
			want: []string{"complete by w1: id1 "}},
		{name: "answer with an error", method: "POST", path: base + own + "/work", body: "{}",
			headers: []string{"X-Amz-InvocationId", "id1", "X-Amz-Function-Error", "Handled"}, status: 200,
			want: []string{"complete by w1: id1 Handled{}"}},
		{name: "answer with an unknown error", method: "POST", path: base + own + "/work",
			headers: []string{"X-Amz-InvocationId", "id1", "X-Amz-Function-Error", "Odd"}, status: 400},
		{name: "answer without an id", method: "POST", path: base + own + "/work", status: 400},
		{name: "an answer too long", method: "POST", path: base + own + "/work", body: strings.Repeat("x", 101),
			headers: []string{"X-Amz-InvocationId", "id1"}, status: 413,
			want: []string{`complete by w1: id1 Unhandled{"errorMessage":"the function's result has 101 bytes; the core passes on at most 100"}`}},
		{name: "an error too long", method: "POST", path: base + own + "/work", body: strings.Repeat("x", 9<<20),
			headers: []string{"X-Amz-InvocationId", "id1", "X-Amz-Function-Error", "Handled"}, status: 413,
			want: []string{`complete by w1: id1 Unhandled{"errorMessage":"the function's error has 9437184 bytes; the core passes on at most 100"}`}},
		{name: "an answer too long for an item that ended", method: "POST", path: base + own + "/work", body: strings.Repeat("x", 9<<20),
			headers: []string{"X-Amz-InvocationId", "id1"}, err: invoke.ErrNotFound, status: 404,
			want: []string{`complete by w1: id1 Unhandled{"errorMessage":"the function's result has 9437184 bytes; the core passes on at most 100"}`}},
		{name: "an answer too long without an id", method: "POST", path: base + own + "/work", body: strings.Repeat("x", 9<<20), status: 400},
		{name: "an answer too late", method: "POST", path: base + own + "/work", headers: []string{"X-Amz-InvocationId", "id1"},
			err: invoke.ErrNotFound, status: 404, want: []string{"complete by w1: id1 "}},
		{name: "another function's work", method: "GET", path: base + other + "/work", status: 403},
		{name: "answer another function's work", method: "POST", path: base + other + "/work", status: 403},

		{name: "initialized", method: "PUT", path: base + own + "/initialized", body: `{"Success":true,"Response":""}`, status: 200,
			want: []string{"initialized w1: true "}},
		{name: "failed to initialize", method: "PUT", path: base + own + "/initialized", body: `{"Success":false,"Response":"no"}`,
			status: 200, want: []string{"initialized w1: false no"}},
		{name: "failed to initialize with a reason too long", method: "PUT", path: base + own + "/initialized", status: 200,
			body: `{"Success":false,"Response":"` + strings.Repeat("x", 9<<20) + `"}`,
			want: []string{"initialized w1: false its reason could not be taken: message too large: it has 9437215 bytes, and may have 1048576"}},
		{name: "initialized with nonsense", method: "PUT", path: base + own + "/initialized", body: `{"Success":1}`, status: 400},
		{name: "initialized with nothing", method: "PUT", path: base + own + "/initialized", body: `{}`, status: 400},
		{name: "another function's initialized", method: "PUT", path: base + other + "/initialized", body: `{"Success":true}`, status: 403},

		{name: "publish", method: "POST", path: router, body: "m", status: 202,
			headers: []string{"X-Amz-Invocation-Type", "Event", "X-Amz-Client-Context",
				encode(`{"custom":{"source":"` + own + `","subject":"a/b","queueFullPolicy":"AllOrError"}}`)},
			want: []string{"publish " + own + " a/b m true"}},
		{name: "publish with a qualifier and best effort", method: "POST", path: router + ":1", status: 202,
			headers: []string{"X-Amz-Invocation-Type", "Event", "X-Amz-Client-Context", subject("a")},
			want:    []string{"publish " + own + " a  false"}},
		{name: "publish to a shadow topic", method: "POST", path: router, status: 200,
			headers: []string{"X-Amz-Client-Context", subject("$aws/things/t/shadow/update")},
			want:    []string{"publish " + own + " $aws/things/t/shadow/update  false"}},
		{name: "publish as somebody else", method: "POST", path: router, status: 403,
			headers: []string{"X-Amz-Client-Context", encode(`{"custom":{"source":"` + other + `","subject":"a"}}`)}},
		{name: "publish to a filter", method: "POST", path: router, headers: []string{"X-Amz-Client-Context", subject("a/+")}, status: 400},
		{name: "publish to nothing", method: "POST", path: router, headers: []string{"X-Amz-Client-Context", subject("")}, status: 400},
		{name: "publish too deep", method: "POST", path: router, status: 400,
			headers: []string{"X-Amz-Client-Context", subject("1/2/3/4/5/6/7/8/9")}},
		{name: "publish to a topic too long", method: "POST", path: router, status: 400,
			headers: []string{"X-Amz-Client-Context", subject(strings.Repeat("x", 257))}},
		{name: "publish without a context", method: "POST", path: router, status: 400},
		{name: "publish with a context that is not base64", method: "POST", path: router, status: 400,
			headers: []string{"X-Amz-Client-Context", "%"}},
		{name: "publish with another policy", method: "POST", path: router, status: 400,
			headers: []string{"X-Amz-Client-Context", encode(`{"custom":{"subject":"a","queueFullPolicy":"Never"}}`)}},
		{name: "publish with custom text", method: "POST", path: router, status: 400,
			headers: []string{"X-Amz-Client-Context", encode(`{"custom":"a"}`)}},
		{name: "publish into a full queue", method: "POST", path: router, err: fmt.Errorf("x: %w", invoke.ErrQueueFull), status: 429,
			headers: []string{"X-Amz-Client-Context", subject("a")}, want: []string{"publish " + own + " a  false"}},

		{name: "a system function", method: "POST", path: base + "arn:aws:lambda:::function:GGShadowService", body: "q", status: 200,
			want: []string{"shadow by w1: q"}},
		{name: "a system function that fails", method: "POST", path: base + "arn:aws:lambda:::function:GGShadowService:1",
			err: errors.New("x"), status: 500, want: []string{"shadow by w1: "}},
		{name: "a system function that this core lacks", method: "POST", path: base + "arn:aws:lambda:::function:GGSecretManager:1", status: 404},
		{name: "a system function that is not for functions", method: "POST", path: base + "arn:aws:lambda:::function:GGCloudSpooler:1", status: 403},

		{name: "log lines", method: "POST", path: "/2016-11-01/cloudwatch/logs/", status: 200,
			body: `{"logGroupName":"/GreengrassSystem/python_runtime","logEvents":[{"timestamp":1500000000000,"message":"[WARNING]-a.py:1,x\ny"}]}`,
			want: []string{"log w1: 2017-07-14T02:40:00Z WARN|a.py:1,x", "log w1: 2017-07-14T02:40:00Z WARN|y"}},
		{name: "a log line without a level", method: "POST", path: "/2016-11-01/cloudwatch/logs", status: 200,
			body: `{"logEvents":[{"timestamp":0,"message":"[odd]-text"}]}`, want: []string{"log w1: 1970-01-01T00:00:00Z INFO|[odd]-text"}},
		{name: "no log lines", method: "POST", path: "/2016-11-01/cloudwatch/logs/", body: `{"logEvents":[]}`, status: 400},
		{name: "too many log lines", method: "POST", path: "/2016-11-01/cloudwatch/logs/", body: strings.Repeat("x", 9<<20), status: 413},
		{name: "log lines that are not JSON", method: "POST", path: "/2016-11-01/cloudwatch/logs/", body: `x`, status: 400},
		{name: "log lines without a token", method: "POST", path: "/2016-11-01/cloudwatch/logs/", headers: []string{"Authorization", "-"}, status: 401},

		{name: "credentials", method: "GET", path: "/2016-11-01/credentialprovider/", status: 200},
		{name: "credentials without the slash", method: "GET", path: "/2016-11-01/credentialprovider", status: 200},
		{name: "credentials that there are none of", method: "GET", path: "/2016-11-01/credentialprovider/", status: 504, err: &credentials.Error{Status: 504, Text: "late"}},
		{name: "credentials without a token", method: "GET", path: "/2016-11-01/credentialprovider/", headers: []string{"Authorization", "-"}, status: 401},
		{name: "credentials with another token", method: "GET", path: "/2016-11-01/credentialprovider/", headers: []string{"Authorization", "Basic bm9uZQ=="}, status: 401},
		{name: "credentials by another method", method: "POST", path: "/2016-11-01/credentialprovider/", status: 405},
		{name: "an unknown path", method: "GET", path: "/2016-11-01/nothing", status: 404},
		{name: "another version", method: "GET", path: "/2015-03-31/functions/" + own, status: 404},
		{name: "the root", method: "GET", path: "/", status: 404},
		{name: "an empty ARN", method: "POST", path: base, status: 404},
		{name: "a slash in the ARN", method: "POST", path: base + "a%2Fwork", status: 404},
		{name: "dots in the path", method: "POST", path: base + "../functions/" + other, status: 404},
		{name: "a control character in the ARN", method: "POST", path: base + other + "%00", status: 404},
		{name: "bytes in the ARN that are no text", method: "POST", path: base + other + "%ff", status: 404},
		{name: "another method", method: "DELETE", path: base + other, status: 405},
		{name: "options from a page", method: "OPTIONS", path: base + other, headers: []string{"Origin", "http://evil.example"}, status: 403},
		{name: "a call from a page", method: "POST", path: base + other, headers: []string{"Origin", "null"}, status: 403},
		{name: "a foreign host", method: "POST", path: base + other, headers: []string{"Host", "evil.example:PORT"}, status: 403},
		{name: "a host without a port", method: "POST", path: base + other, headers: []string{"Host", "localhost"}, status: 403},
		{name: "a host with another port", method: "POST", path: base + other, headers: []string{"Host", "localhost:1"}, status: 403},
		{name: "the address as host", method: "POST", path: base + other, headers: []string{"Host", "127.0.0.1:PORT"}, status: 200,
			want: []string{"invoke by w1: " + other + " RequestResponse  "}},
		{name: "the IPv6 address as host", method: "POST", path: base + other, headers: []string{"Host", "[::1]:PORT"}, status: 200,
			want: []string{"invoke by w1: " + other + " RequestResponse  "}},
		{name: "a foreign host for the health API", method: "GET", path: "/2016-11-01/health/workers",
			headers: []string{"Host", "evil.example:PORT"}, status: 403},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := start(t)
			a.err = test.err
			got := a.send(t, test.method, test.path, test.body, test.headers...)
			if got.status != test.status {
				t.Errorf("status %d, want %d: %s", got.status, test.status, got.body)
			}
			if diff := cmp.Diff(test.want, a.take()); diff != "" {
				t.Error(diff)
			}
			if got.status >= 400 && strings.TrimSpace(got.body) == "" {
				t.Error("no reason is given")
			}
			if got.status == 429 && got.header.Get("Retry-After") != "1" {
				t.Error("Retry-After is missing")
			}
		})
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	a := start(t)
	got := a.send(t, "GET", "/2016-11-01/credentialprovider/", "")
	const want = `{"AccessKeyId":"ASIA","SecretAccessKey":"s","Token":"t","Expiration":"2026-01-02T02:04:05Z"}`
	if got.status != 200 || got.body != want || got.header.Get("Content-Type") != "application/json" || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %s %v", got.status, got.body, got.header)
	}
}
