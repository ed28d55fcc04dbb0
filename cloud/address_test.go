package cloud_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// Scopes that name no service of their own: SDKs before May 2023 signed for AWS IoT
// as execute-api, and the device gateway's first ones as iotdevicegateway.
func TestOldScopes(t *testing.T) {
	t.Parallel()
	s := start(t, options(t.TempDir()))
	for _, c := range []struct {
		scope, method, path, body string
		status                    int
		exception, answer         string
	}{
		{"execute-api", "POST", "/things/mill", "{}", 200, "", `"thingName":"mill"`},
		{"execute-api", "GET", "/things/mill/", "", 200, "", `"thingName":"mill"`},
		{"execute-api", "GET", "/things/a%3Ab", "", 404, "ResourceNotFoundException", "a:b"},
		{"execute-api", "GET", "/endpoint?endpointType=iot%3AData-ATS", "", 200, "", "endpointAddress"},
		{"execute-api", "POST", "/things/mill/shadow", `{"state":{"desired":{"a":1}}}`, 200, "", `"version":1`},
		{"execute-api", "GET", "/things/mill/shadow", "", 200, "", `"version":1`},
		{"execute-api", "PUT", "/things/mill/jobs/$next", "{}", 200, "", "{}"},
		{"execute-api", "GET", "/greengrass/groups", "", 200, "", `"Groups":[]`},
		{"execute-api", "GET", "/2015-03-31/functions/", "", 200, "", `"Functions":[]`},
		{"execute-api", "GET", "/no/such", "", 404, "UnknownOperationException", "GET /no/such"},
		{"execute-api", "GET", "/registrationcode", "", 404, "UnknownOperationException", "GetRegistrationCode"},
		{"execute-api", "GET", "/retainedMessage/a%2Fb", "", 404, "UnknownOperationException", "GetRetainedMessage"},
		{"lambda", "GET", "/2018-10-31/layers", "", 404, "UnknownOperationException", "ListLayers"},
		{"execute-api", "POST", "/", "Action=GetCallerIdentity&Version=2011-06-15", 404, "UnknownOperationException", "POST /"},
		{"iotdevicegateway", "GET", "/things/mill/shadow", "", 200, "", `"version":1`},
		{"iotdevicegateway", "GET", "/things/mill", "", 404, "UnknownOperationException", "GET /things/mill"},
		{"s3", "GET", "/fescue/v1/cores", "", 400, "", "<Error><Code>InvalidRequest</Code>"}, // a bucket and a key
		{"iotdata", "GET", "/fescue/v1/cores", "", 200, "", `"Cores":[]`},
		{"execute-api", "GET", "/fescue/v1/cores", "", 200, "", `"Cores":[]`},
		{"greengrass", "GET", "/fescue/v1/none", "", 404, "UnknownOperationException", "GET /fescue/v1/none"},
		{"apigateway", "GET", "/restapis", "", 404, "UnknownOperationException", `\"apigateway\"`},
	} {
		status, exception, answer := s.signed("us-east-1", c.scope, c.method, c.path, c.body)
		if status != c.status || exception != c.exception || !strings.Contains(answer, c.answer) {
			t.Errorf("%s %s %s: %d %s %s, want %d %s %s", c.scope, c.method, c.path, status, exception, answer, c.status, c.exception, c.answer)
		}
	}
	_, metrics, _ := s.sendAs("us-east-1", s.key, "GET", "/fescue/v1/metrics")
	for _, want := range []string{`{operation="CreateThing",service="iot",status="200"} 1`, `{operation="GetThingShadow",service="iotdata",status="200"} 2`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	for _, scope := range []string{"execute-api", "iotdevicegateway"} {
		unproven := s.key
		unproven.Secret += "x"
		if status, exception, answer := s.signedWith(unproven, "us-east-1", scope, "POST", "/things/none", "{}"); status != 403 || exception != "InvalidSignatureException" {
			t.Errorf("%s with another secret: %d %s %s", scope, status, exception, answer)
		}
	}
	t.Run("services that are not served", func(t *testing.T) {
		s := s.with(t)
		if status, answer := s.target("us-east-1", "logs", "Logs_20140328.DescribeLogGroups", "{}"); status != 400 || !strings.Contains(answer, `"__type":"UnknownOperationException"`) || !strings.Contains(answer, "logs") {
			t.Errorf("logs: %d %s", status, answer)
		}
		status, _, answer := s.signed("us-east-1", "sns", "POST", "/?Action=ListTopics&Version=2010-03-31", "")
		if status != 400 || !strings.Contains(answer, "<Code>InvalidAction</Code>") || !strings.Contains(answer, "sns") {
			t.Errorf("sns: %d %s", status, answer)
		}
	})
}

// What a signature of a normalised path does not cover is not acted upon.
func TestNormalizedPaths(t *testing.T) {
	t.Parallel()
	s := start(t, options(t.TempDir()))
	client, base := s.client()
	credentials, err := s.credentials(s.key).Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	empty := sha256.Sum256(nil)
	for _, c := range []struct{ service, method, signed, sent, says string }{
		{"greengrass", "GET", "/greengrass/groups/versions", "/greengrass/groups//versions", "GroupId of ListGroupVersions is empty"},
		{"greengrass", "GET", "/greengrass/groups/versions", "/greengrass/groups/./versions", "GroupId \\\".\\\" of ListGroupVersions is not covered by the signature"},
		{"greengrass", "DELETE", "/greengrass", "/greengrass/groups/..", "GroupId \\\"..\\\" of DeleteGroup is not covered by the signature"},
		{"iot", "POST", "/policies", "/policies/.", "policyName \\\".\\\" of CreatePolicy is not covered by the signature"},
		{"iotdata", "POST", "/topics/b", "/topics/a/../b", "topic \\\"a/../b\\\" of Publish is not covered by the signature"},
	} {
		for _, declared := range []bool{false, true} {
			r, err := http.NewRequestWithContext(t.Context(), c.method, base+c.signed, nil)
			if err != nil {
				t.Fatal(err)
			}
			sum := hex.EncodeToString(empty[:])
			if declared {
				r.Header.Set("X-Amz-Content-Sha256", sum)
			}
			if err := v4.NewSigner().SignHTTP(t.Context(), credentials, r, sum, c.service, "us-east-1", time.Now()); err != nil {
				t.Fatal(err)
			}
			r.URL.Path = c.sent
			if status, _, answer := answered(t, client, r); status != http.StatusBadRequest || !strings.Contains(answer, c.says) {
				t.Errorf("%s %s, hash declared %v: %d %s, want %s", c.method, c.sent, declared, status, answer, c.says)
			}
		}
	}
}

// What is not signed is refused in the form that its sender reads.
func TestUnsignedForms(t *testing.T) {
	t.Parallel()
	s := start(t, options(t.TempDir()))
	client, base := s.client()
	form := http.Header{"Content-Type": {"application/x-www-form-urlencoded; charset=utf-8"}}
	for _, c := range []struct {
		name, method, path, host, body string
		header                         http.Header
		status                         int
		protocol, code                 string
	}{
		{name: "greengrass", path: "/greengrass/groups", protocol: "REST-JSON"},
		{name: "iot", path: "/things/a%2Fb", protocol: "REST-JSON"},
		{name: "iotdata", path: "/things/a/shadow", protocol: "REST-JSON"},
		{name: "lambda", path: "/2015-03-31/functions/", protocol: "REST-JSON"},
		{name: "Fescue's own", path: "/fescue/v1/none", protocol: "REST-JSON"},
		{name: "another path posted to", method: "POST", path: "/none", protocol: "REST-JSON"},
		{name: "a host of AWS's", path: "/none", host: "data-ats.iot.us-east-1.amazonaws.com", protocol: "REST-JSON"},
		{name: "secretsmanager", method: "POST", path: "/", header: http.Header{"X-Amz-Target": {"secretsmanager.ListSecrets"}}, status: 400, protocol: "JSON 1.1"},
		{name: "sts", method: "POST", path: "/", header: form, body: "Action=GetCallerIdentity&Version=2011-06-15", protocol: "https://sts.amazonaws.com/doc/2011-06-15/"},
		{name: "sts, in the query", path: "/?Action=GetCallerIdentity&Version=2011-06-15", protocol: "https://sts.amazonaws.com/doc/2011-06-15/"},
		{name: "iam, in the query", path: "/?Action=GetRole&Version=2010-05-08", protocol: "https://iam.amazonaws.com/doc/2010-05-08/"},
		{name: "iam, by its host", method: "POST", path: "/", header: form, host: "iam.amazonaws.com", protocol: "https://iam.amazonaws.com/doc/2010-05-08/"},
		{name: "s3", path: "/bucket/key", protocol: "S3"},
		{name: "s3, a list", path: "/", protocol: "S3"},
		{name: "s3, by its host", method: "POST", path: "/bucket?delete", host: "s3.us-east-1.amazonaws.com", protocol: "S3"},
		{name: "s3, a header alone", method: "HEAD", path: "/bucket/key", protocol: "none"},
		{name: "s3, half a URL", path: "/bucket/key?X-Amz-Signature=00", status: 400, protocol: "S3", code: "AuthorizationQueryParametersError"},
		{name: "s3, half a header", path: "/bucket/key", header: http.Header{"Authorization": {"AWS4-HMAC-SHA256 Credential=x"}}, status: 400, protocol: "S3", code: "AuthorizationHeaderMalformed"},
		{name: "sts, half a header", method: "POST", path: "/", header: http.Header{"Content-Type": form["Content-Type"], "Authorization": {"AWS4-HMAC-SHA256 Credential=x"}}, status: 400, protocol: "https://sts.amazonaws.com/doc/2011-06-15/", code: "IncompleteSignature"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.method == "" {
				c.method = "GET"
			}
			r, err := http.NewRequestWithContext(t.Context(), c.method, base+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if c.header != nil {
				r.Header = c.header
			}
			r.Host = c.host
			status, exception, body := answered(t, client, r)
			if c.status == 0 {
				c.status = http.StatusForbidden
			}
			protocol, code := "none", ""
			var query struct {
				XMLName xml.Name
				Code    string `xml:"Error>Code"`
				Plain   string `xml:"Code"`
			}
			var typed struct {
				Type string `json:"__type"`
			}
			switch {
			case len(body) == 0:
			case json.Unmarshal([]byte(body), &typed) == nil:
				if protocol, code = "REST-JSON", exception; typed.Type != "" {
					protocol, code = "JSON 1.1", typed.Type
				}
			case xml.Unmarshal([]byte(body), &query) == nil:
				if protocol, code = query.XMLName.Space, query.Code; query.Plain != "" {
					protocol, code = "S3", query.Plain
				}
			}
			if c.code == "" {
				c.code = map[string]string{"REST-JSON": "MissingAuthenticationTokenException", "JSON 1.1": "MissingAuthenticationTokenException", "S3": "AccessDenied", "none": ""}[c.protocol]
				if _, err := url.ParseRequestURI(c.protocol); err == nil {
					c.code = "MissingAuthenticationToken"
				}
			}
			if status != c.status || protocol != c.protocol || code != c.code {
				t.Errorf("%d %s %s, want %d %s %s: %s", status, protocol, code, c.status, c.protocol, c.code, body)
			}
		})
	}
}
