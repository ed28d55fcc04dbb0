package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/hpke"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

// Bounds of RSA keys that keys are wrapped for, in bits.
const (
	minWrapping = 2048
	maxWrapping = 8192
)

// ErrWrapping is wrapped where a key is of a kind that nothing is wrapped for.
var ErrWrapping = errors.New("secrets are sealed for RSA keys of 2048 to 8192 bits, and for EC keys on P-256, P-384 and P-521")

// ErrWrapped is wrapped when a wrapped key does not open: it was wrapped for another
// key or under another label, or was changed.
var ErrWrapped = errors.New("the wrapped key does not open with this private key")

// WrapKey encrypts a symmetric key for the owner of a public one: with RSA-OAEP and
// SHA-256 for an RSA key, with HPKE (RFC 9180: DHKEM on the key's curve, HKDF-SHA256,
// AES-256-GCM) for an EC key. The label says what the key is for and must be given
// again to UnwrapKey. The error may wrap ErrWrapping.
func WrapKey(public crypto.PublicKey, key []byte, label string) ([]byte, error) {
	switch public := public.(type) {
	case *rsa.PublicKey:
		if err := checkRSA(public); err != nil {
			return nil, err
		}
		return rsa.EncryptOAEP(sha256.New(), rand.Reader, public, key, []byte(label))
	case *ecdsa.PublicKey:
		point, err := public.ECDH()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrWrapping, err)
		}
		to, err := hpke.NewDHKEMPublicKey(point)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrWrapping, err)
		}
		return hpke.Seal(to, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte(label), key)
	}
	return nil, fmt.Errorf("%w: this is a %T", ErrWrapping, public)
}

// UnwrapKey decrypts what WrapKey made. The errors wrap ErrWrapping or ErrWrapped.
func UnwrapKey(private crypto.PrivateKey, wrapped []byte, label string) (key []byte, err error) {
	switch private := private.(type) {
	case *rsa.PrivateKey:
		if err := checkRSA(&private.PublicKey); err != nil {
			return nil, err
		}
		key, err = rsa.DecryptOAEP(sha256.New(), nil, private, wrapped, []byte(label))
	case *ecdsa.PrivateKey:
		point, failed := private.ECDH()
		if failed != nil {
			return nil, fmt.Errorf("%w: %w", ErrWrapping, failed)
		}
		own, failed := hpke.NewDHKEMPrivateKey(point)
		if failed != nil {
			return nil, fmt.Errorf("%w: %w", ErrWrapping, failed)
		}
		key, err = hpke.Open(own, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte(label), wrapped)
	default:
		return nil, fmt.Errorf("%w: this is a %T", ErrWrapping, private)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWrapped, err)
	}
	return key, nil
}

func checkRSA(key *rsa.PublicKey) error {
	if bits := key.N.BitLen(); bits < minWrapping || bits > maxWrapping {
		return fmt.Errorf("%w: this one has %d bits", ErrWrapping, bits)
	}
	return nil
}

// CheckWrapping refuses a key that nothing can be wrapped for: the error wraps
// ErrWrapping.
func CheckWrapping(public crypto.PublicKey) error {
	_, err := WrapKey(public, make([]byte, sha256.Size), "")
	return err
}

// maxKeyFile bounds the file of a private key, in bytes.
const maxKeyFile = 64 << 10

// LoadPrivateKey reads a private key in PEM form: PKCS #1, PKCS #8 or SEC 1, without
// a password.
func LoadPrivateKey(path string) (crypto.Signer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxKeyFile {
		return nil, fmt.Errorf("%s has %d bytes, which no key has", path, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return nil, fmt.Errorf("%s holds no private key in PEM form", path)
		}
		var key any
		switch block.Type {
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		default:
			continue // such as EC PARAMETERS, which openssl writes before a key
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		signer, ok := key.(crypto.Signer)
		if !ok {
			return nil, fmt.Errorf("%s holds a %T", path, key)
		}
		return signer, nil
	}
}
