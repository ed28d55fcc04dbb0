//go:build linux

package test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestDevicesWithoutLine: a core that has lost its certificate, and starts while there is
// no control plane, certifies itself to its devices, until the line is back.
func TestDevicesWithoutLine(t *testing.T) {
	t.Parallel()
	h := startServer(t).site(region)
	l := h.serveDevices(t, "Offline_Core")
	l.run(t)
	lamp := h.provision(t, "Offline_Lamp")
	l.deployWith(t, nil, nil, lamp)
	l.join(t, lamp)
	cfg := l.tlsFor(t, lamp)
	// own reports whether what the core shows is its own.
	own := func() (own bool, err error) {
		conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", l.port), cfg)
		if err != nil {
			return false, err
		}
		defer conn.Close()
		chain := conn.ConnectionState().PeerCertificates
		last := chain[len(chain)-1]
		return !ownIssuer(last), nil
	}
	folder := filepath.Join(l.root, "ggc", "var", "state", "server")
	eventually(t, "an intermediate", func() error { _, err := os.Stat(filepath.Join(folder, "intermediate.pem")); return err })
	h.Kill()
	l.process.Kill()
	if err := errors.Join(os.Remove(filepath.Join(folder, "server.pem")), os.Remove(filepath.Join(folder, "server.crt"))); err != nil {
		t.Fatal(err)
	}
	l.run(t)
	eventually(t, "a certificate of the core's own", func() error {
		own, err := own()
		if err == nil && !own {
			err = errors.New("it is the control plane's")
		}
		return err
	})
	h.server.run(t)
	eventually(t, "the control plane's certificate", func() error {
		own, err := own()
		if err == nil && own {
			err = errors.New("it is the core's own")
		}
		return err
	})
	l.join(t, lamp)
}

func ownIssuer(c *x509.Certificate) bool { return bytes.Equal(c.RawIssuer, c.RawSubject) }
