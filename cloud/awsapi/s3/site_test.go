package s3_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/fescue-edge/fescue/cloud/artifacts"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/s3"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/sigv4"
	"github.com/fescue-edge/fescue/cloud/buckets"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
	"github.com/fescue-edge/fescue/policy"
)

func TestMain(m *testing.M) { os.Exit(storetest.Run(m)) }

const secret = "a-secret-that-only-tests-know"

// accounts are the accounts of two access keys.
var accounts = map[string]string{"AKIDONE": "123456789012", "AKIDTWO": "210987654321"}

// silence observes requests and does nothing.
type silence struct{}

func (silence) ObserveRequest(string, string, int, time.Duration) {}

// site is an endpoint with a real store and folder behind it.
type site struct {
	*httptest.Server
	logs *bytes.Buffer
	// policies are documents that decide for everybody; none allow all.
	policies []string
}

// Signer implements identity.Signers.
func (s *site) Signer(_ context.Context, id string) (identity.Signer, error) {
	account, ok := accounts[id]
	if !ok {
		return identity.Signer{}, identity.ErrUnknownKey
	}
	documents := s.policies
	if documents == nil {
		documents = []string{`{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`}
	}
	set, err := policy.ParseAll(documents)
	return identity.Signer{
		Key:    identity.Key{ID: id, Secret: secret, Account: account},
		Caller: identity.Caller{Identity: "user/tester", Access: "tester", Policies: []policy.Set{set}},
	}, err
}

func open(t testing.TB, tls bool) *site {
	t.Helper()
	s := &site{logs: new(bytes.Buffer)}
	logger := slog.New(slog.NewTextHandler(s.logs, nil))
	handler := awsapi.New(awsapi.Options{
		Verifier: &sigv4.Verifier{Signers: s, Regions: []string{"eu-west-1", "us-east-1"}},
		AWS:      "aws", DefaultRegion: "eu-west-1", SpoolDir: t.TempDir(), Observer: silence{}, Logger: logger,
		Services: map[string]awsapi.Service{"s3": s3.New(s3.Options{Buckets: service(t, logger), Hosts: []string{"fescue.example.com", "s3.eu-west-1.amazonaws.com", "s3-eu-west-1.amazonaws.com"}, Logger: logger})},
	})
	if s.Server = httptest.NewUnstartedServer(handler); tls {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

func service(t testing.TB, logger *slog.Logger) *buckets.Service {
	t.Helper()
	st := storetest.Open(t)
	folder, err := artifacts.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return buckets.New(buckets.Options{Store: st.Buckets(), Blobs: folder, SpoolDir: t.TempDir(), Now: time.Now, Logger: logger})
}

// client is the AWS SDK's.
func (s *site) client(key, region string, options ...func(*awss3.Options)) *awss3.Client {
	return awss3.NewFromConfig(aws.Config{
		Region: region, BaseEndpoint: aws.String(s.URL), HTTPClient: s.Client(), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(key, secret, ""),
	}, append([]func(*awss3.Options){func(o *awss3.Options) { o.UsePathStyle = true }}, options...)...)
}

// raw is a request that is signed and sent as it is written.
type raw struct {
	method, target string
	header         map[string]string
	body           string
	key, region    string
	host           string
}

// answer is what came back.
type answer struct {
	*http.Response
	body string
	code string
}

func (s *site) send(t testing.TB, q raw) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), q.method, s.URL, strings.NewReader(q.body))
	if err != nil {
		t.Fatal(err)
	}
	path, query, _ := strings.Cut(q.target, "?")
	r.URL.Path, r.URL.RawPath, r.URL.RawQuery = path, path, query
	if plain, err := url.PathUnescape(path); err == nil {
		r.URL.Path = plain
	}
	if q.host != "" {
		r.Host = q.host
	}
	if q.key == "" {
		q.key = "AKIDONE"
	}
	if q.region == "" {
		q.region = "eu-west-1"
	}
	sum := sha256.Sum256([]byte(q.body))
	r.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
	for name, value := range q.header {
		r.Header.Set(name, value)
	}
	err = v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: q.key, SecretAccessKey: secret}, r, r.Header.Get("X-Amz-Content-Sha256"), "s3", q.region, time.Now(),
		func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err != nil {
		t.Fatal(err)
	}
	return s.do(t, r)
}

func (s *site) do(t testing.TB, r *http.Request) answer {
	t.Helper()
	response, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{response, string(body), ""}
	var e struct {
		XMLName   xml.Name `xml:"Error"`
		Code      string
		Message   string
		RequestId string
	}
	if response.StatusCode >= 400 && r.Method != http.MethodHead {
		if err := xml.Unmarshal(body, &e); err != nil || e.Message == "" || e.RequestId == "" || e.RequestId != response.Header.Get("X-Amz-Request-Id") {
			t.Errorf("%s %s: not an S3 error: %s", r.Method, r.URL, body)
		}
		a.code = e.Code
	}
	return a
}

func wantCode(t testing.TB, what string, err error, code string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}

func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
