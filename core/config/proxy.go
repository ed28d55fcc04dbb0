package config

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
)

// Proxy is the network proxy on the way to the cloud: HTTP or HTTPS, with basic
// authentication or none.
type Proxy struct {
	// URL has scheme, host with port, and the credentials.
	URL *url.URL
	// NoProxy lists IP addresses and host names that are reached directly.
	NoProxy []string
	// CAFile holds authorities that an HTTPS proxy is trusted by, besides the
	// system's: the original documents caPath for this.
	CAFile string
}

func (f *proxyFile) resolve() (*Proxy, error) {
	if f == nil || f.Proxy.URL == "" {
		return nil, nil
	}
	u, err := url.Parse(f.Proxy.URL)
	if err != nil || u.Hostname() == "" {
		// The URL may hold a password and is not repeated.
		return nil, invalid("coreThing.networkProxy.proxy.url is not scheme://userinfo@host:port")
	}
	port, ok := map[string]string{"http": "80", "https": "443"}[u.Scheme]
	if !ok {
		return nil, invalid("coreThing.networkProxy.proxy.url has scheme %q; only http and https proxies are supported", u.Scheme)
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), port)
	}
	if u.User == nil && f.Proxy.Username != "" {
		u.User = url.UserPassword(f.Proxy.Username, f.Proxy.Password)
	}
	p := &Proxy{URL: &url.URL{Scheme: u.Scheme, Host: u.Host, User: u.User}}
	for _, address := range strings.Split(f.NoProxyAddresses, ",") {
		if address = strings.TrimSpace(address); address != "" {
			p.NoProxy = append(p.NoProxy, address)
		}
	}
	return p, nil
}

// For reports whether host is reached through the proxy. A nil Proxy is none.
func (p *Proxy) For(host string) bool {
	return p != nil && !slices.ContainsFunc(p.NoProxy, func(n string) bool { return strings.EqualFold(n, host) })
}

// Variables are the environment variables that give a function the proxy, in
// both cases (AWS IoT Greengrass V1 developer guide, "Configure the core").
// Local addresses are never reached through it.
func (p *Proxy) Variables() map[string]string {
	if p == nil {
		return nil
	}
	direct := strings.Join(append(slices.Clone(p.NoProxy), "localhost", "127.0.0.1"), ",")
	all := p.URL.String()
	return map[string]string{
		"http_proxy": all, "HTTP_PROXY": all,
		"https_proxy": all, "HTTPS_PROXY": all,
		"no_proxy": direct, "NO_PROXY": direct,
	}
}

// Dial connects to an endpoint, through the proxy if there is one for it. What
// comes back speaks to the endpoint itself, without TLS yet.
func (p *Proxy) Dial(ctx context.Context, e Endpoint) (net.Conn, error) {
	var dialer net.Dialer
	if !p.For(e.Host) {
		return dialer.DialContext(ctx, "tcp", e.String())
	}
	conn, err := dialer.DialContext(ctx, "tcp", p.URL.Host)
	if err != nil {
		return nil, fmt.Errorf("connect to the proxy %s: %w", p.URL.Host, err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	tunnel, err := p.tunnel(ctx, conn, e)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("proxy %s to %s: %w", p.URL.Host, e, err)
	}
	return tunnel, nil
}

func (p *Proxy) tunnel(ctx context.Context, conn net.Conn, e Endpoint) (net.Conn, error) {
	if p.URL.Scheme == "https" {
		secure, err := p.secure(ctx, conn)
		if err != nil {
			return nil, err
		}
		conn = secure
	}
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: e.String()}, Host: e.String(), Header: http.Header{}}
	if p.URL.User != nil {
		password, _ := p.URL.User.Password()
		pair := base64.StdEncoding.EncodeToString([]byte(p.URL.User.Username() + ":" + password))
		req.Header.Set("Proxy-Authorization", "Basic "+pair)
	}
	if err := req.WithContext(ctx).Write(conn); err != nil {
		return nil, err
	}
	// The endpoint says nothing before our TLS greeting, so nothing of it can
	// be left in the reader.
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the proxy answers %s", resp.Status)
	}
	return conn, nil
}

func (p *Proxy) secure(ctx context.Context, conn net.Conn) (net.Conn, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if pem, err := os.ReadFile(p.CAFile); err == nil {
		roots.AppendCertsFromPEM(pem)
	}
	cfg := &tls.Config{ServerName: p.URL.Hostname(), RootCAs: roots, MinVersion: tls.VersionTLS12}
	secure := tls.Client(conn, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return secure, nil
}
