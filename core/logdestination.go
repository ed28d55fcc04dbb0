package core

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

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
	if c.options.LogsCredentials == nil {
		return nil, fmt.Errorf("--logs-endpoint %s needs credentials that it knows: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for the core", endpoint)
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
		Credentials: c.options.LogsCredentials, HTTP: &http.Client{Transport: transport}, Now: time.Now,
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
