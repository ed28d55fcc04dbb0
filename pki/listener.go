package pki

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/fescue-edge/fescue/periodic"
)

// leafLifetime and renewBefore rule the certificates that Fescue's listeners
// issue to themselves.
const (
	leafLifetime = 90 * 24 * time.Hour
	renewBefore  = 30 * 24 * time.Hour
	// checkInterval is how often certificate files and the leaf's age are
	// looked at.
	checkInterval = 5 * time.Second
)

// ListenerCertificates supplies a listener's certificates: leaves of Fescue's
// own authority in ECDSA and RSA, renewed before they end and after the clock
// was set back, or a pair of PEM files that is read again when it changes.
type ListenerCertificates struct {
	load    func(now time.Time) ([]*tls.Certificate, error)
	stale   func(now time.Time) bool
	current atomic.Pointer[[]*tls.Certificate]
	now     func() time.Time
	logger  *slog.Logger
}

// OwnCertificates issues leaves for hosts from the authority.
func OwnCertificates(a *Authority, hosts []string, now func() time.Time, logger *slog.Logger) (*ListenerCertificates, error) {
	c := &ListenerCertificates{now: now, logger: logger}
	c.load = func(now time.Time) ([]*tls.Certificate, error) {
		var leaves []*tls.Certificate
		for _, alg := range []Algorithm{ECDSA, RSA} {
			leaf, err := a.IssueServer(alg, hosts, now, leafLifetime)
			if err != nil {
				return nil, err
			}
			leaves = append(leaves, leaf)
		}
		return leaves, nil
	}
	c.stale = func(now time.Time) bool {
		leaf := (*c.current.Load())[0].Leaf
		// A leaf that was issued in what is now the future, by a clock that was
		// ahead, is not valid for clients yet.
		return now.After(leaf.NotAfter.Add(-renewBefore)) || now.Before(leaf.NotBefore.Add(backdate/2))
	}
	return c, c.reload()
}

// FileCertificates reads a certificate chain and its key from PEM files, and
// again whenever either file changes. A pair that does not fit is refused and
// the one before stays in use.
func FileCertificates(certFile, keyFile string, now func() time.Time, logger *slog.Logger) (*ListenerCertificates, error) {
	var seen [2]time.Time
	stamps := func() (s [2]time.Time) {
		for i, f := range []string{certFile, keyFile} {
			if info, err := os.Stat(f); err == nil {
				s[i] = info.ModTime()
			}
		}
		return s
	}
	c := &ListenerCertificates{now: now, logger: logger}
	c.load = func(time.Time) ([]*tls.Certificate, error) {
		seen = stamps()
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, fmt.Errorf("load TLS certificate %s with key %s: %w", certFile, keyFile, err)
		}
		return []*tls.Certificate{&pair}, nil
	}
	c.stale = func(time.Time) bool { return stamps() != seen }
	return c, c.reload()
}

func (c *ListenerCertificates) reload() error {
	leaves, err := c.load(c.now())
	if err != nil {
		return err
	}
	c.current.Store(&leaves)
	return nil
}

// NotAfter is when the certificate in use ends.
func (c *ListenerCertificates) NotAfter() time.Time { return (*c.current.Load())[0].Leaf.NotAfter }

// Run renews until ctx ends.
func (c *ListenerCertificates) Run(ctx context.Context) {
	periodic.Every(ctx, checkInterval, func() {
		if !c.stale(c.now()) {
			return
		}
		if err := c.reload(); err != nil {
			c.logger.Error("TLS certificate not renewed; the one before stays in use", "error", err)
			return
		}
		c.logger.Info("TLS certificate renewed", "notAfter", (*c.current.Load())[0].Leaf.NotAfter)
	})
}

// Get picks the first certificate that the client can use; clients without SNI
// get the default one.
func (c *ListenerCertificates) Get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	leaves := *c.current.Load()
	for _, leaf := range leaves {
		if hello.SupportsCertificate(leaf) == nil {
			return leaf, nil
		}
	}
	// Names that are not in the leaf (an unmodified gateway's old host) are the
	// client's to judge; the key type still has to fit.
	nameless := *hello
	nameless.ServerName = ""
	for _, leaf := range leaves {
		if nameless.SupportsCertificate(leaf) == nil {
			return leaf, nil
		}
	}
	return leaves[len(leaves)-1], nil
}

// ServerTLS is the TLS configuration of a listener without client certificates.
func ServerTLS(c *ListenerCertificates) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.Get}
}

// ErrNoClientCertificate is the handshake error of a device without one.
var ErrNoClientCertificate = errors.New("no client certificate")

// DeviceTLS is the TLS configuration of a device listener. certificate is asked for
// the listener's own at every handshake. A client certificate is required and its key proven; no authority is asked of it. verify is given
// the certificate at every handshake, resumed ones included, and refuses by an
// error. Session tickets are off: most devices come once and stay, and need none.
func DeviceTLS(certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error), verify func(*x509.Certificate) error) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS12,
		GetCertificate:         certificate,
		ClientAuth:             tls.RequireAnyClientCert,
		SessionTicketsDisabled: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				return ErrNoClientCertificate
			}
			return verify(state.PeerCertificates[0])
		},
	}
}
