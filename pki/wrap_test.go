package pki_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/pki"
)

func ecKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestWrapKey(t *testing.T) {
	t.Parallel()
	secret := bytes.Repeat([]byte{7}, 32)
	for name, keys := range map[string][2]crypto.Signer{
		"RSA":   {rsaKey(t, 2048), rsaKey(t, 2048)},
		"P-256": {ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())},
		"P-384": {ecKey(t, elliptic.P384()), ecKey(t, elliptic.P384())},
		"P-521": {ecKey(t, elliptic.P521()), ecKey(t, elliptic.P521())},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wrapped, err := pki.WrapKey(keys[0].Public(), secret, "for a")
			if err != nil {
				t.Fatal(err)
			}
			if again, err := pki.WrapKey(keys[0].Public(), secret, "for a"); err != nil || bytes.Equal(again, wrapped) {
				t.Errorf("wrapped twice alike, %v", err)
			}
			if got, err := pki.UnwrapKey(keys[0], wrapped, "for a"); err != nil || !bytes.Equal(got, secret) {
				t.Errorf("unwrapped %x, %v", got, err)
			}
			changed := bytes.Clone(wrapped)
			changed[len(changed)-1] ^= 1
			for what, open := range map[string]func() ([]byte, error){
				"another label": func() ([]byte, error) { return pki.UnwrapKey(keys[0], wrapped, "for b") },
				"another key":   func() ([]byte, error) { return pki.UnwrapKey(keys[1], wrapped, "for a") },
				"a change":      func() ([]byte, error) { return pki.UnwrapKey(keys[0], changed, "for a") },
				"half":          func() ([]byte, error) { return pki.UnwrapKey(keys[0], wrapped[:len(wrapped)/2], "for a") },
				"nothing":       func() ([]byte, error) { return pki.UnwrapKey(keys[0], nil, "for a") },
			} {
				if got, err := open(); !errors.Is(err, pki.ErrWrapped) || got != nil {
					t.Errorf("with %s: %x, %v", what, got, err)
				}
			}
		})
	}
}

func TestKeysThatNothingIsWrappedFor(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	_, ed, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{"Ed25519": ed, "P-224": ecKey(t, elliptic.P224()), "RSA of 1024 bits": rsaKey(t, 1024)} {
		if err := pki.CheckWrapping(key.Public()); !errors.Is(err, pki.ErrWrapping) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := pki.UnwrapKey(key, []byte("x"), ""); !errors.Is(err, pki.ErrWrapping) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLoadPrivateKey(t *testing.T) {
	t.Parallel()
	ec, rsa := ecKey(t, elliptic.P256()), rsaKey(t, 2048)
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(rsa)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	for name, tc := range map[string]struct{ text, refused string }{
		"PKCS #1":                  {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsa)), ""},
		"PKCS #8":                  {block("PRIVATE KEY", pkcs8), ""},
		"SEC 1 behind parameters":  {block("EC PARAMETERS", []byte{1}) + block("EC PRIVATE KEY", sec1), ""},
		"nothing":                  {"", "no private key in PEM form"},
		"a certificate":            {block("CERTIFICATE", []byte{1}), "no private key in PEM form"},
		"a key that is cut":        {block("PRIVATE KEY", pkcs8[:99]), "asn1"},
		"a file that is too large": {strings.Repeat("x", 65<<10), "which no key has"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "key.pem")
			if err := os.WriteFile(file, []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			key, err := pki.LoadPrivateKey(file)
			if tc.refused == "" && (err != nil || pki.CheckWrapping(key.Public()) != nil) || tc.refused != "" && (err == nil || !strings.Contains(err.Error(), tc.refused)) {
				t.Errorf("%v, %v; want %q", key, err, tc.refused)
			}
		})
	}
	if _, err := pki.LoadPrivateKey(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
