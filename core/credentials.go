package core

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"os"

	"github.com/fescue-edge/fescue/core/config"
	"github.com/fescue-edge/fescue/core/credentials"
	"github.com/fescue-edge/fescue/corelink"
)

// credentialSource is where functions' credentials come from.
func (c *Core) credentialSource() (credentials.Source, error) {
	if c.options.CredentialsEndpoint == "" {
		return groupRole{c.cloud, c.config.ThingARN}, nil
	}
	tls, err := c.config.Credentials.TLS(config.Endpoint{})
	if err != nil {
		return nil, err
	}
	// The endpoint's authority is a public one, or also trusted for the control plane.
	if tls.RootCAs, err = x509.SystemCertPool(); err != nil {
		tls.RootCAs = x509.NewCertPool()
	}
	pem, err := os.ReadFile(c.config.Credentials.CAPath)
	if err != nil {
		return nil, fmt.Errorf("certificate authorities: %w", err)
	}
	tls.RootCAs.AppendCertsFromPEM(pem)
	return credentials.NewEndpoint(c.options.CredentialsEndpoint, c.config.ThingName, tls, func(ctx context.Context, host string, port int) (net.Conn, error) {
		return c.config.Proxy.Dial(ctx, config.Endpoint{Host: host, Port: port})
	})
}

// groupRole is the control plane as a source.
type groupRole struct {
	cloud *corelink.Client
	core  string
}

// Credentials implements credentials.Source.
func (g groupRole) Credentials(ctx context.Context, groupID string) (corelink.Credentials, error) {
	return g.cloud.Credentials(ctx, groupID, g.core)
}
