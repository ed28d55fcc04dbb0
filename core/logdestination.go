package core

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/fescue-edge/fescue/core/credentials"
	"github.com/fescue-edge/fescue/core/logship"
)

// logDestination is where loggers of type AWSCloudWatch send lines to.
func (c *Core) logDestination() (logship.Destination, error) {
	if c.options.LogsEndpoint == "" {
		return logship.ControlPlane{Client: c.cloud, Thing: c.config.ThingName}, nil
	}
	endpoint, err := url.Parse(c.options.LogsEndpoint)
	if err != nil || endpoint.Host == "" || endpoint.Scheme != "https" && endpoint.Scheme != "http" || endpoint.User != nil {
		// What was given may hold a password.
		return nil, errors.New("--logs-endpoint is not a URL such as https://logs.eu-west-1.amazonaws.com")
	}
	signer := c.roleCredentials
	if explicit := c.options.LogsCredentials; explicit != nil {
		signer = func(ctx context.Context, _ string) (aws.Credentials, error) { return explicit.Retrieve(ctx) }
	} else if endpoint.Scheme == "http" && !loopback(endpoint.Hostname()) {
		return nil, errors.New("--logs-endpoint is http: the session token of the group's role would go to another machine for all to read; name an https URL, one of this machine such as http://127.0.0.1:4566, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: c.trusted(), MinVersion: tls.VersionTLS12}
	if proxy := c.config.Proxy; proxy != nil {
		transport.Proxy = func(r *http.Request) (*url.URL, error) {
			if !proxy.For(r.URL.Hostname()) {
				return nil, nil
			}
			return proxy.URL, nil
		}
	}
	return &logship.CloudWatch{
		Endpoint: endpoint, Partition: c.config.Partition, Thing: c.config.ThingName,
		Credentials: signer, HTTP: &http.Client{Transport: transport}, Now: time.Now,
	}, nil
}

// loopback reports whether a host is this machine.
func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// roleCredentials are the keys of a group's role, which the exchange renews before
// they end. Lines of a group that does not run any more have none.
func (c *Core) roleCredentials(ctx context.Context, groupID string) (aws.Credentials, error) {
	got, err := c.keys.GetFor(ctx, groupID)
	if errors.Is(err, credentials.ErrOtherGroup) {
		return aws.Credentials{}, fmt.Errorf("%w: %w", logship.ErrRefused, err)
	}
	if err != nil {
		return aws.Credentials{}, err
	}
	return aws.Credentials{
		AccessKeyID: got.AccessKeyID, SecretAccessKey: got.SecretAccessKey, SessionToken: got.SessionToken,
		Source: "GreengrassGroupRole", CanExpire: true, Expires: got.Expiration,
	}, nil
}

// EnvironmentCredentials are those of AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
// AWS_SESSION_TOKEN; nil where the first two are not set.
func EnvironmentCredentials() aws.CredentialsProvider {
	c := aws.Credentials{
		AccessKeyID: os.Getenv("AWS_ACCESS_KEY_ID"), SecretAccessKey: os.Getenv("AWS_SECRET_ACCESS_KEY"), SessionToken: os.Getenv("AWS_SESSION_TOKEN"),
	}
	if !c.HasKeys() {
		return nil
	}
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return c, nil })
}

// trusted are the authorities of the machine, and those of config.json.
func (c *Core) trusted() *x509.CertPool {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if text, err := os.ReadFile(c.config.Credentials.CAPath); err == nil {
		pool.AppendCertsFromPEM(text)
	}
	return pool
}
