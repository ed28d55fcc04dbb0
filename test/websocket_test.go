//go:build linux

package test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/fescue-edge/fescue/testkit/programs"
)

// TestDeviceSDKOverWebSocket has the AWS IoT Device SDK for JavaScript, as it comes from
// the npm registry, speak MQTT with an access key, and with a temporary one.
func TestDeviceSDKOverWebSocket(t *testing.T) {
	t.Parallel()
	dir := nodePackage(t, "devicesdk", "aws-iot-device-sdk")
	_, port, err := net.SplitHostPort(address(t))
	if err != nil {
		t.Fatal(err)
	}
	s := startServer(t, "--api", "0.0.0.0:"+port) // beyond loopback the API speaks TLS
	authority := filepath.Join(s.data, "ca.pem")
	pem, err := os.ReadFile(authority)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	cfg := aws.Config{
		Region: region, BaseEndpoint: aws.String("https://127.0.0.1:" + port), Credentials: credentials.NewStaticCredentialsProvider(keyID, secret, ""),
		HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}},
	}
	endpoint, err := iot.NewFromConfig(cfg).DescribeEndpoint(t.Context(), &iot.DescribeEndpointInput{EndpointType: aws.String("iot:Data-ATS")})
	if err != nil {
		t.Fatal(err)
	}
	session, err := sts.NewFromConfig(cfg).GetSessionToken(t.Context(), &sts.GetSessionTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	for name, environment := range map[string][]string{
		"key": {"AWS_ACCESS_KEY_ID=" + keyID, "AWS_SECRET_ACCESS_KEY=" + secret},
		"temporary key": {
			"AWS_ACCESS_KEY_ID=" + *session.Credentials.AccessKeyId, "AWS_SECRET_ACCESS_KEY=" + *session.Credentials.SecretAccessKey,
			"AWS_SESSION_TOKEN=" + *session.Credentials.SessionToken,
		},
	} {
		t.Run(name, func(t *testing.T) {
			script := exec.Command("node", "backend.js", *endpoint.EndpointAddress, port, region)
			script.Dir = dir
			script.Env = programs.Environment(append(environment, "NODE_EXTRA_CA_CERTS="+authority)...)
			var stderr strings.Builder
			script.Stderr = &stderr
			out, err := script.Output()
			if got := strings.TrimSpace(string(out)); err != nil || got != `{"message":"mill/speed 12","shadow":"Lamp accepted true"}` {
				t.Errorf("%s: %v\n%s", got, err, &stderr)
			}
		})
	}
}
