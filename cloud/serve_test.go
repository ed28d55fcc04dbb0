package cloud_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/cloud"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/pki"
	"github.com/fescue-edge/fescue/testkit"
)

func TestOwnPaths(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	o.PublicHosts = []string{"greengrass.example.com", "192.0.2.7"}
	o.PublicMQTTPort = 443 // something leads from there to another one
	s := start(t, o)

	for _, path := range []string{"/healthz", "/readyz"} {
		if status, body, _ := s.send("GET", path); status != http.StatusOK || body != "ok\n" {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	t.Run("metrics", func(t *testing.T) {
		if _, err := s.greengrass("us-east-1", cloud.AccessKey{}).ListGroups(t.Context(), &greengrass.ListGroupsInput{}); err != nil {
			t.Fatal(err)
		}
		status, body, _ := s.sendAs("us-east-1", s.key, "GET", "/fescue/v1/metrics")
		for _, want := range []string{
			`fescue_api_requests_total{operation="ListGroups",service="greengrass",status="200"} 1`,
			"fescue_api_request_seconds_bucket", "fescue_mqtt_connections 0", "fescue_mqtt_refused_total 0", "go_goroutines",
		} {
			if !strings.Contains(body, want) {
				t.Errorf("status %d, no %s", status, want)
			}
		}
	})
	t.Run("endpoints", func(t *testing.T) {
		status, body, header := s.send("GET", "/fescue/v1/endpoints")
		var got map[string]any
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{
			"host": "greengrass.example.com", "devicePort": portOf(t, s.DeviceAddr()), "mqttPort": 443.0,
			"ca": string(s.AuthorityPEM()),
		}
		if diff := cmp.Diff(want, got); diff != "" || status != http.StatusOK || header.Get("Content-Type") != "application/json" {
			t.Errorf("status %d, %v, %s", status, header, diff)
		}
		described, err := s.iot("us-east-1").DescribeEndpoint(t.Context(), &iot.DescribeEndpointInput{EndpointType: aws.String("iot:Data-ATS")})
		if err != nil || *described.EndpointAddress != "greengrass.example.com" {
			t.Errorf("DescribeEndpoint: %+v, %v", described, err)
		}
	})
	for _, request := range []string{
		"POST /healthz", "GET /", "GET /fescue", "GET /fescue/v1/endpoints/x", "GET /greengrass/groups", "PUT /metrics",
		"GET /metrics", "GET /fescue/v1/events", "GET /fescue/v1/metrics", "GET //metrics", "GET //healthz", "GET /./healthz", "GET /fescue/v1//endpoints", "GET /x/../healthz",
		"GET /2015-03-31/functions/", "GET /x/..%2fhealthz", "GET /%00", "GET /%ff",
	} {
		t.Run(request+" needs a signature", func(t *testing.T) {
			method, path, _ := strings.Cut(request, " ")
			if status, body, _ := s.with(t).send(method, path); status != http.StatusForbidden || !strings.Contains(body, "the request is not signed") {
				t.Errorf("%d %s", status, body)
			}
		})
	}
}

// with is the same server for a subtest.
func (s *server) with(t *testing.T) *server {
	c := *s
	c.t = t
	return &c
}

func portOf(t *testing.T, address string) float64 {
	t.Helper()
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	var n float64
	if err := json.Unmarshal([]byte(text), &n); err != nil || n == 0 {
		t.Fatalf("port %q: %v", text, err)
	}
	return n
}

func TestAPIListener(t *testing.T) {
	t.Parallel()
	const everywhere = "0.0.0.0:0"

	t.Run("plain HTTP on loopback", func(t *testing.T) {
		t.Parallel()
		s := start(t, options(t.TempDir()))
		if s.APIScheme() != "http" || s.OwnAPICertificate() {
			t.Errorf("scheme %s", s.APIScheme())
		}
	})
	t.Run("HTTPS beyond it, with a leaf of its own", func(t *testing.T) {
		t.Parallel()
		o := options(t.TempDir())
		o.APIAddr, o.PublicHosts = everywhere, []string{"greengrass.example.com"}
		s := start(t, o)
		if s.APIScheme() != "https" || !s.OwnAPICertificate() {
			t.Fatalf("scheme %s", s.APIScheme())
		}
		if _, err := s.greengrass("us-east-1", cloud.AccessKey{}).ListGroups(t.Context(), &greengrass.ListGroupsInput{}); err != nil {
			t.Error(err)
		}
		cfg := s.trusting()
		cfg.ServerName = "greengrass.example.com"
		conn, err := tls.Dial("tcp", s.APIAddr(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		onDisk, err := os.ReadFile(s.AuthorityFile())
		if err != nil || string(onDisk) != string(s.AuthorityPEM()) {
			t.Errorf("ca.pem: %v", err)
		}
	})
	t.Run("plain HTTP beyond it when asked for", func(t *testing.T) {
		t.Parallel()
		o := options(t.TempDir())
		o.APIAddr, o.InsecureHTTP = everywhere, true
		s := start(t, o)
		if status, _, _ := s.send("GET", "/healthz"); status != http.StatusOK || s.APIScheme() != "http" {
			t.Errorf("status %d, scheme %s", status, s.APIScheme())
		}
	})
	t.Run("HTTPS with the operator's certificate", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		authority, err := pki.NewAuthority("operator", pki.ECDSA, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := authority.IssueServer(pki.ECDSA, []string{"operator.example.com"}, time.Now(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		pem, err := (&pki.Authority{Certificate: leaf.Leaf, Key: leaf.PrivateKey.(crypto.Signer)}).Encode()
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "pair.pem")
		if err := os.WriteFile(file, pem, 0o600); err != nil {
			t.Fatal(err)
		}
		o := options(filepath.Join(dir, "data"))
		o.APICertFile, o.APIKeyFile, o.DeviceCertFile, o.DeviceKeyFile = file, file, file, file
		s := start(t, o)
		if s.APIScheme() != "https" || s.OwnAPICertificate() {
			t.Fatalf("scheme %s, own %v", s.APIScheme(), s.OwnAPICertificate())
		}
		conn, err := tls.Dial("tcp", s.APIAddr(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if got := conn.ConnectionState().PeerCertificates[0]; !got.Equal(leaf.Leaf) {
			t.Errorf("the leaf is %s", got.Subject)
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
		defer client.CloseIdleConnections()
		resp, err := client.Get("https://" + s.APIAddr() + "/fescue/v1/endpoints")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); err != nil || strings.Contains(string(body), `"ca"`) {
			t.Errorf("endpoints %s, %v", body, err)
		}
	})
}

// Two Regions are two partitions.
func TestRegions(t *testing.T) {
	t.Parallel()
	s := start(t, options(t.TempDir()))
	ctx := t.Context()
	east, west := s.greengrass("us-east-1", cloud.AccessKey{}), s.greengrass("eu-west-1", cloud.AccessKey{})
	group, err := east.CreateGroup(ctx, &greengrass.CreateGroupInput{Name: aws.String("mill")})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(*group.Arn, "arn:aws:greengrass:us-east-1:"+account+":") {
		t.Errorf("ARN %s", *group.Arn)
	}
	mill := s.provision("us-east-1", "mill")

	t.Run("groups", func(t *testing.T) {
		list, err := west.ListGroups(ctx, &greengrass.ListGroupsInput{})
		if err != nil || len(list.Groups) != 0 {
			t.Errorf("listed %v, %v", list, err)
		}
		for what, call := range map[string]func() error{
			"get": func() error { _, err := west.GetGroup(ctx, &greengrass.GetGroupInput{GroupId: group.Id}); return err },
			"delete": func() error {
				_, err := west.DeleteGroup(ctx, &greengrass.DeleteGroupInput{GroupId: group.Id})
				return err
			},
			"rename": func() error {
				_, err := west.UpdateGroup(ctx, &greengrass.UpdateGroupInput{GroupId: group.Id, Name: aws.String("x")})
				return err
			},
			"deploy": func() error {
				_, err := west.CreateDeployment(ctx, &greengrass.CreateDeploymentInput{
					GroupId: group.Id, DeploymentType: types.DeploymentTypeNewDeployment, GroupVersionId: aws.String("b9a1c3de-0000-4000-8000-000000000000"),
				})
				return err
			},
		} {
			if err := call(); err == nil {
				t.Errorf("%s: done in the other Region", what)
			}
		}
		if got, err := east.GetGroup(ctx, &greengrass.GetGroupInput{GroupId: group.Id}); err != nil || *got.Name != "mill" {
			t.Errorf("in its own: %+v, %v", got, err)
		}
	})
	t.Run("things", func(t *testing.T) {
		c := s.iot("eu-west-1")
		things, err := c.ListThings(ctx, &iot.ListThingsInput{})
		if err != nil || len(things.Things) != 0 {
			t.Errorf("listed %+v, %v", things, err)
		}
		if _, err := c.DescribeThing(ctx, &iot.DescribeThingInput{ThingName: aws.String("mill")}); err == nil {
			t.Error("described in the other Region")
		}
		if _, err := c.CreateThing(ctx, &iot.CreateThingInput{ThingName: aws.String("mill")}); err != nil {
			t.Errorf("its own of that name: %v", err)
		}
		if _, err := c.AttachThingPrincipal(ctx, &iot.AttachThingPrincipalInput{ThingName: aws.String("mill"), Principal: &mill.certificateARN}); err == nil {
			t.Error("the other Region's certificate was attached")
		}
	})
	t.Run("a Region that is not served", func(t *testing.T) {
		_, err := s.greengrass("ap-south-1", cloud.AccessKey{}).ListGroups(ctx, &greengrass.ListGroupsInput{})
		if err == nil || !strings.Contains(err.Error(), "us-east-1, eu-west-1") || !strings.Contains(err.Error(), `"ap-south-1"`) {
			t.Errorf("error %v", err)
		}
	})
}

// deployMill deploys a group that has only the core, and returns the ids.
func (s *server) deployMill(c core) (group, deployment string) {
	s.t.Helper()
	gg, ctx := s.greengrass("us-east-1", cloud.AccessKey{}), s.t.Context()
	cores, err := gg.CreateCoreDefinition(ctx, &greengrass.CreateCoreDefinitionInput{InitialVersion: &types.CoreDefinitionVersion{
		Cores: []types.Core{{Id: aws.String("c"), CertificateArn: &c.certificateARN, ThingArn: aws.String("arn:aws:iot:us-east-1:" + account + ":thing/" + c.thing)}},
	}})
	if err != nil {
		s.t.Fatal(err)
	}
	made, err := gg.CreateGroup(ctx, &greengrass.CreateGroupInput{Name: aws.String("mill"), InitialVersion: &types.GroupVersion{
		CoreDefinitionVersionArn: cores.LatestVersionArn,
	}})
	if err != nil {
		s.t.Fatal(err)
	}
	d, err := gg.CreateDeployment(ctx, &greengrass.CreateDeploymentInput{
		GroupId: made.Id, GroupVersionId: made.LatestVersion, DeploymentType: types.DeploymentTypeNewDeployment,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	testkit.Until(s.t, "the deployment is built", func() bool {
		status, err := gg.GetDeploymentStatus(ctx, &greengrass.GetDeploymentStatusInput{GroupId: made.Id, DeploymentId: d.DeploymentId})
		if err != nil {
			s.t.Fatal(err)
		}
		if *status.DeploymentStatus == "Failure" {
			s.t.Fatal(*status.ErrorMessage)
		}
		return *status.DeploymentStatus == "InProgress"
	})
	return *made.Id, *d.DeploymentId
}

// What one server has done the next one knows.
func TestRestart(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	first := start(t, o)
	mill := first.provision("us-east-1", "mill")
	group, deployment := first.deployMill(mill)
	keys, err := first.link(mill).SigningKeys(t.Context())
	if err != nil || len(keys.Keys) != 1 {
		t.Fatalf("signing keys %+v, %v", keys, err)
	}
	first.stop()

	second := start(t, o)
	if second.MadeKey.ID != "" || second.key != first.key {
		t.Errorf("access key %q, was %q", second.key.ID, first.key.ID)
	}
	if string(second.AuthorityPEM()) != string(first.AuthorityPEM()) {
		t.Error("the listeners have another authority")
	}
	again, err := second.link(mill).SigningKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(keys, again); diff != "" {
		t.Error(diff)
	}
	offer, err := second.link(mill).GetDeployment(t.Context(), "mill", corelink.Poll{})
	if err != nil || offer.GroupID != group || offer.DeploymentID != deployment || offer.Epoch != 1 || len(offer.Envelope) == 0 {
		t.Errorf("offered %+v, %v", offer, err)
	}
	// The second device certificate is signed by the same authority.
	other := second.provision("us-east-1", "other")
	if string(issuer(t, other)) != string(issuer(t, mill)) {
		t.Error("devices have another authority")
	}
}

func issuer(t *testing.T, c core) []byte {
	t.Helper()
	if c.tls.Leaf == nil {
		t.Fatal("no leaf")
	}
	return append(c.tls.Leaf.RawIssuer, c.tls.Leaf.AuthorityKeyId...)
}

func TestShutdown(t *testing.T) {
	t.Parallel()

	t.Run("does not wait for long polls and open connections", func(t *testing.T) {
		t.Parallel()
		s := start(t, options(t.TempDir()))
		mill := s.provision("us-east-1", "mill")
		link := s.link(mill)
		if _, err := link.SigningKeys(t.Context()); err != nil {
			t.Fatal(err)
		}
		cfg := s.trusting()
		cfg.Certificates = []tls.Certificate{mill.tls}
		idle, err := tls.Dial("tcp", s.MQTTAddr(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer idle.Close()
		sent, ended := make(chan struct{}), make(chan error, 1)
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			WroteRequest: func(httptrace.WroteRequestInfo) { close(sent) },
		})
		go func() {
			_, err := link.GetDeployment(ctx, "mill", corelink.Poll{Wait: corelink.MaxPoll})
			ended <- err
		}()
		<-sent
		start := time.Now()
		s.stop()
		t.Logf("ended after %v", time.Since(start))
		if err := <-ended; err == nil {
			t.Error("the poll was answered")
		} else if _, refused := corelink.Refused(err); refused {
			t.Errorf("the core is answered to give up: %v", err)
		}
		if conn, err := net.Dial("tcp", s.APIAddr()); err == nil {
			conn.Close()
			t.Error("the API still listens")
		}
	})
	t.Run("a deadline ends it as well", func(t *testing.T) {
		t.Parallel()
		s, err := cloud.New(t.Context(), options(t.TempDir()))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithDeadline(t.Context(), time.Now())
		defer cancel()
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Run("so does a cause", func(t *testing.T) {
		t.Parallel()
		s, err := cloud.New(t.Context(), options(t.TempDir()))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("interrupt"))
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Run("a server that was not run is closed", func(t *testing.T) {
		t.Parallel()
		o := options(t.TempDir())
		for range 2 {
			s, err := cloud.New(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
