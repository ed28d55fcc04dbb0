package core

import (
	"crypto/x509"
	"encoding/pem"
	"os"

	"github.com/fescue-edge/fescue/core/agent"
)

// certificates reads those that the core depends on: its own, and of the
// authorities that it trusts the one that ends last. What cannot be read has
// kept the core from starting, or will.
func (c *Core) certificates() []agent.Certificate {
	var list []agent.Certificate
	for _, f := range []struct{ what, file string }{
		{"this core", c.config.Credentials.CertificatePath}, {"the authority that this core trusts", c.config.Credentials.CAPath},
	} {
		if last := lastOf(f.file); last != nil {
			list = append(list, agent.Certificate{What: f.what, File: f.file, NotAfter: last.NotAfter})
		}
	}
	return list
}

// lastOf is the certificate of a PEM file that ends last; a chain's own comes
// first in its file and is the only one that a core's file has.
func lastOf(file string) (last *x509.Certificate) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err == nil && (last == nil || cert.NotAfter.After(last.NotAfter)) {
			last = cert
		}
	}
	return last
}
