package config_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/core/config"
	"github.com/fescue-edge/fescue/pki"
)

// credentials writes a certificate, its key and the authority into a folder.
func credentials(t *testing.T) config.Credentials {
	t.Helper()
	now := time.Now()
	authority, err := pki.NewAuthority("test", pki.ECDSA, now)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := authority.IssueServer(pki.ECDSA, []string{"localhost"}, now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	dir := t.TempDir()
	c := config.Credentials{
		CAPath: filepath.Join(dir, "ca.pem"), CertificatePath: filepath.Join(dir, "cert.pem"), PrivateKeyPath: filepath.Join(dir, "key.pem"),
	}
	for path, data := range map[string][]byte{
		c.CAPath: authority.PEM(), c.CertificatePath: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Certificate[0]}), c.PrivateKeyPath: key,
	} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func TestTLS(t *testing.T) {
	t.Parallel()
	good := credentials(t)
	t.Run("trusts the authorities of the file alone", func(t *testing.T) {
		t.Parallel()
		cfg, err := good.TLS(config.Endpoint{Host: "mill", Port: 8443})
		if err != nil {
			t.Fatal(err)
		}
		if cfg.RootCAs == nil || cfg.MinVersion != tls.VersionTLS12 || cfg.ServerName != "mill" || len(cfg.Certificates) != 1 || cfg.NextProtos != nil {
			t.Errorf("configuration %+v", cfg)
		}
	})
	t.Run("names the protocol that the endpoint has", func(t *testing.T) {
		t.Parallel()
		cfg, err := good.TLS(config.Endpoint{Host: "mill", Port: 443, ALPN: "x-amzn-mqtt-ca"})
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(cfg.NextProtos) != "[x-amzn-mqtt-ca]" {
			t.Errorf("protocols %v", cfg.NextProtos)
		}
	})
	for _, tc := range []struct {
		name string
		c    config.Credentials
		want string
	}{
		{"no key file", config.Credentials{CAPath: good.CAPath, CertificatePath: good.CertificatePath, PrivateKeyPath: "/nowhere/key"}, "/nowhere/key"},
		{"no authority file", config.Credentials{CAPath: "/nowhere/ca", CertificatePath: good.CertificatePath, PrivateKeyPath: good.PrivateKeyPath}, "/nowhere/ca"},
		{"authority file without certificate", config.Credentials{CAPath: good.PrivateKeyPath, CertificatePath: good.CertificatePath, PrivateKeyPath: good.PrivateKeyPath}, "holds no certificate"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if _, err := tc.c.TLS(config.Endpoint{Host: "mill", Port: 8443}); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

// greeter answers every connection with a line and closes it.
func greeter(t *testing.T) config.Endpoint {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			// The client speaks first, as with TLS.
			line, _ := bufio.NewReader(conn).ReadString('\n')
			fmt.Fprintf(conn, "heard %s", line)
			conn.Close()
		}
	}()
	return config.Endpoint{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port}
}

func greet(ctx context.Context, p *config.Proxy, e config.Endpoint) (string, error) {
	conn, err := p.Dial(ctx, e)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "hello\n"); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

func TestDial(t *testing.T) {
	t.Parallel()
	target := greeter(t)
	proxied := make(chan string, 10)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := parseBasic(r.Header.Get("Proxy-Authorization"))
		if r.Method != http.MethodConnect || user != "u" || password != "p" {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		proxied <- r.Host
		up, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer up.Close()
		down, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer down.Close()
		io.WriteString(down, "HTTP/1.1 200 OK\r\n\r\n")
		go io.Copy(up, buffered)
		io.Copy(down, up)
	}))
	t.Cleanup(proxy.Close)
	address, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	with := func(user *url.Userinfo, direct ...string) *config.Proxy {
		return &config.Proxy{URL: &url.URL{Scheme: "http", Host: address.Host, User: user}, NoProxy: direct}
	}
	t.Run("without a proxy", func(t *testing.T) {
		if got, err := greet(t.Context(), nil, target); err != nil || got != "heard hello\n" {
			t.Errorf("answer %q, %v", got, err)
		}
	})
	t.Run("through the proxy", func(t *testing.T) {
		got, err := greet(t.Context(), with(url.UserPassword("u", "p")), target)
		if err != nil || got != "heard hello\n" {
			t.Fatalf("answer %q, %v", got, err)
		}
		if host := <-proxied; host != target.String() {
			t.Errorf("the proxy was asked for %s", host)
		}
	})
	t.Run("past the proxy", func(t *testing.T) {
		if got, err := greet(t.Context(), with(nil, "127.0.0.1"), target); err != nil || got != "heard hello\n" {
			t.Errorf("answer %q, %v", got, err)
		}
	})
	t.Run("refused by the proxy", func(t *testing.T) {
		_, err := greet(t.Context(), with(url.UserPassword("u", "wrong")), target)
		if err == nil || !strings.Contains(err.Error(), "407") || strings.Contains(err.Error(), "wrong") {
			t.Errorf("error %v, want the proxy's answer without the password", err)
		}
	})
}

func parseBasic(header string) (user, password string, ok bool) {
	r := &http.Request{Header: http.Header{"Authorization": {header}}}
	return r.BasicAuth()
}
