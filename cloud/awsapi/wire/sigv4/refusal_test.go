package sigv4_test

import (
	"bufio"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/cloud/awsapi/wire/sigv4"
	"github.com/fescue-edge/fescue/cloud/identity"
)

func setHeader(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header[name] = []string{value} }
}

// replaceAuthorization changes the header after signing.
func replaceAuthorization(old, with string) func(*http.Request) {
	return func(r *http.Request) {
		before := r.Header.Get("Authorization")
		after := strings.Replace(before, old, with, 1)
		if before == after {
			panic("nothing to replace: " + old)
		}
		r.Header.Set("Authorization", after)
	}
}

func replaceTarget(old, with string) func(*http.Request) {
	return func(r *http.Request) {
		before := r.URL.String()
		after := strings.Replace(before, old, with, 1)
		if before == after {
			panic("nothing to replace: " + old)
		}
		u, err := url.Parse(after)
		if err != nil {
			panic(err)
		}
		r.URL = u
	}
}

func TestTampering(t *testing.T) {
	t.Parallel()
	post := call{method: "POST", url: "http://127.0.0.1:8080/greengrass/groups?a=1&b=2", body: `{"Name":"x"}`,
		header: http.Header{"Content-Type": {"application/json"}, "X-Amzn-Client-Token": {"token"}}}
	presigned := call{presign: true, url: "http://127.0.0.1:8080/x/y?a=1&X-Amz-Expires=60"}
	temporary := call{key: "TEMP", token: "session/token+1="}
	const mismatch = "InvalidSignatureException"
	for _, tc := range []struct {
		name   string
		call   call
		tamper func(*http.Request)
		code   string
		status int
		says   string
	}{
		{"method", post, func(r *http.Request) { r.Method = "PUT" }, mismatch, 403, "does not match"},
		{"path", post, replaceTarget("/groups", "/group5"), mismatch, 403, "does not match"},
		{"path by an escape", post, replaceTarget("/groups", "/group%73"), mismatch, 403, "does not match"},
		{"path by a last slash", post, replaceTarget("/groups?", "/groups/?"), mismatch, 403, "does not match"},
		{"query value", post, replaceTarget("a=1", "a=2"), mismatch, 403, "does not match"},
		{"query removed", post, replaceTarget("?a=1&b=2", ""), mismatch, 403, "does not match"},
		{"query added", post, replaceTarget("a=1", "a=1&c=3"), mismatch, 403, "does not match"},
		{"host", post, func(r *http.Request) { r.Host = "127.0.0.1:8081" }, mismatch, 403, `"127.0.0.1:8081"`},
		{"content type", post, setHeader("Content-Type", "text/plain"), mismatch, 403, "does not match"},
		{"signed header", post, setHeader("X-Amzn-Client-Token", "other"), mismatch, 403, "does not match"},
		{"signed header in a second line", post, func(r *http.Request) { r.Header.Add("X-Amzn-Client-Token", "other") }, mismatch, 403, "does not match"},
		{"signed header removed", post, func(r *http.Request) { r.Header.Del("X-Amzn-Client-Token") }, mismatch, 403, `"x-amzn-client-token", which did not arrive`},
		{"x-amz header added", post, setHeader("X-Amz-Target", "x"), mismatch, 403, `"x-amz-target"`},
		{"date", post, setHeader("X-Amz-Date", "20260304T050608Z"), mismatch, 403, "does not match"},
		{"date of another day", call{at: signingTime.Add(-6 * time.Minute)}, setHeader("X-Amz-Date", "20260303T235959Z"), mismatch, 403, "Date in Credential scope"},
		{"body", post, func(r *http.Request) { r.Body = readCloser(`{"Name":"y"}`) }, mismatch, 403, "does not match"},
		{"scope's date", post, replaceAuthorization("/20260304/", "/20260305/"), mismatch, 403, "Date in Credential scope"},
		{"scope's Region", post, replaceAuthorization("/us-east-1/", "/eu-west-1/"), mismatch, 403, "does not match"},
		{"scope's service", post, replaceAuthorization("/greengrass/", "/lambda/"), mismatch, 403, "does not match"},
		{"scope's terminator", post, replaceAuthorization("aws4_request", "aws3_request"), "IncompleteSignatureException", 400, "terminator"},
		{"key", post, replaceAuthorization(keyID, "OTHER"), mismatch, 403, "does not match"},
		{"signed headers", post, replaceAuthorization("content-type;", ""), mismatch, 403, "does not match"},
		{"host not signed", post, replaceAuthorization("host;", ""), mismatch, 403, "'Host' must be a 'SignedHeader'"},
		{"date not signed", post, replaceAuthorization("x-amz-date;", ""), mismatch, 403, `"x-amz-date"`},
		{"signature", post, replaceAuthorization("Signature=", "Signature="+strings.Repeat("0", 64)+",Signature="), "IncompleteSignatureException", 400, "each once"},
		{"session token", temporary, setHeader("X-Amz-Security-Token", "x"), "UnrecognizedClientException", 403, "not the session token"},
		{"session token removed", temporary, func(r *http.Request) {
			r.Header.Del("X-Amz-Security-Token")
			replaceAuthorization(";x-amz-security-token", "")(r)
		}, "UnrecognizedClientException", 403, "Set AWS_SESSION_TOKEN"},

		{"presigned path", presigned, replaceTarget("/x/y", "/x/z"), mismatch, 403, "does not match"},
		{"presigned query", presigned, replaceTarget("a=1", "a=2"), mismatch, 403, "does not match"},
		{"presigned expiry", presigned, replaceTarget("Expires=60", "Expires=61"), mismatch, 403, "does not match"},
		{"presigned method", presigned, func(r *http.Request) { r.Method = "DELETE" }, mismatch, 403, "does not match"},
		{"presigned host", presigned, func(r *http.Request) { r.Host = "other" }, mismatch, 403, "does not match"},
		{"presigned body", presigned, func(r *http.Request) { r.Body = readCloser("x"); r.ContentLength = 1 }, mismatch, 403, "does not match"},
		{"presigned x-amz header", presigned, setHeader("X-Amz-Meta-A", "1"), mismatch, 403, "not signed"},
		{"presigned and header", presigned, setHeader("Authorization", "AWS4-HMAC-SHA256 x"), "IncompleteSignatureException", 400, "Only one signature"},
		{"presigned parameter twice", presigned, replaceTarget("X-Amz-Date=", "X-Amz-Date=20260304T050607Z&X-Amz-Date="), "IncompleteSignatureException", 400, "more than once"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			source := newKeys()
			source.set(identity.Key{ID: "OTHER", Secret: "another", Account: account})
			if tc.name == "body" || tc.name == "presigned body" {
				// The header is intact, only what follows it is not.
				if _, err := newVerifier(source).Begin(tc.call.sign(t, tc.tamper)); err != nil {
					t.Fatalf("Begin: %v", err)
				}
			}
			_, err := verify(newVerifier(source), tc.call.sign(t, tc.tamper))
			wantCode(t, err, tc.code, tc.status, tc.says)
		})
	}
}

func TestEveryDigitOfTheSignatureCounts(t *testing.T) {
	t.Parallel()
	v := newVerifier(newKeys())
	for digit := range 64 {
		r := call{}.sign(t)
		header := []byte(r.Header.Get("Authorization"))
		c := &header[len(header)-64+digit]
		if *c == '0' {
			*c = '1'
		} else {
			*c = '0'
		}
		r.Header.Set("Authorization", string(header))
		_, err := verify(v, r)
		wantCode(t, err, "InvalidSignatureException", http.StatusForbidden)
	}
}

// TestCodes checks that each service answers with its own codes.
func TestCodes(t *testing.T) {
	t.Parallel()
	type codes struct{ rest, json, query, s3 string }
	const hour = time.Hour
	broken := replaceAuthorization("Signature=", "Signature=0")
	for _, tc := range []struct {
		name   string
		call   call
		tamper func(*http.Request)
		want   codes
		says   string
	}{
		{"unknown key", call{key: "AKIDGONE"}, nil,
			codes{"UnrecognizedClientException", "UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId"}, `"AKIDGONE"`},
		{"unwanted token", call{token: "x"}, nil,
			codes{"UnrecognizedClientException", "UnrecognizedClientException", "InvalidClientTokenId", "InvalidToken"}, "Unset AWS_SESSION_TOKEN"},
		{"mismatch", call{}, func(r *http.Request) { r.Method = "PUT" },
			codes{"InvalidSignatureException", "InvalidSignatureException", "SignatureDoesNotMatch", "SignatureDoesNotMatch"}, "Check your AWS Secret Access Key"},
		{"too old", call{at: signingTime.Add(-15*time.Minute - time.Second)}, nil,
			codes{"InvalidSignatureException", "InvalidSignatureException", "SignatureDoesNotMatch", "RequestTimeTooSkewed"}, "20260304T045106Z"},
		{"too new", call{at: signingTime.Add(15*time.Minute + time.Second)}, nil,
			codes{"InvalidSignatureException", "InvalidSignatureException", "SignatureDoesNotMatch", "RequestTimeTooSkewed"}, "20260304T052108Z"},
		{"expired URL", call{presign: true, url: "http://h/x?X-Amz-Expires=3599", at: signingTime.Add(-hour)}, nil,
			codes{"InvalidSignatureException", "InvalidSignatureException", "SignatureDoesNotMatch", "AccessDenied"}, "Request has expired"},
		{"malformed signature", call{}, broken,
			codes{"IncompleteSignatureException", "IncompleteSignatureException", "IncompleteSignature", "AuthorizationHeaderMalformed"}, "64 hexadecimal"},
		{"malformed expiry", call{presign: true, url: "http://h/x?X-Amz-Expires=604801"}, nil,
			codes{"IncompleteSignatureException", "IncompleteSignatureException", "IncompleteSignature", "AuthorizationQueryParametersError"}, "604800"},
		{"malformed hash", call{header: http.Header{"X-Amz-Content-Sha256": {"zz"}}}, nil,
			codes{"IncompleteSignatureException", "IncompleteSignatureException", "IncompleteSignature", "InvalidRequest"}, `"zz"`},
		{"body is another", call{method: "PUT", body: "x", payload: hashOf("y"), header: http.Header{"X-Amz-Content-Sha256": {hashOf("y")}}}, nil,
			codes{"InvalidSignatureException", "InvalidSignatureException", "SignatureDoesNotMatch", "XAmzContentSHA256Mismatch"}, "not the one that was signed"},
	} {
		for service, want := range map[string]string{"greengrass": tc.want.rest, "iot": tc.want.rest, "secretsmanager": tc.want.json, "sts": tc.want.query, "iam": tc.want.query, "s3": tc.want.s3} {
			t.Run(tc.name+" "+service, func(t *testing.T) {
				t.Parallel()
				c := tc.call
				c.service = service
				if service == "s3" && c.header == nil && !c.presign {
					c.header = http.Header{"X-Amz-Content-Sha256": {hashOf("")}}
				}
				tamper := func(*http.Request) {}
				if tc.tamper != nil {
					tamper = tc.tamper
				}
				_, err := verify(newVerifier(newKeys()), c.sign(t, tamper))
				status := http.StatusForbidden
				if service == "secretsmanager" || strings.HasPrefix(want, "Incomplete") || strings.HasPrefix(want, "Authorization") || want == "InvalidToken" || want == "InvalidRequest" || want == "XAmzContentSHA256Mismatch" {
					status = http.StatusBadRequest
				}
				wantCode(t, err, want, status, tc.says)
			})
		}
	}
}

func TestRegionNotServed(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, service, code string
		status              int
	}{
		{"greengrass", "greengrass", "InvalidSignatureException", 403},
		{"s3", "s3", "AuthorizationHeaderMalformed", 400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			source := newKeys()
			c := call{service: tc.service, region: "ap-south-1", header: http.Header{"X-Amz-Content-Sha256": {hashOf("")}}}
			_, err := verify(newVerifier(source), c.sign(t))
			wantCode(t, err, tc.code, tc.status, "eu-west-1, us-east-1", `"ap-south-1"`, "AWS_REGION")
			if source.asked != 0 {
				t.Errorf("the key source was asked %d times for a Region that is not served", source.asked)
			}
		})
	}
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	const good = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260304/us-east-1/iot/aws4_request, SignedHeaders=host;x-amz-date, Signature="
	sig := strings.Repeat("a", 64)
	for _, tc := range []struct {
		name, authorization, code, says string
	}{
		{"empty", " ", "IncompleteSignatureException", "algorithm"},
		{"basic", "Basic dXNlcjpwYXNz", "IncompleteSignatureException", `"Basic"`},
		{"version 2", "AWS AKID:sig", "IncompleteSignatureException", "Signature Version 2"},
		{"version 4a", strings.Replace(good, "HMAC-SHA256", "ECDSA-P256-SHA256", 1) + sig, "IncompleteSignatureException", "not supported"},
		{"only the algorithm", "AWS4-HMAC-SHA256", "IncompleteSignatureException", "each once"},
		{"unknown part", good + sig + ", X=1", "IncompleteSignatureException", "X=1"},
		{"part twice", good + sig + ", Signature=" + sig, "IncompleteSignatureException", "each once"},
		{"trailing comma", good + sig + ",", "IncompleteSignatureException", "each once"},
		{"no credential", "AWS4-HMAC-SHA256 SignedHeaders=host, Signature=" + sig, "IncompleteSignatureException", "lacks Credential"},
		{"no signed headers", "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, Signature=" + sig, "IncompleteSignatureException", "lacks"},
		{"no signature", strings.TrimSuffix(good, ", Signature="), "IncompleteSignatureException", "lacks"},
		{"short signature", good + sig[1:], "IncompleteSignatureException", "64 hexadecimal"},
		{"signature is no hexadecimal", good + sig[1:] + "g", "IncompleteSignatureException", "not hexadecimal"},
		{"credential of four parts", strings.Replace(good, "/iot", "", 1) + sig, "IncompleteSignatureException", "key/date/region/service"},
		{"credential of six parts", strings.Replace(good, "/iot", "/iot/x", 1) + sig, "IncompleteSignatureException", "key/date/region/service"},
		{"credential with an empty part", strings.Replace(good, "/iot/", "//", 1) + sig, "IncompleteSignatureException", "empty"},
		{"credential with odd characters", strings.Replace(good, "/iot/", "/i\nt/", 1) + sig, "IncompleteSignatureException", "plain letters"},
		{"credential too long", strings.Replace(good, "/iot/", "/"+strings.Repeat("x", 129)+"/", 1) + sig, "IncompleteSignatureException", "too long"},
		{"date is none", strings.Replace(good, "20260304", "20261304", 1) + sig, "IncompleteSignatureException", "not a date"},
		{"signed headers unordered", strings.Replace(good, "host;x-amz-date", "x-amz-date;host", 1) + sig, "IncompleteSignatureException", "ascending"},
		{"signed header twice", strings.Replace(good, "host;", "host;host;", 1) + sig, "IncompleteSignatureException", "ascending"},
		{"signed header in upper case", strings.Replace(good, "host;", "Host;", 1) + sig, "IncompleteSignatureException", "lower-case"},
		{"signed header empty", strings.Replace(good, "host;", "host;;", 1) + sig, "IncompleteSignatureException", "ascending"},
		{"signed headers too many", strings.Replace(good, "host;", "host;"+strings.Repeat("o;", 100), 1) + sig, "IncompleteSignatureException", "at most 100"},
		{"too long", good + strings.Repeat("a", 9000), "IncompleteSignatureException", "at most 8192"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := call{}.sign(t)
			r.Header["Authorization"] = []string{tc.authorization}
			_, err := newVerifier(newKeys()).Begin(r)
			wantCode(t, err, tc.code, http.StatusBadRequest, tc.says)
		})
	}
	for _, tc := range []struct {
		name   string
		tamper func(*http.Request)
		code   string
		status int
		says   string
	}{
		{"not signed", func(r *http.Request) { r.Header.Del("Authorization") }, "MissingAuthenticationTokenException", 403, "access key"},
		{"authorization twice", func(r *http.Request) { r.Header["Authorization"] = []string{"a", "b"} }, "IncompleteSignatureException", 400, "Only one"},
		{"date twice", func(r *http.Request) { r.Header["X-Amz-Date"] = []string{"a", "b"} }, "IncompleteSignatureException", 400, "2 times"},
		{"date with fractions", setHeader("X-Amz-Date", "20260304T050607.5Z"), "IncompleteSignatureException", 400, "ISO-8601"},
		{"date of another form", setHeader("X-Amz-Date", "2026-03-04T05:06:07Z"), "IncompleteSignatureException", 400, "ISO-8601"},
		{"no date", func(r *http.Request) { r.Header.Del("X-Amz-Date") }, "IncompleteSignatureException", 400, "'Date' header"},
		{"unsigned date", func(r *http.Request) {
			r.Header.Del("X-Amz-Date")
			r.Header.Set("Date", signingTime.Format(http.TimeFormat))
		}, "InvalidSignatureException", 403, "not signed"},
		{"token twice", func(r *http.Request) { r.Header["X-Amz-Security-Token"] = []string{"a", "b"} }, "UnrecognizedClientException", 403, "2 times"},
		{"hash twice", func(r *http.Request) {
			r.Header["X-Amz-Content-Sha256"] = []string{hashOf(""), hashOf("")}
			replaceAuthorization("host;", "host;x-amz-content-sha256;")(r)
		}, "IncompleteSignatureException", 400, "2 times"},
		{"query badly encoded", func(r *http.Request) { r.RequestURI += "?a=%zz" }, "IncompleteSignatureException", 400, "percent-encoded"},
		{"query cut off", func(r *http.Request) { r.RequestURI += "?a=%2" }, "IncompleteSignatureException", 400, "percent-encoded"},
		{"asterisk", func(r *http.Request) { r.RequestURI = "*" }, "IncompleteSignatureException", 400, "no path"},
		{"target too long", func(r *http.Request) { r.RequestURI += strings.Repeat("x", 1<<15) }, "IncompleteSignatureException", 400, "at most 32768"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := call{}.sign(t)
			tc.tamper(r)
			_, err := newVerifier(newKeys()).Begin(r)
			wantCode(t, err, tc.code, tc.status, tc.says)
		})
	}
}

func TestKeySourceFailure(t *testing.T) {
	t.Parallel()
	failure := errors.New("database is gone")
	for _, tc := range []struct {
		name string
		call call
		fail error
	}{
		{"source fails", call{}, failure},
		{"key without secret", call{key: "NONE"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			source := newKeys()
			source.fails = tc.fail
			_, err := newVerifier(source).Begin(tc.call.sign(t))
			var refused *sigv4.Error
			if err == nil || errors.As(err, &refused) {
				t.Errorf("Begin = %v, want an error that is no refusal", err)
			}
			if tc.fail != nil && !errors.Is(err, tc.fail) {
				t.Errorf("Begin = %v, want it to wrap %v", err, tc.fail)
			}
		})
	}
}

// FuzzAuthorization feeds the parser of the header.
func FuzzAuthorization(f *testing.F) {
	f.Add(call{}.sign(f).Header.Get("Authorization"))
	f.Add("AWS4-HMAC-SHA256 Credential=a/20260304/us-east-1/s3/aws4_request,SignedHeaders=host,Signature=")
	f.Add("AWS4-HMAC-SHA256 ,=,Credential")
	v := newVerifier(newKeys())
	f.Fuzz(func(t *testing.T, header string) {
		r := call{}.sign(t)
		valid := r.Header.Get("Authorization")
		r.Header["Authorization"] = []string{header}
		checkOutcome(t, v, r, strings.Contains(strings.ToLower(header), valid[len(valid)-64:]))
	})
}

// FuzzTarget feeds the parser of path and query, presigned form included.
func FuzzTarget(f *testing.F) {
	valid := call{presign: true}.sign(f).RequestURI
	f.Add(valid)
	f.Add("/a%2Fb?x=%20&y&&=z")
	f.Add("http://host/a?X-Amz-Signature=1")
	f.Add("/x?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a%2F20260304%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260304T050607Z&X-Amz-SignedHeaders=host&X-Amz-Expires=1&X-Amz-Signature=" + strings.Repeat("0", 64))
	v := newVerifier(newKeys())
	f.Fuzz(func(t *testing.T, target string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n")))
		if err != nil {
			return
		}
		checkOutcome(t, v, r, strings.Contains(strings.ToLower(target), valid[len(valid)-64:]))
	})
}

// checkOutcome fails when a request is accepted that must not be, or refused
// otherwise than with an Error.
func checkOutcome(t *testing.T, v *sigv4.Verifier, r *http.Request, mayPass bool) {
	t.Helper()
	_, err := verify(v, r)
	var refused *sigv4.Error
	switch {
	case err == nil && !mayPass:
		t.Errorf("%s %s with %q was accepted", r.Method, r.RequestURI, r.Header["Authorization"])
	case err != nil && !errors.As(err, &refused):
		t.Errorf("%v is not a refusal", err)
	case err != nil && (refused.Code == "" || refused.Status < 400 || refused.Status > 499):
		t.Errorf("refusal %+v", refused)
	}
}
