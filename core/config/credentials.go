package config

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/fescue-edge/fescue/pki"
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
	// MQTTServerKeyPath is the private key of the MQTT server's certificate; empty where
	// the core makes one for each certificate.
	MQTTServerKeyPath string
}

// credentials takes the crypto object when there is one, else the paths of
// coreThing, which are relative to certs.
func (f *file) credentials(root, caFile string) (Credentials, error) {
	var c Credentials
	resolve := relativeToCerts(root)
	if f.Crypto != nil {
		id := f.Crypto.Principals.IoTCertificate
		c = Credentials{CAPath: f.Crypto.CAPath, CertificatePath: id.CertificatePath, PrivateKeyPath: id.PrivateKeyPath, SecretsKeyPath: f.Crypto.Principals.SecretsManager.PrivateKeyPath}
		if uri := f.Crypto.Principals.MQTTServerCertificate.PrivateKeyPath; uri != "" {
			var err error
			if c.MQTTServerKeyPath, err = fileURI(root)(uri); err != nil {
				return Credentials{}, fmt.Errorf("%w (crypto.principals.MQTTServerCertificate.privateKeyPath)", err)
			}
		}
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

// MQTTServerKey reads the private key of the MQTT server's certificate; nil where the
// core makes it. What the original took is taken: RSA from 2048 bits, EC on P-256 or P-384.
func (c Credentials) MQTTServerKey() (crypto.Signer, error) {
	if c.MQTTServerKeyPath == "" {
		return nil, nil
	}
	key, err := pki.LoadPrivateKey(c.MQTTServerKeyPath)
	if err == nil {
		switch public := key.Public().(type) {
		case *rsa.PublicKey:
			if public.N.BitLen() < 2048 {
				err = fmt.Errorf("%s is an RSA key of %d bits", c.MQTTServerKeyPath, public.N.BitLen())
			}
		case *ecdsa.PublicKey:
			if public.Curve != elliptic.P256() && public.Curve != elliptic.P384() {
				err = fmt.Errorf("%s is an EC key on %s", c.MQTTServerKeyPath, public.Curve.Params().Name)
			}
		default:
			err = fmt.Errorf("%s is a key of another kind (%T)", c.MQTTServerKeyPath, public)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("crypto.principals.MQTTServerCertificate.privateKeyPath: %w; it has to be an RSA key of 2048 bits or more or an EC key on P-256 or P-384, in PEM form, or left out", err)
	}
	return key, nil
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
