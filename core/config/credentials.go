package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Credentials are the files that prove who the core is and whom it trusts, as
// absolute paths.
type Credentials struct {
	// CAPath may hold several certificates; all of them are trusted, and no
	// others.
	CAPath          string
	CertificatePath string
	PrivateKeyPath  string
	// SecretsKeyPath is the private key that secrets are sealed for: by default that
	// of the certificate.
	SecretsKeyPath string
}

// credentials takes the crypto object when there is one, else the paths of
// coreThing, which are relative to certs.
func (f *file) credentials(root, caFile string) (Credentials, error) {
	var c Credentials
	resolve := relativeToCerts(root)
	if f.Crypto != nil {
		if uri := f.Crypto.Principals.MQTTServerCertificate.PrivateKeyPath; uri != "" {
			if _, err := fileURI(root)(uri); err != nil {
				return Credentials{}, fmt.Errorf("%w (crypto.principals.MQTTServerCertificate.privateKeyPath)", err)
			}
		}
		id := f.Crypto.Principals.IoTCertificate
		c = Credentials{f.Crypto.CAPath, id.CertificatePath, id.PrivateKeyPath, f.Crypto.Principals.SecretsManager.PrivateKeyPath}
		resolve = fileURI(root)
	} else {
		c = Credentials{CAPath: f.CoreThing.CAPath, CertificatePath: f.CoreThing.CertPath, PrivateKeyPath: f.CoreThing.KeyPath}
	}
	if c.SecretsKeyPath == "" {
		c.SecretsKeyPath = c.PrivateKeyPath
	}
	for _, p := range []*string{&c.CAPath, &c.CertificatePath, &c.PrivateKeyPath, &c.SecretsKeyPath} {
		if p == &c.CAPath && caFile != "" {
			*p = caFile
			continue
		}
		if *p == "" {
			return Credentials{}, ErrMissingPaths
		}
		path, err := resolve(*p)
		if err != nil {
			return Credentials{}, err
		}
		*p = path
	}
	return c, nil
}

func relativeToCerts(root string) func(string) (string, error) {
	return func(p string) (string, error) {
		if filepath.IsAbs(p) {
			return filepath.Clean(p), nil
		}
		return filepath.Join(root, "certs", p), nil
	}
}

// fileURI reads "file:///absolute/path" and the form "file://certs/core.crt"
// that the original's tutorial printed, which is relative to the root.
func fileURI(root string) func(string) (string, error) {
	return func(uri string) (string, error) {
		scheme, rest, _ := strings.Cut(uri, ":")
		switch strings.ToLower(scheme) {
		case "file":
		case "pkcs11":
			return "", ErrPKCS11
		default:
			return "", ErrUnknownURIScheme
		}
		path, ok := strings.CutPrefix(rest, "//")
		if !ok || path == "" {
			return "", ErrUnknownURIScheme
		}
		if filepath.IsAbs(path) {
			return filepath.Clean(path), nil
		}
		return filepath.Join(root, path), nil
	}
}

// TLS reads the files and makes the configuration of a connection to an
// endpoint: the core's certificate, the authorities of CAPath and no others, TLS
// 1.2 or later.
func (c Credentials) TLS(e Endpoint) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(c.CertificatePath, c.PrivateKeyPath)
	if err != nil {
		return nil, fmt.Errorf("core certificate %s with private key %s: %w", c.CertificatePath, c.PrivateKeyPath, err)
	}
	pem, err := os.ReadFile(c.CAPath)
	if err != nil {
		return nil, fmt.Errorf("certificate authorities: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("certificate authorities: %s holds no certificate in PEM form", c.CAPath)
	}
	cfg := &tls.Config{
		Certificates: []tls.Certificate{pair},
		RootCAs:      roots,
		MinVersion:   tls.VersionTLS12,
		ServerName:   e.Host,
	}
	if e.ALPN != "" {
		cfg.NextProtos = []string{e.ALPN}
	}
	return cfg, nil
}
