package sigv4_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/fescue-edge/fescue/cloud/awsapi/wire/sigv4"
	"github.com/fescue-edge/fescue/cloud/identity"
)

const (
	keyID   = "AKIDEXAMPLE"
	secret  = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	account = "123456789012"
)

var signingTime = time.Date(2026, time.March, 4, 5, 6, 7, 0, time.UTC)

// keys is a KeySource that tests can change while it is used.
type keys struct {
	mu    sync.Mutex
	byID  map[string]identity.Key
	fails error
	asked int
}

func newKeys() *keys {
	return &keys{byID: map[string]identity.Key{
		keyID:  {ID: keyID, Secret: secret, Account: account},
		"TEMP": {ID: "TEMP", Secret: secret, Account: account, SessionToken: "session/token+1="},
		"NONE": {ID: "NONE", Account: account},
	}}
}

func (k *keys) Signer(_ context.Context, id string) (identity.Signer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked++
	if k.fails != nil {
		return identity.Signer{}, k.fails
	}
	key, ok := k.byID[id]
	if !ok {
		return identity.Signer{}, identity.ErrUnknownKey
	}
	return identity.Signer{Key: key}, nil
}

func (k *keys) set(key identity.Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.byID[key.ID] = key
}

func (k *keys) remove(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.byID, id)
}

func newVerifier(source identity.Signers) *sigv4.Verifier {
	return &sigv4.Verifier{Signers: source, Now: func() time.Time { return signingTime }, Regions: []string{"eu-west-1", "us-east-1"}}
}

// call is a request to be signed by the AWS SDK.
type call struct {
	method, url, body string
	header            http.Header
	service, region   string
	key, token        string
	secret            string // "" is the secret of all keys
	at                time.Time
	payload           string // the hash line; "" is the hash of body
	presign           bool
}

func (c call) withDefaults() call {
	c.method, c.url = cmp.Or(c.method, "GET"), cmp.Or(c.url, "http://127.0.0.1:8080/greengrass/groups")
	c.service, c.region = cmp.Or(c.service, "greengrass"), cmp.Or(c.region, "us-east-1")
	c.key, c.secret = cmp.Or(c.key, keyID), cmp.Or(c.secret, secret)
	c.at = cmp.Or(c.at, signingTime)
	if c.payload == "" {
		sum := sha256.Sum256([]byte(c.body))
		c.payload = hex.EncodeToString(sum[:])
	}
	return c
}

// sign is the request as a server receives it, with the tampering done between
// the signature and the wire.
func (c call) sign(t testing.TB, tamper ...func(*http.Request)) *http.Request {
	t.Helper()
	c = c.withDefaults()
	r, err := http.NewRequest(c.method, c.url, strings.NewReader(c.body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range c.header {
		r.Header[name] = append([]string(nil), values...)
	}
	credentials := aws.Credentials{AccessKeyID: c.key, SecretAccessKey: c.secret, SessionToken: c.token}
	s3 := func(o *v4.SignerOptions) { o.DisableURIPathEscaping = c.service == "s3" }
	if c.presign {
		signed, headers, err := v4.NewSigner().PresignHTTP(t.Context(), credentials, r, c.payload, c.service, c.region, c.at, s3)
		if err != nil {
			t.Fatal(err)
		}
		if r, err = http.NewRequest(c.method, signed, strings.NewReader(c.body)); err != nil {
			t.Fatal(err)
		}
		for name, values := range headers {
			if name != "Host" && name != "Content-Length" {
				r.Header[name] = values
			}
		}
	} else if err := v4.NewSigner().SignHTTP(t.Context(), credentials, r, c.payload, c.service, c.region, c.at, s3); err != nil {
		t.Fatal(err)
	}
	for _, change := range tamper {
		change(r)
	}
	return receive(t, r)
}

// receive sends the request over a wire.
func receive(t testing.TB, r *http.Request) *http.Request {
	t.Helper()
	var wire bytes.Buffer
	if err := r.Write(&wire); err != nil {
		t.Fatal(err)
	}
	received, err := http.ReadRequest(bufio.NewReader(&wire))
	if err != nil {
		t.Fatal(err)
	}
	return received
}

// verify does what a server does: begin, the header if possible, the body.
func verify(v *sigv4.Verifier, r *http.Request) (*sigv4.Pending, error) {
	p, err := v.Begin(r)
	if err != nil {
		return nil, err
	}
	if !p.NeedsBody() {
		if err := p.VerifyHeader(); err != nil {
			return nil, err
		}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	return p, p.Verify(sha256.Sum256(body))
}

func wantCode(t *testing.T, err error, code string, status int, parts ...string) {
	t.Helper()
	var e *sigv4.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %v, want a refusal %s", err, code)
	}
	if e.Code != code || e.Status != status {
		t.Errorf("refused with %s (%d), want %s (%d): %s", e.Code, e.Status, code, status, e.Message)
	}
	for _, part := range parts {
		if !strings.Contains(e.Message, part) {
			t.Errorf("message %q does not say %q", e.Message, part)
		}
	}
	if strings.Contains(e.Message, secret) {
		t.Errorf("message contains the secret: %q", e.Message)
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	const host = "http://127.0.0.1:8080"
	for _, tc := range []struct {
		name string
		call call
	}{
		{"plain", call{}},
		{"root", call{url: host + "/"}},
		{"no path", call{url: host}},
		{"host without port", call{url: "http://greengrass.us-east-1.example.com/greengrass/groups"}},
		{"host with the default port", call{url: "http://example.com:80/x"}},
		{"IPv6 host", call{url: "http://[::1]:8080/x"}},
		{"slash inside a segment", call{url: host + "/attached-policies/arn%3Aaws%3Aiot%3Aus-east-1%3A123456789012%3Acert%2Fabc"}},
		{"raw colon", call{url: host + "/things/a:b"}},
		{"encoded colon", call{url: host + "/things/a%3Ab"}},
		{"lower-case escapes", call{url: host + "/things/a%3ab%2fc"}},
		{"dollar", call{url: host + "/greengrass/groups/g/deployments/$reset"}},
		{"encoded dollar", call{url: host + "/greengrass/groups/g/deployments/%24reset"}},
		{"space", call{url: host + "/topics/a%2Fb%20c"}},
		{"plus", call{url: host + "/things/a+b%2Bc"}},
		{"unicode", call{url: host + "/things/k%C3%BCche%E6%B8%A9"}},
		{"odd characters", call{url: host + "/things/!'()*;@&=,~-._"}},
		{"double slash", call{url: host + "//things//a/"}},
		{"dot segments", call{url: host + "/things/../x/./y"}},
		{"encoded dot segments", call{url: host + "/things/%2e%2e/x"}},
		{"trailing slash", call{url: host + "/2015-03-31/functions/"}},
		{"base path", call{url: host + "/base/greengrass/groups"}},
		{"query", call{url: host + "/policies?pageSize=2&marker=abc&isAscendingOrder=true"}},
		{"query to encode", call{url: host + "/x?b=%2F%20%3D%26&a=k%C3%BC&c=a+b&d=~*'()"}},
		{"query name without value", call{url: host + "/b?location&acl="}},
		{"repeated query names", call{url: host + "/tags?tagKeys=b&tagKeys=a&tagKeys=a&tagKeys=A&tagKeys=a%2Fb&tagKeys=a-b"}},
		{"query names that sort apart when encoded", call{url: host + "/x?a%3A=1&a0=2&a=3"}},
		{"query with empty pairs", call{url: host + "/x?&a=1&&b=2&"}},
		{"body", call{method: "POST", body: `{"Name":"group"}`, header: http.Header{"Content-Type": {"application/json"}}}},
		{"many headers", call{header: http.Header{"X-Amzn-Client-Token": {"t"}, "X-Amz-Target": {"secretsmanager.GetSecretValue"}, "X-Amzn-Iot-Principal": {"arn:aws:iot:x"}}}},
		{"spaces in a header", call{header: http.Header{"X-Amz-Meta-A": {"  a   b  c "}}}},
		{"empty header", call{header: http.Header{"X-Amz-Meta-A": {""}}}},
		{"header in two lines", call{header: http.Header{"X-Amz-Meta-A": {"b", " a "}}}},
		{"session token", call{key: "TEMP", token: "session/token+1="}},
		{"declared hash", call{method: "POST", body: "x", header: http.Header{"X-Amz-Content-Sha256": {hashOf("x")}}}},
		{"iam ignores the Region", call{service: "iam", region: "us-gov-west-1", method: "POST", url: host + "/", body: "Action=GetRole"}},
		{"sts ignores the Region", call{service: "sts", region: "aws-global", method: "POST", url: host + "/", body: "Action=GetCallerIdentity"}},
		{"other Region that is served", call{region: "eu-west-1"}},
		{"clock 15 minutes behind", call{at: signingTime.Add(-15 * time.Minute)}},
		{"clock 15 minutes ahead", call{at: signingTime.Add(15 * time.Minute)}},
		{"s3 object", call{service: "s3", url: host + "/bucket/a%20b/c%2Bd/k%C3%BC%21", header: http.Header{"X-Amz-Content-Sha256": {hashOf("")}}}},
		{"s3 upload", call{service: "s3", method: "PUT", url: host + "/bucket/key", body: "content", header: http.Header{"X-Amz-Content-Sha256": {hashOf("content")}}}},
		{"s3 unsigned payload", call{service: "s3", method: "PUT", url: host + "/bucket/key", body: "content", payload: "UNSIGNED-PAYLOAD", header: http.Header{"X-Amz-Content-Sha256": {"UNSIGNED-PAYLOAD"}}}},

		{"presigned", call{presign: true}},
		{"presigned with query", call{presign: true, url: host + "/x?b=2&a=1&a=0&c=%2F&X-Amz-Expires=60"}},
		{"presigned with session token", call{presign: true, key: "TEMP", token: "session/token+1="}},
		{"presigned with body", call{presign: true, method: "POST", body: "Action=GetCallerIdentity", service: "sts", url: host + "/"}},
		{"presigned until now", call{presign: true, url: host + "/x?X-Amz-Expires=7200", at: signingTime.Add(-2 * time.Hour)}},
		{"presigned s3", call{presign: true, service: "s3", payload: "UNSIGNED-PAYLOAD", url: host + "/bucket/a%20b?X-Amz-Expires=60"}},
		{"presigned s3 upload", call{presign: true, service: "s3", method: "PUT", body: "x", payload: "UNSIGNED-PAYLOAD", url: host + "/bucket/key?X-Amz-Expires=604800"}},
		{"presigned s3 with declared hash", call{presign: true, service: "s3", method: "PUT", body: "x", url: host + "/bucket/key?X-Amz-Expires=60", header: http.Header{"X-Amz-Content-Sha256": {hashOf("x")}}}},
		{"presigned s3 with declared hash in the query", call{presign: true, service: "s3", method: "PUT", body: "x", url: host + "/bucket/key?X-Amz-Expires=60&X-Amz-Content-Sha256=" + hashOf("x")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p, err := verify(newVerifier(newKeys()), tc.call.sign(t))
			if err != nil {
				t.Fatal(err)
			}
			want := tc.call.withDefaults()
			if p.Signer.Account != account || p.Signer.ID != want.key || p.Region != want.region || p.Service != want.service || !p.Time.Equal(want.at) || p.Presigned != want.presign {
				t.Errorf("verified as %+v", p)
			}
		})
	}
}

// TestNormalizedPaths: most SDKs sign a path without empty segments, "." and "..",
// and send it as it is; the others sign what they send.
func TestNormalizedPaths(t *testing.T) {
	t.Parallel()
	const host = "http://127.0.0.1:8080"
	for _, tc := range []struct{ sent, signed string }{
		{"/greengrass/groups//versions", "/greengrass/groups/versions"},
		{"/greengrass/groups/./versions", "/greengrass/groups/versions"},
		{"/greengrass/groups/../versions", "/greengrass/versions"},
		{"/greengrass/groups/..", "/greengrass"},
		{"/greengrass/groups/.", "/greengrass/groups"},
		{"//greengrass/groups//", "/greengrass/groups/"},
		{"/greengrass/../../../a", "/a"},
		{"/..", "/"},
		{"/./", "/"},
		{"//", "/"},
		{"/things/a%2F..%2Fb//shadow", "/things/a%2F..%2Fb/shadow"},
	} {
		for _, presign := range []bool{false, true} {
			moved := func(r *http.Request) {
				r.URL.Opaque = "//" + r.Host + tc.sent
			}
			p, err := verify(newVerifier(newKeys()), call{url: host + tc.signed, presign: presign}.sign(t, moved))
			if err != nil || !p.PathNormalized {
				t.Errorf("%s signed as %s: %+v, %v", tc.sent, tc.signed, p, err)
			}
			if p, err = verify(newVerifier(newKeys()), call{url: host + tc.sent, presign: presign}.sign(t)); err != nil || p.PathNormalized {
				t.Errorf("%s signed as it is: %+v, %v", tc.sent, p, err)
			}
			_, err = verify(newVerifier(newKeys()), call{url: host + tc.signed + "x", presign: presign}.sign(t, moved))
			wantCode(t, err, "InvalidSignatureException", 403, "does not match")
		}
	}
	for _, sent := range []string{"/greengrass/groups", "/greengrass/groups/", "/", "/a/...", "/a/.b/c..", "/%2e%2e/a"} {
		if p, err := verify(newVerifier(newKeys()), call{url: host + sent}.sign(t)); err != nil || p.PathNormalized {
			t.Errorf("%s: %+v, %v", sent, p, err)
		}
	}
	t.Run("s3 names objects so", func(t *testing.T) {
		moved := func(r *http.Request) { r.URL.Opaque = "//" + r.Host + "/bucket/a//b" }
		s3 := call{service: "s3", url: host + "/bucket/a/b", header: http.Header{"X-Amz-Content-Sha256": {hashOf("")}}}
		_, err := verify(newVerifier(newKeys()), s3.sign(t, moved))
		wantCode(t, err, "SignatureDoesNotMatch", 403, "does not match")
	})
}

func hashOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// TestPublishedVectors checks signatures that AWS publishes: the test suite's
// get-vanilla, and the examples of the IAM user guide and the S3 API reference.
func TestPublishedVectors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, request, key string
		at                 string
	}{
		{"get-vanilla", "GET / HTTP/1.1\r\nHost: example.amazonaws.com\r\nX-Amz-Date: 20150830T123600Z\r\n" +
			"Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, " +
			"Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31\r\n\r\n", secret, "20150830T123600Z"},
		{"list users", "GET /?Action=ListUsers&Version=2010-05-08 HTTP/1.1\r\nHost: iam.amazonaws.com\r\nX-Amz-Date: 20150830T123600Z\r\n" +
			"Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\n" +
			"Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, " +
			"Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7\r\n\r\n", secret, "20150830T123600Z"},
		{"get object", "GET /test.txt HTTP/1.1\r\nHost: examplebucket.s3.amazonaws.com\r\nRange: bytes=0-9\r\nx-amz-date: 20130524T000000Z\r\n" +
			"x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\r\n" +
			"Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;range;x-amz-content-sha256;x-amz-date," +
			"Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41\r\n\r\n",
			"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "20130524T000000Z"},
		{"presigned object", "GET /test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&" +
			"X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&" +
			"X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404 HTTP/1.1\r\nHost: examplebucket.s3.amazonaws.com\r\n\r\n",
			"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "20130524T000000Z"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(tc.request)))
			if err != nil {
				t.Fatal(err)
			}
			at, err := time.Parse("20060102T150405Z", tc.at)
			if err != nil {
				t.Fatal(err)
			}
			source := newKeys()
			source.set(identity.Key{ID: keyID, Secret: tc.key, Account: account})
			source.set(identity.Key{ID: "AKIAIOSFODNN7EXAMPLE", Secret: tc.key, Account: account})
			v := newVerifier(source)
			v.Now = func() time.Time { return at }
			if _, err := verify(v, r); err != nil {
				t.Error(err)
			}
		})
	}
}
