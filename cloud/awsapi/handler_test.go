package awsapi_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
)

// refusal reads an error in the form of a service, and checks the form.
func refusal(t *testing.T, service string, w *httptest.ResponseRecorder) (code, message string) {
	t.Helper()
	requestID := w.Header().Get("x-amzn-RequestId")
	if !fescue.ValidID(requestID) {
		t.Errorf("request id %q", requestID)
	}
	if service == "sts" || service == "iam" {
		var body struct {
			XMLName xml.Name `xml:"ErrorResponse"`
			Error   struct{ Type, Code, Message string }
			ID      string `xml:"RequestId"`
		}
		if err := xml.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatalf("%s: %v", w.Body, err)
		}
		kind := "Sender"
		if w.Code >= 500 {
			kind = "Receiver"
		}
		if w.Header().Get("Content-Type") != "text/xml" || body.ID != requestID || body.Error.Type != kind || w.Header().Get("x-amzn-ErrorType") != "" {
			t.Errorf("headers %v, body %s", w.Header(), w.Body)
		}
		return body.Error.Code, body.Error.Message
	}
	member := "message"
	if service == "greengrass" || service == "lambda" {
		member = "Message"
	}
	var body map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatalf("%s: %v", w.Body, err)
	}
	if _, there := body[member]; !there || len(body) != 1 || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("headers %v, body %s", w.Header(), w.Body)
	}
	return w.Header().Get("x-amzn-ErrorType"), body[member]
}

func wantRefusal(t *testing.T, service string, w *httptest.ResponseRecorder, status int, code, text string) {
	t.Helper()
	gotCode, message := refusal(t, service, w)
	if w.Code != status || gotCode != code || !strings.Contains(message, text) {
		t.Errorf("%d %s %q, want %d %s %q", w.Code, gotCode, message, status, code, text)
	}
	if strings.Contains(w.Body.String(), secret) {
		t.Errorf("the answer contains the secret: %s", w.Body)
	}
}

// Every way in which a signature can be wrong, in the words of a REST-JSON
// service and of the query protocol.
func TestUnauthenticated(t *testing.T) {
	t.Parallel()
	type wire struct {
		status int
		code   string
	}
	for _, c := range []struct {
		name         string
		call         call
		tamper       func(*http.Request)
		json, query  wire
		text         string
		globalServed bool // sts takes any Region
	}{
		{
			name: "malformed", tamper: func(r *http.Request) {
				r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "Signature=", "Signature=zz", 1))
			},
			json: wire{400, "IncompleteSignatureException"}, query: wire{400, "IncompleteSignature"},
		},
		{name: "another Region", call: call{region: "ap-south-1"}, json: wire{403, "InvalidSignatureException"}, text: "eu-west-1, us-east-1", globalServed: true},
		{name: "unknown key", call: call{key: "AKIDUNKNOWN"}, json: wire{403, "UnrecognizedClientException"}, query: wire{403, "InvalidClientTokenId"}, text: "AKIDUNKNOWN"},
		{name: "a token nobody asked for", tamper: func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "x") }, json: wire{403, "InvalidSignatureException"}, query: wire{403, "SignatureDoesNotMatch"}},
		{name: "too old", call: call{at: now.Add(-16 * time.Minute)}, json: wire{403, "InvalidSignatureException"}, query: wire{403, "SignatureDoesNotMatch"}},
		{name: "from the future", call: call{at: now.Add(16 * time.Minute)}, json: wire{403, "InvalidSignatureException"}, query: wire{403, "SignatureDoesNotMatch"}},
		{name: "another secret", call: call{secret: "another"}, json: wire{403, "InvalidSignatureException"}, query: wire{403, "SignatureDoesNotMatch"}},
		{name: "another secret, hash declared", call: call{secret: "another", declare: true}, json: wire{403, "InvalidSignatureException"}, query: wire{403, "SignatureDoesNotMatch"}},
		{name: "another path", tamper: func(r *http.Request) { r.RequestURI = "/x" + r.RequestURI }, json: wire{403, "InvalidSignatureException"}, query: wire{403, "SignatureDoesNotMatch"}},
		{name: "another method", tamper: func(r *http.Request) { r.Method = "PUT" }, json: wire{403, "InvalidSignatureException"}, query: wire{403, "SignatureDoesNotMatch"}},
		{name: "another host", tamper: func(r *http.Request) { r.Host = "other.example.org" }, json: wire{403, "InvalidSignatureException"}, query: wire{403, "SignatureDoesNotMatch"}, text: "other.example.org"},
		{name: "another body", call: call{body: "abc"}, tamper: body("abd"), json: wire{403, "InvalidSignatureException"}, query: wire{403, "SignatureDoesNotMatch"}},
		{name: "another body, hash declared", call: call{body: "abc", declare: true}, tamper: body("abd"), json: wire{403, "InvalidSignatureException"}, query: wire{403, "SignatureDoesNotMatch"}},
	} {
		for service, want := range map[string]wire{"greengrass": c.json, "lambda": c.json, "sts": c.query} {
			t.Run(c.name+", "+service, func(t *testing.T) {
				t.Parallel()
				e := open(t)
				request := c.call
				request.service = service
				var tamper []func(*http.Request)
				if c.tamper != nil {
					tamper = append(tamper, c.tamper)
				}
				w := e.serve(request.sign(t, tamper...))
				if service == "sts" && c.globalServed {
					wantRefusal(t, service, w, 404, "InvalidAction", "")
					return
				}
				wantRefusal(t, service, w, want.status, want.code, c.text)
				if e.kept() != 0 {
					t.Error("the service was asked")
				}
				if len(e.observed) != 1 || e.observed[0].operation != "" || e.observed[0].status != want.status {
					t.Errorf("observed %+v", e.observed)
				}
			})
		}
	}
	t.Run("no signature", func(t *testing.T) {
		t.Parallel()
		e := open(t)
		for _, authorization := range []string{"", "Basic QTpi"} {
			r := httptest.NewRequestWithContext(t.Context(), "POST", "/keep", nil)
			if authorization != "" {
				r.Header.Set("Authorization", authorization)
			}
			if w := e.serve(r); w.Code < 400 || w.Code >= 500 {
				t.Errorf("%q: %d %s", authorization, w.Code, w.Body)
			} else if code, _ := refusal(t, "greengrass", w); code == "" {
				t.Errorf("%q: no code", authorization)
			}
		}
		if e.kept() != 0 {
			t.Error("the service was asked")
		}
	})
	t.Run("keys that cannot be read", func(t *testing.T) {
		t.Parallel()
		for _, service := range []string{"greengrass", "sts"} {
			e := open(t)
			e.signerFails = errors.New("disk on fire")
			w := e.serve(call{service: service}.sign(t))
			wantRefusal(t, service, w, 500, "InternalFailure", "log")
			if strings.Contains(w.Body.String(), "fire") || !strings.Contains(e.logs.String(), "fire") || !strings.Contains(e.logs.String(), w.Header().Get("x-amzn-RequestId")) {
				t.Errorf("answer %s, log %s", w.Body, e.logs)
			}
		}
	})
}

// TestBusyDatabase: what was not done for a database that is busy or away is to be asked again.
func TestBusyDatabase(t *testing.T) {
	t.Parallel()
	for service, code := range map[string]string{"greengrass": "ServiceUnavailableException", "sts": "ServiceUnavailable", "iam": "ServiceUnavailable"} {
		for cause, says := range map[error]string{fescue.ErrBusy: "is busy", fescue.ErrAway: "cannot be reached", fescue.ErrUncertain: "may have been"} {
			e := open(t)
			e.signerFails = fmt.Errorf("read key: %w", cause)
			w := e.serve(call{service: service}.sign(t))
			wantRefusal(t, service, w, http.StatusServiceUnavailable, code, says)
			if after, err := strconv.Atoi(w.Header().Get("Retry-After")); err != nil || after < 1 {
				t.Errorf("%s: Retry-After %q", service, w.Header().Get("Retry-After"))
			}
		}
	}
}

// body replaces a body by one of the same length.
func body(text string) func(*http.Request) {
	return func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(text)) }
}

func TestServed(t *testing.T) {
	t.Parallel()
	e := open(t)
	for _, c := range []call{
		{body: "in memory"},
		{body: "declared", declare: true},
		{body: "chunked", chunked: true},
		{body: ""},
		{body: "", declare: true},
		{service: "lambda", region: "eu-west-1", body: strings.Repeat("spooled", 1<<19)},
	} {
		if w := e.serve(c.sign(t)); w.Code != 200 || w.Body.String() != "{}" || !fescue.ValidID(w.Header().Get("x-amzn-RequestId")) {
			t.Fatalf("%.20s: %d %s", c.body, w.Code, w.Body)
		}
		e.mu.Lock()
		got, text := e.calls[len(e.calls)-1], e.bodies[len(e.bodies)-1]
		e.mu.Unlock()
		want := home
		if c.region != "" {
			want.Region = c.region
		}
		if got.Partition != want || got.KeyID != keyID || got.Operation != "Keep" || !fescue.ValidID(got.RequestID) || text != c.body {
			t.Errorf("call %+v with a body of %d bytes, want %v and %d bytes", got, len(text), want, len(c.body))
		}
	}
	if diff := cmp.Diff(observed{"lambda", "Keep", 200}, e.observed[len(e.observed)-1], cmp.AllowUnexported(observed{})); diff != "" {
		t.Error(diff)
	}
}

func TestGlobalService(t *testing.T) {
	t.Parallel()
	e := open(t)
	// Whatever Region a client signs for: the account is that of the key.
	for _, region := range []string{"us-east-1", "ap-south-1", "aws-global"} {
		w := e.serve(call{service: "sts", region: region, target: "/", body: "Action=GetCallerIdentity&Version=2011-06-15"}.sign(t))
		if w.Code != 200 || !strings.Contains(w.Body.String(), "<Account>123456789012</Account>") || !strings.Contains(w.Body.String(), w.Header().Get("x-amzn-RequestId")) {
			t.Errorf("%s: %d %s", region, w.Code, w.Body)
		}
	}
	if diff := cmp.Diff(observed{"sts", "GetCallerIdentity", 200}, e.observed[0], cmp.AllowUnexported(observed{})); diff != "" {
		t.Error(diff)
	}
}

func TestUnknown(t *testing.T) {
	t.Parallel()
	t.Run("service", func(t *testing.T) {
		t.Parallel()
		e := open(t)
		w := e.serve(call{service: "dynamodb"}.sign(t))
		wantRefusal(t, "", w, 404, "UnknownOperationException", `"dynamodb"`)
		wantRefusal(t, "", e.serve(call{service: "dynamodb", secret: "wrong"}.sign(t)), 404, "UnknownOperationException", `"dynamodb"`)
		wantRefusal(t, "", e.serve(call{service: "dynamodb", key: "WRONG"}.sign(t)), 403, "UnrecognizedClientException", "WRONG")
	})
	t.Run("operation", func(t *testing.T) {
		t.Parallel()
		e := open(t)
		wantRefusal(t, "greengrass", e.serve(call{target: "/other"}.sign(t)), 404, "UnknownOperationException", "POST /other")
		wantRefusal(t, "greengrass", e.serve(call{method: "GET"}.sign(t)), 404, "UnknownOperationException", "GET /keep")
		wantRefusal(t, "sts", e.serve(call{service: "sts", target: "/", body: "Action=GetFederationToken&Version=2011-06-15"}.sign(t)), 400, "InvalidAction", "GetFederationToken")
		wantRefusal(t, "sts", e.serve(call{service: "sts", target: "/"}.sign(t)), 400, "MissingAction", "")
		for _, o := range e.observed {
			if o.operation != "" || o.status < 400 {
				t.Errorf("observed %+v", o)
			}
		}
	})
}

func TestOversize(t *testing.T) {
	t.Parallel()
	const small = 1 << 20
	for service, limit := range map[string]int64{"greengrass": small, "sts": small, "lambda": large} {
		t.Run(service, func(t *testing.T) {
			t.Parallel()
			e := open(t)
			over := strings.Repeat("x", int(limit)+1)
			text := fmt.Sprintf("%d bytes", limit)
			t.Run("declared, not read", func(t *testing.T) {
				w := e.serve(call{service: service, body: over}.sign(t, func(r *http.Request) { r.Body = io.NopCloser(untouchable{t}) }))
				wantRefusal(t, service, w, 413, "RequestEntityTooLargeException", text)
			})
			t.Run("chunked", func(t *testing.T) {
				for _, declare := range []bool{false, true} {
					w := e.serve(call{service: service, body: over, chunked: true, declare: declare}.sign(t))
					if limit > small { // which is more than is taken without a length
						wantRefusal(t, service, w, 411, "MissingContentLength", "")
						continue
					}
					wantRefusal(t, service, w, 413, "RequestEntityTooLargeException", text)
				}
			})
			t.Run("the largest", func(t *testing.T) {
				if service == "sts" {
					return
				}
				for _, chunked := range []bool{false, limit == small} {
					if w := e.serve(call{service: service, body: over[1:], chunked: chunked}.sign(t)); w.Code != 200 {
						t.Errorf("%d %s", w.Code, w.Body)
					}
				}
				if len(e.bodies) != 2 || len(e.bodies[1]) != int(limit) {
					t.Errorf("%d bodies arrived", len(e.bodies))
				}
			})
		})
	}
	t.Run("a wrong signature is refused before the body is read", func(t *testing.T) {
		t.Parallel()
		e := open(t)
		w := e.serve(call{service: "lambda", body: "abc", declare: true, secret: "wrong"}.sign(t, func(r *http.Request) { r.Body = io.NopCloser(untouchable{t}) }))
		wantRefusal(t, "lambda", w, 403, "InvalidSignatureException", "")
	})
}
