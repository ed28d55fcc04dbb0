package cloud_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/iot"

	"github.com/fescue-edge/fescue/cloud"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/testkit"
)

const (
	account  = "123456789012"
	patience = testkit.Patience
	loopback = "127.0.0.1:0"
)

// options are those of a server on loopback, for two Regions.
func options(dir string) cloud.Options {
	return cloud.Options{
		DataDir: dir, APIAddr: loopback, DeviceAddr: loopback, MQTTAddr: loopback,
		Account: account, Regions: []string{"us-east-1", "eu-west-1"},
		Logger: slog.New(slog.DiscardHandler),
	}
}

// server is a server that runs.
type server struct {
	t *testing.T
	*cloud.Server
	dir string
	// database is its PostgreSQL database, if it has one.
	database string
	key      cloud.AccessKey
	// stop ends it and waits; the test's end does too.
	stop func()
}

// start runs a server; what it logs as an error is shown if the test fails.
func start(t *testing.T, o cloud.Options) *server {
	t.Helper()
	if !o.Logger.Enabled(t.Context(), slog.LevelError) {
		var errors testkit.Buffer
		o.Logger = slog.New(slog.NewTextHandler(&errors, &slog.HandlerOptions{Level: slog.LevelError}))
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("errors of the server:\n%s", errors.String())
			}
		})
	}
	made, err := cloud.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, Server: made, dir: o.DataDir, database: o.Database}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- made.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Errorf("Run did not end within %v", patience)
		}
	})
	t.Cleanup(s.stop)
	if s.key, err = made.AdminKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// refused asks for a server that is not made, and returns why.
func refused(t *testing.T, o cloud.Options) string {
	t.Helper()
	s, err := cloud.New(t.Context(), o)
	if err == nil {
		s.Close()
		t.Fatal("the server was made")
	}
	return err.Error()
}

// trusting is a TLS configuration that trusts the server's own authority alone.
func (s *server) trusting() *tls.Config {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(s.AuthorityPEM()) {
		s.t.Fatal("the authority's PEM does not parse")
	}
	return &tls.Config{RootCAs: roots}
}

// client is an HTTP client that trusts the server, and the server's URL.
func (s *server) client() (*http.Client, string) {
	transport := &http.Transport{TLSClientConfig: s.trusting()}
	s.t.Cleanup(transport.CloseIdleConnections)
	address := strings.Replace(s.APIAddr(), "[::]", "127.0.0.1", 1)
	return &http.Client{Transport: transport, Timeout: patience}, s.APIScheme() + "://" + address
}

// send sends an unsigned request.
func (s *server) send(method, path string) (status int, body string, header http.Header) {
	s.t.Helper()
	client, base := s.client()
	req, err := http.NewRequestWithContext(s.t.Context(), method, base+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(data), resp.Header
}

// sendAs sends a request without a body, signed for greengrass.
func (s *server) sendAs(region string, key cloud.AccessKey, method, path string) (status int, body string, header http.Header) {
	s.t.Helper()
	client, base := s.client()
	req, err := http.NewRequestWithContext(s.t.Context(), method, base+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	sum := sha256.Sum256(nil)
	credentials := aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret}
	if err := v4.NewSigner().SignHTTP(s.t.Context(), credentials, req, hex.EncodeToString(sum[:]), "greengrass", region, time.Now()); err != nil {
		s.t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(data), resp.Header
}

func (s *server) credentials(key cloud.AccessKey) aws.CredentialsProvider {
	key = cmp.Or(key, s.key)
	return credentials.NewStaticCredentialsProvider(key.ID, key.Secret, "")
}

// greengrass is an SDK client for a Region, with the server's own key or another.
func (s *server) greengrass(region string, key cloud.AccessKey) *greengrass.Client {
	client, base := s.client()
	return greengrass.New(greengrass.Options{
		Region: region, BaseEndpoint: &base, HTTPClient: client, Credentials: s.credentials(key), Retryer: aws.NopRetryer{},
	})
}

func (s *server) iot(region string) *iot.Client {
	client, base := s.client()
	return iot.New(iot.Options{
		Region: region, BaseEndpoint: &base, HTTPClient: client, Credentials: s.credentials(cloud.AccessKey{}), Retryer: aws.NopRetryer{},
	})
}

// core is what a gateway is given.
type core struct {
	thing, certificateARN string
	tls                   tls.Certificate
}

const allowAll = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["iot:*","greengrass:*"],"Resource":"*"}}`

// provision makes a thing with a certificate that may do everything.
func (s *server) provision(region, thing string) core {
	s.t.Helper()
	c, ctx := s.iot(region), s.t.Context()
	check := func(err error) {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
	}
	keys, err := c.CreateKeysAndCertificate(ctx, &iot.CreateKeysAndCertificateInput{SetAsActive: true})
	check(err)
	_, err = c.CreateThing(ctx, &iot.CreateThingInput{ThingName: &thing})
	check(err)
	_, err = c.AttachThingPrincipal(ctx, &iot.AttachThingPrincipalInput{ThingName: &thing, Principal: keys.CertificateArn})
	check(err)
	_, err = c.CreatePolicy(ctx, &iot.CreatePolicyInput{PolicyName: &thing, PolicyDocument: aws.String(allowAll)})
	check(err)
	_, err = c.AttachPolicy(ctx, &iot.AttachPolicyInput{PolicyName: &thing, Target: keys.CertificateArn})
	check(err)
	pair, err := tls.X509KeyPair([]byte(*keys.CertificatePem), []byte(*keys.KeyPair.PrivateKey))
	check(err)
	return core{thing: thing, certificateARN: *keys.CertificateArn, tls: pair}
}

// replacePolicy makes a document the acting one of a policy.
func (s *server) replacePolicy(region, name, document string) {
	s.t.Helper()
	_, err := s.iot(region).CreatePolicyVersion(s.t.Context(), &iot.CreatePolicyVersionInput{
		PolicyName: &name, PolicyDocument: &document, SetAsDefault: true,
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// link is the core's client.
func (s *server) link(c core) *corelink.Client {
	cfg := s.trusting()
	cfg.Certificates = []tls.Certificate{c.tls}
	client := corelink.NewClient(s.DeviceAddr(), cfg)
	s.t.Cleanup(client.Close)
	return client
}
